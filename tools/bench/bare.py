# SPDX-License-Identifier: Apache-2.0
"""Kernels as bare programs for simulators: how they are compiled, and how Spike runs them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from host.boards import load_board
from host.errors import TargetError
from host.schema.formats import formats
from host.schema.image import Format
from host.targets.device_tree import spike_tree
from host.targets.spike_tool import find_spike
from tools.bench.records import write_records
from tools.scons.toolchain import COMMON, FREESTANDING, Toolchain, zig_path
from tools.scons.variant import core_sources

ROOT = Path(__file__).resolve().parents[2]
KERNELS = ROOT / "firmware/kernels"
FORMATS_C = ROOT / "firmware/formats/formats.c"
MEMORY_C = ROOT / "firmware/boot/memory.c"
CASES = [KERNELS / "test/cases.c", MEMORY_C]
"""The kernel test without what it runs on."""
START_S = KERNELS / "test/start.S"
BARE = [KERNELS / "test/bare.c", START_S]
LINUX_AARCH64 = KERNELS / "test/linux_aarch64.c"
CPUS = {"scalar": "generic_rv64+m+a+f+d+c", "rvv": "generic_rv64+m+a+f+d+c+v"}
SPIKE_MEMORY = 64 << 20


def group_formats() -> list[str]:
    """The names of the weight formats that are multiplied with quantized rows."""
    return [one.name for one in formats().values() if one.activations == Format.Q8A]


def float_formats() -> list[str]:
    """The names of the others."""
    return [one.name for one in formats().values() if one.activations == Format.F32]


def bare_toolchain(family: str) -> Toolchain:
    """Compiler for any RV64GC core, with V for ``rvv``."""
    arch = ["-target", "riscv64-freestanding-none", "-mabi=lp64d", "-mcmodel=medany", f"-mcpu={CPUS[family]}"]
    return Toolchain([zig_path(), "cc"], [*arch, "-fno-sanitize=undefined"], [])


def compile_kernels(
    output: Path, family: str, tools: Toolchain, sources: list[Path], flags: list[str], bare: bool = True
) -> Path:
    """``sources`` with one family's kernels, beside a folder for generated headers. TargetError with what zig said."""
    for kind, name in (("image", "image_format.h"), ("formats", "formats.h"), ("errors", "errors.h")):
        header = output.parent / "gen" / name
        subprocess.run([sys.executable, str(ROOT / "tools/gen_headers.py"), kind, str(header)], cwd=ROOT, check=True)
    write_records(output.parent / "gen/test_records.h")
    kernels = [ROOT / path for path in core_sources(family) if path.is_relative_to("firmware/kernels")]
    files = [*sources, FORMATS_C, *kernels]
    includes = [f"-I{path}" for path in (ROOT / "firmware", ROOT / "firmware/boot/include", output.parent)]
    linker = ["-static", "-Wl,--gc-sections", f"-Wl,-T,{KERNELS / 'test/bare.ld'}"] if bare else []
    command = [
        *tools.cc,
        *tools.arch,
        *COMMON,
        *FREESTANDING,
        f"-DKERNELS_RVV={int(family == 'rvv')}",
        "-DKERNELS_CHOSEN=0",
        *includes,
    ]
    command += ["-nostdlib", *linker, *flags, *map(str, files), "-o", str(output)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise TargetError(f"the kernels do not compile:\n{done.stderr}")
    return output


def spike_command(elf: Path, vlen: int, extensions: str = "") -> list[str]:
    """How Spike runs a bare program; VLEN 0 is a core without vectors. Writes a device tree beside the program.

    extensions: more of the core's, each with an underscore before it.
    """
    isa = f"rv64gcv_zvl{vlen}b{extensions}_zicntr" if vlen else f"rv64gc{extensions}_zicntr"
    tree = elf.with_suffix(f".{vlen}.dtb")
    tree.write_bytes(spike_tree(load_board("spike"), [0], isa, SPIKE_MEMORY))
    return [str(find_spike()), f"--isa={isa}", f"-m0x80000000:{SPIKE_MEMORY:#x}", f"--dtb={tree}", str(elf)]


def run_spike(elf: Path, vlen: int, extensions: str = "") -> str:
    """What a bare program prints on Spike. TargetError where that is nothing."""
    command = spike_command(elf, vlen, extensions)
    done = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=120, check=False)
    if not done.stdout:
        raise TargetError(f"Spike ran no kernel at VLEN {vlen}: {done.stderr.strip() or 'no output'}")
    return done.stdout
