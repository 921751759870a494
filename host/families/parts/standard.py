# SPDX-License-Identifier: Apache-2.0
"""The keys that most decoders share, under the names that transformers gives them: a record to begin with."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from host.errors import SourceError
from host.families.parts.activation import ACTIVATIONS
from host.families.parts.decoder import Attention, Decoder, Layer, Mlp, Norm
from host.families.parts.rope import read_rope
from host.files.fields import REQUIRED, Fields
from host.ops.norm import NormKind
from host.schema.image import Activation

MAX_LAYERS = 1024
MAX_HEAD_DIM = 1 << 16
LAYER_TYPES = {"full_attention", "sliding_attention"}
NO_WINDOW = (1 << 32) - 1
"""The largest window that files name."""


def activation(fields: Fields, key: str, default: str) -> Activation:
    """The activation that a key names. SourceError lists those that there are."""
    return ACTIVATIONS[fields.choice(key, tuple(ACTIVATIONS), default)]


def head_size(fields: Fields, width: int, heads: int) -> int:
    """Lanes of a head where the config does not say them: an equal share of the width."""
    if width % heads:
        raise SourceError(f"{fields.where}: a width of {width} is no multiple of {heads} heads; the config is damaged")
    if width // heads > MAX_HEAD_DIM:
        raise SourceError(f"{fields.where}: heads of {width // heads} lanes are not supported")
    return width // heads


def attention(fields: Fields, width: int, defaults: Mapping[str, Any]) -> Attention:
    """Grouped queries without biases."""
    heads = fields.integer("num_attention_heads")
    kv_heads = fields.integer("num_key_value_heads", defaults.get("num_key_value_heads", heads))
    if heads % kv_heads:
        raise SourceError(f"{fields.where}: {heads} attention heads cannot share {kv_heads} KV heads evenly")
    head_dim = (
        fields.integer("head_dim", defaults.get("head_dim", REQUIRED), high=MAX_HEAD_DIM)
        if fields.has("head_dim") or "head_dim" in defaults
        else head_size(fields, width, heads)
    )
    if head_dim % 2:
        raise SourceError(f"{fields.where}: a head dimension of {head_dim} (of {width}) is odd, RoPE needs pairs")
    return Attention(heads, kv_heads, head_dim)


def with_biases(fields: Fields, attention: Attention) -> Attention:
    """The attention with biases where the config chooses them, on all four products."""
    bias = fields.flag("attention_bias", False)
    return replace(attention, qkv_bias=bias, o_bias=bias)


def standard(fields: Fields, defaults: Mapping[str, Any] | None = None, partial: bool = False) -> Decoder:
    """A decoder with RMS norms before its blocks, grouped queries, rotated whole heads, a gate, and no bias anywhere.

    defaults: what the family's own class in transformers takes where a key is missing. partial: heads may be rotated in
    part.
    """
    d = dict(defaults or {})
    width = fields.integer("hidden_size")
    context = fields.integer("max_position_embeddings", d.get("max_position_embeddings", 2048))
    blocks = attention(fields, width, d)
    theta, part = d.get("rope_theta", 10000.0), d.get("partial_rotary_factor", 1.0)
    rope = read_rope(fields, blocks.head_dim, context, theta, partial, part)
    layer = Layer(scale=float(blocks.head_dim) ** -0.5, rope=rope)
    return Decoder(
        vocab=fields.integer("vocab_size"),
        width=width,
        context=context,
        norm=Norm(NormKind.RMS, fields.number("rms_norm_eps", d.get("rms_norm_eps", 1e-6))),
        attention=blocks,
        mlp=Mlp(
            width=fields.integer("intermediate_size", d.get("intermediate_size", REQUIRED)),
            activation=activation(fields, "hidden_act", "silu"),
        ),
        layers=(layer,) * fields.integer("num_hidden_layers", high=MAX_LAYERS),
        tied=fields.flag("tie_word_embeddings", d.get("tie_word_embeddings", False)),
    )


def windowed(fields: Fields, d: Decoder, size: int, sliding: Callable[[int], bool]) -> tuple[Layer, ...]:
    """The layers, a window of ``size`` on those that ``layer_types`` or, where it is missing, ``sliding`` says."""
    count = len(d.layers)
    kinds = fields.any("layer_types")
    if kinds is None:
        kinds = ["sliding_attention" if sliding(i) else "full_attention" for i in range(count)]
    if not isinstance(kinds, list) or len(kinds) != count or not set(map(str, kinds)) <= LAYER_TYPES:
        raise SourceError(
            f"{fields.where}: layer_types must name {' or '.join(sorted(LAYER_TYPES))} for each of the {count} layers"
        )
    if "sliding_attention" in kinds and not size:
        raise SourceError(f"{fields.where}: layer_types names sliding_attention, but there is no sliding_window")
    return tuple(
        replace(layer, window=size if kind == "sliding_attention" else 0)
        for layer, kind in zip(d.layers, kinds, strict=True)
    )


def window(fields: Fields, used: bool = True, default: int = 0) -> int:
    """Positions that a row of a windowed layer sees, itself among them; 0 where the config sets no window."""
    size = fields.integer(
        "sliding_window", default if "sliding_window" not in fields.values else 0, low=0, high=NO_WINDOW
    )
    return size if fields.flag("use_sliding_window", used) else 0


def within(context: int, size: int) -> int:
    """The context of a model whose rows see ``size`` positions at most (0: all): up to there nothing is cut."""
    return min(context, size or context)
