# SPDX-License-Identifier: Apache-2.0
"""Granite 3: a Llama with factors for embedding, attention, residual and logits.

Granite team, IBM, "Granite 3.0 Language Models", 2024.
"""

from __future__ import annotations

from dataclasses import replace

from gguf import MODEL_ARCH

from host.families import llama
from host.families.parts.decoder import Decoder
from host.families.parts.family import Family
from host.families.parts.standard import standard, with_biases
from host.files.fields import Fields


def read(fields: Fields) -> Decoder:
    """Logits are divided by their factor; the attention's stands in place of 1 / sqrt(head_dim)."""
    d = standard(fields)
    scale = fields.number("attention_multiplier", 1.0)
    return replace(
        d,
        attention=with_biases(fields, d.attention),
        mlp=replace(d.mlp, bias=fields.flag("mlp_bias", False)),
        layers=tuple(replace(layer, scale=scale) for layer in d.layers),
        embedding_scale=fields.number("embedding_multiplier", 1.0),
        residual_scale=fields.number("residual_multiplier", 1.0),
        logit_scale=1.0 / fields.number("logits_scaling", 1.0),
    )


FAMILY = Family(
    read=read, gguf=MODEL_ARCH.GRANITE, gguf_biases=llama.FAMILY.gguf_biases, gguf_pairs=True, base="model."
)
