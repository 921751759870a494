# SPDX-License-Identifier: Apache-2.0
"""SmolLM2, greedy, 32 tokens: the same ids and bit-identical logits on every target.

What takes more than a minute runs with --slow: pytest --slow tests/hil/test_smollm2_bits.py
"""

from __future__ import annotations

from pathlib import Path

import pytest

from host.errors import SourceError
from host.image.reader import Image
from host.link.client import Client
from host.packing.pack import PackRequest, prepare
from host.pytest_device import Device
from host.targets import open_target
from host.tokens.chat_template import ChatFormatter

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
    """An image in each layout."""
    folder, made = tmp_path_factory.mktemp("smollm2"), {}
    for layout in ("rvv", "swar"):
        try:
            packing = prepare(PackRequest(source=RECIPE, layout=layout, context=256))
        except SourceError as error:
            pytest.skip(f"SmolLM2 cannot be fetched: {error}")
        made[layout] = folder / f"{layout}.hsp"
        packing.write(made[layout])
    return made


def answer(client: Client, image: Path) -> list[tuple[int, int]]:
    """Ids and digests of the logits of the first tokens of the answer."""
    turn = ChatFormatter(Image(image).tokenizer).turn([{"role": "user", "content": SKY}])
    client.prompt(turn.ids)
    return [(token.id, token.digest) for token in client.generate(TOKENS, digest=True)]


@pytest.fixture(scope="session")
def reference(images: dict[str, Path]) -> list[tuple[int, int]]:
    with open_target("native:harts=1", images["rvv"]) as target:
        client = Client(target, patience=900)
        client.connect(timeout=900)
        found = answer(client, images["rvv"])
    assert len(found) == TOKENS
    return found


@pytest.mark.timeout(1800)
@pytest.mark.targets("native:harts=4", "qemu-virt", *(pytest.param(spec, marks=pytest.mark.slow) for spec in SLOW))
def test_smollm2_has_the_same_bits(device: Device, images: dict[str, Path], reference: list[tuple[int, int]]) -> None:
    image = images["rvv" if device.spec.kernels == "rvv" else "swar"]
    assert answer(device.connect(image), image) == reference
