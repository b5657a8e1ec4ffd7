#!/usr/bin/env bash
# What each part of the unpaired system contributes: the same training with one part changed, scored on Set5 and Set14.
#   bash scripts/unpaired_ablation.sh [STEPS [PHOTOS]]
# STEPS: steps of the refinement R in each variant, 500 by default: about 50 minutes on one core for each of the two
# training sets. In the set "each", every LR image has its own kernel; in "one", all share one, and so do the test
# images. PHOTOS: the photographs to train on, datasets/BSDS400 by default.
#
# A variant takes three trainings of 3 STEPS, 3/5 STEPS and STEPS steps, and shares those that its change does not touch:
#   1. S and N on random kernels;  2. the kernels of the LR images, then S and N with them;  3. R.
# Finished trainings and scores are kept, and an interrupted one resumes. The tables go to results/unpaired_ablation.md.
set -euo pipefail

root="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
cd "$root"
source scripts/setup_env.sh

steps="${1:-500}"
photos="${2:-datasets/BSDS400}"
report=results/unpaired_ablation.md
evidence='{type: EvidenceDKP, pke_weight: 0.0}'
residual='{type: DKP, num_samples: 32, weighting: softmax, temperature: 0.01, sampler: population, proposal_std: 0.05,
    variance_range: [0.4, 16], lr: 3.0e-3, warmup_iters: 50, pke_weight: 0.0, rks_interval: 1}'
residual_steps=20  # about as many kernels as the evidence judges
l1='{type: L1Loss, loss_weight: 0.1}'
affinity='{type: FeatureAffinityLoss, loss_weight: 0.1}'

# train NAME STEPS DATA OPTION...
train() {
    local name="ablation_$1" total="$2" data="$3"
    shift 3
    [[ -f "experiments/$name/models/net_g_latest.pth" ]] && return
    python -m dkp_plugin.train -opt options/train/train_UnpairedSR_small_x4.yml --auto_resume --force_yml "name=$name" \
        "datasets:train:dataroot_lq=$data/LR" "datasets:train:dataroot_exemplar=$data/exemplars" \
        "train:total_iter=$total" "train:scheduler:periods=[$total]" train:ema_decay=0.99 val:val_freq=1000000 "$@"
}

# weights NAME: the options that start from another training
weights() { echo "path:pretrain_network_g=experiments/ablation_$1/models/net_g_latest.pth"; }
bank() { echo "path:pretrain_network_k=experiments/ablation_$1/models/net_k_latest.pth"; }

# first, second, third NAME [START] DATA OPTION...: the three trainings of a variant
first() { train "$1" $((3 * steps)) "$2" 'train:parts=[s, n]' "train:bank:start_iter=$((3 * steps))" \
    train:bank:source=random "${@:3}"; }
second() { train "$1" $((3 * steps / 5)) "$3" 'train:parts=[s, n]' train:bank:start_iter=1 \
    train:bank:interval=1000000 "$(weights "$2")" "${@:4}"; }
third() { train "$1" "$steps" "$3" 'train:parts=[r]' train:bank:start_iter=1 train:bank:interval=1000000 \
    "$(weights "$2")" "$(bank "$2")" "${@:4}"; }

# score SET ESTIMATOR NUM_STEPS VARIANT...: print the table of variants, computing what is missing
score() {
    python scripts/score_unpaired.py $([[ "$1" == one ]] && echo --shared-kernel) \
        --network-k "$2" --num-steps "$3" --truth "datasets/unpaired_$1/truth/kernels" "${@:4}"
}

mkdir -p results
: >"$report"
for set in each one; do
    data="datasets/unpaired_$set"
    if [[ ! -d "$data" ]]; then
        python scripts/prepare_unpaired.py "$photos" --convention released --kernel "$set" --out "$data"
    fi
    # The exemplars are then the LR images themselves: a copy, since one folder cannot be both.
    alone="results/ablation_data_$set"
    if [[ ! -d "$alone" ]]; then
        mkdir -p "$alone.part"
        cp -r "$data/LR" "$alone.part/LR"
        cp -r "$data/LR" "$alone.part/exemplars"
        mv "$alone.part" "$alone"
    fi
    small=(datasets:train:lq_size=20 train:image_crop=20 datasets:train:leak_check=off)

    first first "$data"  # does not see the LR images, so both sets share it
    second "${set}_bank" first "$data"
    second "${set}_bank_residual" first "$data" "network_k=$residual" "train:bank:num_steps=$residual_steps"
    second "${set}_bank_random" first "$data" train:bank:source=random
    second "${set}_bank_for_S" first "$data" train:intermediate_kernels=bank "$(bank "${set}_bank")"
    first "${set}_first_alone" "$alone" "${small[@]}"
    second "${set}_bank_alone" "${set}_first_alone" "$alone" "${small[@]}"

    third "${set}_as_it_is" "${set}_bank" "$data"
    third "${set}_random_kernels" "${set}_bank_random" "$data" train:bank:source=random
    third "${set}_residual" "${set}_bank_residual" "$data"
    third "${set}_S_on_the_bank" "${set}_bank_for_S" "$data"
    third "${set}_without_exemplars" "${set}_bank_alone" "$alone" "${small[@]}"
    third "${set}_without_variational" "${set}_bank" "$data" network_g:variational=false
    third "${set}_distill" "${set}_bank" "$data" "train:distill_opt=$l1"
    third "${set}_data" "${set}_bank" "$data" "train:data_opt=$l1"
    third "${set}_aux" "${set}_bank" "$data" "train:aux_opt=$l1" datasets:train:lq_size=64 \
        datasets:train:exemplar_size=192
    third "${set}_affinity" "${set}_bank" "$data" "train:affinity_opt=$affinity"

    variants=(as_it_is random_kernels S_on_the_bank without_exemplars without_variational distill data aux affinity)
    score "$set" "$residual" "$residual_steps" "ablation_${set}_residual" >/dev/null
    score "$set" "$evidence" 4 "${variants[@]/#/ablation_${set}_}" "ablation_${set}_residual" | tee -a "$report"
done
