# SPDX-License-Identifier: Apache-2.0
"""Gemma 3, its language model: norms around each block and on heads, windows in five layers of six, two rotations.

Kamath et al., arXiv:2503.19786. A GGUF calls it "gemma3".
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from gguf import MODEL_ARCH

from host.families.gemma import embedding_scale, from_one
from host.families.parts.decoder import Decoder, HeadNorm, Names
from host.families.parts.family import Family
from host.families.parts.rope import read_rope
from host.families.parts.standard import activation, standard, window, windowed, with_biases
from host.files.fields import Fields

NAMES = Names(
    q_norm="self_attn.q_norm",
    k_norm="self_attn.k_norm",
    after_attention="post_attention_layernorm",
    before_mlp="pre_feedforward_layernorm",
    after_mlp="post_feedforward_layernorm",
)
DEFAULTS = {
    "num_key_value_heads": 4,
    "head_dim": 256,
    "max_position_embeddings": 131072,
    "intermediate_size": 9216,
    "tie_word_embeddings": True,
}
LAYERS_27B = 62
"""Layers of the one size whose queries are scaled otherwise than by the width of a head, which GGUFs do not say."""


def rotations(fields: Fields) -> tuple[Fields, Fields]:
    """The keys of the rotation of layers that see everything, and of those that see a window."""
    found = fields.any("rope_parameters")
    both: Mapping[str, Any] = found if isinstance(found, Mapping) else {}
    full = {"rope_theta": fields.any("rope_theta"), "rope_scaling": fields.any("rope_scaling")}
    local = {"rope_theta": fields.any("rope_local_base_freq")}
    return (
        Fields({**full, "rope_parameters": both.get("full_attention")}, fields.where),
        Fields({**local, "rope_parameters": both.get("sliding_attention")}, fields.where),
    )


def read(fields: Fields) -> Decoder:
    """Scalings of the rotation hold for the layers that see everything."""
    d = standard(replace(fields, values={**fields.values, "rope_parameters": None, "rope_scaling": None}), DEFAULTS)
    full, local = rotations(fields)
    rope = read_rope(full, d.attention.head_dim, d.context, 1e6)
    near = read_rope(local, d.attention.head_dim, d.context, 1e4)
    every = fields.integer("sliding_window_pattern", fields.any("_sliding_window_pattern") or 6)
    layers = windowed(fields, d, window(fields, default=4096), lambda i: (i + 1) % every != 0)
    whole = fields.flag("whole_norm_weights", False)
    implied = d.width // d.attention.heads if whole and len(layers) == LAYERS_27B else d.attention.head_dim
    scale = fields.number("query_pre_attn_scalar", implied if whole else 256) ** -0.5
    return replace(
        d,
        norm=from_one(fields, d.norm),
        attention=replace(with_biases(fields, d.attention), norm=HeadNorm.EACH),
        mlp=replace(d.mlp, activation=activation(fields, "hidden_activation", "gelu_pytorch_tanh")),
        layers=tuple(replace(layer, scale=scale, rope=near if layer.window else rope) for layer in layers),
        embedding_scale=embedding_scale(fields, d.width),
        names=NAMES,
    )


FAMILY = Family(
    read=read,
    refused=("the part that reads pictures: give the language model alone",),
    gguf=MODEL_ARCH.GEMMA3,
    gguf_values={"whole_norm_weights": True},
    base="model.",
)
