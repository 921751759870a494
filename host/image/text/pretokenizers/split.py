# SPDX-License-Identifier: Apache-2.0
"""Cut by a pattern."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from host.image.text.builder import BEHAVIOURS, Builder
from host.image.text.pattern import literal
from host.schema.tokens import SplitFlag

TYPES = ("Split", "CharDelimiterSplit")


def add(builder: Builder, spec: Mapping[str, Any]) -> None:
    """One step; behind U+2581 no space is left that could be found."""
    if spec["type"] == "CharDelimiterSplit":
        builder.cut(literal(spec["delimiter"]), SplitFlag.REMOVED)
    elif not builder.marked or spec["pattern"] != {"String": " "} or spec["invert"]:
        builder.cut(builder.pattern(spec["pattern"]), BEHAVIOURS[spec["behavior"]], spec["invert"])
