#!/usr/bin/env bash
# Lint, format check and tests; arguments go to pytest: bash scripts/test.sh -k kernels
set -euo pipefail

root="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
cd "$root"
source scripts/setup_env.sh

# The tests use tiny tensors, so a process per core with one thread each is faster than one process with many threads.
export OMP_NUM_THREADS="${OMP_NUM_THREADS:-1}"

python -m ruff check .
python -m ruff format --check .
python -m pytest -n auto --dist worksteal "$@"
