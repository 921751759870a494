# SPDX-License-Identifier: Apache-2.0
"""The same image gives the same tokens and bit-identical logits on every target.

The transcript of `native` with one hart is what the others are held against: token ids, the CRC-32C over the f32
bits of each row of logits that was sampled from, and that of every row of a scored prompt.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest

from host.compiler.compile import Options
from host.link.client import Client
from host.link.records import SamplerParams
from host.pytest_device import Device
from host.schema.formats.f32 import F32
from host.schema.formats.q4m import Q4M
from host.schema.formats.q8 import Q8
from host.schema.image import Format, Layout
from host.targets import open_target
from tests.support.tiny import tiny_gpt2, tiny_image, tiny_llama

TOKENS = 8
PROMPT = [int(t) for t in np.random.default_rng(5).integers(0, 120, 90)]

SIMULATED = [
    "native:harts=4",
    "linux",
    "linux:harts=4",
    "linux:rvv,vlen=128",
    "linux:rvv,vlen=1024,harts=4",
    "qemu-virt:harts=1",
    "qemu-virt:harts=4",
    "qemu-virt:rvv,vlen=256,harts=4",
    "spike",
    "spike:rvv,vlen=128",
    "spike:rvv,vlen=256",
    "spike:rvv,vlen=512,harts=4",
    "visionfive2@spike",
    "visionfive2@spike:harts=1",
]


@dataclass(frozen=True)
class Transcript:
    """What a target said: greedy and sampled tokens, and digests of logits."""

    greedy: tuple[tuple[int, int], ...]
    sampled: tuple[tuple[int, int], ...]
    scored: tuple[tuple[int, int], ...]


def transcript(client: Client) -> Transcript:
    client.prompt(PROMPT)
    greedy = tuple((t.id, t.digest) for t in client.generate(TOKENS, digest=True))
    params = SamplerParams(
        temperature=0.9, top_k=40, top_p=0.95, min_p=0.01, repeat_penalty=1.2, repeat_last=32, seed=7
    )
    sampled = tuple((t.id, t.digest) for t in client.generate(TOKENS, params, digest=True))
    client.truncate(0)
    client.prompt(PROMPT[:20])
    scored = tuple((row.argmax, row.digest) for row in client.score(digest=True))
    return Transcript(greedy, sampled, scored)


MODELS = {
    "llama-q4m": (tiny_llama, Options(weights=Q4M, kv=Format.KV8, context=256)),
    "gpt2-q8": (tiny_gpt2, Options(weights=Q8, kv=Format.KV8, context=256)),
    "llama-f32": (tiny_llama, Options(weights=F32, kv=Format.F32, context=256)),
}


@pytest.fixture(scope="session")
def images(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, Layout], Path]:
    """Each model packed in both layouts."""
    folder, made = tmp_path_factory.mktemp("images"), {}
    for name, (source, options) in MODELS.items():
        for layout in (Layout.RVV, Layout.SWAR):
            path = folder / f"{name}-{layout.name.lower()}.hsp"
            tiny_image(path, source(), replace(options, layout=layout))
            made[name, layout] = path
    return made


@pytest.fixture(scope="session")
def reference(images: dict[tuple[str, Layout], Path]) -> dict[str, Transcript]:
    found = {}
    for name in MODELS:
        with open_target("native:harts=1", images[name, Layout.RVV]) as target:
            client = Client(target)
            client.connect()
            found[name] = transcript(client)
    return found


def family(device: Device) -> Layout:
    return Layout.RVV if device.spec.kernels == "rvv" else Layout.SWAR


@pytest.mark.targets(*SIMULATED)
def test_same_bits_on_every_target(
    device: Device, images: dict[tuple[str, Layout], Path], reference: dict[str, Transcript]
) -> None:
    for name in MODELS:
        assert transcript(device.connect(images[name, family(device)])) == reference[name], name


@pytest.mark.targets("native:harts=1", "linux", "linux:rvv,vlen=256")
def test_other_family_runs_too(
    device: Device, images: dict[tuple[str, Layout], Path], reference: dict[str, Transcript]
) -> None:
    """An image packed for the other family is slower and gives the same bits."""
    other = Layout.SWAR if family(device) == Layout.RVV or device.spec.board == "native" else Layout.RVV
    for name in MODELS:
        assert transcript(device.connect(images[name, other])) == reference[name], name


def test_transcripts_tell_models_apart(reference: dict[str, Transcript]) -> None:
    digests = [t.greedy[0][1] for t in reference.values()]
    assert len(set(digests)) == len(MODELS)
    assert all(len(t.greedy) == len(t.sampled) == TOKENS and len(t.scored) == 20 for t in reference.values())
