# SPDX-License-Identifier: Apache-2.0
"""Parts of the firmware below the engine, compiled for this machine: pool, memory functions, device tree reader."""

from __future__ import annotations

import ctypes
import random
import subprocess
from pathlib import Path

import pytest

from host.boards import load_board
from host.targets.device_tree import spike_tree
from tests.support.native import ROOT, build_library
from tools.scons.toolchain import zig_path


def compile_c(out: Path, sources: list[str], *flags: str) -> Path:
    """Compile with the headers that the native build generates."""
    gen = build_library().parent
    command = [zig_path(), "cc", "-std=c11", "-O2", "-Ifirmware", f"-I{gen}", "-DKERNELS_RVV=0", *flags]
    command += ["-DKERNELS_CHOSEN=0", *sources]
    subprocess.run([*command, "-o", str(out)], cwd=ROOT, check=True, capture_output=True)
    return out


@pytest.fixture(scope="module")
def stress(tmp_path_factory: pytest.TempPathFactory) -> Path:
    sources = ["tests/support/pool_stress.c", "firmware/common/pool.c", "firmware/port/hosted_harts.c"]
    return compile_c(tmp_path_factory.mktemp("pool") / "stress", sources, "-D_GNU_SOURCE", "-pthread")


@pytest.mark.parametrize(
    ("harts", "rounds", "mode"), [(1, 1000, "calm"), (2, 2000, "calm"), (4, 1000, "early"), (7, 300, "calm")]
)
def test_pool_runs_everything_once_and_barriers_hold(stress: Path, harts: int, rounds: int, mode: str) -> None:
    done = subprocess.run(
        [stress, str(harts), str(rounds), mode], capture_output=True, text=True, timeout=120, check=True
    )
    assert done.stdout == "ok\n"


@pytest.fixture(scope="module")
def memory(tmp_path_factory: pytest.TempPathFactory) -> ctypes.CDLL:
    names = [f"-D{name}=fw_{name}" for name in ("memcpy", "memmove", "memset", "memcmp")]
    flags = ["-ffreestanding", "-fPIC", "-shared", "-nostdlib", "-Ifirmware/boot/include", *names]
    return ctypes.CDLL(
        str(compile_c(tmp_path_factory.mktemp("memory") / "memory.so", ["firmware/boot/memory.c"], *flags))
    )


def test_memory_functions_do_what_c_says(memory: ctypes.CDLL) -> None:
    rng = random.Random(1)
    buffer = ctypes.create_string_buffer(256)
    base = ctypes.addressof(buffer)
    memory.fw_memcmp.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t]
    for _ in range(3000):
        start = bytes(rng.randrange(256) for _ in range(256))
        buffer.raw = start
        size, to, source = rng.randrange(100), rng.randrange(150), rng.randrange(150)
        expected = bytearray(start)
        kind = rng.choice(["move", "copy", "set"])
        if kind == "copy" and abs(to - source) < size:
            kind = "move"
        if kind == "set":
            memory.fw_memset(ctypes.c_void_p(base + to), 0x1A5, ctypes.c_size_t(size))
            expected[to : to + size] = b"\xa5" * size
        else:
            name = memory.fw_memmove if kind == "move" else memory.fw_memcpy
            name(ctypes.c_void_p(base + to), ctypes.c_void_p(base + source), ctypes.c_size_t(size))
            expected[to : to + size] = start[source : source + size]
        assert buffer.raw == bytes(expected)
        a, b = buffer.raw[to : to + size], buffer.raw[source : source + size]
        sign = memory.fw_memcmp(base + to, base + source, size)
        assert (sign > 0) - (sign < 0) == (a > b) - (a < b)


@pytest.fixture(scope="module")
def tree_reader(tmp_path_factory: pytest.TempPathFactory) -> ctypes.CDLL:
    out = tmp_path_factory.mktemp("fdt") / "fdt.so"
    library = ctypes.CDLL(
        str(compile_c(out, ["firmware/drivers/fdt.c"], "-ffreestanding", "-fPIC", "-shared", "-nostdlib"))
    )
    library.fdt_read_harts.restype = ctypes.c_uint64
    library.fdt_read_harts.argtypes = [ctypes.c_void_p]
    return library


def read_tree(library: ctypes.CDLL, data: bytes) -> int:
    words = (ctypes.c_uint64 * (len(data) // 8 + 2))()
    ctypes.memmove(words, data, len(data))
    return int(library.fdt_read_harts(ctypes.addressof(words)))


def test_device_tree_tells_the_harts(tree_reader: ctypes.CDLL) -> None:
    board = load_board("visionfive2")
    flat = spike_tree(board, [1, 2, 4], "rv64gc", 1 << 20)
    assert read_tree(tree_reader, flat) == 0b10110
    assert read_tree(tree_reader, flat.replace(b"okay", b"fail", 1)) == 0b10100
    assert tree_reader.fdt_read_harts(None) == 0
    assert read_tree(tree_reader, b"\0" * 64) == 0


def test_damaged_device_trees_end(tree_reader: ctypes.CDLL) -> None:
    rng = random.Random(2)
    flat = spike_tree(load_board("spike"), [0, 1], "rv64gc", 1 << 20)
    for _ in range(2000):
        bad = bytearray(flat)
        for _ in range(rng.randrange(1, 6)):
            bad[rng.randrange(8, len(bad))] = rng.randrange(256)
        read_tree(tree_reader, bytes(bad))
