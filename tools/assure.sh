#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Proofs, coverage, fuzzing, soak and hangs: what tools/test.sh has no time for. Prints a table; docs/assurance.md has the last full one.
# usage: assure.sh [--full] [PART...]   PART: proof coverage edits fuzz readers soak hangs strangers
set -eu
cd "$(dirname "$0")/.."
export HARTSPEAK_BUILD="${HARTSPEAK_BUILD:-build}"

sh tools/setup.sh
if ! .venv/bin/python -c 'import atheris' 2>/dev/null; then
    echo "assure: installing atheris, which fuzzes the readers in Python"
    .venv/bin/python -m pip install --quiet --disable-pip-version-check -e '.[assure]' ||
        echo "assure: it cannot be had here (it has wheels for Linux on x86-64); the readers will be skipped"
fi
.venv/bin/python -m SCons -s build="$HARTSPEAK_BUILD" board=native >/dev/null
exec .venv/bin/python -m tools.assure "$@"
