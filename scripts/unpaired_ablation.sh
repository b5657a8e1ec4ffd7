#!/usr/bin/env bash
# What each part of the unpaired system contributes: the same training without it, and the tests of Set5 and Set14.
#   bash scripts/unpaired_ablation.sh [STEPS [PHOTOS]]
# STEPS of each training, 5000 by default: about 45 minutes on one core, for each of 10 variants and two training sets,
# of which one has the same kernel in all LR images. PHOTOS is datasets/BSDS400 by default. What is finished is kept; the
# same command goes on. The tables are in results/<name>/metrics, and at the end one line for each test.
set -euo pipefail

root="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
cd "$root"
source scripts/setup_env.sh

steps="${1:-5000}"
photos="${2:-datasets/BSDS400}"
option_file=options/train/train_UnpairedSR_small_x4.yml
residual='{type: DKP, num_samples: 64, weighting: softmax, temperature: 0.01, rks_interval: 1, variance_range: [0.4, 16]}'
l1='{type: L1Loss, loss_weight: 0.1}'
affinity='{type: FeatureAffinityLoss, loss_weight: 0.1}'

# run NAME DATA OPTION...: train with changed options, then test
run() {
    local name="$1" data="$2" test
    shift 2
    local weights="experiments/$name/models/net_g_latest.pth"
    if [[ ! -f "$weights" ]]; then
        python -m dkp_plugin.train -opt "$option_file" --auto_resume --force_yml "name=$name" \
            "datasets:train:dataroot_lq=$data/LR" "datasets:train:dataroot_exemplar=$data/exemplars" \
            "train:total_iter=$steps" "train:scheduler:periods=[$steps]" "train:bank:start_iter=$((steps / 4))" "$@"
    fi
    for test in Unpaired UnpairedDKP UnpairedOracle; do
        local own=()
        [[ "$test" == Unpaired ]] && own=("network_k:pretrained=$weights")
        python -m dkp_plugin.test -opt "options/test/${test}_gaussian_x4.yml" --only Set5 Set14 \
            --force_yml "name=${name}_$test" "path:pretrain_network_g=$weights" "${own[@]}"
    done
}

for kernel in each one; do
    data="datasets/unpaired_$kernel"
    if [[ ! -d "$data" ]]; then
        python scripts/prepare_unpaired.py "$photos" --convention released --kernel "$kernel" --out "$data"
    fi
    # Exemplars that are the LR images themselves; a copy, since one folder cannot be both.
    if [[ ! -d "$data/without_exemplars" ]]; then
        mkdir "$data/without_exemplars"
        cp -r "$data/LR" "$data/without_exemplars/LR"
        cp -r "$data/LR" "$data/without_exemplars/exemplars"
    fi
    run "ablation_${kernel}_as_it_is" "$data"
    run "ablation_${kernel}_random_kernels" "$data" train:bank:source=random
    run "ablation_${kernel}_without_variational" "$data" network_g:variational=false
    run "ablation_${kernel}_without_exemplars" "$data/without_exemplars" datasets:train:lq_size=20 \
        train:image_crop=20 datasets:train:leak_check=off
    run "ablation_${kernel}_S_on_the_bank" "$data" train:intermediate_kernels=bank
    run "ablation_${kernel}_residual" "$data" "network_k=$residual"
    run "ablation_${kernel}_distill" "$data" "train:distill_opt=$l1"
    run "ablation_${kernel}_affinity" "$data" "train:affinity_opt=$affinity"
    run "ablation_${kernel}_aux" "$data" "train:aux_opt=$l1" datasets:train:lq_size=64
    run "ablation_${kernel}_data" "$data" "train:data_opt=$l1"
done

python - <<'PYTHON'
import json
from pathlib import Path

for path in sorted(Path('results').glob('ablation_*/metrics/*.json')):
    means = json.loads(path.read_text())['means']
    figures = ', '.join(f'{name} {means[name]:.2f}' for name in ('psnr', 'kernel_psnr') if name in means)
    print(f'{path.parts[1]:50s} {path.stem:8s} {figures}')
PYTHON
