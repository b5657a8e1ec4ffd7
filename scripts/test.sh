#!/usr/bin/env bash
# Lint, format check and tests; arguments go to pytest: bash scripts/test.sh -k kernels
set -euo pipefail

root="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
cd "$root"
source scripts/setup_env.sh

# The tests use tiny tensors: more than a few threads only wait for each other.
if [[ -z "${OMP_NUM_THREADS:-}" ]]; then
    cores="$(nproc 2>/dev/null || echo 2)"
    export OMP_NUM_THREADS=$((cores < 4 ? cores : 4))
fi

python -m ruff check .
python -m ruff format --check .
python -m pytest "$@"
