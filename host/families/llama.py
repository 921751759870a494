# SPDX-License-Identifier: Apache-2.0
"""Llama and what shares its mathematics under its name: Llama 2 and 3, TinyLlama, SmolLM2.

Touvron et al., arXiv:2302.13971; grouped queries: Ainslie et al., arXiv:2305.13245.
"""

from __future__ import annotations

import re
from dataclasses import replace

from gguf import MODEL_ARCH

from host.families.parts.decoder import Decoder
from host.families.parts.family import Family
from host.families.parts.standard import standard, window, with_biases, within
from host.files.fields import Fields


def read(fields: Fields) -> Decoder:
    """Biases are the config's choice."""
    d = standard(fields)
    return replace(
        d,
        attention=with_biases(fields, d.attention),
        mlp=replace(d.mlp, bias=fields.flag("mlp_bias", False)),
        context=within(d.context, window(fields)),
    )


FAMILY = Family(
    read=read,
    compared=("SmolLM2-135M-Instruct in transformers, whole",),
    refused=("scalings of RoPE that depend on the length of the text (dynamic beyond the context of the model)",),
    gguf=MODEL_ARCH.LLAMA,
    gguf_biases={"attention_bias": "blk.0.attn_q.bias", "mlp_bias": "blk.0.ffn_gate.bias"},
    gguf_pairs=True,
    base="model.",
    ignored=re.compile(r"model\.layers\.\d+\.self_attn\.rotary_emb\.inv_freq"),
)
