# SPDX-License-Identifier: Apache-2.0
"""Phi-3 and Phi-4-mini: one tensor for queries, keys and values, one for gate and up; a window; LongRoPE.

Abdin et al., arXiv:2404.14219. LongRoPE has divisors for contexts up to the original one and others beyond it; keys
that are cached cannot change theirs, so those of the context that is packed hold for all positions.
"""

from __future__ import annotations

from dataclasses import replace

from gguf import MODEL_ARCH

from host.families.parts.decoder import Decoder, Names
from host.families.parts.family import Family
from host.families.parts.standard import standard, window, windowed, within
from host.files.fields import Fields

NAMES = Names(qkv="self_attn.qkv_proj", gate=None, gate_up="mlp.gate_up_proj")
DEFAULTS = {"max_position_embeddings": 4096, "rms_norm_eps": 1e-5}


def read(fields: Fields) -> Decoder:
    """Heads may be rotated in part."""
    d = standard(fields, DEFAULTS, partial=True)
    size = window(fields)
    original = fields.integer("original_max_position_embeddings", d.context)
    longer = any(layer.rope and layer.rope.beyond for layer in d.layers)
    return replace(
        d,
        context=d.context if longer else within(d.context, original),
        usual_context=within(d.context, original),
        layers=windowed(fields, d, size, lambda _: bool(size)),
        names=NAMES,
    )


FAMILY = Family(
    read=read,
    refused=(
        "mixtures of experts (Phi-3.5-MoE)",
        "vision models",
    ),
    gguf=MODEL_ARCH.PHI3,
    base="model.",
)
