# SPDX-License-Identifier: Apache-2.0
"""Mistral: a Llama whose rows see a window of positions.

Jiang et al., arXiv:2310.06825. Its GGUFs call themselves "llama".
"""

from __future__ import annotations

from dataclasses import replace

from host.families import llama
from host.families.parts.decoder import Decoder
from host.families.parts.family import Family
from host.families.parts.standard import standard, window, windowed
from host.files.fields import Fields

DEFAULTS = {"num_key_value_heads": 8, "max_position_embeddings": 4096 * 32, "intermediate_size": 14336}


def read(fields: Fields) -> Decoder:
    """No biases; a window of 4096 where the config does not say another or none."""
    d = standard(fields, DEFAULTS)
    size = window(fields, default=4096)
    return replace(d, layers=windowed(fields, d, size, lambda _: bool(size)))


FAMILY = Family(read=read, base="model.", ignored=llama.FAMILY.ignored)
