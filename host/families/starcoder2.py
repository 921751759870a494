# SPDX-License-Identifier: Apache-2.0
"""StarCoder2: grouped queries, layer norms, a feed-forward block without a gate, biases, a window.

Lozhkov et al., arXiv:2402.19173.
"""

from __future__ import annotations

from dataclasses import replace

from gguf import MODEL_ARCH

from host.families.parts.decoder import Decoder, Names, Norm
from host.families.parts.family import Family
from host.families.parts.standard import activation, standard, window, windowed
from host.files.fields import Fields
from host.ops.norm import NormKind

NAMES = Names(gate=None, up="mlp.c_fc", down="mlp.c_proj")
DEFAULTS = {"num_key_value_heads": 2, "max_position_embeddings": 4096, "tie_word_embeddings": True}


def read(fields: Fields) -> Decoder:
    """One key chooses all biases."""
    d = standard(fields, DEFAULTS)
    bias, size = fields.flag("use_bias", True), window(fields)
    return replace(
        d,
        norm=Norm(NormKind.LAYER, fields.number("norm_epsilon", 1e-5), bias=True),
        attention=replace(d.attention, qkv_bias=bias, o_bias=bias),
        mlp=replace(d.mlp, activation=activation(fields, "hidden_act", "gelu_pytorch_tanh"), bias=bias),
        layers=windowed(fields, d, size, lambda _: bool(size)),
        names=NAMES,
    )


FAMILY = Family(
    read=read,
    gguf=MODEL_ARCH.STARCODER2,
    gguf_keys={"layer_norm_eps": "norm_epsilon"},
    gguf_biases={"use_bias": "blk.0.attn_q.bias"},
    gguf_values={"hidden_act": "gelu_pytorch_tanh"},
    base="model.",
)
