# SPDX-License-Identifier: Apache-2.0
"""The commands end to end on the native target: a model folder is packed, run, cancelled, measured and evaluated."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from host import cli
from host.compiler.compile import Options
from host.image.reader import Image
from host.link.client import Client
from host.ops import OpId
from host.schema.formats.f32 import F32
from host.schema.formats.q4 import Q4
from host.schema.formats.q8 import Q8
from host.schema.image import Format
from host.schema.wire.answers import Reason
from host.targets import open_target
from tests.support.model_files import write_folder
from tests.support.tiny import tiny_image, tiny_llama

Host = Callable[..., tuple[str, str]]


@pytest.fixture
def host(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Host:
    def run(*words: object, code: int = 0) -> tuple[str, str]:
        monkeypatch.setattr(sys, "argv", ["host", *map(str, words)])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        out, err = capsys.readouterr()
        assert int(ended.value.code or 0) == code, err
        return out, err

    return run


def test_a_model_folder_is_packed_once_and_answers(host: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    folder = write_folder(tiny_llama(), tmp_path / "tiny")
    words = ("run", folder, "-t", "native", "--raw", "-p", "hello", "--max-tokens", 4, "--json")
    first = json.loads(host(*words)[0])
    packed = list((tmp_path / "cache").rglob("*.hsp"))
    assert len(packed) == 1
    before = packed[0].stat().st_mtime_ns
    assert json.loads(host(*words)[0])["tokens"][0]["id"] == first["tokens"][0]["id"]
    assert packed[0].stat().st_mtime_ns == before
    assert first["device"]["root"] == Image(packed[0]).root
    os.utime(next(folder.glob("*.safetensors")), ns=(before + 10**9, before + 10**9))
    host(*words)
    assert len(list((tmp_path / "cache").rglob("*.hsp"))) == 2


def test_statistics_name_the_ops_of_the_image(tmp_path: Path) -> None:
    image = tmp_path / "tiny.hsp"
    tiny_image(image, tiny_llama())
    stream = open_target("native", image)
    try:
        client = Client(stream)
        client.connect()
        client.stats(enable=True, reset=True)
        client.prompt([3, 4, 5])
        client.generate(4).finish()
        costs = client.stats().ops
        assert [op.id for op in costs] == [op.id for op in Image(image).ops]
        assert {op.calls for op in costs} == {4}
        assert any(op.id == OpId.LINEAR and op.weight < len(Image(image).tensors) for op in costs)
    finally:
        stream.close()


def test_a_cancelled_answer_goes_on_as_if_nothing_had_been(tmp_path: Path) -> None:
    image = tmp_path / "tiny.hsp"
    tiny_image(image, tiny_llama(), Options(context=512))
    prompt = [int(token) for token in np.random.default_rng(3).integers(3, 130, 300)]
    stream = open_target("native", image)
    try:
        client = Client(stream)
        client.connect()
        client.prompt(prompt)
        expected = [(token.id, token.digest) for token in client.generate(20, digest=True)]
        client.truncate(0)
        client.prompt(prompt)
        run = client.generate(20, digest=True)
        run.cancel()
        got = [(token.id, token.digest) for token in run]
        if len(got) < 20:
            assert run.done is not None
            assert run.done.reason == Reason.CANCELLED
            got += [(token.id, token.digest) for token in client.generate(20 - len(got), digest=True)]
        assert got == expected
    finally:
        stream.close()


def test_scored_logits_are_those_that_were_sampled_from(tmp_path: Path) -> None:
    image = tmp_path / "tiny.hsp"
    tiny_image(image, tiny_llama())
    stream = open_target("native", image)
    try:
        client = Client(stream)
        client.connect()
        client.prompt([5, 6, 7, 8])
        tokens = list(client.generate(6, digest=True))
        client.truncate(4)
        client.truncate(0)
        client.prompt([5, 6, 7, 8, *(token.id for token in tokens)])
        rows = list(client.score(digest=True, logits=True))
        assert [row.digest for row in rows[3:9]] == [token.digest for token in tokens]
        assert [row.argmax for row in rows[3:9]] == [token.id for token in tokens]
        for row in rows:
            assert row.logits is not None
            assert int(row.logits.argmax()) == row.argmax
    finally:
        stream.close()


def test_eval_finds_the_distance_of_a_coarser_packing(host: Host, tmp_path: Path) -> None:
    text = tmp_path / "text.txt"
    text.write_text("The quick brown fox jumps over the lazy dog. " * 3)
    paths = {}
    for name, weights, kv in (
        ("f32", F32, Format.F32),
        ("q8", Q8, Format.KV8),
        ("q4", Q4, Format.KV8),
    ):
        paths[name] = tmp_path / f"{name}.hsp"
        tiny_image(paths[name], tiny_llama(), Options(weights=weights, kv=kv))

    def distance(name: str) -> float:
        out, _ = host("eval", paths[name], "--reference", paths["f32"], "--text", text, "--tokens", 100, "--json")
        quality = json.loads(out)
        assert quality["tokens"] == 99
        return float(quality["kl_mean"])

    assert distance("f32") == 0
    assert 0 < distance("q8") < distance("q4") < 1
