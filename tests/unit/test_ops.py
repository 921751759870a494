# SPDX-License-Identifier: Apache-2.0
"""Each op against docs/numerics.md in numpy, bit for bit, on one hart and on four."""

from __future__ import annotations

import math

import numpy as np
import pytest

from host.ops.eltwise import Eltwise
from host.ops.norm import NormKind
from host.ops.rope import RopeStyle
from host.quant.bf16 import round_bf16
from host.quant.quantize import Quantized, quantize
from host.schema.image import Activation, Domain, Format, Layout, align
from tests.support import reference
from tests.support.native import Native
from tests.support.ops import F32, Cache, KernelWeight, OpF32, QuantizedRows, Rows, Weight, make_step, run_op
from tests.support.reference import Mask

NOTHING = OpF32(None, 0)


@pytest.fixture(params=["native", "native4"])
def device(request: pytest.FixtureRequest) -> Native:
    found: Native = request.getfixturevalue(request.param)
    return found


def same(a: np.ndarray, b: np.ndarray) -> None:
    np.testing.assert_array_equal(np.ascontiguousarray(a).view(np.uint32), np.ascontiguousarray(b).view(np.uint32))


def normal(*shape: int, seed: int = 0) -> F32:
    return np.random.default_rng(seed + sum(shape)).normal(size=shape).astype(np.float32)


def steps(rows: int) -> tuple[object, list[object]]:
    return make_step([(0, i, 0) for i in range(rows)], logit_rows=list(range(rows)))


# ---- elementary functions ----


def ulps(found: F32, exact: np.ndarray) -> float:
    return float(np.max(np.abs(found.astype(np.float64) - exact) / np.spacing(np.abs(exact).astype(np.float32))))


def spread(largest: float, n: int = 60_000) -> F32:
    """Both signs, evenly and by magnitude."""
    rng = np.random.default_rng(7)
    small = rng.choice([-1, 1], n) * 10.0 ** rng.uniform(-8, math.log10(largest), n)
    return np.concatenate([np.linspace(-largest, largest, n), small]).astype(np.float32)


def test_functions_are_as_accurate_as_math_h_says() -> None:
    x = np.clip(spread(103), None, np.float32(88.7))
    assert ulps(reference.exp(x), np.exp(x.astype(np.float64))) < 1.1
    x = spread(20)
    assert ulps(reference.tanh(x), np.tanh(x.astype(np.float64))) < 1.4
    x = spread(6, 20_000)
    assert ulps(reference.erf(x), np.vectorize(math.erf)(x.astype(np.float64))) < 1.1
    near = (np.arange(-600_000, 600_000, 17) * (math.pi / 2)).astype(np.float32)
    x = np.concatenate([spread(1e6), near])
    sines, cosines = reference.sincos(x)
    assert ulps(sines, np.sin(x.astype(np.float64))) < 1.6
    assert ulps(cosines, np.cos(x.astype(np.float64))) < 1.6


def test_exp_at_its_ends() -> None:
    x = np.array([np.inf, 88.73, 88.72, 0, -103.97, -103.98, -np.inf, np.nan], np.float32)
    expected = np.array([np.inf, np.inf, np.exp(np.float64(x[2])), 1, 2.0**-149, 0, 0, np.inf], np.float32)
    np.testing.assert_allclose(reference.exp(x), expected, rtol=2e-7)


def eltwise(
    device: Native, kind: Eltwise, a: F32, b: F32 | None = None, tensor: F32 | None = None, act: int = 0
) -> F32:
    step, alive = steps(len(a))
    src, other, dst = Rows(a), Rows(b) if b is not None else None, Rows(rows=len(a), width=a.shape[1])
    run_op(
        device,
        "eltwise",
        step,
        a=src.operand,
        b=other.operand if other else NOTHING,
        dst=dst.operand,
        tensor=tensor.ctypes.data if tensor is not None else None,
        kind=kind,
        activation=act,
        width=a.shape[1],
    )
    assert dst.untouched
    assert alive
    return dst.values


@pytest.mark.parametrize("act", [a for a in Activation if a != Activation.NONE])
def test_activations(native: Native, act: Activation) -> None:
    x = np.concatenate([spread(12, 3000), [0.0, -0.0, 100, -100, 1e30, -1e30]]).astype(np.float32)[None]
    same(eltwise(native, Eltwise.ACT, x, act=act), reference.activate(x, act.name))


def test_eltwise(device: Native) -> None:
    a, b, t = normal(3, 100), normal(3, 100, seed=1), normal(100, seed=2)
    same(eltwise(device, Eltwise.ADD, a, b), a + b)
    same(eltwise(device, Eltwise.MUL, a, b), a * b)
    same(eltwise(device, Eltwise.BIAS, a, tensor=t), a + t)
    same(eltwise(device, Eltwise.GATE, a, b, act=Activation.SILU), reference.activate(a, "SILU") * b)


