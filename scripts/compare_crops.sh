#!/usr/bin/env bash
# Compare on 128x128 centre crops of Set5 (datasets/Set5), blurred by the kernels of gaussian_x4 and by motion kernels
# of seed 0. The script creates missing crops in datasets/Set5_crop128.
#   bash scripts/compare_crops.sh [SUITE [DIR]]    writes DIR/report.html and others
# SUITE is a name in options/suites. By default it is kernels-dip-crops, the kernel modules against each other with the
# deep image prior: 70 restorations of a minute each on one core. DIR is results/comparison/SUITE by default. After
# an interruption, rerun the same command to resume.
set -euo pipefail

suite="${1:-kernels-dip-crops}"
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
python scripts/compare.py --suite "$suite" --out "${2:-results/comparison/$suite}"
