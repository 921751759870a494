# SPDX-License-Identifier: Apache-2.0
"""Single ops and kernels of the native library, called with arrays; an op's struct stands in its test (tests/ops)."""

from __future__ import annotations

import ctypes
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from host.schema.image import (
    GROUP,
    NO_TENSOR,
    PAGE_TOKENS,
    Domain,
    Format,
    Layout,
    align,
    page_bytes,
    q8a_row_bytes,
)
from host.schema.weights import Rows as WeightRows
from host.schema.weights import WeightFormat
from tests.support.native import Native
from tests.support.reference import Q8A

U32, U64, PTR, FLOAT = ctypes.c_uint32, ctypes.c_uint64, ctypes.c_void_p, ctypes.c_float
F32 = npt.NDArray[np.float32]
PACKED_BYTES = 256 << 10
"""LIMIT_PACKED_BYTES."""
POOL_FN = ctypes.CFUNCTYPE(None, PTR, U32, U32)


def aligned(size: int) -> npt.NDArray[np.uint8]:
    """Zeroed bytes that start at a multiple of 64."""
    raw = np.zeros(size + 64, np.uint8)
    start = -raw.ctypes.data % 64
    return raw[start : start + size]


def struct(name: str, **fields: Any) -> type[ctypes.Structure]:
    return type(name, (ctypes.Structure,), {"_fields_": tuple(fields.items())})


KernelQ8a = struct("KernelQ8a", values=PTR, scales=PTR, sums=PTR)
KernelWeight = struct("KernelWeight", data=PTR, format=U32, layout=U32, rows=U32, cols=U32, record=U32, tile_stride=U64)
OpF32 = struct("OpF32", base=PTR, stride=ctypes.c_size_t)
OpQ8a = struct("OpQ8a", base=PTR, stride=ctypes.c_size_t, scales=U32, sums=U32)
NOTHING = OpF32(None, 0)
StepRow = struct("StepRow", session=U32, position=U32, token=U32)
StepState = struct(
    "StepState",
    format=U32,
    kv_heads=U32,
    head_dim=U32,
    window=U32,
    sinks=U32,
    sink_pages=U32,
    pages=U32,
    page_bytes=U32,
    table=PTR,
)
Step = struct(
    "Step",
    rows=PTR,
    row_count=U32,
    logit_rows=PTR,
    logit_count=U32,
    states=PTR,
    pages=PTR,
    page_stride=U64,
    pool=PTR,
    packed=PTR,
)
RUN = ctypes.CFUNCTYPE(None, PTR, PTR, U32, U32)
OpKind = struct("OpKind", version=U32, decode=PTR, run=RUN)


