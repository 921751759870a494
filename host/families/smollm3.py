# SPDX-License-Identifier: Apache-2.0
"""SmolLM3: a Llama of which every fourth layer does not rotate its heads.

Bakouch et al., "SmolLM3: smol, multilingual, long-context reasoner", 2025; layers without positions: arXiv:2501.18795.
"""

from __future__ import annotations

from dataclasses import replace

from gguf import MODEL_ARCH

from host.errors import SourceError
from host.families import llama
from host.families.parts.decoder import Decoder
from host.families.parts.family import Family
from host.families.parts.standard import standard, window, windowed, with_biases
from host.files.fields import Fields

DEFAULTS = {
    "num_key_value_heads": 4,
    "max_position_embeddings": 32768,
    "intermediate_size": 11008,
    "tie_word_embeddings": True,
}


def rotated(fields: Fields, count: int) -> list[bool]:
    """Which layers rotate: those where ``no_rope_layers``, against its name, is 1."""
    every = fields.integer("no_rope_layer_interval", 4)
    flags = fields.any("no_rope_layers")
    if flags is None:
        return [(i + 1) % every != 0 for i in range(count)]
    if not isinstance(flags, list) or len(flags) != count or not all(flag in (0, 1) for flag in flags):
        raise SourceError(f"{fields.where}: no_rope_layers must be 0 or 1 for each of the {count} layers")
    return [bool(flag) for flag in flags]


def read(fields: Fields) -> Decoder:
    """Windows, where a config asks for them, are on the layers that do not rotate."""
    d = standard(fields, DEFAULTS)
    ropes = rotated(fields, len(d.layers))
    size = window(fields, used=False)
    layers = windowed(fields, d, size, lambda i: bool(size) and not ropes[i])
    return replace(
        d,
        attention=with_biases(fields, d.attention),
        mlp=replace(d.mlp, bias=fields.flag("mlp_bias", False)),
        layers=tuple(layer if rope else replace(layer, rope=None) for layer, rope in zip(layers, ropes, strict=True)),
    )


FAMILY = Family(
    read=read, gguf=MODEL_ARCH.SMOLLM3, gguf_biases=llama.FAMILY.gguf_biases, gguf_pairs=True, base="model."
)
