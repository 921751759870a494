# SPDX-License-Identifier: Apache-2.0
"""ATTENTION over caches that KV_STORE fills, against docs/numerics.md, bit for bit."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest

from host.schema.image import PAGE_TOKENS, PARTIAL_TOKENS, Format, align
from tests.support.native import Native
from tests.support.ops import F32, FLOAT, PTR, U32, Cache, OpF32, Rows, make_step, run_op, same, struct
from tests.support.reference import LOG2_E, dot, exp2, f32, fma, integer_weights, quantize_one, tanh, total

KV_STORE = struct("KvStore", k=OpF32, v=OpF32, state=U32)
ATTENTION = struct(
    "Attention",
    q=OpF32,
    dst=OpF32,
    partial=PTR,
    partial_record=U32,
    chunks=U32,
    state=U32,
    heads=U32,
    scale=FLOAT,
    softcap=FLOAT,
    whole=U32,
    reach=U32,
)


@dataclass(frozen=True)
class Mask:
    position: int
    window: int = 0
    sinks: int = 0

    def sees(self, key: int) -> bool:
        near = not self.window or self.position - key < self.window
        return key <= self.position and (near or key < self.sinks)


def _scores(q: F32, keys: F32, kv8: bool, scale: np.float32) -> F32:
    if not kv8:
        return np.array([dot(q, k) * scale for k in keys], f32)
    qi, qs = quantize_one(q)
    out = []
    for k in keys:
        ki, ks = quantize_one(k)
        out.append(f32(int(qi.astype(np.int32) @ ki.astype(np.int32))) * ((qs * scale) * ks))
    return np.array(out, f32)


def _add_kv8(p: F32, values: F32, block: int, acc: F32) -> F32:
    """acc and the values of one block, whose weights p, [64], are 0 where they are masked."""
    quantized = [quantize_one(v) for v in values[block : block + PAGE_TOKENS]]
    scales = np.zeros(PAGE_TOKENS, f32)
    scales[: len(quantized)] = [scale for _, scale in quantized]
    weights, factor = integer_weights(p, scales)
    isum = weights[: len(quantized)] @ np.stack([v for v, _ in quantized]).astype(np.int32)
    return fma(isum.astype(f32), factor, acc)


def _add_f32(p: F32, values: F32, seen: list[int], acc: F32) -> F32:
    for i in seen:
        acc = fma(p[i % PAGE_TOKENS], values[i], acc)
    return acc


def attention(q: F32, keys: F32, values: F32, mask: Mask, kv8: bool, scale: float, softcap: float = 0.0) -> F32:
    """One query head against keys and values [position + 1][head_dim] as they were before the cache."""
    result: tuple[np.float32, np.float32, F32] | None = None
    for start in range(0, mask.position + 1, PARTIAL_TOKENS):
        m, lsum, acc = f32(-np.inf), f32(0), np.zeros(len(q), f32)
        for block in range(start, min(start + PARTIAL_TOKENS, mask.position + 1), PAGE_TOKENS):
            seen = [p for p in range(block, block + PAGE_TOKENS) if mask.sees(p)]
            if not seen:
                continue
            s = _scores(q, keys[seen], kv8, f32(scale) if softcap else f32(scale) * LOG2_E)
            if softcap:
                s = f32(softcap) * tanh(s / f32(softcap)) * LOG2_E
            largest = max(m, s.max())
            keep = f32(1) if m == largest else exp2(m - largest)
            p = np.zeros(PAGE_TOKENS, f32)
            p[[i - block for i in seen]] = exp2(s - largest)
            lsum, acc, m = f32(fma(lsum, keep, total(p))), acc * keep, largest
            acc = _add_kv8(p, values, block, acc) if kv8 else _add_f32(p, values, seen, acc)
        if m == -np.inf:
            continue
        if result is None:
            result = m, lsum, acc
            continue
        m1, l1, acc1 = result
        largest = max(m1, m)
        c1, c2 = exp2(m1 - largest), exp2(m - largest)
        result = largest, f32(fma(l1, c1, lsum * c2)), fma(acc1, c1, acc * c2)
    assert result is not None
    return result[2] * (f32(1) / result[1])


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
        run_op(self.device, "kv_store", step, KV_STORE(k=held[0].operand, v=held[1].operand, state=0))
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
            ATTENTION(
                q=held.operand,
                dst=dst.operand,
                partial=partial.ctypes.data,
                partial_record=record,
                chunks=chunks,
                state=0,
                heads=self.heads,
                scale=0.25,
                softcap=self.softcap,
            ),
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
                expected = attention(q[i, at], keys, values, mask, kv8, 0.25, self.softcap)
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
