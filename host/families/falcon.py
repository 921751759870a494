# SPDX-License-Identifier: Apache-2.0
"""Falcon: blocks side by side behind one norm or two, shared keys and values, one tensor for them by KV head.

Almazrouei et al., arXiv:2311.16867.
"""

from __future__ import annotations

from dataclasses import replace

from gguf import MODEL_ARCH

from host.families.gpt_neox import order
from host.families.parts.decoder import Decoder, Names, Norm, Residual
from host.families.parts.family import Family
from host.families.parts.standard import activation, standard
from host.files.fields import Fields
from host.ops.norm import NormKind

NAMES = Names(
    embedding="transformer.word_embeddings",
    layer="transformer.h.{}.",
    qkv="self_attention.query_key_value",
    o="self_attention.dense",
    gate=None,
    up="mlp.dense_h_to_4h",
    down="mlp.dense_4h_to_h",
    final="transformer.ln_f",
)
TWO_NORMS = {"before_attention": "ln_attn", "before_mlp": "ln_mlp"}


def kv_heads(fields: Fields, heads: int) -> int:
    """The older architecture has one for all heads, or one each."""
    old = 1 if fields.flag("multi_query", True) else heads
    new = fields.integer("num_kv_heads", heads)
    return new if fields.flag("new_decoder_architecture", False) else old


def read(fields: Fields) -> Decoder:
    """ALiBi in place of a rotation (Falcon-RW) is refused by its key."""
    width = fields.integer("hidden_size", fields.any("n_embed"))
    shared = kv_heads(fields, fields.integer("num_attention_heads"))
    values = {"num_key_value_heads": shared, "hidden_size": width}
    values["intermediate_size"] = fields.integer("ffn_hidden_size", 4 * width)
    d = standard(replace(fields, values={**fields.values, **values}), {"tie_word_embeddings": True})
    bias, parallel = fields.flag("bias", False), fields.flag("parallel_attn", True)
    new = fields.flag("new_decoder_architecture", False)
    two = fields.integer("num_ln_in_parallel_attn", 2 if new and fields.flag("two_norms", True) else 1, high=2) == 2
    names = NAMES if not parallel else replace(NAMES, **TWO_NORMS) if two else replace(NAMES, before_mlp=None)
    return replace(
        d,
        norm=Norm(NormKind.LAYER, fields.number("layer_norm_epsilon", 1e-5), bias=True),
        attention=replace(d.attention, qkv_bias=bias, o_bias=bias, order=order(fields)),
        mlp=replace(d.mlp, activation=activation(fields, "activation", "gelu"), bias=bias),
        residual=Residual.PARALLEL if parallel else Residual.PRE,
        names=names,
    )


FAMILY = Family(
    read=read,
    refused=("Falcon-RW: ALiBi in place of a rotation",),
    gguf=MODEL_ARCH.FALCON,
    gguf_keys={
        "layer_norm_eps": "layer_norm_epsilon",
        "num_key_value_heads": "num_kv_heads",
        "intermediate_size": "ffn_hidden_size",
    },
    gguf_biases={"two_norms": "blk.0.attn_norm_2.weight"},
    gguf_values={"sorted_qkv": True, "new_decoder_architecture": True},
    base="transformer.",
)
