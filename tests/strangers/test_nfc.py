# SPDX-License-Identifier: Apache-2.0
"""A tokenizer that normalizes: the device does, too; of an older image, whose device does not, it is said."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from host.image import device_text, writer
from host.image.bpe import bpe_section
from host.image.device_text import NOT_COMPOSED
from host.image.inspect import summary
from host.image.reader import Image
from host.schema.image import SectionId
from tests.support.texts import described, trained
from tests.support.tiny import tiny_image, tiny_llama


@pytest.mark.parametrize("old", [False, True])
def test_an_image_that_composes_not_says_so(old: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    facts = json.loads(described("gpt2").json)
    facts["normalizer"] = {"type": "NFC"}
    source = tiny_llama(vocab_size=trained("gpt2").get_vocab_size(), hidden_size=32)
    source.tokenizer = replace(described("gpt2"), json=json.dumps(facts))
    if old:
        tables = bpe_section(described("gpt2"))
        monkeypatch.setattr(writer, "_made", [])
        monkeypatch.setattr(writer, "text_section", lambda _: (SectionId.BPE, tables))
    path = tmp_path / "tiny.hsp"
    tiny_image(path, source)
    assert device_text.may_differ(source.tokenizer)
    assert any(NOT_COMPOSED in line for line in summary(Image(path))) == old
