# SPDX-License-Identifier: Apache-2.0
"""SentencePiece's: spaces become U+2581, one stands before the text, and each begins a piece."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from host.image.text.builder import Builder
from host.image.text.pattern import Unsupported, literal
from host.schema.tokens import PrependFlag, SplitFlag, StepKind
from host.tokens.splits import SPACE

TYPES = ("Metaspace",)


def add(builder: Builder, spec: Mapping[str, Any]) -> None:
    """Up to three steps."""
    if spec["replacement"] != SPACE:
        raise Unsupported(f"its pre-tokenizer Metaspace writes spaces as {spec['replacement']}")
    scheme = spec["prepend_scheme"]
    if scheme == "first" and builder.steps:
        raise Unsupported("its pre-tokenizer Metaspace begins the text behind other steps")
    builder.mark()
    if scheme != "never":
        flags = PrependFlag.MISSING | (PrependFlag.FIRST if scheme == "first" else 0)
        builder.step(StepKind.PREPEND, flags, text=SPACE)
    if spec.get("split", True):
        builder.cut(literal(SPACE), SplitFlag.MERGED_WITH_NEXT)
