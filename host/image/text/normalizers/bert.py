# SPDX-License-Identifier: Apache-2.0
"""BERT's: control characters away, spaces around Chinese characters, accents away, lower case; in this order."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from host.image.text.builder import Builder
from host.image.text.normalizers.compose import decompose

TYPES = ("BertNormalizer",)
PARTS = ("clean_text", "handle_chinese_chars", "strip_accents", "lowercase")


def add(builder: Builder, spec: Mapping[str, Any]) -> None:
    """Maps, with the parts of characters between them where accents vanish."""
    wanted = {part: bool(spec[part]) for part in PARTS}
    if spec["strip_accents"] is None:
        wanted["strip_accents"] = wanted["lowercase"]

    def only(*parts: str) -> dict[str, Any]:
        return {"type": "BertNormalizer"} | {part: part in parts and wanted[part] for part in PARTS}

    if wanted["clean_text"] or wanted["handle_chinese_chars"]:
        builder.map(only("clean_text", "handle_chinese_chars"))
    if wanted["strip_accents"]:
        decompose(builder, compatible=False)
        builder.map(only("strip_accents"), removing=True)
    if wanted["lowercase"]:
        builder.map(only("lowercase"))
