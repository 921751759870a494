# SPDX-License-Identifier: Apache-2.0
"""A family that nobody has: a Llama whose tensors have names of their own and whose embedding is always tied."""

from __future__ import annotations

from dataclasses import replace

from host.families.parts.decoder import Decoder, Names
from host.families.parts.family import Family
from host.families.parts.standard import standard
from host.files.fields import Fields

NAMES = Names(
    embedding="trunk.tokens",
    layer="trunk.{}.",
    before_attention="norm_1",
    q="q",
    k="k",
    v="v",
    o="o",
    before_mlp="norm_2",
    gate="gate",
    up="up",
    down="down",
    final="trunk.norm",
)


def read(fields: Fields) -> Decoder:
    """All sizes are the config's."""
    return replace(standard(fields, {"tie_word_embeddings": True}), names=NAMES)


FAMILY = Family(read=read)
