# shellcheck shell=bash
# Sourced by every script here. `daf_setup EXTRAS` makes sure that the clone's own virtual environment exists and holds
# DAF with these extras, and leaves its path in $DAF_VENV. It needs no root, does nothing when all is there, and does
# it again when setup.cfg or pyproject.toml changed or the last attempt was cut off: a stamp with their hash is written
# only after pip has succeeded.

set -euo pipefail

DAF_ROOT="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
DAF_VENV="${DAF_VENV:-$DAF_ROOT/.venv}"

daf_say() { printf 'daf: %s\n' "$*" >&2; }

daf_die() {
    daf_say "$@"
    exit 69 # EX_UNAVAILABLE: something that the script needs is not there
}

daf_find_python() {
    local candidate
    for candidate in ${PYTHON:+"$PYTHON"} python3.11 python3.12 python3.13 python3; do
        if "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            "$candidate" -c 'import sys; print(sys.executable)'
            return
        fi
    done
    daf_die "no Python 3.11 or newer found. On Debian 12: apt-get install python3 python3-venv" \
        "(or name one: PYTHON=/path/to/python3 $0)"
}

daf_stamp() { { cat "$DAF_ROOT/setup.cfg" "$DAF_ROOT/pyproject.toml"; printf '%s %s' "$1" "$DAF_ROOT"; } | sha256sum; }

daf_setup() {
    local extras="$1" stamp_file stamp log python
    stamp_file="$DAF_VENV/.daf-$extras"
    log="$DAF_VENV/setup.log"
    stamp="$(daf_stamp "$extras")"
    if [ -x "$DAF_VENV/bin/python" ] && [ "$(cat "$stamp_file" 2>/dev/null)" = "$stamp" ]; then
        return
    fi
    python="$(daf_find_python)"
    "$python" -c 'import ensurepip, venv' 2>/dev/null ||
        daf_die "$python cannot make virtual environments. On Debian 12: apt-get install python3-venv"

    mkdir -p "$DAF_VENV"
    exec 9>"$DAF_VENV/.daf-lock"
    flock -n 9 || { daf_say "another script is setting up $DAF_VENV; waiting for it"; flock 9; }
    if [ "$(cat "$stamp_file" 2>/dev/null)" != "$stamp" ]; then
        if ! "$DAF_VENV/bin/python" -c 'import pip' 2>/dev/null; then
            daf_say "making a virtual environment in $DAF_VENV with $python"
            "$python" -m venv "$DAF_VENV"
        fi
        daf_say "installing DAF and what it needs [$extras] (a few minutes the first time; log: $log)"
        if ! "$DAF_VENV/bin/python" -m pip install --disable-pip-version-check --no-input \
            -e "${DAF_ROOT}[$extras]" >"$log" 2>&1 9>&-; then
            tail -n 25 "$log" >&2
            daf_die "pip could not install DAF; the whole log is in $log. Check the network (a proxy or mirror is set" \
                "in pip.conf), then run $0 again."
        fi
        printf '%s\n' "$stamp" >"$stamp_file"
        daf_say "installed"
    fi
    exec 9>&-
}
