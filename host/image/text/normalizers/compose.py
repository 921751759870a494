# SPDX-License-Identifier: Apache-2.0
"""Unicode's normal forms."""

from __future__ import annotations

import functools
import struct
from collections.abc import Mapping
from typing import Any

import numpy as np

from host.image.text.automaton import classes_table
from host.image.text.builder import Builder, code_map
from host.image.text.charsets import CODES, ask
from host.image.text.pattern import Unsupported
from host.schema.tokens import StepKind

TYPES = ("NFC", "NFD", "NFKC", "NFKD")


def add(builder: Builder, spec: Mapping[str, Any]) -> None:
    """Parts, then pairs where the form is composed."""
    decompose(builder, compatible=spec["type"].startswith("NFK"))
    if spec["type"].endswith("C"):
        found = ask("pairs")
        table = struct.pack("<I", len(found)) + b"".join(struct.pack("<3I", *pair) for pair in found)
        builder.step(StepKind.COMPOSE, table=table + _combining())


def decompose(builder: Builder, compatible: bool) -> None:
    """Characters by their parts, in canonical order."""
    if builder.marked:
        raise Unsupported("its normalizer composes behind U+2581")
    table = code_map([(code, code, text.encode()) for code, text in ask("parts", compatible)])
    builder.step(StepKind.DECOMPOSE, table=struct.pack("<I", len(table)) + table + _combining())


@functools.cache
def _combining() -> bytes:
    """The characters' combining classes, as numbers that order as those do."""
    members = np.zeros(CODES, np.uint8)
    for code, number in ask("combining"):
        members[code] = number
    return classes_table(members, int(members.max()) + 1)
