#!/usr/bin/env bash
# Create .venv at the repository root with the tested versions of all packages; a second run returns at once.
#   bash scripts/setup_env.sh             set up
#   source scripts/setup_env.sh           set up and activate
#   PYTHON=python3.12 bash scripts/...    choose the interpreter (default: the first suitable one of 3.11, 3.12, 3.10)
#   CONSTRAINTS=/dev/null bash scripts/... the newest versions of all packages instead of the tested ones

if [[ "${BASH_SOURCE[0]}" != "$0" ]]; then
    # Sourced: run in a subshell, so that an error neither ends the caller's shell nor changes its settings.
    bash "${BASH_SOURCE[0]}" && source "$(dirname "${BASH_SOURCE[0]}")/../.venv/bin/activate"
    return
fi

set -euo pipefail

root="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
venv="$root/.venv"
stamp="$venv/setup.stamp"
log="$venv/setup.log"
cd "$root"

# A virtual environment cannot be moved, so the stamp covers its place as well as what went into it.
constraints="${CONSTRAINTS:-constraints.txt}"
wanted="$root $(cat setup.py "$constraints" scripts/setup_env.sh | sha256sum)"

say() { echo "setup: $*"; }
die() { echo "setup: error: $*" >&2; exit 1; }
version_of() { "$1" -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null; }

is_current() {
    [[ -x "$venv/bin/python" && -f "$stamp" && "$(cat "$stamp")" == "$wanted" ]] || return 1
    [[ -z "${PYTHON:-}" || "$(version_of "$PYTHON")" == "$(version_of "$venv/bin/python")" ]]
}

# Sets $python to the first interpreter that can be used; to the one behind it where that is in an environment, since
# the environment may be the one about to be removed.
pick_python() {
    local candidate version seen=''
    local candidates=(python3.11 python3.12 python3.10 python3)
    [[ -n "${PYTHON:-}" ]] && candidates=("$PYTHON")
    for candidate in "${candidates[@]}"; do
        version="$(version_of "$candidate")" || continue
        case "$version" in
            3.10 | 3.11 | 3.12) ;;
            *) seen+="; $candidate is $version"; continue ;;
        esac
        if "$candidate" -c 'import ensurepip, venv' 2>/dev/null; then
            python="$("$candidate" -c 'import sys; print(sys._base_executable)')"
            return
        fi
        seen+="; $candidate ($version) lacks the venv module (Debian, Ubuntu: apt install python$version-venv)"
    done
    die "Python 3.10, 3.11 or 3.12 is needed (BasicSR 1.4.2 does not build on 3.13)${seen:-; none found}"
}

# install STEP ARGUMENTS...: pip in the environment; its output is shown only when it fails.
install() {
    say "$1"
    shift
    "$venv/bin/python" -m pip install --disable-pip-version-check --no-input "$@" >"$log" 2>&1 && return
    tail -n 30 "$log" >&2
    die "pip failed; all of its output is in $log"
}

is_current && exit

# Only one set-up at a time. pip inherits the lock, so a pip that outlived an interrupted run is waited for.
if command -v flock >/dev/null; then
    exec 9<setup.py
    flock -n 9 || { say 'waiting for another set-up'; flock 9; }
    is_current && exit
fi

# A finished environment of the same place and Python is updated; a half-made one is made anew.
if [[ -f "$stamp" && "$(cat "$stamp")" == "$root "* && -x "$venv/bin/python" ]] &&
    [[ -z "${PYTHON:-}" || "$(version_of "$PYTHON")" == "$(version_of "$venv/bin/python")" ]]; then
    rm "$stamp"
else
    pick_python
    rm -f "$stamp"
    rm -rf "$venv"
    say "new environment with Python $(version_of "$python") in $venv"
    "$python" -m venv "$venv" || die "'$python -m venv' failed"
fi

# BasicSR's build asks for a torch: --no-build-isolation lets it use this one instead of fetching a second. --no-deps
# leaves out its requirements, tb-nightly among them; setup.py names those that it really needs.
install 'torch and torchvision (may download several GB)' -c "$constraints" torch torchvision
install 'build tools' -c "$constraints" setuptools wheel cython numpy
install 'BasicSR 1.4.2' --no-build-isolation --no-deps basicsr==1.4.2
install 'dkp_plugin and its other requirements' --no-build-isolation -c "$constraints" -e '.[dev]'

echo "$wanted" >"$stamp"
say 'done'
