# SPDX-License-Identifier: Apache-2.0
"""2,000 random texts for each kind of tokenizer: the host's ids, a reference's, and the device's tables'.

The reference of a tokenizer.json is the library ``tokenizers`` itself, which transformers uses too. That of a GGUF is
tests/support/strings.py, which shares no code with the host and was compared with llama.cpp (of llama-cpp-python
0.3.36); of the splits "tekken" and "gpt-4o" the patterns are the models' own, which llama.cpp approximates.
"""

from __future__ import annotations

import importlib.util
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from host.files.source import Tokenizer
from host.image.device_text import why_no_terminal
from host.tokens.gguf_tokenizer import gguf_tokenizer
from host.tokens.splits import GPT2, SPLITS, Split
from host.tokens.tokenizer import codec_of
from tests.support.device_tokenizer import Device, image_source
from tests.support.native import Native
from tests.support.strings import ByteReference, PieceReference, gguf_bytes, gguf_pieces, wild_texts
from tests.support.texts import trained
from tests.support.tiny import tiny_image
from tests.support.token_families import FAMILIES, MORE, described
from tools.assure.common import Missing, Row

COUNT = 2000
MAX_BYTES = 4096
"""Of a line on the device."""
SEED = 20261128


@dataclass(frozen=True)
class Kind:
    """One kind of tokenizer, and ids by its reference."""

    name: str
    tokenizer: Tokenizer
    reference: Callable[[str], list[int]]


def _made(metadata: dict[str, object]) -> Tokenizer:
    tokenizer = gguf_tokenizer(metadata, "strings")
    assert tokenizer is not None
    return tokenizer


def _byte_kind(split: Split) -> Kind:
    metadata = gguf_bytes(split.names[0])
    patterns = ([r"\p{N}"] if split.digits else []) + list(split.patterns or [GPT2])
    reference = ByteReference(metadata, patterns, split.whole_words, split.nfc)
    more = f" and {len(split.names) - 1} more names" if len(split.names) > 1 else ""
    return Kind(f"GGUF {split.names[0]}{more}", _made(metadata), reference.encode)


def kinds() -> Iterator[Kind]:
    """Every kind that is supported."""
    libraries = {name: trained(name) for name in ("gpt2", "smollm", "llama3", "qwen2", "sentencepiece")}
    libraries |= {name: make() for name, make in (FAMILIES | MORE).items() if not name.startswith("split ")}
    for name, library in libraries.items():
        yield Kind(
            f"tokenizer.json {name}",
            described(library),
            lambda text, library=library: list(library.encode(text, add_special_tokens=False).ids),  # type: ignore[misc]
        )
    yield from map(_byte_kind, SPLITS)
    runs = {"\u2581" * n: 4 for n in (2, 3, 4)}
    for scores in ("ranked", "equal", "groups", "none"):
        for words, changed in (("", {}), (", unused pieces", {"the": 5, "==": 5}), (", user-defined pieces", runs)):
            metadata = gguf_pieces(changed, scores)
            yield Kind(f"GGUF llama, scores {scores}{words}", _made(metadata), PieceReference(metadata).encode)
    metadata = gguf_pieces({}, "ranked", prefix=False)
    yield Kind("GGUF llama, no space before", _made(metadata), PieceReference(metadata).encode)


def measure(kind: Kind, texts: list[str], folder: Path) -> Row:
    """The row of a kind: texts whose ids differ from the reference's, and from the device's where it has tables."""
    codec, reason = codec_of(kind.tokenizer), why_no_terminal(kind.tokenizer)
    ours = [codec.encode(text) for text in texts]
    wrong = sum(ids != kind.reference(text) for ids, text in zip(ours, texts, strict=True))
    words, device_wrong = f"no tables: {reason}", 0
    if reason is None:
        tiny_image(folder / "tiny.hsp", image_source(kind.tokenizer))
        device, tried = Device(Native(1), folder / "tiny.hsp"), 0
        for ids, text in zip(ours, texts, strict=True):
            if len(text.encode()) <= MAX_BYTES:
                tried += 1
                device_wrong += device.encode(text) != ids
        words = f"device {device_wrong} of {tried:,}"
    measured = f"differ: host {wrong} of {len(texts):,}; {words}"
    return Row(f"strings: {kind.name}", measured, "0", not wrong and not device_wrong)


def rows(_full: bool) -> list[Row]:
    """One row a kind. Raises Missing without the module that the references cut with."""
    if importlib.util.find_spec("regex") is None:
        raise Missing("regex is not installed: pip install 'hartspeak[reference]' brings it")
    texts = wild_texts(SEED, COUNT)
    with tempfile.TemporaryDirectory() as folder:
        return [measure(kind, texts, Path(folder)) for kind in kinds()]
