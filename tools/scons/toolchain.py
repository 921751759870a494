# SPDX-License-Identifier: Apache-2.0
"""Compilers as data: what to call, and how an ISA is named, for zig (default), clang and GCC."""

from __future__ import annotations

import platform
import re
import shutil
from dataclasses import dataclass, replace
from pathlib import Path

from host.boards import Board
from host.compiled import zig_path as zig_path
from host.errors import UsageError
from host.kernels import families

COMMON = [
    "-std=c11",
    "-O3",
    "-g",
    "-Wall",
    "-Wextra",
    "-Werror",
    "-Wundef",
    "-ffp-contract=off",
    "-fno-math-errno",
    "-fno-stack-protector",
    "-fno-unwind-tables",
    "-fno-asynchronous-unwind-tables",
    "-ffunction-sections",
    "-fdata-sections",
]
FREESTANDING = ["-ffreestanding"]
STACK_SIZES = ("-fstack-size-section",)
# The U74 has one name in zig and another in GCC and clang.
TUNES = {"sifive_u74": "sifive-7-series"}
# Loops that clang itself vectorizes: eight registers at a time, for two is what it does by default.
WIDE_LOOPS = ["-mllvm", "-riscv-v-register-bit-width-lmul=8"]
G_EXTENSIONS = ["m", "a", "f", "d"]
NATIVE = {"x86_64": ("x86_64", "x86_64_v3"), "aarch64": ("generic", "generic")}
"""This machine's processors as zig names them: of what runs before the processor was asked, and of all else."""


@dataclass(frozen=True)
class Toolchain:
    """Program and flags for one board: ``arch`` goes to compiler and linker alike."""

    cc: list[str]
    arch: list[str]
    linker: list[str]
    stack_sizes: tuple[str, ...] = STACK_SIZES
    """What leaves each function's frame in the ELF, for tools/stack_bound.py; nothing with GCC."""


def extensions(isa: str) -> list[str]:
    """``rv64gcv_zba`` as m, a, f, d, c, v, zba."""
    match = re.fullmatch(r"rv64([a-z]*)((?:_[a-z0-9]+)*)", isa)
    if not match:
        raise UsageError(f"{isa!r} is not an ISA string such as rv64gc_zba_zbb")
    single = [e for letter in match[1] for e in (G_EXTENSIONS if letter == "g" else [letter])]
    return [e for e in single if e != "i"] + [e for e in match[2].split("_") if e]


def _libc() -> str:
    """The C library of the machine as zig names it, in a version that is old enough for most."""
    return "gnu.2.28" if platform.libc_ver()[0] == "glibc" else "musl"


def _zig(board: Board, isa: str, features: list[str] | None) -> Toolchain:
    if board.port == "bare":
        target, cpu = "riscv64-freestanding-none", ""
    elif isa == "native" or board.chosen:
        if board.machine not in NATIVE:
            raise UsageError(f"board=native knows {' and '.join(NATIVE)}, not {board.machine}: take board=linux")
        target = f"{board.machine}-linux-{_libc() if isa == 'native' else 'musl'}"
        plain, usual = NATIVE[board.machine]
        cpu = plain if features is None else "+".join([usual, *features])
    else:
        target, cpu = "riscv64-linux-musl", ""
    cpu = cpu or "+".join([board.tune or "generic_rv64", *extensions(isa)])
    arch = ["-target", target, f"-mcpu={cpu}"]
    if "riscv" in target:
        arch += ["-mabi=lp64d", "-mcmodel=medany"]
        arch += WIDE_LOOPS if "v" in extensions(isa) else []
    return Toolchain([zig_path(), "cc"], [*arch, "-fno-sanitize=undefined"], [])


def _system_native(program: str, machine: str, features: list[str] | None) -> Toolchain:
    if machine == "x86_64" and features is not None:
        return Toolchain([program], ["-march=x86-64-v3", *(f"-m{one}" for one in features)], [])
    return Toolchain([program], [f"-march={'+'.join(['armv8-a', *features])}"] if features else [], [])


def _system(program: str, board: Board, isa: str, clang: bool, features: list[str] | None) -> Toolchain:
    if not shutil.which(program):
        raise UsageError(f"toolchain: there is no program {program!r}; leave toolchain= out to use zig")
    if isa == "native" or board.chosen:
        native = _system_native(program, board.machine, features)
        other = [f"--target={board.machine}-linux-gnu"] if clang and isa != "native" else []
        return replace(native, arch=[*other, *native.arch], linker=["-fuse-ld=lld"] * bool(other))
    arch = [f"-march={isa}", "-mabi=lp64d", "-mcmodel=medany"]
    arch += [f"-mtune={TUNES[board.tune]}"] if board.tune in TUNES else []
    if not clang:
        return Toolchain([program], arch, [], ())
    target = "riscv64-unknown-elf" if board.port == "bare" else "riscv64-linux-gnu"
    arch += WIDE_LOOPS if "v" in extensions(isa) else []
    return Toolchain([program], [f"--target={target}", *arch], ["-fuse-ld=lld"])


def choose(name: str, board: Board, kernels: str = "") -> Toolchain:
    """The toolchain: ``zig``, ``clang`` (or a path to one), ``gcc``, or a GCC prefix such as ``riscv64-linux-gnu-``.

    kernels: of the family that is compiled; empty: of what runs on any processor, to ask what this one has.
    """
    isa = board.isa[kernels if kernels in board.isa else "scalar"]
    features = families()[kernels].features if kernels else None
    if name == "zig":
        return _zig(board, isa, features)
    program = name + "gcc" if name.endswith("-") else name
    return _system(program, board, isa, Path(name).name.startswith("clang"), features)
