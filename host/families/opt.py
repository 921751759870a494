# SPDX-License-Identifier: Apache-2.0
"""OPT: learned positions behind two unused rows, ReLU, layer norms before the blocks or, in one size, after the sums.

Zhang et al., arXiv:2205.01068.
"""

from __future__ import annotations

from dataclasses import replace

from host.errors import SourceError
from host.families.parts.decoder import Attention, Decoder, Layer, Mlp, Names, Norm, Residual
from host.families.parts.family import Family
from host.families.parts.standard import MAX_LAYERS, activation, head_size
from host.files.fields import Fields
from host.ops.norm import NormKind

NAMES = Names(
    embedding="model.decoder.embed_tokens",
    positions="model.decoder.embed_positions",
    layer="model.decoder.layers.{}.",
    before_attention="self_attn_layer_norm",
    o="self_attn.out_proj",
    before_mlp="final_layer_norm",
    gate=None,
    up="fc1",
    down="fc2",
    final="model.decoder.final_layer_norm",
)


def read(fields: Fields) -> Decoder:
    """The keys have names of their own. An embedding of another width than the layers (OPT-350M) is refused."""
    width, heads = fields.integer("hidden_size"), fields.integer("num_attention_heads")
    if fields.integer("word_embed_proj_dim", width) != width:
        raise SourceError(
            f"{fields.where}: word_embed_proj_dim is not hidden_size (OPT-350M): positions would be added behind a "
            "product, which is not supported; the other sizes are"
        )
    if not fields.flag("layer_norm_elementwise_affine", True):
        raise SourceError(f"{fields.where}: norms without weights (layer_norm_elementwise_affine) are not supported")
    bias, before = fields.flag("enable_bias", True), fields.flag("do_layer_norm_before", True)
    head_dim = head_size(fields, width, heads)
    final = not fields.flag("_remove_final_layer_norm", False) and before
    return Decoder(
        vocab=fields.integer("vocab_size"),
        width=width,
        context=fields.integer("max_position_embeddings", 2048),
        norm=Norm(NormKind.LAYER, 1e-5, bias=True),
        attention=Attention(heads, heads, head_dim, qkv_bias=bias, o_bias=bias),
        mlp=Mlp(fields.integer("ffn_dim"), activation(fields, "activation_function", "relu"), bias=bias),
        layers=(Layer(float(head_dim) ** -0.5, rope=None),) * fields.integer("num_hidden_layers", high=MAX_LAYERS),
        tied=fields.flag("tie_word_embeddings", True),
        residual=Residual.PRE if before else Residual.POST,
        position_offset=2,
        names=NAMES if final else replace(NAMES, final=None),
    )


FAMILY = Family(read=read, refused=("OPT-350M: its embedding has another width than its layers",), base="model.")
