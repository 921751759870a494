#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Installs QEMU where it is missing and can be had: as root with apt. Succeeds where QEMU is there in the end.
# usage: qemu.sh [--tests]    also the user-mode emulator and U-Boot, which the tests of linux and qemu-virt-s need
set -u
missing=
command -v qemu-system-riscv64 >/dev/null || missing=system
if [ "${1:-}" = --tests ]; then
    command -v qemu-riscv64 >/dev/null || command -v qemu-riscv64-static >/dev/null || missing="$missing user"
    [ -e /usr/lib/u-boot/qemu-riscv64_smode/u-boot.bin ] || missing="$missing u-boot"
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
    elif [ "$part" = u-boot ]; then
        apt-get install -qq -y --no-install-recommends u-boot-qemu opensbi >/dev/null 2>&1
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
