# SPDX-License-Identifier: Apache-2.0
"""Random models saved by transformers, through import, compiler and engine: the logits are transformers' own."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from host.compiler.compile import Options
from host.model import load_source
from host.schema.formats.f32 import F32
from host.schema.image import Format
from tests.support.family_rows import CASES, divergence, torch_model
from tests.support.native import Native
from tests.support.tiny import tiny_image

TOLERANCE = 1e-3
LENGTH = 300
"""Positions: more than any window here, and than the 256 that attention takes at once."""


@pytest.mark.parametrize(("family", "variant"), CASES)
def test_f32_logits_are_the_references(family: str, variant: str, native: Native, tmp_path: Path) -> None:
    import torch

    model = torch_model(family, variant)
    model.save_pretrained(tmp_path / "m")
    tokens = np.random.default_rng(3).integers(0, 257, LENGTH).tolist()
    with torch.no_grad():
        wanted = model(torch.tensor([tokens])).logits[0].numpy()
    source = load_source(tmp_path / "m", require_tokenizer=False)
    assert source.architecture == family
    assert source.notes == []
    tiny_image(tmp_path / "m.hsp", source, Options(weights=F32, kv=Format.F32, context=LENGTH))
    native.load(tmp_path / "m.hsp")
    found = native.feed(tokens, every=True)
    assert found.shape == wanted.shape
    assert np.abs(wanted).max() > 1
    assert np.abs(found - wanted).max() < TOLERANCE
    chosen = np.take_along_axis(wanted, found.argmax(axis=-1)[:, None], axis=-1)[:, 0]
    assert (chosen > wanted.max(axis=-1) - TOLERANCE).all()
    assert divergence(found, wanted) < 1e-9
