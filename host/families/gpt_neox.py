# SPDX-License-Identifier: Apache-2.0
"""GPT-NeoX and Pythia: blocks side by side, heads rotated in part, one tensor for queries, keys and values by head.

Black et al., arXiv:2204.06745; Biderman et al., arXiv:2304.01373.
"""

from __future__ import annotations

import re
from dataclasses import replace

from gguf import MODEL_ARCH

from host.families.parts.decoder import Decoder, Names, Norm, QkvOrder, Residual
from host.families.parts.family import Family
from host.families.parts.standard import activation, standard
from host.files.fields import Fields
from host.ops.norm import NormKind

NAMES = Names(
    embedding="gpt_neox.embed_in",
    layer="gpt_neox.layers.{}.",
    qkv="attention.query_key_value",
    o="attention.dense",
    gate=None,
    up="mlp.dense_h_to_4h",
    down="mlp.dense_4h_to_h",
    final="gpt_neox.final_layer_norm",
    head="embed_out",
)
DEFAULTS = {"max_position_embeddings": 2048, "partial_rotary_factor": 0.25}


def order(fields: Fields) -> QkvOrder:
    """Converters to GGUF sort the rows."""
    return QkvOrder.BLOCKS if fields.flag("sorted_qkv", False) else QkvOrder.GROUPS


def read(fields: Fields) -> Decoder:
    """Old configs have names of their own for the keys of the rotation."""
    d = standard(
        fields.renamed({"rotary_pct": "partial_rotary_factor", "rotary_emb_base": "rope_theta"}), DEFAULTS, partial=True
    )
    bias = fields.flag("attention_bias", True)
    return replace(
        d,
        norm=Norm(NormKind.LAYER, fields.number("layer_norm_eps", 1e-5), bias=True),
        attention=replace(d.attention, qkv_bias=bias, o_bias=bias, order=order(fields)),
        mlp=replace(d.mlp, activation=activation(fields, "hidden_act", "gelu"), bias=True),
        residual=Residual.PARALLEL if fields.flag("use_parallel_residual", True) else Residual.PRE,
        names=NAMES,
    )


FAMILY = Family(
    read=read,
    gguf=MODEL_ARCH.GPTNEOX,
    gguf_keys={"gptneox.use_parallel_residual": "use_parallel_residual"},
    gguf_values={"sorted_qkv": True},
    base="gpt_neox.",
    ignored=re.compile(r"gpt_neox\.layers\.\d+\.attention\.(?:bias|masked_bias|rotary_emb\.inv_freq)"),
)
