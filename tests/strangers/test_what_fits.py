# SPDX-License-Identifier: Apache-2.0
"""A model that does not fit: what would, found by trying, as commands that then do."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest

from host.boards import Board
from host.cli import create_app
from host.errors import FitError
from host.packing.fit import CONTEXT_STEP, Asked, Changes, Room, alternatives
from host.packing.pack import PackRequest, command, prepare
from host.schema.formats import formats
from tests.support.model_files import write_folder
from tests.support.tiny import tiny_llama

ASKED = Asked("q8", "f32", 1024, 4, 64)
BITS = {"q8": 8, "q4m": 5, "q4": 4}
KNOWN = {name: one for name, one in formats().items() if name in BITS}
"""What is tried here, whatever other formats there are."""


@pytest.fixture
def few_formats(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("host.packing.fit.formats", lambda: KNOWN)


def needs(changes: Changes) -> tuple[int, int]:
    """A model whose image takes the bits of its weights, and its arena what states and rows take."""
    at = vars(ASKED) | {"output_weights": None} | changes
    image = 10 * BITS[at["weights"]] - 5 * (at["output_weights"] == "q4")
    state = at["context"] * at["sessions"] * (4 if at["kv"] == "f32" else 1)
    return image, state + at["rows"]


def find(image: int, arena: int) -> list[Changes]:
    def attempt(changes: Changes) -> Room:
        tried.append(changes)
        used = needs(changes)
        return Room(used[0] <= image, used[1] <= arena)

    tried: list[Changes] = []
    found = alternatives(ASKED, attempt)
    for changes in found:
        used = needs(changes)
        assert used[0] <= image
        assert used[1] <= arena
    assert len(tried) < 60
    return found


@pytest.mark.usefixtures("few_formats")
def test_each_change_that_is_enough_is_named_at_its_largest() -> None:
    assert find(100, 1024 * 3 * 4 + 64) == [{"sessions": 3}, {"kv": "int8"}, {"context": 768}]


@pytest.mark.usefixtures("few_formats")
def test_where_one_change_is_not_enough_all_are_together() -> None:
    assert find(100, 1024 + 64) == [{"context": 64}, {"sessions": 1, "kv": "int8"}]
    assert find(100, 700) == [{"sessions": 1, "kv": "int8", "context": 576}]
    assert find(100, 90) == [{"sessions": 1, "kv": "int8", "rows": 16, "context": 64}]


@pytest.mark.usefixtures("few_formats")
def test_weights_keep_as_many_bits_as_they_can() -> None:
    everything = 1 << 30
    assert find(79, everything) == [{"weights": "q4m"}]
    assert find(45, everything) == [{"weights": "q4"}]
    assert find(35, everything) == [{"weights": "q4", "output_weights": "q4"}]
    assert find(79, 1024 * 4 + 64)[0] == {"weights": "q4m", "sessions": 1}


@pytest.mark.usefixtures("few_formats")
def test_nothing_is_named_where_nothing_fits() -> None:
    assert find(10, 1 << 30) == []
    assert find(100, CONTEXT_STEP - 1) == []


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_folder(tiny_llama(), tmp_path / "a model")


def test_the_commands_that_are_named_fit(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each is run as it was printed, with the board as small as before."""
    from typer.testing import CliRunner

    asked = PackRequest(str(folder), board="visionfive2", weights="f32", kv="f32", sessions=3)
    packing = prepare(asked)
    monkeypatch.setattr(Board, "arena_bytes", packing.compiled.arena_bytes + packing.compiled.runtime(1))
    monkeypatch.setattr(Board, "image_limit", packing.image_bytes - 1)
    with pytest.raises(FitError) as refusal:
        packing.check_fit()
    lines = str(refusal.value).splitlines()[1:]
    assert len(lines) == 3
    for line in lines:
        words = shlex.split(line)
        assert words[:3] == ["host", "pack", str(folder)]
        result = CliRunner().invoke(create_app(), [*words[1:], "--dry-run"])
        assert result.exit_code == 0, result.output
        assert "it fits; nothing was written" in result.output


def test_boards_that_have_room_are_named_where_nothing_else_helps(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    packing = prepare(PackRequest(str(folder), board="visionfive2"))
    room = property(lambda board: 1 << 20 if board.name in ("k230", "p550") else 1 << 10)
    monkeypatch.setattr(Board, "arena_bytes", room)
    with pytest.raises(FitError, match=r"it fits (.*, )?k230,.* p550,"):
        packing.check_fit()


@pytest.mark.parametrize("name", ["image_limit", "arena_bytes"])
def test_what_fits_exactly_fits(folder: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    packing = prepare(PackRequest(str(folder), board="visionfive2"))
    needed = packing.image_bytes if name == "image_limit" else packing.needed_bytes
    monkeypatch.setattr(Board, name, property(lambda _: needed))
    packing.check_fit()
    monkeypatch.setattr(Board, name, property(lambda _: needed - 1))
    with pytest.raises(FitError, match="too little"):
        packing.check_fit()


def test_a_board_may_have_room_for_no_session(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    packing = prepare(PackRequest(str(folder), board="visionfive2"))
    room = packing.compiled.arena_bytes + packing.compiled.runtime(1)
    monkeypatch.setattr(Board, "arena_bytes", property(lambda _: room))
    assert packing.max_sessions == 1
    monkeypatch.setattr(Board, "arena_bytes", property(lambda _: room - 1))
    assert packing.max_sessions == 0


def test_a_command_says_only_what_is_not_default() -> None:
    assert command(PackRequest("m.gguf", "native")) == "host pack m.gguf --board native"
    asked = PackRequest("a b", "k230", weights="q4", output_weights="q8", without=("x", "y"), image_version=2)
    options = "--weights q4 --output-weights q8 --without x --without y --image-version 2"
    assert command(asked) == f"host pack 'a b' --board k230 {options}"


def test_dry_run_writes_nothing(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from typer.testing import CliRunner

    monkeypatch.chdir(tmp_path)
    before = sorted(tmp_path.iterdir())
    result = CliRunner().invoke(create_app(), ["pack", str(folder), "--board", "native", "--dry-run", "--json"])
    assert result.exit_code == 0, result.output
    assert '"image": null' in result.stdout
    assert sorted(tmp_path.iterdir()) == before
