# SPDX-License-Identifier: Apache-2.0
"""Cut at digits, punctuation or white space, as the library itself takes them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from host.image.text.builder import BEHAVIOURS, Builder
from host.image.text.charsets import cutting, spaces
from host.schema.tokens import SplitFlag

TYPES = ("Digits", "Punctuation", "WhitespaceSplit", "BertPreTokenizer")


def add(builder: Builder, spec: Mapping[str, Any]) -> None:
    """One step; BERT's has two."""
    kind = spec["type"]
    if kind == "Digits":
        alone = spec["individual_digits"]
        builder.cut(cutting("Digits"), SplitFlag.ISOLATED if alone else SplitFlag.CONTIGUOUS)
    if kind in ("WhitespaceSplit", "BertPreTokenizer"):
        builder.cut(spaces(), SplitFlag.REMOVED)
    if kind == "BertPreTokenizer":
        builder.cut(cutting("Punctuation"), SplitFlag.ISOLATED)
    if kind == "Punctuation":
        builder.cut(cutting("Punctuation"), BEHAVIOURS[spec["behavior"]])
