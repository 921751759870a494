# SPDX-License-Identifier: Apache-2.0
"""What a pattern finds becomes another text."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from host.image.text.builder import Builder
from host.image.text.pattern import Unsupported
from host.schema.tokens import StepKind
from host.tokens.splits import SPACE

TYPES = ("Replace",)


def add(builder: Builder, spec: Mapping[str, Any]) -> None:
    """One step; spaces that become U+2581 are the device's own way to write it."""
    if spec["pattern"] == {"String": " "} and spec["content"] == SPACE:
        builder.mark()
        return
    if builder.marked and " " in spec["content"]:
        raise Unsupported("its normalizer makes spaces again")
    builder.step(StepKind.REPLACE, table=builder.automaton(builder.pattern(spec["pattern"])), text=spec["content"])
