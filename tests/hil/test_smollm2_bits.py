# SPDX-License-Identifier: Apache-2.0
"""SmolLM2, greedy, 32 tokens: the same ids and bit-identical logits on every target.

What takes more than a minute runs with --slow: pytest --slow tests/hil/test_smollm2_bits.py
"""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from host.chat_template import ChatFormatter
from host.errors import SourceError
from host.image.reader import Image
from host.link.client import Client
from host.pack import PackRequest, prepare
from host.targets import open_target

RECIPE = "smollm2-135m-instruct"
TOKENS = 32
SKY = "Why is the sky blue?"

SLOW = [
    "qemu-virt:harts=1",
    "qemu-virt:rvv,vlen=256,harts=4",
    "linux:harts=4",
    "linux:rvv,vlen=128",
    "spike:rvv,vlen=128",
    "spike:rvv,vlen=256",
    "spike:rvv,vlen=512",
    "visionfive2@spike",
]


@pytest.fixture(scope="session")
def images(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The image of each kernel family."""
    folder, made = tmp_path_factory.mktemp("smollm2"), {}
    for family in ("rvv", "swar"):
        try:
            packing = prepare(PackRequest(source=RECIPE, family=family, context=256))
        except SourceError as error:
            pytest.skip(f"SmolLM2 cannot be fetched: {error}")
        made[family] = folder / f"{family}.hsp"
        packing.write(made[family])
    return made


def answer(spec: str, image: Path) -> list[tuple[int, int]]:
    """Ids and digests of the logits of the first tokens of the answer."""
    program = {"qemu-virt": "qemu-system-riscv64", "linux": "qemu-riscv64"}.get(spec.split(":")[0])
    if program and not shutil.which(program) and not shutil.which(f"{program}-static"):
        pytest.skip(f"{program} is not installed")
    turn = ChatFormatter(Image(image).tokenizer).turn([{"role": "user", "content": SKY}])
    stream = open_target(spec, image)
    try:
        client = Client(stream, patience=900)
        client.connect(timeout=900)
        client.require_model()
        client.prompt(turn.ids)
        return [(token.id, token.digest) for token in client.generate(TOKENS, digest=True)]
    finally:
        stream.close()


@pytest.fixture(scope="session")
def reference(images: dict[str, Path]) -> list[tuple[int, int]]:
    found = answer("native:harts=1", images["rvv"])
    assert len(found) == TOKENS
    return found


@pytest.mark.parametrize("spec", ["native:harts=4", "qemu-virt"])
def test_smollm2_has_the_same_bits(spec: str, images: dict[str, Path], reference: list[tuple[int, int]]) -> None:
    assert answer(spec, images["swar"]) == reference


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("spec", SLOW)
def test_smollm2_has_the_same_bits_everywhere(
    spec: str, images: dict[str, Path], reference: list[tuple[int, int]]
) -> None:
    assert answer(spec, images["rvv" if "rvv" in spec else "swar"]) == reference
