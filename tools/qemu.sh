#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Installs QEMU where it is missing and can be had: as root with apt. Succeeds where QEMU is there in the end.
# usage: qemu.sh [--user]    also the user-mode emulator, which the tests of board=linux need
set -u
missing=
command -v qemu-system-riscv64 >/dev/null || missing=system
if [ "${1:-}" = --user ] && ! command -v qemu-riscv64 >/dev/null && ! command -v qemu-riscv64-static >/dev/null; then
    missing="$missing user"
fi
[ -z "$missing" ] && exit 0
if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
    echo "QEMU is not installed and only root can do that (Debian, Ubuntu: apt install qemu-system-misc)" >&2
    exit 1
fi
echo "installing QEMU ($missing ) with apt"
export DEBIAN_FRONTEND=noninteractive
apt-get update -qq >/dev/null 2>&1
for part in $missing; do
    if [ "$part" = user ]; then
        apt-get install -qq -y --no-install-recommends qemu-user-static >/dev/null 2>&1
    else
        # Newer releases have a package of its own for RISC-V.
        apt-get install -qq -y --no-install-recommends qemu-system-riscv >/dev/null 2>&1 ||
            apt-get install -qq -y --no-install-recommends qemu-system-misc >/dev/null 2>&1
    fi
done
command -v qemu-system-riscv64 >/dev/null || {
    echo "QEMU could not be installed with apt" >&2
    exit 1
}
