#!/usr/bin/env bash
# Degrade a photograph, restore it blindly and compare: bash scripts/demo.sh [--method fast-dkp|diff-dkp|dip-dkp]
set -euo pipefail

run=FastDKP_demo_x4
case "$*" in
    '' | '--method fast-dkp') ;;
    '--method diff-dkp') run=DiffDKP_demo_x4 ;;
    '--method dip-dkp') run=DIPDKP_demo_x4 ;;
    *)
        echo "error: demo.sh: $* is not allowed; allowed: --method fast-dkp, diff-dkp, dip-dkp" >&2
        exit 2
        ;;
esac

root="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
cd "$root"
source scripts/setup_env.sh

python scripts/demo.py prepare
python -m dkp_plugin.test -opt "options/test/$run.yml"
python scripts/demo.py report "$run"