def test_rope_table_holds_cosines_and_sines(device: Native) -> None:
    frequencies = (10000.0 ** -(np.arange(40) / 40)).astype(np.float32)
    positions = [0, 1, 77, 4095, 999_999]
    step, alive = make_step([(0, p, 0) for p in positions])
    dst = Rows(rows=5, width=80)
    run_op(device, "rope_table", step, dst=dst.operand, frequencies=frequencies.ctypes.data, half=40, scale=1.25)
    sines, cosines = reference.sincos(np.array(positions, np.float32)[:, None] * frequencies)
    same(dst.values, np.concatenate([cosines, sines], axis=1) * np.float32(1.25))
    assert dst.untouched
    assert alive


@pytest.mark.parametrize("style", list(RopeStyle))
@pytest.mark.parametrize("rotary", [16, 10])
def test_rope(device: Native, style: RopeStyle, rotary: int) -> None:
    heads, head_dim, rows = 3, 16, 5
    x, table = normal(rows, heads * head_dim), normal(rows, rotary, seed=3)
    expected = x.copy().reshape(rows, heads, head_dim)
    for r in range(rows):
        for h in range(heads):
            args = table[r, : rotary // 2], table[r, rotary // 2 :], style == RopeStyle.HALVES
            expected[r, h, :rotary] = reference.rope(expected[r, h, :rotary], *args)
    step, alive = steps(rows)
    held, angles = Rows(x), Rows(table)
    body = {"heads": heads, "head_dim": head_dim, "rotary": rotary, "style": style}
    run_op(device, "rope", step, x=held.operand, table=angles.operand, **body)
    same(held.values, expected.reshape(rows, -1))
    assert held.untouched
    assert alive


# ---- rows ----


@pytest.mark.parametrize("layout", [Layout.RVV, Layout.SWAR])
@pytest.mark.parametrize("fmt", [Format.Q4, Format.Q4M, Format.Q8, Format.F32, Format.BF16])
def test_embed_reads_tiles(device: Native, fmt: Format, layout: Layout) -> None:
    table, positions = normal(130, 90), normal(20, 90, seed=9)
    quantized = fmt in (Format.Q4, Format.Q4M, Format.Q8)
    values = quantize(table, fmt) if quantized else table
    weight = Weight.of(values, fmt, layout if quantized else Layout.RVV)
    learned = Weight.of(positions, Format.F32, Layout.PLAIN)
    plain = values.float32(90) if isinstance(values, Quantized) else table
    rows = [(0, 3, 129), (0, 4, 0), (0, 19, 63), (0, 0, 64)]
    step, alive = make_step(rows)
    dst = Rows(rows=4, width=90)
    for learn in (False, True):
        second = learned.struct if learn else KernelWeight()
        run_op(device, "embed", step, dst=dst.operand, table=weight.struct, positions=second, dim=90, scale=1.5)
        plain = round_bf16(plain) if fmt == Format.BF16 else plain
        expected = plain[[row[2] for row in rows]] * np.float32(1.5)
        same(dst.values, expected + positions[[row[1] for row in rows]] if learn else expected)
    assert dst.untouched
    assert alive


@pytest.mark.parametrize("fmt", [Format.F32, Format.BF16])
def test_embed_reads_plain_rows(native: Native, fmt: Format) -> None:
    table = normal(9, 70)
    weight = Weight.of(table, fmt, Layout.PLAIN)
    step, alive = make_step([(0, 0, 8), (0, 1, 2)])
    dst = Rows(rows=2, width=70)
    run_op(native, "embed", step, dst=dst.operand, table=weight.struct, positions=KernelWeight(), dim=70, scale=1.0)
    same(dst.values, (round_bf16(table) if fmt == Format.BF16 else table)[[8, 2]])
    assert alive


@pytest.mark.parametrize("kind", list(NormKind))
@pytest.mark.parametrize("given", [(False, False), (True, False), (True, True), (False, True)])
def test_norm(device: Native, kind: NormKind, given: tuple[bool, bool]) -> None:
    segments, width, rows = 3, 50, 4
    x = normal(rows, segments * width) * 3 + 1
    weight, bias = (normal(width, seed=i) if g else None for i, g in enumerate(given))
    step, alive = steps(rows)
    held = Rows(x)
    run_op(
        device,
        "norm",
        step,
        src=held.operand,
        dst=held.operand,
        weight=weight.ctypes.data if weight is not None else None,
        bias=bias.ctypes.data if bias is not None else None,
        kind=kind,
        width=width,
        segments=segments,
        eps=1e-5,
        dst_format=Format.F32,
    )
    parts = [reference.norm(part, 1e-5, kind == NormKind.LAYER, weight, bias) for part in x.reshape(-1, width)]
    same(held.values, np.stack(parts).reshape(rows, -1))
    assert held.untouched
    assert alive


def check_q8a(found: reference.Q8A, expected: reference.Q8A) -> None:
    np.testing.assert_array_equal(found.values, expected.values)
    same(found.scales, expected.scales)
    np.testing.assert_array_equal(found.sums, expected.sums)


@pytest.mark.parametrize("width", [33, 256, 600])
def test_quantize_and_quantizing_norm(device: Native, width: int) -> None:
    x, weight = normal(5, width), normal(width, seed=4)
    step, alive = steps(5)
    src, dst = Rows(x), QuantizedRows(5, width)
    run_op(device, "quantize", step, src=src.operand, dst=dst.operand, width=width)
    check_q8a(dst.q8a, reference.Q8A.of(x))
    body = {"kind": NormKind.RMS, "width": width, "segments": 1, "eps": 1e-6, "dst_format": Format.Q8A}
    run_op(device, "norm", step, src=src.operand, dst_q8a=dst.operand, weight=weight.ctypes.data, **body)
    normed = np.stack([reference.norm(row, 1e-6, False, weight, None) for row in x])
    check_q8a(dst.q8a, reference.Q8A.of(normed))
    assert alive


def test_gather(device: Native) -> None:
    x = normal(6, 40)
    step, alive = make_step([(0, i, 0) for i in range(6)], logit_rows=[1, 4, 5])
    src, dst = Rows(x), Rows(rows=3, width=40)
    run_op(device, "gather", step, Domain.LOGIT_ROWS, src=src.operand, dst=dst.operand, width=40)
    same(dst.values, x[[1, 4, 5]])
    assert alive


# ---- linear ----


@pytest.mark.parametrize("fmt", [Format.Q8, Format.Q4M, Format.F32])
@pytest.mark.parametrize(("n", "rows"), [(1, 1), (40, 3), (200, 11), (136, 1)])
def test_linear_with_bias_activation_and_residual(device: Native, fmt: Format, n: int, rows: int) -> None:
    k = 96 if fmt != Format.F32 else 41
    w, x, bias, residual = normal(n, k), normal(rows, k), normal(align(n, 64), seed=1), normal(rows, n, seed=2)
    product = linear(device, fmt, w, x, n)
    same(product, expected_product(fmt, w, x))
    full = linear(device, fmt, w, x, n, bias=bias, residual=residual, activation=Activation.GELU_TANH)
    same(full, reference.activate(product + bias[:n], "GELU_TANH") + residual)


@pytest.mark.parametrize("n", [8, 72, 160])
def test_gated_linear(device: Native, n: int) -> None:
    gate, up, x, bias = normal(n, 64), normal(n, 64, seed=5), normal(5, 64), normal(align(2 * n, 64), seed=6)
    w = np.concatenate([np.stack([gate.reshape(-1, 8, 64), up.reshape(-1, 8, 64)], axis=1)]).reshape(2 * n, 64)
    product = (expected_product(Format.Q8, w, x) + bias[: 2 * n]).reshape(5, -1, 2, 8)
    expected = reference.activate(product[:, :, 0], "SILU") * product[:, :, 1]
    found = linear(device, Format.Q8, w, x, n, bias=bias, activation=Activation.SILU, gated=True)
    same(found, expected.reshape(5, -1))


def expected_product(fmt: Format, w: F32, x: F32) -> F32:
    if fmt == Format.F32:
        return reference.linear_float(w, x)
    return reference.linear_quantized(quantize(w, fmt), reference.Q8A.of(x))


def linear(
    device: Native,
    fmt: Format,
    w: F32,
    x: F32,
    n: int,
    bias: F32 | None = None,
    residual: F32 | None = None,
    activation: Activation = Activation.NONE,
    gated: bool = False,
) -> F32:
    """The op in both layouts; with a residual the destination is the residual."""
    found = []
    for layout in (Layout.RVV, Layout.SWAR):
        is_float = fmt == Format.F32
        weight = Weight.of(w if is_float else quantize(w, fmt), fmt, Layout.RVV if is_float else layout)
        quantized = QuantizedRows(len(x), x.shape[1], reference.Q8A.of(x))
        plain = Rows(x)
        dst = Rows(residual) if residual is not None else Rows(rows=len(x), width=n)
        step, alive = steps(len(x))
        run_op(
            device,
            "linear",
            step,
            src_q8a=quantized.operand,
            src_f32=plain.operand,
            dst=dst.operand,
            residual=dst.operand if residual is not None else NOTHING,
            weight=weight.struct,
            bias=bias.ctypes.data if bias is not None else None,
            src_format=Format.F32 if is_float else Format.Q8A,
            k=x.shape[1],
            n=n,
            activation=activation,
            gated=int(gated),
        )
        assert dst.untouched
        assert alive
        found.append(dst.values.copy())
    same(found[0], found[1])
    return found[0]


# ---- attention ----


class Attention:
    """A cache of one state that rows are added to, and the attention of the rows against the reference."""

    def __init__(self, device: Native, cache: Cache, heads: int, softcap: float = 0.0) -> None:
        self.device, self.cache, self.heads, self.softcap = device, cache, heads, softcap
        self.keys: dict[int, list[F32]] = {}
        self.values: dict[int, list[F32]] = {}
        self.rng = np.random.default_rng(heads)

    def store(self, rows: list[tuple[int, int, int]]) -> None:
        width = self.cache.kv_heads * self.cache.head_dim
        k, v = (self.rng.normal(size=(len(rows), width)).astype(np.float32) for _ in range(2))
        k[0, :] *= self.rng.choice([0, 1, 1e-40, 50])
        for i, (session, position, _) in enumerate(rows):
            for kept, part in ((self.keys, k), (self.values, v)):
                kept.setdefault(session, [])
                assert len(kept[session]) == position
                kept[session].append(part[i].reshape(self.cache.kv_heads, -1))
        step, alive = make_step(rows, cache=self.cache)
        held = Rows(k), Rows(v)
        run_op(self.device, "kv_store", step, k=held[0].operand, v=held[1].operand, state=0)
        assert alive

    def check(self, rows: list[tuple[int, int, int]]) -> None:
        cache, head_dim = self.cache, self.cache.head_dim
        q = self.rng.normal(size=(len(rows), self.heads * head_dim)).astype(np.float32)
        chunks = max(row[1] for row in rows) // 256 + 1
        record = align(head_dim + 2, 16)
        partial, dst = np.full(self.heads * chunks * record, np.nan, np.float32), Rows(rows=len(rows), width=q.shape[1])
        step, alive = make_step(rows, cache=cache)
        held = Rows(q)
        run_op(
            self.device,
            "attention",
            step,
            q=held.operand,
            dst=dst.operand,
            partial=partial.ctypes.data,
            partial_record=record,
            chunks=chunks,
            state=0,
            heads=self.heads,
            scale=0.25,
            softcap=self.softcap,
        )
        assert alive
        assert dst.untouched
        group = self.heads // cache.kv_heads
        for i, (session, position, _) in enumerate(rows):
            for h in range(self.heads):
                keys = np.stack(self.keys[session][: position + 1])[:, h // group]
                values = np.stack(self.values[session][: position + 1])[:, h // group]
                at = slice(h * head_dim, (h + 1) * head_dim)
                mask = Mask(position, cache.window, cache.sinks)
                kv8 = cache.fmt == Format.KV8
                expected = reference.attention(q[i, at], keys, values, mask, kv8, 0.25, self.softcap)
                same(dst.values[i, at], expected)


@pytest.mark.parametrize("fmt", [Format.KV8, Format.F32])
def test_attention_over_many_pages(device: Native, fmt: Format) -> None:
    """One row and several, before and behind the borders of pages and partial results."""
    attention = Attention(device, Cache(fmt, kv_heads=1, head_dim=24, pages=9), heads=3)
    for start in range(0, 576, 64):
        attention.store([(1, start + i, 0) for i in range(64)])
    for position in (0, 63, 64, 255, 256, 575):
        attention.check([(1, position, 0)])
    attention.check([(1, 320 + i, 0) for i in range(3)])


def test_attention_of_several_sessions(device: Native) -> None:
    attention = Attention(device, Cache(Format.KV8, kv_heads=2, head_dim=16, pages=2), heads=4, softcap=5.0)
    attention.store([(0, i, 0) for i in range(40)] + [(1, i, 0) for i in range(64)])
    attention.store([(0, 40, 0), (1, 64, 0), (1, 65, 0)])
    attention.check([(0, 40, 0), (1, 64, 0), (1, 65, 0)])


@pytest.mark.parametrize(("window", "sinks", "pages"), [(50, 0, 3), (100, 5, 5), (1, 0, 3), (64, 64, 4)])
def test_attention_in_a_ring(device: Native, window: int, sinks: int, pages: int) -> None:
    cache = Cache(Format.KV8, kv_heads=1, head_dim=8, pages=pages, window=window, sinks=sinks)
    attention = Attention(device, cache, heads=2)
    for start in range(0, 700, 20):
        rows = [(0, start + i, 0) for i in range(20)]
        attention.store(rows)
        if start in (40, 120, 240, 300, 680):
            attention.check([rows[0], rows[19]])
            attention.check([rows[19]])
