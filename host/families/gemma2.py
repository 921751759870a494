# SPDX-License-Identifier: Apache-2.0
"""Gemma 2: norms around each block, windows in every other layer, bounded scores and logits.

Gemma Team, arXiv:2408.00118.
"""

from __future__ import annotations

from dataclasses import replace

from gguf import MODEL_ARCH

from host.families.gemma import embedding_scale, from_one
from host.families.parts.decoder import Decoder, Names
from host.families.parts.family import Family
from host.families.parts.standard import activation, standard, window, windowed, with_biases
from host.files.fields import Fields

NAMES = Names(
    after_attention="post_attention_layernorm",
    before_mlp="pre_feedforward_layernorm",
    after_mlp="post_feedforward_layernorm",
)
DEFAULTS = {
    "num_key_value_heads": 4,
    "head_dim": 256,
    "max_position_embeddings": 8192,
    "intermediate_size": 9216,
    "tie_word_embeddings": True,
}
LAYERS_27B = 46
"""Layers of the one size whose queries are scaled otherwise than by the width of a head, which GGUFs do not say."""


def bound(fields: Fields, key: str, default: float) -> float:
    """A cap. Null stands for none, a missing key for the default."""
    return fields.number(key) if fields.has(key) else 0.0 if key in fields.values else default


def read(fields: Fields) -> Decoder:
    """The first layer has a window."""
    d = standard(fields, DEFAULTS)
    layers = windowed(fields, d, window(fields, default=4096), lambda i: i % 2 == 0)
    whole = fields.flag("whole_norm_weights", False)
    implied = d.width // d.attention.heads if whole and len(layers) == LAYERS_27B else d.attention.head_dim
    scale = fields.number("query_pre_attn_scalar", implied if whole else 256) ** -0.5
    return replace(
        d,
        norm=from_one(fields, d.norm),
        attention=replace(with_biases(fields, d.attention), softcap=bound(fields, "attn_logit_softcapping", 50.0)),
        mlp=replace(d.mlp, activation=activation(fields, "hidden_activation", "gelu_pytorch_tanh")),
        layers=tuple(replace(layer, scale=scale) for layer in layers),
        embedding_scale=embedding_scale(fields, d.width),
        logit_cap=bound(fields, "final_logit_softcapping", 30.0),
        names=NAMES,
    )


FAMILY = Family(read=read, gguf=MODEL_ARCH.GEMMA2, gguf_values={"whole_norm_weights": True}, base="model.")
