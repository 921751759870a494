# SPDX-License-Identifier: Apache-2.0
"""A new family is one file, dropped into a copy of the checkout."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from host.compiler.compile import Options, compile_model
from host.image.writer import write_image
from host.schema.formats.q8 import Q8
from tests.support.model_files import write_folder
from tests.support.native import Native
from tests.support.scratch import Scratch, copy_checkout
from tests.support.tiny import tiny_llama

FAMILY = Path(__file__).parent / "parts/made_up.py"
NAMES = {
    "model.embed_tokens": "trunk.tokens",
    "model.norm": "trunk.norm",
    "model.layers": "trunk",
    "input_layernorm": "norm_1",
    "post_attention_layernorm": "norm_2",
    "self_attn.": "",
    "mlp.": "",
    "_proj": "",
}
"""What the made-up family calls a Llama's tensors."""
TOKENS = [3, 1, 4, 1, 5, 9, 2, 6]


@pytest.fixture(scope="module")
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Scratch:
    found = Scratch(copy_checkout(tmp_path_factory.mktemp("family")))
    found.add("host/families/made_up.py", FAMILY.read_text())
    return found


def made_up_name(name: str) -> str:
    for old, new in NAMES.items():
        name = name.replace(old, new)
    return name


def test_it_is_packed(scratch: Scratch, tmp_path: Path, native: Native) -> None:
    """Under its own names it has the weights of a Llama, so it has the logits of that Llama."""
    source = tiny_llama(tie_word_embeddings=True)
    write_image(tmp_path / "llama.hsp", source, compile_model(source, Options(weights=Q8)), {})
    renamed = {made_up_name(name): tensor.float32() for name, tensor in source.tensors.items()}
    source.architecture = "made_up"
    folder = write_folder(source, tmp_path / "model", arrays=renamed)
    image = tmp_path / "made_up.hsp"
    scratch.run("host", "pack", str(folder), "--board", "native", "--weights", "q8", "-o", str(image))
    found = []
    for path in (tmp_path / "llama.hsp", image):
        native.load(path)
        found.append(native.feed(TOKENS))
    np.testing.assert_array_equal(found[0], found[1])


def test_it_is_listed(scratch: Scratch) -> None:
    assert "made_up" in scratch.run("host", "models")
