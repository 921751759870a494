# SPDX-License-Identifier: Apache-2.0
"""GPT-2's: its own pattern, and bytes as characters, which the device leaves as bytes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from host.image.text.builder import Builder
from host.image.text.pattern import Unsupported, parse
from host.schema.tokens import PrependFlag, SplitFlag, StepKind
from host.tokens.splits import GPT2

TYPES = ("ByteLevel",)


def add(builder: Builder, spec: Mapping[str, Any]) -> None:
    """A space before each piece where it is wanted, and the pattern."""
    if builder.marked or builder.bytes:
        raise Unsupported("its pre-tokenizer makes bytes of U+2581, or of bytes")
    if spec["add_prefix_space"]:
        builder.step(StepKind.PREPEND, PrependFlag.MISSING, text=" ")
    if spec.get("use_regex", True):
        builder.cut(parse(GPT2), SplitFlag.ISOLATED)
    builder.bytes = True
