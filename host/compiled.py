# SPDX-License-Identifier: Apache-2.0
"""C functions of the toolkit itself: compiled by the compiler that builds firmware, kept in the user's cache.

They do what numpy does too slowly. numpy does it all the same where nothing can be compiled, and gives the same bytes:
whoever calls them has both.
"""

from __future__ import annotations

import ctypes
import hashlib
import importlib.util
import platform
import subprocess
import sys
from contextlib import suppress
from importlib import metadata
from pathlib import Path

from host.cache import cache_directory, check_owner, private_folder, scratch_folder
from host.errors import HostError, UsageError

FLAGS = ("-std=c11", "-O3", "-mcpu=baseline", "-ffp-contract=off", "-fno-math-errno", "-fno-sanitize=undefined")
"""For every processor of this kind, since a cache may be another machine's as well; no sum is fused or reordered."""
LINK = ("-shared", "-fPIC", "-nostdlib", "-Wl,--strip-debug")
PATIENCE = 120
"""Seconds; it takes a quarter of one."""
SUFFIX = {"win32": ".dll", "darwin": ".dylib"}.get(sys.platform, ".so")


class NotCompiled(HostError):
    """There is no compiler here, or it failed, or what it made cannot be loaded."""


def zig_path() -> str:
    """The zig program inside the ziglang package. Raises UsageError where it is not installed."""
    spec = importlib.util.find_spec("ziglang")
    if spec is None or not spec.origin:
        raise UsageError("the compiler is missing: run `sh tools/setup.sh`, or give toolchain=")
    return str(Path(spec.origin).parent / "zig")


def library(source: Path, **constants: int) -> ctypes.CDLL:
    """The functions of a C file that needs no library; ``constants`` are defined as macros. Raises NotCompiled.

    What was compiled is used again while source, flags and compiler are the same. Two processes may compile at once:
    each puts a whole file in its place.
    """
    try:
        command = [zig_path(), "cc", *FLAGS, *(f"-D{name}={value}" for name, value in constants.items()), *LINK]
        path = _place(source, command[2:])
        if path.exists():
            check_owner(path)
            with suppress(OSError):  # what a power cut has left is made again
                return ctypes.CDLL(str(path))
        _compile([*command, str(source.absolute())], path)
        return ctypes.CDLL(str(path))
    except (HostError, OSError, subprocess.SubprocessError, metadata.PackageNotFoundError) as error:
        raise NotCompiled(str(error)) from error


def _place(source: Path, flags: list[str]) -> Path:
    """Where the compiled file lies: its name says what it was made of, by what and for which machine."""
    made = [metadata.version("ziglang"), sys.platform, platform.machine(), str(ctypes.sizeof(ctypes.c_void_p)), *flags]
    digest = hashlib.sha256("\0".join(made).encode() + source.read_bytes()).hexdigest()[:16]
    return private_folder(cache_directory() / "compiled") / f"{source.stem}-{digest}{SUFFIX}"


def _compile(command: list[str], path: Path) -> None:
    with scratch_folder(path.parent) as folder:
        out = folder / path.name
        done = subprocess.run(
            [*command, "-o", str(out)], capture_output=True, text=True, errors="replace", timeout=PATIENCE, cwd=folder
        )
        if done.returncode:
            raise NotCompiled(f"the compiler failed: {done.stderr.strip()[-400:] or done.returncode}")
        out.replace(path)
