# SPDX-License-Identifier: Apache-2.0
"""Outputs onto what must not be replaced: devices, FIFOs, links, folders, somebody's files.

Every command that writes a file, onto everything that may have its name already.
"""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from host.boards import load_board
from host.cli import create_app
from host.errors import ImageError, UsageError
from host.image.reader import Image
from host.medium import disk, flash
from host.output import check_output, open_log, replacing
from host.packing.pack import PackRequest
from host.packing.shown import is_image, pack_image
from host.schema.image import MAGIC
from host.trust.keys import make_keys
from tests.support.fake_device import FakeServer
from tests.support.model_files import write_folder
from tests.support.tiny import tiny_image, tiny_llama

FOREIGN = b"somebody's words\n" * 99


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_folder(tiny_llama(), tmp_path_factory.mktemp("outputs") / "model")


@pytest.fixture(scope="module")
def image(model: Path) -> Path:
    return pack_image(PackRequest(source=str(model), board="visionfive2"), model.parent / "tiny.hsp", quiet=True)[1]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty current folder, in which a firmware for a disk is built already."""
    built = tmp_path / "build" / "visionfive2"
    built.mkdir(parents=True)
    for name in ("firmware.bin", "selector.bin", "firmware.elf"):
        (built / name).write_bytes(name.encode() * 1000)
    monkeypatch.setenv("HARTSPEAK_BUILD", str(tmp_path / "build"))
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    return tmp_path / "here"


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def run(*words: object) -> None:
    result = CliRunner().invoke(create_app(), [str(word) for word in words], catch_exceptions=False)
    assert result.exit_code == 0, result.output


def fifo(path: Path) -> None:
    os.mkfifo(path)


def link(path: Path) -> None:
    victim = path.parent.parent / "victim"
    victim.write_bytes(FOREIGN)
    path.symlink_to(victim)


def dangling(path: Path) -> None:
    path.symlink_to(path.parent.parent / "nowhere")


def foreign(path: Path) -> None:
    path.write_bytes(FOREIGN)


SPECIAL = [fifo, link, dangling, Path.mkdir]
COMMANDS: dict[str, Callable[[Path, Path, Path], tuple[object, ...]]] = {
    "pack": lambda model, _, out: ("pack", model, "--board", "native", "-o", out),
    "sign": lambda model, image, out: ("sign", image, "--key", key_of(model), "-o", out),
    "flash": lambda _, image, out: ("flash", image, "--medium", out),
}


OTHERS: dict[str, tuple[str, ...]] = {
    "session": ("session", "save", "out", "--target", "socket://127.0.0.1:1"),
    "monitor": ("monitor", "socket://127.0.0.1:1", "--log", "out"),
    "bench": ("bench", "out.hsp", "--target", "socket://127.0.0.1:1", "--plot", "out.png"),
    "log": ("load", "out.hsp", "--target", "SERVER", "--log", "out"),
}
"""Commands that ask a device first: the file is looked at before it is."""


def key_of(model: Path) -> Path:
    path = model.parent / "key"
    if not path.exists():
        make_keys(path)
    return path


def kept(folder: Path) -> list[tuple[str, int, bytes]]:
    """All that is there: names, kinds and contents."""
    files = sorted(path for path in folder.parent.rglob("*") if "build" not in path.parts)
    data = [path.read_bytes() if path.is_file() else b"" for path in files]
    return [(str(path), stat.S_IFMT(path.lstat().st_mode), some) for path, some in zip(files, data, strict=True)]


@pytest.mark.parametrize("make", [*SPECIAL, foreign], ids=lambda f: f.__name__)
@pytest.mark.parametrize("command", COMMANDS)
def test_what_exists_and_is_no_product_stays(
    here: Path, model: Path, image: Path, command: str, make: Callable[[Path], None]
) -> None:
    make(here / "out")
    before = kept(here)
    with pytest.raises(UsageError, match="out"):
        run(*COMMANDS[command](model, image, Path("out")))
    assert kept(here) == before


@pytest.mark.parametrize("command", OTHERS)
def test_what_a_device_said_replaces_nothing_foreign(here: Path, image: Path, command: str) -> None:
    for name in ("out", "out.png"):
        foreign(here / name)
    shutil.copyfile(image, here / "out.hsp")
    before, server = kept(here), FakeServer()
    try:
        with pytest.raises(UsageError, match=r"out(\.png)? exists"):
            run(*(server.target if word == "SERVER" else word for word in OTHERS[command]))
    finally:
        server.close()
    assert kept(here) == before


def test_a_device_is_refused() -> None:
    """/dev/null, which people name to see whether a model fits: only looked at here, for who fails would replace it."""
    with pytest.raises(UsageError, match=r"/dev/null .*device"):
        check_output(Path("/dev/null"), is_image, force=True)


@pytest.mark.parametrize("command", COMMANDS)
def test_a_device_stays_a_device(here: Path, model: Path, image: Path, command: str) -> None:
    try:
        os.mknod(here / "out", stat.S_IFCHR | 0o666, Path("/dev/null").stat().st_rdev)
    except PermissionError:
        pytest.skip("a device can be made by root only")
    with pytest.raises(UsageError, match=r"out .*device"):
        run(*COMMANDS[command](model, image, Path("out")))
    assert stat.S_ISCHR((here / "out").stat().st_mode)


@pytest.mark.parametrize("command", COMMANDS)
def test_its_own_product_is_replaced_and_a_foreign_file_when_asked(
    here: Path, model: Path, image: Path, command: str
) -> None:
    words = COMMANDS[command](model, image, Path("out"))
    run(*words)
    first = (here / "out").read_bytes()
    run(*words)
    (here / "out").write_bytes(FOREIGN)
    run(*words, "--yes" if command == "flash" else "--force")
    assert (here / "out").read_bytes() == first
    assert names(here) == ["out"]


def test_a_derived_name_is_replaced_for_the_same_source_only(here: Path, model: Path, tmp_path: Path) -> None:
    words = ("--board", "native", "--context", "16")
    run("pack", model, *words)
    (made,) = here.iterdir()
    run("pack", model, "--board", "native", "--context", "32")
    other = write_folder(tiny_llama(seed=5), tmp_path / "other" / "model")
    before = made.read_bytes()
    with pytest.raises(UsageError, match=r"another model.* -o.* --force"):
        run("pack", other, *words)
    assert made.read_bytes() == before
    run("pack", other, *words, "--force")
    assert made.read_bytes() != before


def test_signing_in_place_follows_no_link(here: Path, model: Path, image: Path) -> None:
    (here / "link.hsp").symlink_to(image)
    before = image.read_bytes()
    with pytest.raises(UsageError, match="is a link"):
        run("sign", "link.hsp", "--key", key_of(model))
    assert image.read_bytes() == before


def test_a_dry_run_writes_nothing(here: Path, image: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run("flash", image, "--medium", "disk.img", "--dry-run")
    assert names(here) == []
    run("flash", image, "--medium", "disk.img")
    before = kept(here)
    run("flash", image, "--medium", "disk.img", "--update", "--dry-run")
    run("flash", image, "--port", "/dev/ttyNothing", "--dry-run")
    assert kept(here) == before
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt(), SystemExit()])
def test_nothing_is_left_of_what_was_not_finished(tmp_path: Path, error: BaseException) -> None:
    (tmp_path / "old").write_bytes(FOREIGN)

    def write() -> None:
        with replacing(tmp_path / "old") as part:
            part.write_bytes(b"half")
            raise error

    with pytest.raises(type(error)):
        write()

    def chunks() -> object:
        yield 0, b"half"
        raise error

    with pytest.raises(type(error)):
        disk.write_disk(tmp_path / "disk", 4096, chunks())
    assert names(tmp_path) == ["old"]
    assert (tmp_path / "old").read_bytes() == FOREIGN


def test_an_image_of_which_nothing_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("host.image.writer._write_parts", fail)
    with pytest.raises(KeyboardInterrupt):
        tiny_image(tmp_path / "x.hsp", tiny_llama())
    assert names(tmp_path) == []


def test_modes_are_those_of_any_file(tmp_path: Path) -> None:
    old = os.umask(0o027)
    try:
        with replacing(tmp_path / "x") as part:
            part.write_bytes(b"x")
        make_keys(tmp_path / "k")
    finally:
        os.umask(old)
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()}
    assert modes == {"x": 0o640, "k": 0o600, "k.pub": 0o644}


def test_keys_replace_nothing(tmp_path: Path) -> None:
    dangling(tmp_path / "k.pub")
    with pytest.raises(UsageError, match="overwritten"):
        make_keys(tmp_path / "k")
    assert names(tmp_path) == ["k.pub"]


def test_a_log_replaces_a_log_only(tmp_path: Path) -> None:
    open_log(tmp_path / "log", "first line").close()
    open_log(tmp_path / "log", "first line").close()
    open_log(Path("/dev/null"), "first line").close()
    foreign(tmp_path / "notes")
    with pytest.raises(UsageError, match="another file"):
        open_log(tmp_path / "notes", "first line")
    assert (tmp_path / "notes").read_bytes() == FOREIGN


def test_a_name_that_can_be_none_is_an_error_in_words(tmp_path: Path) -> None:
    for name in ("nul\0", "x" * 300, "absent/file"):
        with pytest.raises(UsageError, match="-o"):
            check_output(tmp_path / name)


def test_disks_of_ours_are_told_from_others(tmp_path: Path, image: Path, here: Path) -> None:
    flash.write_disk_file(
        tmp_path / "ours", load_board("visionfive2"), here.parent / "build/visionfive2", image, None, lambda *_: None
    )
    (tmp_path / "image").write_bytes(MAGIC + bytes(100_000))
    assert flash.is_ours(tmp_path / "ours")
    assert not flash.is_ours(tmp_path / "image")
    with pytest.raises(ImageError):
        Image(tmp_path / "image")
