#!/usr/bin/env bash
# Blur and shrink a photograph, restore it blindly with DIP-DKP, compare: bash scripts/demo.sh
set -euo pipefail

root="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
cd "$root"
source scripts/setup_env.sh

python scripts/demo.py prepare
python -m dkp_plugin.test -opt options/test/DIPDKP_demo_x4.yml
python scripts/demo.py report
