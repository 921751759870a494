# SPDX-License-Identifier: Apache-2.0
"""The firmware's hashes on Spike: digests and instructions of a bare program (``hashes.c``)."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from host.errors import TargetError
from tools.bench.bare import CPUS, MEMORY_C, ROOT, START_S, run_spike
from tools.scons.toolchain import COMMON, FREESTANDING, Toolchain, zig_path

SCRIPT = ROOT / "firmware/kernels/test/bare.ld"
SOURCES = [Path(__file__).with_suffix(".c"), ROOT / "firmware/common/blake2b.c", ROOT / "firmware/common/sha256.c"]
BYTES = 65536
"""The longest text that is hashed."""


@dataclass(frozen=True)
class Digest:
    """What a core computed of the first ``size`` bytes of the text."""

    hash: str
    size: int
    digest: str
    instructions: int


def text(size: int) -> bytes:
    """What the program hashes."""
    return bytes((2654435761 * i & 0xFFFFFFFF) >> 24 for i in range(size))


def run_hashes(folder: Path, extensions: str) -> list[Digest]:
    """Compile for RV64GC with ``extensions`` ("" or "_zba_zbb") into ``folder`` and run. Raises TargetError."""
    elf = folder / f"hashes{extensions}.elf"
    arch = ["-target", "riscv64-freestanding-none", "-mabi=lp64d", "-mcmodel=medany"]
    arch += [f"-mcpu={CPUS['scalar']}{extensions.replace('_', '+')}", "-fno-sanitize=undefined"]
    tools = Toolchain([zig_path(), "cc"], arch, [])
    header = folder / "gen/image_format.h"
    subprocess.run([sys.executable, str(ROOT / "tools/gen_headers.py"), "image", str(header)], cwd=ROOT, check=True)
    includes = [f"-I{path}" for path in (ROOT / "firmware", ROOT / "firmware/boot/include", folder)]
    command = [*tools.cc, *tools.arch, *COMMON, *FREESTANDING, *includes, "-nostdlib", "-static", f"-Wl,-T,{SCRIPT}"]
    command += [*map(str, [*SOURCES, MEMORY_C, START_S]), "-o", str(elf)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise TargetError(f"the hashes do not compile:\n{done.stderr}")
    lines = [line.split() for line in run_spike(elf, 0, extensions).splitlines()]
    return [Digest(name, int(size), digest, int(count)) for name, size, digest, count in lines]


def a_byte(digests: list[Digest]) -> dict[str, float]:
    """Instructions a byte of the longest text, by hash."""
    return {each.hash: each.instructions / each.size for each in digests if each.size == BYTES}
