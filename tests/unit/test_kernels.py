# SPDX-License-Identifier: Apache-2.0
"""Kernels against docs/numerics.md in numpy, bit for bit: on this machine, and bare on Spike and QEMU."""

from __future__ import annotations

import ctypes
import dataclasses
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from host.boards import load_board
from host.schema.bf16 import to_bf16
from host.schema.formats import formats
from host.schema.image import Layout
from host.schema.weights import FloatFormat, GroupFormat, Quantized
from host.targets import parse_spec
from host.targets.abilities import missing_program
from host.targets.simulators import qemu_user_command
from tests.support import reference
from tests.support.native import Native, family_problem
from tests.support.ops import F32, KernelQ8a, QuantizedRows, Weight, aligned, pointer
from tools.bench.bare import BARE, CASES, LINUX_AARCH64, bare_toolchain, compile_kernels, run_spike
from tools.gen_headers import SWAR_LAYOUTS, kernel_formats
from tools.scons.toolchain import choose

GROUPS = [one for one in formats().values() if isinstance(one, GroupFormat)]
FLOATS = [one for one in formats().values() if isinstance(one, FloatFormat)]
PACKED = [
    (one, layout, SWAR_LAYOUTS[layout.name.lower()])
    for one in GROUPS
    for layout in one.layouts
    if layout.name.lower() in SWAR_LAYOUTS and one.name in kernel_formats("swar")
]
QUANTIZED = [(f"scalar_linear_{one}_{layout.name.lower()}", one, layout) for one in GROUPS for layout in one.layouts]
QUANTIZED += [(f"swar_linear_{one}{end}", one, layout) for one, layout, end in PACKED]
HERE = [one.name for one in load_board("native").chosen if one.features and not family_problem(one.name)]
"""Families that this machine runs, beyond the reference."""
QUANTIZED += [
    (f"{family}_linear_{one}", one, Layout.RVV)
    for family in HERE
    for one in GROUPS
    if one.name in kernel_formats(family)
]
KINDS = ["random", "largest", "smallest", "equal", "zero", "tiny"]


def same(a: np.ndarray, b: np.ndarray) -> None:
    np.testing.assert_array_equal(np.ascontiguousarray(a).view(np.uint32), np.ascontiguousarray(b).view(np.uint32))


