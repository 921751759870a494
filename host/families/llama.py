# SPDX-License-Identifier: Apache-2.0
"""Llama and what shares its mathematics under model_type "llama": TinyLlama, SmolLM2, Llama 2 and 3.

Touvron et al., arXiv:2302.13971; grouped-query attention, Ainslie et al., arXiv:2305.13245.
"""

from __future__ import annotations

from dataclasses import dataclass

from host.errors import SourceError
from host.families.common import activation, integer, number, refuse, vector, weight
from host.families.rope import rope_frequencies
from host.files.source import Source
from host.ir.graph import Builder, Graph, StateSpec, Value, Vector
from host.schema.image import Activation, NormKind

NEUTRAL = {
    "sliding_window": (0,),
    "use_sliding_window": (False,),
    "attn_logit_softcapping": (),
    "final_logit_softcapping": (),
    "partial_rotary_factor": (1, 1.0),
    "num_local_experts": (0, 1),
    "num_experts": (0, 1),
    "embedding_multiplier": (1, 1.0),
    "residual_multiplier": (1, 1.0),
    "attention_multiplier": (),
    "logits_scaling": (1, 1.0),
    "quantization_config": (),
    "is_decoder": (True, False),
}


@dataclass(frozen=True)
class Shape:
    """The numbers of one model."""

    dim: int
    hidden: int
    heads: int
    kv_heads: int
    head_dim: int
    eps: float
    attention_bias: bool
    mlp_bias: bool
    activation: Activation


def _shape(source: Source) -> Shape:
    config = source.config
    dim, heads = integer(config, "hidden_size"), integer(config, "num_attention_heads")
    if config.get("head_dim") is None and dim % heads:
        raise SourceError(f"the config's hidden_size {dim} is not a multiple of its {heads} attention heads")
    kv_heads = integer(config, "num_key_value_heads", heads)
    if heads % kv_heads:
        raise SourceError(f"the config has {heads} attention heads, which is not a multiple of {kv_heads} KV heads")
    return Shape(
        dim=dim,
        hidden=integer(config, "intermediate_size"),
        heads=heads,
        kv_heads=kv_heads,
        head_dim=integer(config, "head_dim", dim // heads),
        eps=number(config, "rms_norm_eps", 1e-6),
        attention_bias=bool(config.get("attention_bias", False)),
        mlp_bias=bool(config.get("mlp_bias", False)),
        activation=activation(config.get("hidden_act", "silu")),
    )


def build(source: Source) -> Graph:
    """The unfused graph. SourceError names what is missing, contradictory or not supported."""
    refuse(source, NEUTRAL)
    s, config = _shape(source), source.config
    vocab, layers = integer(config, "vocab_size"), integer(config, "num_hidden_layers")
    graph = Graph(vocab, s.dim, layers, integer(config, "max_position_embeddings", 2048), learned_positions=False)
    b = Builder(graph)
    table = weight(source, "model.embed_tokens.weight", vocab, s.dim)
    x = b.embed(table)  # [rows][dim]
    for i in range(layers):
        x = _attention(b, source, s, i, x)
        x = _mlp(b, source, s, f"model.layers.{i}.", f"{i}.", x)
    x = b.gather(x)
    x = b.norm("final", x, NormKind.RMS, s.eps, vector(source, "model.norm.weight", s.dim), None)
    tied = bool(config.get("tie_word_embeddings", False))
    head = table if tied else weight(source, "lm_head.weight", vocab, s.dim)
    graph.logits = b.linear("logits", x, head, output=True)
    return graph


def _attention(b: Builder, source: Source, s: Shape, i: int, x: Value) -> Value:
    """Attention block: x + Wo attention(rope(Wq h), rope(Wk h), Wv h) with h = norm(x)."""
    frequencies, factor = rope_frequencies(source.config, s.head_dim)
    base = f"model.layers.{i}."
    q_width, kv_width = s.heads * s.head_dim, s.kv_heads * s.head_dim

    def project(letter: str, src: Value, rows: int, cols: int) -> Value:
        name = f"{base}self_attn.{letter}_proj"
        bias = vector(source, f"{name}.bias", rows) if s.attention_bias else None
        return b.linear(f"{i}.{letter}", src, weight(source, f"{name}.weight", rows, cols), bias)

    scale = vector(source, f"{base}input_layernorm.weight", s.dim)
    h = b.norm(f"{i}.attn_norm", x, NormKind.RMS, s.eps, scale, None)  # [rows][dim]
    q = project("q", h, q_width, s.dim)  # [rows][heads * head_dim]
    k = project("k", h, kv_width, s.dim)  # [rows][kv_heads * head_dim]
    v = project("v", h, kv_width, s.dim)
    table = b.rope_table(Vector("rope_frequencies", frequencies), factor)
    q = b.rope(q, table, s.heads, s.head_dim)
    k = b.rope(k, table, s.kv_heads, s.head_dim)
    spec = StateSpec(s.kv_heads, s.head_dim)
    mixed = b.attention(f"{i}.attention", q, k, v, spec, s.heads, float(s.head_dim) ** -0.5)
    return b.add(f"{i}.attn_residual", x, project("o", mixed, s.dim, q_width))


def _mlp(b: Builder, source: Source, s: Shape, base: str, label: str, x: Value) -> Value:
    """Feed-forward block: x + Wdown (act(Wgate h) * Wup h) with h = norm(x)."""

    def project(name: str, src: Value, rows: int, cols: int) -> Value:
        full = f"{base}mlp.{name}_proj"
        bias = vector(source, f"{full}.bias", rows) if s.mlp_bias else None
        return b.linear(label + name, src, weight(source, f"{full}.weight", rows, cols), bias)

    scale = vector(source, f"{base}post_attention_layernorm.weight", s.dim)
    h = b.norm(f"{label}mlp_norm", x, NormKind.RMS, s.eps, scale, None)
    gate = b.activate(f"{label}act", project("gate", h, s.hidden, s.dim), s.activation)  # [rows][hidden]
    up = project("up", h, s.hidden, s.dim)
    down = project("down", b.multiply(f"{label}gated", gate, up), s.dim, s.hidden)
    return b.add(f"{label}mlp_residual", x, down)
