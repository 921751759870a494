# SPDX-License-Identifier: Apache-2.0
"""A text before every text."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from host.image.text.builder import Builder
from host.schema.tokens import StepKind

TYPES = ("Prepend",)


def add(builder: Builder, spec: Mapping[str, Any]) -> None:
    """One step."""
    builder.step(StepKind.PREPEND, text=spec["prepend"])
