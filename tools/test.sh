#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Sets everything up, builds every variant of the firmware that the tests boot, and runs all tests.
# usage: test.sh [options of pytest]
set -eu
cd "$(dirname "$0")/.."
export HARTSPEAK_BUILD="${HARTSPEAK_BUILD:-build}"
jobs=$(getconf _NPROCESSORS_ONLN 2>/dev/null || echo 2)
# Hundreds of Pythons start in the tests: bytecode, which setup.sh leaves to be made, is to be kept.
unset PYTHONDONTWRITEBYTECODE

sh tools/setup.sh

# What the tests need from elsewhere is fetched while firmware is compiled.
fetch() {
    if ! .venv/bin/python -c 'import torch, transformers' 2>/dev/null; then
        echo "test: installing torch and transformers, the reference of the golden tests"
        .venv/bin/python -m pip install --quiet --disable-pip-version-check --no-compile 'hartspeak[reference]' ||
            echo "test: they cannot be had here; the golden tests that need them will be skipped"
    fi
    sh tools/qemu.sh --tests || echo "test: without QEMU; the tests that need it will be skipped"
    .venv/bin/python -c 'from host.targets.spike_tool import find_spike; find_spike(print)' ||
        echo "test: without Spike; the tests that need it will fail"
    .venv/bin/python -c 'from host.model import load_source; load_source("smollm2-135m-instruct")' ||
        echo "test: without SmolLM2; the tests that need it will be skipped"
}
fetch &
fetching=$!

# The tests of the docs build in copies of this checkout, with what was compiled here.
rm -rf build/objects
for variant in native linux "linux kernels=rvv" qemu-virt "qemu-virt kernels=rvv" qemu-virt-s spike \
    "spike kernels=scalar" visionfive2; do
    echo "test: building board=$variant"
    # shellcheck disable=SC2086 # a variant is one or two options
    .venv/bin/python -m SCons -s -j "$jobs" --cache-force cache=build/objects \
        build="$HARTSPEAK_BUILD" board=$variant >/dev/null
done
wait "$fetching"

.venv/bin/python -m ruff check .
.venv/bin/python -m ruff format --check .
.venv/bin/python -m mypy
find firmware host tests tools -name '*.[ch]' -exec .venv/bin/clang-format --dry-run -Werror {} +
# Files begin in their own order: those of the docs first, which take longest. xdist would begin with the files of most tests.
# One worker more than processors: a tenth of the time some test waits for a line that is silent on purpose.
exec .venv/bin/python -m pytest -n "$((jobs + 1))" --dist loadfile --no-loadscope-reorder "$@"
