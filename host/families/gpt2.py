# SPDX-License-Identifier: Apache-2.0
"""GPT-2 and DistilGPT2: learned positions, layer norms, one tensor for queries, keys and values, biases everywhere.

Radford et al., "Language Models are Unsupervised Multitask Learners", 2019. Its linear weights are stored [in, out].
"""

from __future__ import annotations

import re

from gguf import MODEL_ARCH

from host.families.parts.decoder import Attention, Decoder, Layer, Mlp, Names, Norm
from host.families.parts.family import Family
from host.families.parts.standard import MAX_LAYERS, activation, head_size
from host.files.fields import Fields
from host.ops.norm import NormKind

NAMES = Names(
    embedding="wte",
    positions="wpe",
    layer="h.{}.",
    before_attention="ln_1",
    qkv="attn.c_attn",
    o="attn.c_proj",
    before_mlp="ln_2",
    gate=None,
    up="mlp.c_fc",
    down="mlp.c_proj",
    final="ln_f",
    label="h.{}.",
)


def read(fields: Fields) -> Decoder:
    """The keys have names of their own."""
    width, heads = fields.integer("n_embd"), fields.integer("n_head")
    head_dim = head_size(fields, width, heads)
    scale = float(head_dim) ** -0.5 if fields.flag("scale_attn_weights", True) else 1.0
    by_layer = fields.flag("scale_attn_by_inverse_layer_idx", False)
    layers = fields.integer("n_layer", high=MAX_LAYERS)
    return Decoder(
        vocab=fields.integer("vocab_size"),
        width=width,
        context=fields.integer("n_positions", fields.any("n_ctx") or 1024),
        norm=Norm(NormKind.LAYER, fields.number("layer_norm_epsilon", 1e-5), bias=True),
        attention=Attention(heads, heads, head_dim, qkv_bias=True, o_bias=True),
        mlp=Mlp(
            width=fields.integer("n_inner", 4 * width),
            activation=activation(fields, "activation_function", "gelu_new"),
            bias=True,
        ),
        layers=tuple(Layer(scale=scale / (i + 1 if by_layer else 1), rope=None) for i in range(layers)),
        tied=fields.flag("tie_word_embeddings", True),
        names=NAMES,
    )


FAMILY = Family(
    read=read,
    gguf=MODEL_ARCH.GPT2,
    gguf_keys={
        "hidden_size": "n_embd",
        "intermediate_size": "n_inner",
        "num_hidden_layers": "n_layer",
        "num_attention_heads": "n_head",
        "max_position_embeddings": "n_positions",
        "layer_norm_eps": "layer_norm_epsilon",
    },
    prefix="transformer.",
    ignored=re.compile(r"h\.\d+\.attn\.(?:bias|masked_bias)"),
    transposed=re.compile(r"h\.\d+\.(?:attn\.c_attn|attn\.c_proj|mlp\.c_fc|mlp\.c_proj)\.weight"),
)
