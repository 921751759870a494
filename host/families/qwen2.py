# SPDX-License-Identifier: Apache-2.0
"""Qwen2 and Qwen2.5: biases on queries, keys and values; windows in the upper layers where a config asks for them.

Yang et al., arXiv:2407.10671.
"""

from __future__ import annotations

from dataclasses import replace

from gguf import MODEL_ARCH

from host.families.parts.decoder import Decoder, Layer
from host.families.parts.family import Family
from host.families.parts.standard import standard, window, windowed
from host.files.fields import Fields

DEFAULTS = {"num_key_value_heads": 32, "max_position_embeddings": 32768, "intermediate_size": 22016}


def upper_windows(fields: Fields, d: Decoder) -> tuple[Layer, ...]:
    """The layers from ``max_window_layers`` on see a window, if any do."""
    size = window(fields, used=False, default=4096)
    full = fields.integer("max_window_layers", 28, low=0)
    return windowed(fields, d, size, lambda i: bool(size) and i >= full)


def read(fields: Fields) -> Decoder:
    """Its biases are no key of the config."""
    d = standard(fields, DEFAULTS)
    return replace(d, attention=replace(d.attention, qkv_bias=True), layers=upper_windows(fields, d))


FAMILY = Family(read=read, gguf=MODEL_ARCH.QWEN2, base="model.")
