# SPDX-License-Identifier: Apache-2.0
"""GPT-2 and DistilGPT2 (model_type "gpt2"): learned positions, LayerNorm, GELU, one fused attention projection.

Radford et al., "Language Models are Unsupervised Multitask Learners", 2019. Hugging Face stores its linear weights as
Conv1D [in, out]; importers give them as [out, in] like all others.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from host.errors import SourceError
from host.families.common import activation, integer, number, refuse, vector, weight
from host.files.source import Source
from host.ir.graph import Builder, Graph, StateSpec, Value, Vector, Weight
from host.schema.image import Activation, NormKind

NEUTRAL = {"add_cross_attention": (False,), "quantization_config": ()}


@dataclass(frozen=True)
class Shape:
    """The numbers of one model."""

    dim: int
    hidden: int
    heads: int
    eps: float
    activation: Activation
    scaled: bool
    by_layer: bool


def build(source: Source) -> Graph:
    """The unfused graph. SourceError names what is missing, contradictory or not supported."""
    refuse(source, NEUTRAL)
    config = source.config
    dim, heads = integer(config, "n_embd"), integer(config, "n_head")
    if dim % heads:
        raise SourceError(f"the config's n_embd {dim} is not a multiple of its {heads} attention heads")
    s = Shape(
        dim=dim,
        hidden=integer(config, "n_inner", 4 * dim),
        heads=heads,
        eps=number(config, "layer_norm_epsilon", 1e-5),
        activation=activation(config.get("activation_function", "gelu_new")),
        scaled=bool(config.get("scale_attn_weights", True)),
        by_layer=bool(config.get("scale_attn_by_inverse_layer_idx", False)),
    )
    vocab, layers = integer(config, "vocab_size"), integer(config, "n_layer")
    positions = integer(config, "n_positions", config.get("n_ctx") or 1024)
    graph = Graph(vocab, dim, layers, positions, learned_positions=True)
    b = Builder(graph)
    table = weight(source, "wte.weight", vocab, dim)
    x = b.embed(table, weight(source, "wpe.weight", positions, dim))  # [rows][dim]
    for i in range(layers):
        x = _attention(b, source, s, i, x)
        x = _mlp(b, source, s, i, x)
    x = _norm(b, source, s, "ln_f", b.gather(x))
    tied = bool(config.get("tie_word_embeddings", True))
    graph.logits = b.linear("logits", x, table if tied else weight(source, "lm_head.weight", vocab, dim), output=True)
    return graph


def _norm(b: Builder, source: Source, s: Shape, name: str, x: Value) -> Value:
    scale, shift = vector(source, f"{name}.weight", s.dim), vector(source, f"{name}.bias", s.dim)
    return b.norm(name, x, NormKind.LAYER, s.eps, scale, shift)


def _linear(b: Builder, source: Source, name: str, src: Value, rows: int) -> Value:
    bias = vector(source, f"{name}.bias", rows)
    return b.linear(name, src, weight(source, f"{name}.weight", rows, src.width), bias)


def _attention(b: Builder, source: Source, s: Shape, i: int, x: Value) -> Value:
    """Attention block: x + Wo attention(Wq h, Wk h, Wv h) with h = norm(x); c_attn is q, k and v."""
    h = _norm(b, source, s, f"h.{i}.ln_1", x)
    fused = weight(source, f"h.{i}.attn.c_attn.weight", 3 * s.dim, s.dim)
    bias = vector(source, f"h.{i}.attn.c_attn.bias", 3 * s.dim)

    def project(letter: str, part: int) -> Value:
        rows = np.arange(part * s.dim, (part + 1) * s.dim)
        name = f"h.{i}.attn.{letter}"
        chosen: Weight = fused.take(f"{name}.weight", rows)
        return b.linear(name, h, chosen, Vector(f"{name}.bias", bias.values[rows]))

    q, k, v = (project(letter, part) for part, letter in enumerate("qkv"))
    head_dim = s.dim // s.heads
    scale = (float(head_dim) ** -0.5 if s.scaled else 1.0) / (i + 1 if s.by_layer else 1)
    mixed = b.attention(f"h.{i}.attention", q, k, v, StateSpec(s.heads, head_dim), s.heads, scale)
    return b.add(f"h.{i}.attn_residual", x, _linear(b, source, f"h.{i}.attn.c_proj", mixed, s.dim))


def _mlp(b: Builder, source: Source, s: Shape, i: int, x: Value) -> Value:
    """Feed-forward block: x + Wproj act(Wfc h) with h = norm(x)."""
    h = _norm(b, source, s, f"h.{i}.ln_2", x)
    inner = b.activate(f"h.{i}.act", _linear(b, source, f"h.{i}.mlp.c_fc", h, s.hidden), s.activation)
    return b.add(f"h.{i}.mlp_residual", x, _linear(b, source, f"h.{i}.mlp.c_proj", inner, s.dim))
