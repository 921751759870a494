# SPDX-License-Identifier: Apache-2.0
"""OLMo 2: norms behind the blocks, none before them; a norm over all queries and one over all keys of a row.

Walsh et al., arXiv:2501.00656.
"""

from __future__ import annotations

from dataclasses import replace

from gguf import MODEL_ARCH

from host.families.parts.decoder import Decoder, HeadNorm, Names
from host.families.parts.family import Family
from host.families.parts.standard import standard, with_biases
from host.files.fields import Fields

NAMES = Names(
    before_attention=None,
    q_norm="self_attn.q_norm",
    k_norm="self_attn.k_norm",
    after_attention="post_attention_layernorm",
    before_mlp=None,
    after_mlp="post_feedforward_layernorm",
)


def read(fields: Fields) -> Decoder:
    """A Llama with its norms elsewhere."""
    d = standard(fields, {"rms_norm_eps": 1e-5})
    return replace(d, attention=replace(with_biases(fields, d.attention), norm=HeadNorm.WHOLE), names=NAMES)


FAMILY = Family(read=read, gguf=MODEL_ARCH.OLMO2, gguf_biases={"attention_bias": "blk.0.attn_q.bias"}, base="model.")
