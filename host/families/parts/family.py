# SPDX-License-Identifier: Apache-2.0
"""What a family's file says: how its configs become a `Decoder`, and how files hold its tensors."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from gguf import MODEL_ARCH

from host.families.parts.decoder import Decoder
from host.files.fields import Fields

NOTHING = re.compile(r"(?!)")
"""Matches no name."""


@dataclass(frozen=True)
class Family:
    """One model_type of config.json: the name of the file that says it."""

    read: Callable[[Fields], Decoder]
    """The record that a config stands for. SourceError names what is missing, contradictory or not supported."""
    compared: tuple[str, ...] = ()
    """Real models that were compared with another program, beside the small random ones that every family has."""
    refused: tuple[str, ...] = ()
    """Models of the family that are refused, each with the reason."""
    gguf: MODEL_ARCH | None = None
    """Whose table of names the family's GGUFs follow; its name is their general.architecture. None: there are none."""
    gguf_keys: Mapping[str, str] = field(default_factory=dict)
    """What the family's config.json calls a key of GGUF_KEYS, where it has another name for it."""
    gguf_biases: Mapping[str, str] = field(default_factory=dict)
    """Keys of config.json that a GGUF says by a tensor that it has or has not."""
    gguf_values: Mapping[str, Any] = field(default_factory=dict)
    """Keys that hold for every GGUF of the family."""
    gguf_pairs: bool = False
    """Whether GGUFs hold the rows of q and k with the two lanes of each rotated pair side by side."""
    prefix: str = ""
    """What files may put before all names but the output's, and `Names` do not."""
    base: str = ""
    """What a model that was saved without its output lacks before its names, where that is not ``prefix``."""
    ignored: re.Pattern[str] = NOTHING
    """Names in safetensors that are no weights: buffers that old versions stored."""
    transposed: re.Pattern[str] = NOTHING
    """Names whose safetensors hold [in, out]."""
