# SPDX-License-Identifier: Apache-2.0
"""Which section lets a device tokenize a typed line: BPE where it says all, for every firmware knows it; or TOKENS."""

from __future__ import annotations

from dataclasses import replace

from host.files.source import Tokenizer
from host.image.bpe import bpe_section
from host.image.text.pattern import Unsupported
from host.image.text.section import tokens_section
from host.schema.image import SectionId
from host.tokens.sandbox import SandboxError
from host.tokens.tokenizer import codec_of

NOT_COMPOSED = (
    "the device does no NFC, so typed lines with decomposed or compatibility letters (as U+0958) "
    "may give other tokens than host run; pack the image again"
)
"""What to know of images with BPE tables whose tokenizer composes: they are of an earlier version."""


_made: list[tuple[Tokenizer, tuple[SectionId, bytes] | Unsupported]] = []
"""The last tokenizer and what became of it: a plan, what is said of it and its image ask for the same section."""


def text_section(tokenizer: Tokenizer) -> tuple[SectionId, bytes]:
    """The section and its bytes. Raises Unsupported, and the tokenizer's refusal where it is damaged."""
    if not _made or _made[0][0] != tokenizer:
        kept = replace(tokenizer, special=dict(tokenizer.special))
        try:
            _made[:] = [(kept, _section(tokenizer))]
        except Unsupported as reason:
            _made[:] = [(kept, reason)]
    found = _made[0][1]
    if isinstance(found, Unsupported):
        raise found
    return found


def _section(tokenizer: Tokenizer) -> tuple[SectionId, bytes]:
    try:
        return SectionId.BPE, bpe_section(tokenizer)
    except Unsupported:
        pass
    try:
        return SectionId.TOKENS, tokens_section(tokenizer)
    except SandboxError as error:
        raise Unsupported(f"the library cannot be asked what it does: {error}") from error


def why_no_terminal(tokenizer: Tokenizer) -> str | None:
    """Why a device cannot tokenize for this model; None where it can."""
    try:
        text_section(tokenizer)
    except Unsupported as reason:
        return str(reason)
    return None


def may_differ(tokenizer: Tokenizer) -> bool:
    """Whether BPE tables may give other tokens for lines that are not composed: they know no NFC."""
    normalizer = codec_of(tokenizer).facts().get("normalizer")
    return isinstance(normalizer, dict) and normalizer.get("type") == "NFC"
