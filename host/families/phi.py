# SPDX-License-Identifier: Apache-2.0
"""Phi-1.5 and Phi-2: blocks side by side behind one layer norm, heads rotated in part, biases everywhere.

Li et al., arXiv:2309.05463. A GGUF calls it "phi2".
"""

from __future__ import annotations

from dataclasses import replace

from gguf import MODEL_ARCH

from host.families.parts.decoder import Decoder, Names, Norm, Residual
from host.families.parts.family import Family
from host.families.parts.standard import activation, standard
from host.files.fields import Fields
from host.ops.norm import NormKind

NAMES = Names(
    o="self_attn.dense", before_mlp=None, gate=None, up="mlp.fc1", down="mlp.fc2", final="model.final_layernorm"
)
DEFAULTS = {"max_position_embeddings": 2048, "intermediate_size": 8192, "partial_rotary_factor": 0.5}


def read(fields: Fields) -> Decoder:
    """The output has a bias, too."""
    d = standard(fields, DEFAULTS, partial=True)
    return replace(
        d,
        norm=Norm(NormKind.LAYER, fields.number("layer_norm_eps", 1e-5), bias=True),
        attention=replace(d.attention, qkv_bias=True, o_bias=True),
        mlp=replace(d.mlp, activation=activation(fields, "hidden_act", "gelu_new"), bias=True),
        residual=Residual.PARALLEL,
        head_bias=True,
        names=NAMES,
    )


FAMILY = Family(read=read, gguf=MODEL_ARCH.PHI2, gguf_values={"hidden_act": "gelu_new"}, base="model.")
