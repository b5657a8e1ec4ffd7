#!/usr/bin/env bash
# The kernel modules against each other, with the deep image prior, on 128x128 centre crops of Set5 (datasets/Set5):
#   bash scripts/compare_kernels.sh [DIR]    writes DIR/report.html and others; DIR is comparison by default
# It makes the crops, under datasets/Set5_crop128: blurred by the kernels of gaussian_x4, and by motion kernels of seed 0.
# 60 restorations of a minute each on one core. It may be interrupted; the same command goes on.
set -euo pipefail

root="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
cd "$root"
source scripts/setup_env.sh

crops=datasets/Set5_crop128
if [[ ! -d "$crops" ]]; then
    python scripts/prepare_crops.py datasets/Set5 gaussian_x4 --size 128 --scale 4 --convention released --out "$crops"
fi
if [[ ! -d "$crops/motion_x4" ]]; then
    python scripts/prepare_blur_dataset.py "$crops/HR" --out "$crops/motion_x4" \
        --family motion --scale 4 --convention released --seed 0
fi
python scripts/compare.py --suite kernels-dip-crops --out "${1:-comparison}"