def integers(rng: np.random.Generator, kind: str, low: int, high: int, shape: tuple[int, ...]) -> np.ndarray:
    if kind in ("random", "tiny"):
        return rng.integers(low, high + 1, shape).astype(np.int8)
    return np.full(shape, {"largest": high, "smallest": low, "equal": high // 3, "zero": 0}[kind], np.int8)


def random_weight(rng: np.random.Generator, fmt: GroupFormat, kind: str, rows: int, groups: int) -> Quantized:
    q = integers(rng, kind, fmt.low, fmt.high, (rows, groups * 32))
    size = np.float32(2.0**-130 if kind == "tiny" else 1)
    scales, minima = (to_bf16(rng.normal(size=(rows, groups)).astype(np.float32) * size) for _ in range(2))
    return Quantized(fmt, q, scales, minima if fmt.has_minimum else None)


def random_q8a(rng: np.random.Generator, kind: str, rows: int, groups: int) -> reference.Q8A:
    values = integers(rng, kind, -127, 127, (rows, groups * 32))
    sums = values.reshape(rows, groups, 32).sum(axis=2, dtype=np.int32)
    return reference.Q8A(values, rng.uniform(0, 0.1, (rows, groups)).astype(np.float32), sums)


def call_linear(
    native: Native, name: str, weight: Weight, rows: list[ctypes.Structure] | F32, row0: int, row1: int
) -> F32:
    """[input rows][row1 - row0]"""
    count, stride = len(rows), 70
    acc = np.full((count, stride), np.nan, np.float32)
    inputs = (
        (KernelQ8a * count)(*rows)
        if isinstance(rows, list)
        else (ctypes.c_void_p * count)(*(row.ctypes.data for row in rows))
    )
    getattr(native.lib, name)(
        ctypes.byref(weight.struct), inputs, count, row0, row1, acc.ctypes.data_as(ctypes.c_void_p), stride
    )
    assert np.isnan(acc[:, row1 - row0 :]).all()
    return acc[:, : row1 - row0]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("name", "fmt", "layout"), QUANTIZED)
def test_quantized_linear(native: Native, name: str, fmt: GroupFormat, layout: Layout, kind: str) -> None:
    rng = np.random.default_rng(KINDS.index(kind))
    for groups, count, row0, row1 in ((1, 1, 0, 64), (3, 6, 64, 128), (2, 4, 80, 96), (7, 1, 16, 64), (4, 9, 96, 128)):
        w = random_weight(rng, fmt, kind, 128, groups)
        x = random_q8a(rng, kind, count, groups)
        held = QuantizedRows(count, groups * 32, x)
        base, row = held.data.ctypes.data, held.data.shape[1]
        inputs = [
            KernelQ8a(base + t * row, base + t * row + held.scales_at, base + t * row + held.sums_at)
            for t in range(count)
        ]
        found = call_linear(native, name, Weight.packed(w, fmt, layout, *w.q.shape), inputs, row0, row1)
        same(found, reference.linear_quantized(w, x)[:, row0:row1])


class KernelPacked(ctypes.Structure):
    """struct kernel_packed of kernels.h."""

    _fields_ = (
        ("record", ctypes.c_uint32),
        ("pack", ctypes.CFUNCTYPE(None, ctypes.c_void_p, *[ctypes.c_uint32] * 3, ctypes.c_void_p)),
        (
            "linear",
            ctypes.CFUNCTYPE(None, *[ctypes.c_void_p] * 2, *[ctypes.c_uint32] * 3, ctypes.c_void_p, ctypes.c_uint32),
        ),
    )


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize(("fmt", "layout"), [(fmt, layout) for fmt, layout, _ in PACKED])
def test_packed_linear(native: Native, fmt: GroupFormat, layout: Layout, seed: int) -> None:
    """Random shapes and values, extremes and subnormals among them; the rows are packed in two parts."""
    rng = np.random.default_rng(seed)
    groups, count = int(rng.integers(1, 10)), int(rng.integers(1, 9))
    row0, row1 = (16 * int(i) for i in sorted(rng.choice(5, 2, replace=False)))
    w, x = random_weight(rng, fmt, "random", 64, groups), random_q8a(rng, "random", count, groups)
    w.q[rng.random(w.q.shape) < 0.3] = int(rng.choice([fmt.low, 0, fmt.high]))
    w.scales[rng.random(w.scales.shape) < 0.3] = 1
    values = x.values.copy()
    values[rng.random(values.shape) < 0.3] = 127 * int(rng.choice([-1, 0, 1]))
    x = reference.Q8A(values, x.scales, values.reshape(count, groups, 32).sum(axis=2, dtype=np.int32))
    held = QuantizedRows(count, groups * 32, x)
    base, row = held.data.ctypes.data, held.data.shape[1]
    inputs = (KernelQ8a * count)(
        *(
            KernelQ8a(base + t * row, base + t * row + held.scales_at, base + t * row + held.sums_at)
            for t in range(count)
        )
    )
    native.lib.swar_packed.restype = ctypes.POINTER(KernelPacked)
    version = native.lib.swar_packed(fmt.id, layout).contents
    block, half = aligned(version.record * count * groups), groups // 2
    version.pack(inputs, count, 0, half, block.ctypes.data)
    version.pack(inputs, count, half, groups, block.ctypes.data + half * count * version.record)
    acc, weight = np.full((count, 64), np.nan, np.float32), Weight.packed(w, fmt, layout, *w.q.shape)
    version.linear(ctypes.byref(weight.struct), block.ctypes.data, count, row0, row1, acc.ctypes.data, 64)
    same(acc[:, : row1 - row0], reference.linear_quantized(w, x)[:, row0:row1])
    assert np.isnan(acc[:, row1 - row0 :]).all()


@pytest.mark.parametrize("fmt", FLOATS, ids=str)
def test_float_linear(native: Native, fmt: FloatFormat) -> None:
    rng = np.random.default_rng(1)
    for cols, count, row0, row1 in ((1, 1, 0, 64), (37, 5, 16, 48), (64, 4, 112, 128)):
        w = rng.normal(size=(128, cols)).astype(np.float32)
        w[3] *= np.float32(2.0**-140)
        x = rng.normal(size=(count, cols)).astype(np.float32)
        found = call_linear(native, f"scalar_linear_{fmt}", Weight.of(w, fmt, Layout.RVV), x, row0, row1)
        same(found, reference.linear_float(fmt.quantize(w).float32(cols), x)[:, row0:row1])


def quantize(native: Native, x: F32) -> reference.Q8A:
    held = QuantizedRows(1, len(x))
    base = held.data.ctypes.data
    args = (x.ctypes.data, len(x), base, base + held.scales_at, base + held.sums_at)
    native.lib.scalar_quantize(*(ctypes.c_void_p(a) if i != 1 else a for i, a in enumerate(args)))
    return held.q8a


@pytest.mark.parametrize("n", [1, 31, 32, 33, 100, 320])
def test_quantize(native: Native, n: int) -> None:
    rng = np.random.default_rng(n)
    samples = [rng.normal(size=n) * size for size in (1, 1e30, 1e-36, 1e-44, 0)]
    samples += [np.full(n, -3.5), np.linspace(-1, 1, n), np.arange(n) % 255 - 127]
    for sample in samples:
        x = sample.astype(np.float32)
        found, expected = quantize(native, x), reference.Q8A.of(x[None])
        np.testing.assert_array_equal(found.values, expected.values)
        same(found.scales, expected.scales)
        np.testing.assert_array_equal(found.sums, expected.sums)


def test_quantize_never_gives_minus_128(native: Native) -> None:
    for bad in (np.nan, np.inf, -np.inf):
        x = np.linspace(-5, 5, 64).astype(np.float32)
        x[[0, 40]] = bad
        found = quantize(native, x)
        assert found.values.min() >= -127
        np.testing.assert_array_equal(found.sums[0], found.values.reshape(2, 32).sum(axis=1))


@pytest.mark.parametrize("n", [1, 31, 32, 33, 100, 577])
def test_sums(native: Native, n: int) -> None:
    x = (np.random.default_rng(n).normal(size=n) * 100).astype(np.float32)
    lib = native.lib
    lib.scalar_sum.restype = lib.scalar_sum_squares.restype = ctypes.c_float
    pointer = x.ctypes.data_as(ctypes.c_void_p)
    assert lib.scalar_sum(pointer, n) == reference.total(x)
    for mean in (0.0, 7.25):
        d = x - np.float32(mean)
        assert lib.scalar_sum_squares(pointer, ctypes.c_float(mean), n) == reference.dot(d, d)


@pytest.mark.parametrize("head_dim", [8, 24, 128])
def test_quantize_head(native: Native, head_dim: int) -> None:
    native.lib.scalar_quantize_head.restype = ctypes.c_float
    x = np.random.default_rng(head_dim).normal(size=head_dim)
    for size in (1, 1e30, 1e-36, 1e-44, 0):
        sample, found = (x * size).astype(np.float32), np.full((head_dim, 5), 77, np.int8)
        scale = native.lib.scalar_quantize_head(pointer(sample), head_dim, pointer(found), 5)
        values, expected = reference.quantize_one(sample)
        assert scale == expected
        np.testing.assert_array_equal(found[:, 0], values)
        assert (found[:, 1:] == 77).all()


@pytest.mark.parametrize("n", [1, 63, 64, 1000])
def test_argmax(native: Native, n: int) -> None:
    native.lib.scalar_argmax.restype = ctypes.c_uint32
    for kind in ("random", "equal", "none", "nan", "last"):
        x = np.random.default_rng(n).integers(-9, 9, n).astype(np.float32)
        if kind == "equal":
            x[:] = -3
        elif kind == "none":
            x[:] = -np.inf
        elif kind == "nan":
            x[::2] = np.nan
        elif kind == "last":
            x[-1] = np.inf
        expected = 0 if np.isnan(x).all() or kind == "none" else int(np.nanargmax(x))
        assert native.lib.scalar_argmax(pointer(x), n) == expected


# ---- bare metal ----


def lines(output: str) -> list[str]:
    """The lines without their instruction counts."""
    return [line.rsplit(" ", 1)[0] for line in output.replace("\r", "").splitlines()]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("kernels")


def run_here(folder: Path, family: str) -> list[str]:
    """What a family of kernels says on this machine."""
    tools = choose("zig", load_board("native"), family)
    tools = dataclasses.replace(tools, arch=[*tools.arch, "-shared", "-fPIC"])
    lib = ctypes.CDLL(str(compile_kernels(folder / f"cases_{family}.so", family, tools, CASES, [], bare=False)))
    found: list[str] = []
    put, count = ctypes.CFUNCTYPE(None, ctypes.c_char_p), ctypes.CFUNCTYPE(ctypes.c_uint64)
    callbacks = (put(lambda line: found.append(line.decode())), count(lambda: 0))
    lib.test_run((ctypes.c_void_p * 2)(*(ctypes.cast(c, ctypes.c_void_p) for c in callbacks)))
    return lines("\n".join(found))


@pytest.fixture(scope="module")
def expected(folder: Path) -> list[str]:
    return run_here(folder, "scalar")


@pytest.fixture(scope="module")
def programs(folder: Path) -> dict[str, Path]:
    return {
        family: compile_kernels(folder / f"{family}.elf", family, bare_toolchain(family), [*BARE, *CASES], [])
        for family in ("scalar", "rvv")
    }


def test_families_agree(expected: list[str]) -> None:
    """Layouts differ, results do not; and there is something to see."""
    for fmt in GROUPS:
        first, *others = (
            [line.split(" ", 1)[1] for line in expected if line.startswith(f"{fmt}_{layout.name.lower()} ")]
            for layout in fmt.layouts
        )
        assert all(other == first for other in others)
        assert len({line.split()[-1] for line in first}) > 15


@pytest.mark.parametrize("family", [one.name for one in load_board("native").chosen if one.features])
def test_families_of_this_machine(expected: list[str], folder: Path, family: str) -> None:
    if family not in HERE:
        pytest.skip(family_problem(family))
    assert run_here(folder, family) == expected


@pytest.mark.parametrize("family", ["neon", pytest.param("scalar", marks=pytest.mark.slow)])
def test_aarch64(expected: list[str], folder: Path, family: str) -> None:
    """As a program of its own, under QEMU's user mode on any other machine."""
    board = load_board("linux-aarch64")
    if missing := missing_program(parse_spec(board.name)):
        pytest.skip(missing)
    tools = choose("zig", board, family)
    tools = dataclasses.replace(tools, arch=[*tools.arch, "-static"])
    program = compile_kernels(folder / f"aarch64_{family}", family, tools, [LINUX_AARCH64, *CASES], [], bare=False)
    command = [*qemu_user_command(board.machine, family, 0), str(program)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    assert lines(done.stdout) == expected


@pytest.mark.parametrize("vlen", [0, 128, 256, 512, 1024])
def test_spike(expected: list[str], programs: dict[str, Path], vlen: int) -> None:
    assert lines(run_spike(programs["rvv" if vlen else "scalar"], vlen)) == expected


@pytest.mark.parametrize("vlen", [0, 256])
@pytest.mark.skipif(not shutil.which("qemu-system-riscv64"), reason="no qemu-system-riscv64")
def test_qemu(expected: list[str], programs: dict[str, Path], vlen: int) -> None:
    cpu = f"rv64,v=true,vlen={vlen}" if vlen else "rv64"
    command = ["qemu-system-riscv64", "-M", "virt", "-cpu", cpu, "-m", "64", "-bios", "none", "-display", "none"]
    command += ["-monitor", "none", "-serial", "stdio", "-kernel", str(programs["rvv" if vlen else "scalar"])]
    done = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=120, check=False)
    assert lines(done.stdout) == expected
