# SPDX-License-Identifier: Apache-2.0
"""StableLM: layer norms with a bias, heads rotated in part, and in some sizes blocks side by side.

Bellagente et al., arXiv:2402.17834.
"""

from __future__ import annotations

from dataclasses import replace

from gguf import MODEL_ARCH

from host.families.parts.decoder import Decoder, Names, Norm, Residual
from host.families.parts.family import Family
from host.families.parts.standard import standard
from host.files.fields import Fields
from host.ops.norm import NormKind

DEFAULTS = {"num_key_value_heads": 32, "max_position_embeddings": 4096, "partial_rotary_factor": 0.25}


def read(fields: Fields) -> Decoder:
    """Blocks side by side share one norm."""
    d = standard(fields, DEFAULTS, partial=True)
    parallel = fields.flag("use_parallel_residual", False)
    return replace(
        d,
        norm=Norm(NormKind.LAYER, fields.number("layer_norm_eps", 1e-5), bias=True),
        attention=replace(d.attention, qkv_bias=fields.flag("use_qkv_bias", False)),
        residual=Residual.PARALLEL if parallel else Residual.PRE,
        names=Names(before_mlp=None) if parallel else Names(),
    )


FAMILY = Family(
    read=read,
    refused=("norms with a weight of its own for each head (qk_layernorm)",),
    gguf=MODEL_ARCH.STABLELM,
    gguf_keys={"stablelm.use_parallel_residual": "use_parallel_residual"},
    gguf_biases={"use_qkv_bias": "blk.0.attn_q.bias"},
    base="model.",
)
