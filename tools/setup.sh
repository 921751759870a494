#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Makes .venv with everything pinned in requirements.lock. Does nothing when that has been done already.
set -eu
cd "$(dirname "$0")/.."

find_python() {
    for name in ${PYTHON:-} python3 python3.14 python3.13 python3.12 python3.11 python3.10; do
        if "$name" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 10))' 2>/dev/null; then
            echo "$name"
            return
        fi
    done
    echo "setup: no Python >= 3.10 with venv was found (Debian, Ubuntu: apt install python3-venv);" \
        "PYTHON=/path/to/python sh tools/setup.sh names one" >&2
    exit 1
}

stamp=.venv/.setup-done
state=$(cat requirements.lock pyproject.toml | cksum)
if [ -f "$stamp" ] && [ "$(cat "$stamp")" = "$state" ]; then
    exit 0
fi
if [ ! -x .venv/bin/python ]; then
    python=$(find_python)
    echo "setup: making .venv with $("$python" -V)"
    "$python" -m venv .venv
fi
echo "setup: installing pinned dependencies (a minute or two, once)"
# Bytecode is made as it is needed, which takes half the time: most of it never is.
.venv/bin/python -m pip install --quiet --disable-pip-version-check --no-compile --require-hashes -r requirements.lock
.venv/bin/python -m pip install --quiet --disable-pip-version-check --no-deps -e .
echo "$state" >"$stamp"
