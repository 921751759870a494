# SPDX-License-Identifier: Apache-2.0
"""Normalizers that look at each character by itself."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from host.image.text.builder import Builder

TYPES = ("Lowercase", "StripAccents", "Nmt")


def add(builder: Builder, spec: Mapping[str, Any]) -> None:
    """One map."""
    builder.map(spec)
