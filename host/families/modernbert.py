# SPDX-License-Identifier: Apache-2.0
"""ModernBERT: rotated heads, gates, norms before the blocks; two layers of three see their neighbours alone.

Warner et al., arXiv:2412.13663.
"""

from __future__ import annotations

import re
from dataclasses import replace

from host.families.gemma3_text import rotations
from host.families.parts.decoder import Decoder, Dense, Head, Names, Norm
from host.families.parts.encoder import read_head, usual_context
from host.families.parts.family import Family
from host.families.parts.rope import read_rope
from host.families.parts.standard import activation, standard, windowed
from host.files.fields import Fields
from host.ops.norm import NormKind
from host.ops.pool import PoolKind
from host.schema.image import OutputKind

NAMES = Names(
    embedding="model.embeddings.tok_embeddings",
    embedding_norm="model.embeddings.norm",
    before_attention="attn_norm",
    qkv="attn.Wqkv",
    o="attn.Wo",
    before_mlp="mlp_norm",
    gate=None,
    gate_up="mlp.Wi",
    down="mlp.Wo",
    final="model.final_norm",
)
DEFAULTS = {"max_position_embeddings": 8192, "intermediate_size": 1152}
POOLS = {"cls": PoolKind.FIRST, "mean": PoolKind.MEAN}
USUAL = 512
"""Positions that are packed where nobody asks for more: a whole text is one step."""


def dense(fields: Fields, width: int) -> Dense:
    """The layer before a classifier."""
    kind = activation(fields, "classifier_activation", "gelu")
    return Dense("head.dense", width, kind, fields.flag("classifier_bias", False), "head.norm")


def head(fields: Fields, labels: tuple[str, ...], width: int) -> Head:
    """The first row, or the mean, through that layer."""
    pool = POOLS[fields.choice("classifier_pooling", tuple(POOLS), "cls")]
    return Head(OutputKind.LABELS, (pool,), (dense(fields, width), Dense("classifier", len(labels))), labels=labels)


def read(fields: Fields) -> Decoder:
    """``local_attention`` counts both sides; the first layer has no norm before its attention."""
    d = standard(replace(fields, values={**fields.values, "rope_parameters": None, "rope_scaling": None}), DEFAULTS)
    names = {"global_rope_theta": "rope_theta", "local_rope_theta": "rope_local_base_freq"}
    full, local = rotations(fields.renamed(names))
    rope = read_rope(full, d.attention.head_dim, d.context, 160000.0)
    near = read_rope(local, d.attention.head_dim, d.context, 1e4)
    every = fields.integer("global_attn_every_n_layers", 3)
    layers = windowed(fields, d, fields.integer("local_attention", 128, low=2) // 2, lambda i: i % every != 0)
    bias, inner = fields.flag("attention_bias", False), fields.flag("mlp_bias", False)
    for key in ("classifier_activation", "classifier_bias", "classifier_pooling", "decoder_bias"):
        fields.any(key)
    return replace(
        d,
        norm=Norm(NormKind.LAYER, fields.number("norm_eps", 1e-5), bias=fields.flag("norm_bias", False)),
        attention=replace(d.attention, qkv_bias=bias, o_bias=bias),
        mlp=replace(d.mlp, activation=activation(fields, "hidden_activation", "gelu"), bias=inner),
        layers=tuple(
            replace(layer, rope=near if layer.window else rope, normed=i > 0) for i, layer in enumerate(layers)
        ),
        tied=True,
        usual_context=usual_context(fields, min(d.context, USUAL)),
        head=read_head(fields, lambda labels: head(fields, labels, d.width), (dense(fields, d.width),)),
        names=NAMES,
    )


FAMILY = Family(
    read=read,
    refused=("texts of more than 512 tokens: a whole text is one step",),
    base="model.",
    ignored=re.compile(r"(?:head|decoder)\..*"),
)
