# SPDX-License-Identifier: Apache-2.0
"""A new board is one file."""

from __future__ import annotations

import json

import pytest

from tests.support.scratch import ROOT, Scratch, copy_checkout

NAME = "made-up"


@pytest.fixture(scope="module")
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Scratch:
    found = Scratch(copy_checkout(tmp_path_factory.mktemp("board")))
    template = (ROOT / "boards/template.toml").read_text()
    found.add(f"boards/{NAME}.toml", template.replace('title = "Template"', 'title = "Made up"'))
    return found


def test_it_is_listed(scratch: Scratch) -> None:
    boards = json.loads(scratch.run("host", "boards", "--json"))
    assert NAME in json.dumps(boards)


@pytest.mark.slow
def test_it_builds(scratch: Scratch) -> None:
    scratch.run("SCons", "-s", f"board={NAME}")
    assert (scratch.folder / "build" / NAME / "firmware.elf").stat().st_size


def test_lists_of_the_tests_take_it(scratch: Scratch) -> None:
    """The tests that ask every board find it, and it passes them."""
    scratch.test("tests/unit/test_boards.py", "tests/unit/test_board_values.py")


def test_it_is_shown(scratch: Scratch) -> None:
    assert "Made up" in scratch.run("host", "boards", NAME)
