# SPDX-License-Identifier: Apache-2.0
"""A tokenizer that normalizes: typed lines may differ, and whoever packs or inspects the image is told."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from host.image.bpe import NOT_COMPOSED, may_differ
from host.image.inspect import summary
from host.image.reader import Image
from tests.support.texts import described, trained
from tests.support.tiny import tiny_image, tiny_llama


@pytest.mark.parametrize("normalizer", [None, "NFC"])
def test_an_image_that_normalizes_says_so(normalizer: str | None, tmp_path: Path) -> None:
    facts = json.loads(described("gpt2").json)
    facts["normalizer"] = {"type": normalizer} if normalizer else None
    source = tiny_llama(vocab_size=trained("gpt2").get_vocab_size(), hidden_size=32)
    source.tokenizer = replace(described("gpt2"), json=json.dumps(facts))
    path = tmp_path / "tiny.hsp"
    tiny_image(path, source)
    assert may_differ(source.tokenizer) == bool(normalizer)
    assert any(NOT_COMPOSED in line for line in summary(Image(path))) == bool(normalizer)
