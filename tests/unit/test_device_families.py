# SPDX-License-Identifier: Apache-2.0
"""The device's tokenizer against the library, with the parts of every family."""

from __future__ import annotations

from pathlib import Path

import pytest
from tokenizers import Tokenizer

from host.image.device_text import text_section
from host.schema.image import SectionId
from host.tokens.tokenizer import codec_of
from tests.support.device_tokenizer import Device, image_source
from tests.support.native import Native
from tests.support.strings import wild_texts
from tests.support.texts import CORPUS, NASTY
from tests.support.tiny import tiny_image
from tests.support.token_families import FAMILIES, MORE, described

LINE = 4096
LOOK_ALIKE = (
    "<|user|>  \n x",
    "a <|im  <|im_start|>",
    "  \u2581\u2581\n\n<table >",
    "[MASK][MASK",
    " [CLS]  [MASK]x",
    "<extra_id_0>",
)


def device_of(library: Tokenizer, folder: Path) -> Device:
    tiny_image(folder / "tiny.hsp", image_source(described(library)))
    return Device(Native(1), folder / "tiny.hsp")


def compare(library: Tokenizer, device: Device, texts: list[str]) -> None:
    for text in texts:
        if len(text.encode()) <= LINE:
            assert device.encode(text) == library.encode(text, add_special_tokens=False).ids, repr(text)


@pytest.mark.parametrize("name", FAMILIES)
def test_a_line_gives_the_librarys_tokens(name: str, tmp_path: Path) -> None:
    library = FAMILIES[name]()
    assert text_section(described(library))[0] == SectionId.TOKENS
    device = device_of(library, tmp_path)
    compare(library, device, [*NASTY, *CORPUS, *LOOK_ALIKE, *wild_texts(1, 400), "ab " * 1300, "x" * LINE])


@pytest.mark.slow
@pytest.mark.parametrize("name", [*FAMILIES, *MORE])
def test_a_hundred_thousand_lines_give_the_librarys_tokens(name: str, tmp_path: Path) -> None:
    library = (FAMILIES | MORE)[name]()
    codec, device = codec_of(described(library)), device_of(library, tmp_path)
    for seed in range(100):
        compare(library, device, wild_texts(seed, 1000))
    assert codec.encode(CORPUS[2]) == library.encode(CORPUS[2], add_special_tokens=False).ids
