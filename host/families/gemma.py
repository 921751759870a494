# SPDX-License-Identifier: Apache-2.0
"""Gemma (the first): norms whose stored weight is the distance from one, a scaled embedding, a GELU gate, wide heads.

Mesnard et al., arXiv:2403.08295.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from gguf import MODEL_ARCH

from host.families.parts.decoder import Decoder, Norm
from host.families.parts.family import Family
from host.families.parts.standard import activation, standard, with_biases
from host.files.fields import Fields
from host.schema.bf16 import round_bf16
from host.schema.image import Activation

DEFAULTS = {
    "num_key_value_heads": 16,
    "head_dim": 256,
    "max_position_embeddings": 8192,
    "intermediate_size": 24576,
    "tie_word_embeddings": True,
}


def embedding_scale(fields: Fields, width: int) -> float:
    """The root of the width, rounded to bfloat16 where the model was trained in that: transformers computes it so."""
    scale = np.float32(width**0.5)
    if "bfloat16" not in (fields.any("dtype"), fields.any("torch_dtype")):
        return float(scale)
    return float(round_bf16(np.array([scale]))[0])


def from_one(fields: Fields, norm: Norm) -> Norm:
    """Norms of a Gemma: GGUFs hold whole weights, safetensors what is missing to one."""
    return replace(norm, offset=0.0 if fields.flag("whole_norm_weights", False) else 1.0)


def read(fields: Fields) -> Decoder:
    """Old configs say "gelu" and mean the tanh form, with which the weights were trained."""
    d = standard(fields, DEFAULTS)
    gelu = activation(fields, "hidden_activation" if fields.has("hidden_activation") else "hidden_act", "gelu")
    return replace(
        d,
        norm=from_one(fields, d.norm),
        attention=with_biases(fields, d.attention),
        mlp=replace(d.mlp, activation=Activation.GELU_TANH if gelu == Activation.GELU_ERF else gelu),
        embedding_scale=embedding_scale(fields, d.width),
    )


FAMILY = Family(read=read, gguf=MODEL_ARCH.GEMMA, gguf_values={"whole_norm_weights": True}, base="model.")
