# SPDX-License-Identifier: Apache-2.0
"""What no family builds, packed and run by the native engine: windows, and logits that are a sum."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from host.compiler.compile import Options
from host.compiler.passes import PASSES
from host.ir.builder import Builder
from host.ir.graph import Graph
from host.ir.lowering import KvSpec
from host.ops.attention import attention
from host.ops.eltwise import add
from host.ops.embed import embed
from host.ops.gather import gather
from host.ops.linear import linear
from host.schema.formats import f32
from host.schema.image import Format, Overflow, align
from tests.support.graphs import F32, graph_image, weight
from tests.support.native import Native

VOCAB, DIM, HEADS, KV_HEADS, HEAD_DIM = 131, 48, 4, 2, 16
TOKENS = np.random.default_rng(8).integers(0, VOCAB, 150)
FLOAT: dict[str, Any] = {"weights": f32.F32, "kv": Format.F32}


def matrices(**shapes: tuple[int, int]) -> dict[str, F32]:
    rng = np.random.default_rng(9)
    return {name: (rng.normal(size=shape) * 0.3).astype(np.float32) for name, shape in shapes.items()}


# ---- windows ----


def window_model(window: int) -> tuple[Graph, dict[str, F32]]:
    """logits = head (x + o attention(q x, k x, v x)), x = embed(token): no position counts but by the window."""
    q, kv = HEADS * HEAD_DIM, KV_HEADS * HEAD_DIM
    m = matrices(table=(VOCAB, DIM), q=(q, DIM), k=(kv, DIM), v=(kv, DIM), o=(DIM, q), head=(VOCAB, DIM))
    b = Builder(Graph(VOCAB, DIM, 1, 256, learned_positions=False))
    x = embed(b, weight("table", m["table"]))
    parts = [linear(b, name, x, weight(name, m[name])) for name in ("q", "k", "v")]
    mixed = attention(b, "mixed", *parts, KvSpec(KV_HEADS, HEAD_DIM, window), HEADS, 1.0)
    x = gather(b, add(b, "sum", x, linear(b, "o", mixed, weight("o", m["o"]))))
    b.graph.logits = linear(b, "logits", x, weight("head", m["head"]), output=True)
    return b.graph, m


def expected_logits(m: dict[str, F32], window: int, sinks: int) -> np.ndarray:
    """[tokens][vocab] in float64."""
    x = m["table"].astype(np.float64)[TOKENS]
    q = (x @ m["q"].T).reshape(len(x), KV_HEADS, HEADS // KV_HEADS, HEAD_DIM)
    k, v = ((x @ m[name].T).reshape(len(x), KV_HEADS, HEAD_DIM) for name in ("k", "v"))
    scores = np.einsum("tkgd,skd->tkgs", q, k)
    at = np.arange(len(x))
    seen = (at <= at[:, None]) & ((at[:, None] - at < window) | (at < sinks))
    p = np.exp(np.where(seen[:, None, None], scores - scores.max(axis=-1, keepdims=True), -np.inf))
    mixed = np.einsum("tkgs,skd->tkgd", p / p.sum(axis=-1, keepdims=True), v).reshape(len(x), -1)
    return (x + mixed @ m["o"].T) @ m["head"].T


@pytest.mark.parametrize(
    ("window", "options", "seen", "sinks"),
    [
        (20, {"context": 200}, 20, 0),
        (20, {"context": 64, "overflow": Overflow.SLIDE, "sinks": 4}, 20, 0),
        (62, {"context": 64, "overflow": Overflow.SLIDE, "sinks": 4}, 62, 0),
        (100, {"context": 64, "overflow": Overflow.SLIDE, "sinks": 4}, 60, 4),
        (0, {"context": 64, "overflow": Overflow.SLIDE, "sinks": 4}, 60, 4),
    ],
)
def test_a_layer_attends_to_its_window(
    native: Native, tmp_path: Path, window: int, options: dict[str, Any], seen: int, sinks: int
) -> None:
    graph, m = window_model(window)
    compiled = graph_image(tmp_path / "window.hsp", graph, Options(**FLOAT, **options))
    assert [(state.window, state.sinks) for state in compiled.lowered.states] == [(seen, sinks)]
    native.load(tmp_path / "window.hsp")
    found, expected = native.feed(TOKENS.tolist(), every=True), expected_logits(m, seen, sinks)
    np.testing.assert_allclose(found, expected, atol=1e-4 * np.abs(expected).max())


# ---- logits ----


@pytest.mark.parametrize("without", [("fold_norms",), tuple(PASSES)])
def test_logits_that_are_a_sum_have_memory_of_their_own(
    native: Native, tmp_path: Path, without: tuple[str, ...]
) -> None:
    """Their rows are padded, those of what is added are not: they cannot take its place."""
    m = matrices(table=(VOCAB, DIM), one=(VOCAB, DIM), two=(VOCAB, DIM))
    b = Builder(Graph(VOCAB, DIM, 0, 64, learned_positions=False))
    x = gather(b, embed(b, weight("table", m["table"])))
    one, two = (linear(b, name, x, weight(name, m[name]), output=True) for name in ("one", "two"))
    b.graph.logits = add(b, "logits", one, two)
    lowered = graph_image(tmp_path / "sum.hsp", b.graph, Options(**FLOAT, without=without)).lowered
    assert lowered.logits_stride == align(VOCAB, 64) * 4 // 64
    place = [buffer for buffer in lowered.buffers if buffer.name == "logits"]
    assert [buffer.size for buffer in place] == [8 * align(VOCAB, 64) * 4]
    native.load(tmp_path / "sum.hsp")
    expected = m["table"].astype(np.float64)[TOKENS[:64]] @ (m["one"] + m["two"]).astype(np.float64).T
    np.testing.assert_allclose(native.feed(TOKENS[:64].tolist(), every=True), expected, atol=1e-4)