@dataclass
class Weight:
    """A packed weight and the struct that kernels see; keeps its bytes alive."""

    data: npt.NDArray[np.uint8]
    struct: Any

    @staticmethod
    def of(values: F32, fmt: WeightFormat, layout: Layout) -> Weight:
        """f32 [rows][cols], quantized and packed."""
        return Weight.packed(fmt.quantize(values), fmt, layout, *values.shape)

    @staticmethod
    def packed(rows_: WeightRows, fmt: WeightFormat, layout: Layout, rows: int, cols: int) -> Weight:
        """Rows that are quantized already."""
        packed = rows_.pack(layout)
        data = aligned(packed.size)
        data[:] = packed
        record, cols = fmt.record_bytes(layout), align(cols, fmt.columns)
        if layout == Layout.PLAIN:
            return Weight(data, KernelWeight(data.ctypes.data, fmt.id, layout, rows, cols, record, packed.size // rows))
        tiles = align(rows, 64) // 64
        return Weight(
            data, KernelWeight(data.ctypes.data, fmt.id, layout, tiles * 64, cols, record, packed.size // tiles)
        )


class Rows:
    """Rows of f32 in the arena's manner: a stride beyond the width, NaN where nothing was written."""

    def __init__(self, values: F32 | None = None, rows: int = 0, width: int = 0) -> None:
        if values is not None:
            rows, width = values.shape
        self.width = width
        self.stride = align(width, 16) + 16
        self.data = aligned(max(rows, 1) * self.stride * 4).view(np.float32).reshape(-1, self.stride)
        self.data[:] = np.nan
        if values is not None:
            self.data[:, :width] = values

    @property
    def values(self) -> F32:
        return self.data[:, : self.width]

    @property
    def untouched(self) -> bool:
        """Whether nothing was written beyond the width."""
        return bool(np.isnan(self.data[:, self.width :]).all())

    @property
    def operand(self) -> Any:
        return OpF32(self.data.ctypes.data, self.stride)


class QuantizedRows:
    """Rows of Q8A in the arena's manner."""

    def __init__(self, rows: int, width: int, x: Q8A | None = None) -> None:
        self.groups = align(width, GROUP) // GROUP
        self.scales_at = align(self.groups * GROUP, 64)
        self.sums_at = self.scales_at + align(self.groups * 4, 64)
        self.data = aligned(rows * q8a_row_bytes(width)).reshape(rows, -1)
        self.data[:] = 0xA5
        if x is not None:
            parts = (x.values, x.scales, x.sums)
            for at, part in zip((0, self.scales_at, self.sums_at), parts, strict=True):
                raw = np.ascontiguousarray(part).view(np.uint8)
                self.data[:, at : at + raw.shape[1]] = raw

    def _part(self, at: int, dtype: Any, count: int) -> npt.NDArray[Any]:
        size = count * np.dtype(dtype).itemsize
        return np.ascontiguousarray(self.data[:, at : at + size]).view(dtype)

    @property
    def q8a(self) -> Q8A:
        return Q8A(
            self._part(0, np.int8, self.groups * GROUP),
            self._part(self.scales_at, np.float32, self.groups),
            self._part(self.sums_at, np.int32, self.groups),
        )

    @property
    def operand(self) -> Any:
        return OpQ8a(self.data.ctypes.data, self.data.shape[1], self.scales_at, self.sums_at)


@dataclass
class Cache:
    """One state of so many sessions, its pages scattered over the pool."""

    fmt: Format
    kv_heads: int
    head_dim: int
    pages: int
    window: int = 0
    sinks: int = 0
    sessions: int = 2
    struct: Any = field(init=False)

    def __post_init__(self) -> None:
        size = page_bytes(self.fmt, self.kv_heads, self.head_dim)
        count = self.sessions * self.pages
        self.page_bytes = align(size, 64)
        self.pool = aligned(count * self.page_bytes)
        self.pool[:] = 0xFF  # NaN as f32, -1 as int8
        self.table = np.random.default_rng(5).permutation(count).astype(np.uint32)
        sink_pages = align(self.sinks, PAGE_TOKENS) // PAGE_TOKENS
        self.struct = StepState(
            self.fmt,
            self.kv_heads,
            self.head_dim,
            self.window,
            self.sinks,
            sink_pages,
            self.pages,
            size,
            self.table.ctypes.data,
        )


def make_step(
    rows: Sequence[tuple[int, int, int]], logit_rows: Sequence[int] = (), cache: Cache | None = None
) -> tuple[Any, list[Any]]:
    """A step of rows (session, position, token), and what must stay alive for it."""
    row_array = (StepRow * max(len(rows), 1))(*(StepRow(*row) for row in rows))
    logit_array = (U32 * max(len(logit_rows), 1))(*logit_rows)
    step = Step(ctypes.addressof(row_array), len(rows), ctypes.addressof(logit_array), len(logit_rows))
    if cache:
        step.states = ctypes.addressof(cache.struct)
        step.pages = cache.pool.ctypes.data
        step.page_stride = cache.page_bytes
    return step, [row_array, logit_array, cache]


def steps(rows: int) -> tuple[Any, list[Any]]:
    """A step of one session's rows, the logits of all of them wanted."""
    return make_step([(0, i, 0) for i in range(rows)], logit_rows=list(range(rows)))


def run_op(native: Native, name: str, step: Any, body: Any, domain: Domain = Domain.ROWS) -> None:
    """Run an op on all harts of the device. ``body``: the struct of firmware/ops/<name>.c; its arrays stay alive."""
    packed = aligned(PACKED_BYTES)
    step.pool, step.packed = native.port.pool, packed.ctypes.data
    whole = struct("Op", id=ctypes.c_uint16, domain=ctypes.c_uint16, weight=U32, run=PTR, body=type(body))
    op = whole(0, domain, NO_TENSOR, None, body)
    kind = OpKind.in_dll(native.lib, f"op_kind_{name}")

    def share(_: int, hart: int, harts: int) -> None:
        kind.run(ctypes.addressof(op), ctypes.addressof(step), hart, harts)

    native.lib.pool_run(ctypes.c_void_p(step.pool), POOL_FN(share), None)


# ---- numbers ----


def pointer(array: np.ndarray) -> ctypes.c_void_p:
    return ctypes.c_void_p(array.ctypes.data)


def same(a: np.ndarray, b: np.ndarray) -> None:
    np.testing.assert_array_equal(np.ascontiguousarray(a).view(np.uint32), np.ascontiguousarray(b).view(np.uint32))


def same_q8a(found: Q8A, expected: Q8A) -> None:
    np.testing.assert_array_equal(found.values, expected.values)
    same(found.scales, expected.scales)
    np.testing.assert_array_equal(found.sums, expected.sums)


def normal(*shape: int, seed: int = 0) -> F32:
    return np.random.default_rng(seed + sum(shape)).normal(size=shape).astype(np.float32)


def spread(largest: float, n: int = 60_000) -> F32:
    """Both signs, evenly and by magnitude."""
    rng = np.random.default_rng(7)
    small = rng.choice([-1, 1], n) * 10.0 ** rng.uniform(-8, math.log10(largest), n)
    return np.concatenate([np.linspace(-largest, largest, n), small]).astype(np.float32)
