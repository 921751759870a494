# SPDX-License-Identifier: Apache-2.0
"""Two engines in one process: the bits of each are those of the engine alone, however their steps meet."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from elftools.elf.elffile import ELFFile

from host.compiler.compile import Options
from host.errors import DeviceFailure
from host.schema.formats.q4m import Q4M
from host.schema.formats.q8 import Q8
from host.schema.image import Layout
from tests.support.native import ROOT, Native, build_library, params
from tests.support.tiny import tiny_gpt2, tiny_image, tiny_llama

VOCAB = 131
STEPS = 12
ROUNDS = 6
SECONDS = 60
"""What a step may take before the test gives up."""
SHARED = ("common", "image", "tokenizer", "formats", "kernels", "ops", "engine")
"""Folders of firmware/ whose code two engines run at once."""


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Two models that have little in common; the first one's linear ops work on packed rows."""
    folder = tmp_path_factory.mktemp("two")
    wide = {"hidden_size": 256, "intermediate_size": 512}
    packed = Options(weights=Q4M, layout=Layout.SWAR, context=400, sessions=2)
    tiny_image(folder / "llama.hsp", tiny_llama(**wide), packed)
    tiny_image(folder / "gpt2.hsp", tiny_gpt2(), Options(weights=Q8, layout=Layout.SWAR, context=250))
    return folder / "llama.hsp", folder / "gpt2.hsp"


def talk(native: Native, seed: int) -> Iterator[bytes]:
    """A chunk of a prompt and a sampled token in turns; the bits of the logits after each step."""
    native.truncate(0)
    sampler = params(temperature=0.8, top_k=20, repeat_penalty=1.1, repeat_last=64, seed=seed)
    prompt = np.random.default_rng(seed).integers(0, VOCAB, 40 * STEPS)
    for step in range(STEPS):
        chunk = [int(token) for token in prompt[40 * step : 40 * step + step + 9]]
        logits = native.feed(chunk)
        yield logits.tobytes()
        yield native.feed([native.sample(sampler, logits[0])]).tobytes()


def alone(image: Path, seed: int) -> list[bytes]:
    native = Native(1)
    native.load(image)
    return list(talk(native, seed))


def both(images: tuple[Path, Path], natives: tuple[Native, Native]) -> tuple[list[bytes], list[bytes]]:
    for native, image in zip(natives, images, strict=True):
        native.load(image)
    return alone(images[0], 1), alone(images[1], 2)


@pytest.mark.parametrize("harts", [1, 2])
def test_steps_in_turns_give_the_bits_of_each_alone(images: tuple[Path, Path], harts: int) -> None:
    natives = Native(harts), Native(harts)
    expected = both(images, natives)
    turns = list(zip(talk(natives[0], 1), talk(natives[1], 2), strict=True))
    assert [list(found) for found in zip(*turns, strict=True)] == list(expected)


def test_two_engines_may_share_the_harts_of_one_port(images: tuple[Path, Path]) -> None:
    first = Native(2)
    natives = first, Native(beside=first)
    expected = both(images, natives)
    turns = list(zip(talk(natives[0], 1), talk(natives[1], 2), strict=True))
    assert [list(found) for found in zip(*turns, strict=True)] == list(expected)


@pytest.mark.parametrize("harts", [1, 2])
def test_a_step_between_the_ops_of_another_changes_neither(images: tuple[Path, Path], harts: int) -> None:
    outer, inner = Native(harts), Native(harts)
    expected = both(images, (outer, inner))
    steps = talk(inner, 2)
    found: list[bytes] = []

    def poll() -> int:
        found.extend(bits for bits in [next(steps, None)] if bits is not None)
        return 0

    outer.set_poll(poll)
    assert list(talk(outer, 1)) == expected[0]
    assert found == expected[1]


@pytest.mark.parametrize("harts", [1, 2])
def test_steps_at_the_same_time_give_the_bits_of_each_alone(images: tuple[Path, Path], harts: int) -> None:
    """Each step of one begins together with one of the other, in a thread of its own."""
    natives = Native(harts), Native(harts)
    expected = both(images, natives)
    meet = threading.Barrier(2, timeout=SECONDS)
    found: tuple[list[bytes], list[bytes]] = ([], [])

    def run(which: int) -> None:
        for _ in range(ROUNDS):
            for bits in talk(natives[which], which + 1):
                found[which].append(bits)
                meet.wait()

    threads = [threading.Thread(target=run, args=(which,)) for which in (0, 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(SECONDS)
    assert found[0] == expected[0] * ROUNDS
    assert found[1] == expected[1] * ROUNDS


def test_an_engine_unloaded_or_cancelled_leaves_the_other_as_it_is(images: tuple[Path, Path]) -> None:
    natives = Native(1), Native(1)
    expected = both(images, natives)
    natives[0].set_poll(lambda: 1)
    natives[0].lib.engine_stats_enable(natives[0].engine, 1)
    steps = talk(natives[1], 2)
    found = [next(steps)]
    with pytest.raises(DeviceFailure, match="CANCELLED"):
        natives[0].feed([1, 2, 3])
    found.append(next(steps))
    natives[0].lib.engine_unload(natives[0].engine)
    assert not natives[0].loaded
    assert found + list(steps) == expected[1]
    assert all(stat.calls == 0 for stat in natives[1].stats())


CHOSEN = ("any file", "kernels")
"""The table that a hosted program chooses before its first engine, and never again."""


def test_nothing_that_can_be_written_belongs_to_no_engine() -> None:
    """Every variable of the library's files that two engines share is a constant, or lies in what the caller holds."""
    shared = {path.name for folder in SHARED for path in (ROOT / "firmware" / folder).rglob("*.c")}
    with build_library().open("rb") as file:
        elf = ELFFile(file)
        source, files, written = "", set(), []
        for symbol in elf.get_section_by_name(".symtab").iter_symbols():
            if symbol["st_info"]["type"] == "STT_FILE":
                source = symbol.name
                files.add(source)
            elif symbol["st_info"]["type"] == "STT_OBJECT" and isinstance(symbol["st_shndx"], int):
                if symbol["st_info"]["bind"] != "STB_LOCAL":
                    source = "any file"
                section = elf.get_section(symbol["st_shndx"]).name
                if section.startswith((".data", ".bss")) and not section.startswith(".data.rel.ro"):
                    written.append((source, symbol.name))
    assert {"load.c", "linear.c", "merge.c", "pool.c", "device.c"} <= files
    assert ("device.c", "engine") in written
    assert [(name, variable) for name, variable in written if name in {*shared, "any file"}] == [CHOSEN]
