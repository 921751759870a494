# SPDX-License-Identifier: Apache-2.0
"""A new op is one Python and one C file, a new family is one Python file: dropped into a copy, they are there."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from host.compiler.compile import Options, compile_model
from host.errors import BY_NUMBER, DeviceFailure
from host.image.reader import Image
from host.image.writer import write_image
from host.schema.formats.q8 import Q8
from tests.support.model_files import write_folder
from tests.support.native import Native
from tests.support.scratch import ROOT, Scratch, copy_checkout
from tests.support.tiny import tiny_llama

PARTS = Path(__file__).parent / "parts"
ADDED = {
    "mirror.py": "host/ops/mirror.py",
    "mirror.c": "firmware/ops/mirror.c",
    "made_up.py": "host/families/made_up.py",
}
"""The files that make an op and a family, and where they go."""
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
TOKENS = [3, 1, 4, 1, 5, 9, 2, 6]


@pytest.fixture(scope="module")
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Scratch:
    found = Scratch(copy_checkout(tmp_path_factory.mktemp("parts")))
    for part, place in ADDED.items():
        found.add(place, (PARTS / part).read_text())
    return found


@pytest.fixture(scope="module")
def mirror(scratch: Scratch) -> tuple[Path, dict[str, np.ndarray]]:
    """An image with the new op, and the model's tables."""
    image, arrays = scratch.folder / "mirror.hsp", scratch.folder / "mirror.npz"
    scratch.run("tests.extending.parts.image_mirror", str(image), str(arrays))
    return image, dict(np.load(arrays))


def test_a_new_op_runs(scratch: Scratch, mirror: tuple[Path, dict[str, np.ndarray]]) -> None:
    image, tables = mirror
    scratch.run("SCons", "-s", "-j2", "board=native", "build/native/libfirmware.so")
    native = Native(2, scratch.folder / "build/native/libfirmware.so")
    native.load(image)
    logits = native.feed(TOKENS, every=True)
    expected = tables["embedding"][TOKENS][:, ::-1] @ tables["head"].T
    np.testing.assert_allclose(logits, expected, rtol=1e-5, atol=1e-4)


def test_a_firmware_without_it_refuses_its_images(mirror: tuple[Path, dict[str, np.ndarray]], native: Native) -> None:
    with pytest.raises(DeviceFailure) as error:
        native.load(mirror[0])
    assert BY_NUMBER[error.value.number].name == "IMAGE_NEW"
    with pytest.raises(Exception, match="900"):
        Image(mirror[0]).ops  # noqa: B018


def test_the_copy_shows_it(scratch: Scratch, mirror: tuple[Path, dict[str, np.ndarray]]) -> None:
    shown = json.loads(scratch.run("host", "inspect", str(mirror[0]), "--json"))
    assert "mirror" in json.dumps(shown)


@pytest.mark.slow
def test_a_new_op_is_built_for_boards(scratch: Scratch) -> None:
    scratch.run("SCons", "-s", "-j2", "board=spike")


def test_a_new_family_is_packed(scratch: Scratch, tmp_path: Path, native: Native) -> None:
    """Under its own names it has the weights of a Llama, so it has the logits of that Llama."""
    source = tiny_llama(tie_word_embeddings=True)
    write_image(tmp_path / "llama.hsp", source, compile_model(source, Options(weights=Q8)), {})
    renamed = {}
    for name, tensor in source.tensors.items():
        for old, new in NAMES.items():
            name = name.replace(old, new)
        renamed[name] = tensor.float32()
    source.architecture = "made_up"
    folder = write_folder(source, tmp_path / "model", arrays=renamed)
    image = tmp_path / "made_up.hsp"
    scratch.run("host", "pack", str(folder), "--board", "native", "--weights", "q8", "-o", str(image))
    found = []
    for path in (tmp_path / "llama.hsp", image):
        native.load(path)
        found.append(native.feed(TOKENS))
    np.testing.assert_array_equal(found[0], found[1])


def test_tests_that_read_the_folders_take_them(scratch: Scratch) -> None:
    scratch.test("tests/unit/test_structure.py", "tests/unit/test_structure_c.py", timeout=200)


def test_nothing_else_was_touched(scratch: Scratch) -> None:
    for path in sorted((ROOT / "host").rglob("*.py")):
        assert (scratch.folder / path.relative_to(ROOT)).read_bytes() == path.read_bytes()
