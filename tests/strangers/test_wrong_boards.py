# SPDX-License-Identifier: Apache-2.0
"""An image that goes to another board than it was packed for.

By name, by the layout of its weights and by memory: refused where a medium or a build is made, told where it runs.
"""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from host.boards import Hosted, Size, load_board
from host.cli import create_app
from host.errors import FitError, ImageError
from host.image.fitness import check_board, check_memory, image_facts
from host.image.reader import Image
from host.link.records import DeviceInfo
from host.packing.pack import PackRequest
from host.packing.shown import pack_image
from host.talk.fitness import check_device, device_notes
from tests.support.model_files import write_folder
from tests.support.native import ROOT, build_library
from tests.support.tiny import tiny_image, tiny_llama


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("boards")


@pytest.fixture(scope="module")
def model(folder: Path) -> Path:
    return write_folder(tiny_llama(), folder / "model")


def packed(model: Path, board: str, **more: Any) -> Image:
    path = model.parent / f"{board}{len(more)}.hsp"
    pack_image(PackRequest(source=str(model), board=board, **more), path, quiet=True)
    return Image(path)


def info(**said: Any) -> DeviceInfo:
    """A device that runs nothing, with these facts."""
    empty: dict[str, Any] = {"str": "", "int": 0, "bool": False, "bytes": bytes(32), "tuple[int, ...]": ()}
    fields = {f.name: empty[str(f.type)] for f in dataclasses.fields(DeviceInfo)}
    return DeviceInfo(**fields | {"arena_available": 1 << 30} | said)


def test_flash_refuses_another_boards_image(model: Path, tmp_path: Path) -> None:
    image = packed(model, "bpi-f3")
    words = ["flash", str(image.path), "--board", "visionfive2", "--medium", str(tmp_path / "disk.img")]
    result = CliRunner().invoke(create_app(), words)
    assert isinstance(result.exception, ImageError)
    assert result.exception.exit_code == 4
    assert "was packed for board bpi-f3, not for visionfive2" in str(result.exception)
    assert "host pack MODEL --board visionfive2" in str(result.exception)
    assert list(tmp_path.iterdir()) == []
    for more in (["--dry-run"], ["--update"]):
        assert CliRunner().invoke(create_app(), [*words, *more]).exit_code != 0


@pytest.mark.slow
def test_scons_refuses_it_before_anything_is_built(model: Path, tmp_path: Path) -> None:
    image = packed(model, "bpi-f3")
    command = [sys.executable, "-m", "SCons", "-s", "board=visionfive2", f"model={image.path}", f"build={tmp_path}"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 4
    assert "was packed for board bpi-f3" in done.stderr
    assert not (tmp_path / "visionfive2").exists()


def test_layout_and_memory_are_compared(model: Path) -> None:
    board = load_board("visionfive2")
    check_board(packed(model, "visionfive2"), board)
    with pytest.raises(ImageError, match=r"rvv.* visionfive2 .*scalar"):
        check_board(packed(model, "visionfive2", layout="rvv"), board)
    spike = packed(model, "spike")
    check_board(spike, load_board("spike"), "rvv")
    with pytest.raises(ImageError, match="--layout swar"):
        check_board(spike, load_board("spike"), "scalar")
    native = packed(model, "native")
    small = dataclasses.replace(load_board("native"), hosted=Hosted(Size(4096)))
    with pytest.raises(FitError, match=r"state .*--context"):
        check_board(native, small)
    assert board.memory
    dram = dataclasses.replace(board.memory.dram, size=Size(board.memory.image - board.memory.dram.base + 4096))
    tight = dataclasses.replace(board, memory=dataclasses.replace(board.memory, dram=dram))
    with pytest.raises(FitError, match="image takes"):
        check_board(packed(model, "visionfive2"), tight)


def test_an_image_that_does_not_say_is_taken(tmp_path: Path) -> None:
    tiny_image(tmp_path / "x.hsp", tiny_llama())
    check_board(Image(tmp_path / "x.hsp"), load_board("visionfive2"))
    assert device_notes(Image(tmp_path / "x.hsp"), info(board="visionfive2", kernels="scalar")) == []


@pytest.mark.parametrize("said", [1, None, ["x"], {"a": 1}])
def test_a_manifest_may_say_anything(tmp_path: Path, said: object, monkeypatch: pytest.MonkeyPatch) -> None:
    tiny_image(tmp_path / "x.hsp", tiny_llama())
    monkeypatch.setattr(Image, "manifest", {"board": said, "layout": said})
    check_board(Image(tmp_path / "x.hsp"), load_board("visionfive2"))


def test_an_image_that_fits_exactly_fits(model: Path) -> None:
    image = packed(model, "visionfive2")
    facts = image_facts(image)
    check_memory(image, "it", facts.arena, facts.bytes)
    for arena, area in ((facts.arena - 1, facts.bytes), (facts.arena, facts.bytes - 1)):
        with pytest.raises(FitError, match="1 bytes"):
            check_memory(image, "it", arena, area)


def test_a_running_device_takes_it_with_a_note(model: Path) -> None:
    image = packed(model, "visionfive2")
    assert check_device(image, info(board="visionfive2", kernels="scalar")) == []
    (note,) = check_device(image, info(board="p550", kernels="scalar"))
    assert "was packed for visionfive2; on p550 it fits, too" in note
    (note,) = check_device(image, info(board="bpi-f3", kernels="rvv"))
    assert "the answers are the same, but slower" in note
    (note,) = check_device(image, info(board="home\x1b[2Jmade", kernels="scalar"))
    assert "\x1b" not in note
    with pytest.raises(FitError, match="p550"):
        check_device(image, info(board="p550", kernels="scalar", arena_available=4096))


@pytest.mark.slow
def test_a_chat_elsewhere_says_so(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HARTSPEAK_BUILD", str(build_library().parents[1]))
    image = packed(model, "visionfive2")
    words = ["run", str(image.path), "--target", "native", "-p", "a", "--max-tokens", "2"]
    result = CliRunner().invoke(create_app(), words, catch_exceptions=False)
    assert "note: visionfive20.hsp has its weights in the order of swar kernels" in result.stderr
