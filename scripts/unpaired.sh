#!/usr/bin/env bash
# The unpaired system from the photographs to the tables: makes the training data, trains the small network, scores the
# kernels that it found, and restores Set5, Set14, BSD100 and Urban100 with its own kernels, with DKP's and the true ones.
#   bash scripts/unpaired.sh [PHOTOS]
# PHOTOS is a folder of sharp photographs, datasets/BSDS400 by default. Hours on two cores; a training or test that was
# interrupted resumes with the same command. To restore with the weights of the package, run the option files alone.
set -euo pipefail

root="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
cd "$root"
source scripts/setup_env.sh

name=train_UnpairedSR_small_x4
data=datasets/unpaired_BSDS400
if [[ ! -d "$data" ]]; then
    python scripts/prepare_unpaired.py "${1:-datasets/BSDS400}" --convention released --out "$data"
fi
weights="experiments/$name/models/net_g_latest.pth"
if [[ ! -f "$weights" ]]; then
    python -m dkp_plugin.train -opt "options/train/$name.yml" --auto_resume
fi
python scripts/score_kernels.py "experiments/$name/kernels" "$data/truth/kernels"
for test in UnpairedDKP UnpairedOracle; do
    python -m dkp_plugin.test -opt "options/test/${test}_gaussian_x4.yml" \
        --force_yml "path:pretrain_network_g=$weights" "name=${test}_trained"
done
python -m dkp_plugin.test -opt options/test/Unpaired_gaussian_x4.yml \
    --force_yml "path:pretrain_network_g=$weights" "network_k:pretrained=$weights" name=Unpaired_trained
