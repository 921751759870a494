# SPDX-License-Identifier: Apache-2.0
"""The section TOKENS against bytes that are no tables, and against what a later version may bring."""

from __future__ import annotations

import contextlib
import random
from pathlib import Path

import pytest

from host.errors import BY_NUMBER, DeviceFailure
from host.schema.image import BPE_BYTES, BpeMerge, SectionId
from host.schema.tokens import TokenAdded, TokenModel, Tokens, TokenStep
from tests.fuzz.images import write_tokens
from tests.support.device_tokenizer import Device
from tests.support.images import ImageEditor
from tests.support.native import Native

TEXTS = (
    "The quick  brown\n\nfox's 123 \u00e9.<|im_start|> own",
    "A\u0301\u200d e\u0323\u0301 \u4e2d <|im x",
    b"\xff\xc3",
)


@pytest.fixture(scope="module", params=list(TokenModel))
def editor(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> ImageEditor:
    path = write_tokens(tmp_path_factory.mktemp("tokens") / "tiny.hsp", request.param)
    return ImageEditor(path.read_bytes())


def says(native: Native, editor: ImageEditor, at: int, value: int, size: int = 4) -> str:
    """The error that a changed word ends with, "" for none; then the tables are used."""
    copy = ImageEditor(bytes(editor.data), dict(editor.sections))
    copy.data[at : at + size] = (value & (1 << 8 * size) - 1).to_bytes(size, "little")
    try:
        device = Device(native, copy.sealed())
    except DeviceFailure as error:
        return BY_NUMBER[error.number].name
    for text in TEXTS:
        # A text that grows beyond what is kept is refused.
        with contextlib.suppress(DeviceFailure):
            device.decode(device.encode(text))
    return ""


class Places:
    """Where the tables lie."""

    def __init__(self, editor: ImageEditor) -> None:
        self.start, self.size = editor.sections[SectionId.TOKENS]
        self.head = Tokens.parse(bytes(editor.data[self.start :]))
        self.fields = {}
        at = self.start
        for sub in Tokens.subcons:
            self.fields[sub.name] = at
            at += sub.sizeof()
        self.offsets = at + 4 * BPE_BYTES
        self.merges = self.offsets + 4 * (self.head.vocab + 1)
        self.sorted = self.merges + BpeMerge.sizeof() * self.head.merge_count
        self.added = self.sorted + 4 * self.head.sorted_count + 8 * self.head.score_count
        self.steps = self.added + TokenAdded.sizeof() * self.head.added_count
        self.data = self.steps + TokenStep.sizeof() * self.head.step_count


@pytest.mark.parametrize(
    ("field", "value", "error"),
    [
        *(
            ("version", 2, "IMAGE_NEW"),
            ("model", 4, "IMAGE_NEW"),
            ("model", 0, "IMAGE_NEW"),
            ("flags", 128, "IMAGE_NEW"),
        ),
        *(("vocab", 0, "IMAGE_BPE"), ("vocab", 1 << 30, "IMAGE_BPE"), ("step_count", 25, "IMAGE_BPE")),
        *(("step_count", 0, "IMAGE_BPE"), ("normalizing", 24, "IMAGE_BPE"), ("score_count", 5, "IMAGE_BPE")),
        *(("unknown", 1 << 20, "IMAGE_BPE"), ("word_characters", 129, "IMAGE_BPE"), ("beside", 1 << 31, "IMAGE_BPE")),
        *(("beside_bytes", 0, "IMAGE_BPE"), ("data_bytes", 0, "IMAGE_BPE"), ("end_id", 1 << 20, "IMAGE_BPE")),
        *(("added_count", 0xFFFFFFFF, "IMAGE_BPE"), ("text_bytes", 1, "IMAGE_BPE"), ("unknown_score", 1, "")),
    ],
)
def test_the_head_is_checked(native: Native, editor: ImageEditor, field: str, value: int, error: str) -> None:
    assert says(native, editor, Places(editor).fields[field], value) == error


@pytest.mark.parametrize(
    ("table", "at", "value", "error"),
    [
        *(("steps", 0, 9, "IMAGE_NEW"), ("steps", 0, 0, "IMAGE_NEW"), ("steps", 4, 0x100, "IMAGE_NEW")),
        *(("steps", 8, 1 << 31, "IMAGE_BPE"), ("steps", 12, 3, "IMAGE_BPE"), ("steps", 16, 1 << 31, "IMAGE_BPE")),
        *(("added", 0, 1 << 20, "IMAGE_BPE"), ("added", 4, 32, "IMAGE_NEW"), ("added", 8, 1 << 20, "IMAGE_BPE")),
        *(("added", 12, 0, "IMAGE_BPE"), ("added", 16, 0, "IMAGE_BPE"), ("offsets", 0, 1, "IMAGE_BPE")),
        *(("sorted", 0, 1 << 20, "IMAGE_BPE"), ("data", 0, 1 << 24, "IMAGE_BPE")),
    ],
)
def test_the_tables_are_checked(
    native: Native, editor: ImageEditor, table: str, at: int, value: int, error: str
) -> None:
    assert says(native, editor, getattr(Places(editor), table) + at, value) == error


def test_tables_of_any_bytes_are_refused_or_harmless(native: Native, editor: ImageEditor) -> None:
    places, rng = Places(editor), random.Random(5)
    found = []
    for _ in range(500):
        start = rng.choice((places.start, places.added, places.data))
        at = start + 2 * rng.randrange((min(places.start + places.size, start + 6000) - start) // 2 - 2)
        value = rng.choice(
            (0, 1, 0xFF, 0x7FFF, 0x8000, 0x7FFFFFFF, 0xFFFFFFFF, rng.getrandbits(32), rng.getrandbits(8))
        )
        found.append(says(native, editor, at, value, rng.choice((2, 4))))
    assert set(found) <= {"", "IMAGE_BPE", "IMAGE_NEW"}
    assert 100 < sum(map(bool, found)) < 490


def test_a_shorter_section_is_refused(native: Native, editor: ImageEditor, tmp_path: Path) -> None:
    _, size = editor.sections[SectionId.TOKENS]
    for shorter in (1, 4, 100, size - 1):
        copy = ImageEditor(bytes(editor.data), dict(editor.sections))
        copy.section(SectionId.TOKENS, size=size - shorter)
        (tmp_path / "short.hsp").write_bytes(copy.sealed())
        with pytest.raises(DeviceFailure):
            Device(native, tmp_path / "short.hsp")
