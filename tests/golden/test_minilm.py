# SPDX-License-Identifier: Apache-2.0
"""MiniLM, an encoder with real weights: its vectors beside those of the same files in torch."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from host.errors import SourceError
from host.files.recipe import fetch, find_recipe
from host.packing.pack import PackRequest, prepare
from host.schema.image import OutputKind
from host.talk.encoder import Encoder
from host.talk.opening import open_model

TEXTS = ("A man is eating food.", "Somebody has a meal, and it is a large one.", "The sky is blue.")


@pytest.fixture(scope="module")
def folder() -> Path:
    recipe = find_recipe("minilm")
    assert recipe is not None
    try:
        return fetch(recipe)
    except SourceError as error:
        pytest.skip(f"MiniLM cannot be fetched: {error}")


def wanted(folder: Path) -> np.ndarray:
    """As sentence-transformers makes them: the mean of the rows, of length 1."""
    import torch
    from transformers import AutoModel, AutoTokenizer

    tokenizer, model = AutoTokenizer.from_pretrained(folder), AutoModel.from_pretrained(folder).eval()
    with torch.no_grad():
        rows = [model(**tokenizer(text, return_tensors="pt")).last_hidden_state[0].mean(dim=0) for text in TEXTS]
    return np.stack([(row / row.norm()).numpy() for row in rows])


@pytest.mark.parametrize(
    ("weights", "kv", "least"),
    [("q8", "int8", 0.999), pytest.param("f32", "f32", 0.99999, marks=pytest.mark.slow)],
)
def test_vectors_are_those_of_torch(folder: Path, tmp_path: Path, weights: str, kv: str, least: float) -> None:
    image = tmp_path / "m.hsp"
    prepare(PackRequest(source="minilm", weights=weights, kv=kv)).write(image)
    with open_model(str(image), "native") as model:
        encoder = Encoder(model, OutputKind.VECTORS)
        found = np.concatenate([encoder.encode(text).results for text in TEXTS])
    cosines = (found * wanted(folder)).sum(axis=1)
    assert cosines.min() > least
    assert np.abs(np.linalg.norm(found, axis=1) - 1).max() < 1e-5
