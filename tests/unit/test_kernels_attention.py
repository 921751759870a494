# SPDX-License-Identifier: Apache-2.0
"""Attention's kernels as this machine runs them, against docs/numerics.md; test_kernels.py has the other targets."""

from __future__ import annotations

import ctypes

import numpy as np
import pytest

from tests.support import reference
from tests.support.native import Native
from tests.support.ops import aligned, pointer, same


def integers(rng: np.random.Generator, kind: str, shape: tuple[int, ...]) -> np.ndarray:
    """int8 within 127, at random or all of them the largest or smallest."""
    if kind == "random":
        return rng.integers(-127, 128, shape).astype(np.int8)
    return np.full(shape, {"largest": 127, "smallest": -127}[kind], np.int8)


@pytest.mark.parametrize("head_dim", [8, 24, 64, 136])
@pytest.mark.parametrize("queries", [1, 2, 3, 7, 18])
@pytest.mark.parametrize("kind", ["random", "largest", "smallest"])
@pytest.mark.parametrize("family", ["scalar", "swar"])
def test_int8_attention(native: Native, family: str, head_dim: int, queries: int, kind: str) -> None:
    """Scores, weights and values of a page of which 50 positions are seen. Rows are padded to threes."""
    rng, words = np.random.default_rng(head_dim), -(-queries // 3)
    lib, count, padded = native.lib, 50, 3 * words
    q = integers(rng, kind, (queries, head_dim))
    keys = aligned(64 * head_dim).view(np.int8).reshape(head_dim, 64)
    keys[:] = integers(rng, kind, keys.shape)
    packed, weights = np.zeros(words * head_dim, np.uint64), np.zeros(words * 64, np.uint64)
    getattr(lib, f"{family}_pack_queries")(pointer(q), queries, head_dim, pointer(packed))
    scales, key_scales, value_scales = (rng.uniform(0, 1, n).astype(np.float32) for n in (padded, 64, 64))
    scores = np.full((padded, 64), np.nan, np.float32)
    arguments = pointer(packed), pointer(scales), queries, pointer(keys), pointer(key_scales), head_dim, count
    getattr(lib, f"{family}_score_i8")(*arguments, pointer(scores))
    dots = q.astype(np.int32) @ keys.astype(np.int32)
    same(scores[:queries, :count], (dots.astype(np.float32) * (scales[:queries, None] * key_scales))[:, :count])

    x = (rng.normal(size=(padded, 64)) * 30).astype(np.float32)
    x[:, 1] = -np.inf
    x[0, 5] = np.nan
    largest = np.resize(np.array([-np.inf, -200, 200], np.float32), queries)
    seen = x[:queries, :count].copy()
    expected = np.fmax(largest, np.fmax.reduce(seen, axis=1))
    p = reference.exp2(seen - expected[:, None])
    sums, factors, keep = np.zeros(queries, np.float32), np.zeros(queries, np.float32), scales
    arguments = pointer(x), queries, count, pointer(value_scales), pointer(largest), pointer(sums)
    getattr(lib, f"{family}_weigh_i8")(*arguments, pointer(weights), pointer(factors))
    same(largest, expected)
    same(sums, np.array([reference.total(row) for row in p], np.float32))
    integer, factor = zip(*(reference.integer_weights(row, value_scales[:count]) for row in p), strict=True)
    same(factors, np.array(factor, np.float32))

    values = integers(rng, kind, (65, head_dim))
    acc = rng.normal(size=(queries, 300)).astype(np.float32)
    weighted, isum = acc.copy(), np.stack(integer) @ values[:count].astype(np.int32)
    weighted[:, :head_dim] = reference.fma(
        isum.astype(np.float32), factors[:, None], acc[:, :head_dim] * keep[:queries, None]
    )
    arguments = pointer(weights), pointer(factors), pointer(keep), queries, pointer(values), head_dim, count
    getattr(lib, f"{family}_values_i8")(*arguments, pointer(acc), 300)
    same(acc, weighted)


@pytest.mark.parametrize("family", ["scalar", "swar"])
@pytest.mark.parametrize("scale", [0, 1e-44, 1e-38, 3e38, np.inf, np.nan, -1])
def test_weights_of_strange_scales(native: Native, family: str, scale: float) -> None:
    """Weights that are no integers are zeros, and never more than lanes hold."""
    rng, lib = np.random.default_rng(1), native.lib
    scales = np.full(64, scale, np.float32)
    x, sums, factors = rng.normal(size=(3, 64)).astype(np.float32), np.zeros(3, np.float32), np.zeros(3, np.float32)
    largest = np.full(3, -np.inf, np.float32)
    p = reference.exp2(x - x.max(axis=1)[:, None])
    weights, values = np.zeros(64, np.uint64), np.full((66, 8), 127, np.int8)
    getattr(lib, f"{family}_weigh_i8")(
        pointer(x), 3, 64, pointer(scales), pointer(largest), pointer(sums), pointer(weights), pointer(factors)
    )
    ones, zeros, acc = np.ones(3, np.float32), np.zeros(3, np.float32), np.zeros((3, 8), np.float32)
    getattr(lib, f"{family}_values_i8")(
        pointer(weights), pointer(ones), pointer(zeros), 3, pointer(values), 8, 64, pointer(acc), 8
    )
    integer, _ = zip(*(reference.integer_weights(row, scales) for row in p), strict=True)
    same(acc, np.repeat(127 * np.stack(integer).sum(axis=1), 8).reshape(3, 8).astype(np.float32))
    assert np.abs(acc).max() < 2**20


@pytest.mark.parametrize("n", [1, 31, 32, 33, 64])
def test_softmax(native: Native, n: int) -> None:
    rng = np.random.default_rng(n)
    x = (rng.normal(size=(3, 64)) * 30).astype(np.float32)
    x[:, 1] = -np.inf
    found, sums, largest = x.copy(), np.zeros(3, np.float32), np.array([-np.inf, -200, 200], np.float32)
    expected = np.maximum(largest, x[:, :n].max(axis=1))
    native.lib.scalar_softmax(pointer(found), 3, n, pointer(largest), pointer(sums))
    same(largest, expected)
    weights = reference.exp2(x[:, :n] - largest[:, None])
    same(sums, np.array([reference.total(row) for row in weights], np.float32))
    same(found[:, :n], weights)
    same(found[:, n:], x[:, n:])


@pytest.mark.parametrize("head_dim", [8, 40, 64])
def test_float_attention(native: Native, head_dim: int) -> None:
    rng = np.random.default_rng(head_dim)
    q, p, acc = (rng.normal(size=n).astype(np.float32) for n in (head_dim, 7, head_dim))
    kv, out = rng.normal(size=(7, head_dim)).astype(np.float32), np.zeros(7, np.float32)
    expected = acc.copy()
    for j in range(7):
        expected = reference.fma(p[j], kv[j], expected)
    pq, pp, pa, pk, po = (ctypes.c_void_p(a.ctypes.data) for a in (q, p, acc, kv, out))
    native.lib.scalar_dot_f32(pq, pk, head_dim, 7, po)
    native.lib.scalar_axpy_f32(pp, pk, head_dim, 7, pa)
    same(out, np.array([reference.dot(q, k) for k in kv], np.float32))
    same(acc, expected)
