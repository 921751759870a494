# SPDX-License-Identifier: Apache-2.0
"""White space at the ends vanishes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from host.image.text.automaton import classes_table
from host.image.text.builder import Builder
from host.image.text.charsets import spaces
from host.image.text.pattern import Unsupported
from host.schema.tokens import StepKind, StripFlag

TYPES = ("Strip",)


def add(builder: Builder, spec: Mapping[str, Any]) -> None:
    """One step."""
    if builder.marked:
        raise Unsupported("its normalizer strips behind U+2581")
    flags = (StripFlag.LEFT if spec["strip_left"] else 0) | (StripFlag.RIGHT if spec["strip_right"] else 0)
    builder.step(StepKind.STRIP, flags, classes_table(spaces().astype(np.uint8), 2))
