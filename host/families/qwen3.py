# SPDX-License-Identifier: Apache-2.0
"""Qwen3: a norm over each head of queries and keys before they are rotated; heads of a width of their own.

Yang et al., arXiv:2505.09388.
"""

from __future__ import annotations

from dataclasses import replace

from gguf import MODEL_ARCH

from host.families.parts.decoder import Decoder, HeadNorm, Names
from host.families.parts.family import Family
from host.families.parts.standard import standard, with_biases
from host.families.qwen2 import DEFAULTS, upper_windows
from host.files.fields import Fields


def read(fields: Fields) -> Decoder:
    """A head has 128 lanes where the config does not say."""
    d = standard(fields, DEFAULTS | {"head_dim": 128})
    return replace(
        d,
        attention=replace(with_biases(fields, d.attention), norm=HeadNorm.EACH),
        layers=upper_windows(fields, d),
        names=Names(q_norm="self_attn.q_norm", k_norm="self_attn.k_norm"),
    )


FAMILY = Family(
    read=read,
    refused=("mixtures of experts (qwen3_moe)",),
    gguf=MODEL_ARCH.QWEN3,
    gguf_biases={"attention_bias": "blk.0.attn_q.bias"},
    base="model.",
)
