# SPDX-License-Identifier: Apache-2.0
"""What a person sees of an image first: its board, formats, source, needs and signature, and how fast it can be."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from host.bench.bound import decode_bound, image_bound, planned
from host.boards import load_board
from host.cli import create_app
from host.errors import HostError, ImageError
from host.image.inspect import bits_per_weight, image_facts, summary
from host.image.reader import Image
from host.packing.pack import PackRequest, prepare
from tests.support.images import ImageEditor
from tests.support.model_files import write_folder
from tests.support.tiny import tiny_llama


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("summary")
    folder = write_folder(tiny_llama(), place / "model")
    prepare(PackRequest(str(folder), board="visionfive2", weights="q4", sessions=2)).write(place / "m.hsp")
    return place / "m.hsp"


def inspect(*words: object) -> Result:
    return CliRunner().invoke(create_app(), ["inspect", *map(str, words)])


def test_the_summary_is_what_a_person_asks(image: Path) -> None:
    opened = Image(image)
    shown = inspect(image).stdout
    assert len(shown.splitlines()) < 20
    facts = {line.split()[0]: line for line in shown.splitlines()[1:]}
    assert "(llama) for visionfive2, swar layout" in shown.splitlines()[0]
    assert opened.manifest["source"]["sha256"] in facts["source"]
    assert "not stated" in facts["licence"]
    assert "q4 (q8 embedding and output)" in facts["weights"]
    assert f"{bits_per_weight(opened):.2f} bits a weight" in facts["weights"]
    assert "int8" in facts["KV"]
    assert "512 positions, stops when full; 2 session(s)" in facts["context"]
    assert "typed lines" in facts["terminal"]
    assert "none" in facts["signature"]
    assert opened.root in facts["identity"]
    everything = inspect(image, "--all").stdout
    assert everything.startswith(shown)
    assert len(everything.splitlines()) > 50


def test_bits_a_weight_count_everything(image: Path) -> None:
    opened = Image(image)
    matrices = sum(t.rows * t.cols for t in opened.tensors)
    assert bits_per_weight(opened) == pytest.approx(8 * sum(t.size for t in opened.tensors) / matrices)


def test_json_has_all_of_it(image: Path) -> None:
    facts = json.loads(inspect(image, "--json").stdout)
    assert facts["signed_by"] is None
    assert facts["bits_per_weight"] > 4
    assert facts["bound_tokens_per_second"] == image_bound(Image(image)).empty  # type: ignore[union-attr]
    assert len(facts["tensors"]) == len(Image(image).tensors)


def test_a_signature_is_checked_by_the_key_that_is_given(image: Path, tmp_path: Path) -> None:
    for name in ("mine", "other"):
        assert CliRunner().invoke(create_app(), ["keygen", str(tmp_path / name)]).exit_code == 0
    refused = inspect(image, "--key", tmp_path / "mine.pub")
    assert isinstance(refused.exception, ImageError)
    signed = tmp_path / "signed.hsp"
    words = ["sign", str(image), "--key", str(tmp_path / "mine"), "-o", str(signed)]
    assert CliRunner().invoke(create_app(), words).exit_code == 0
    key = json.loads(inspect(signed, "--json").stdout)["signed_by"]
    assert f"by key {key}, not checked" in inspect(signed).stdout
    assert f"signature  good, by key {key}" in inspect(signed, "--key", tmp_path / "mine.pub").stdout
    assert json.loads(inspect(signed, "--key", tmp_path / "mine.pub", "--json").stdout)["signature_good"] is True
    wrong = inspect(signed, "--key", tmp_path / "other.pub")
    assert isinstance(wrong.exception, ImageError)
    assert "not good" in wrong.stdout


def test_the_bound_is_the_bytes_of_a_token_at_the_speed_of_the_memory(image: Path) -> None:
    """From the plan as from the image; a full context also reads its keys and values."""
    opened, board = Image(image), load_board("visionfive2")
    found = decode_bound(opened, board)
    assert found is not None
    assert board.roofline is not None
    table = next(t for t in opened.tensors if "embed" in t.name)
    read = sum(t.size for t in opened.tensors) - (
        0 if opened.ops[-1].fields.get("weight") == table.index else table.size
    )
    assert found.token_bytes == pytest.approx(read, rel=0.02)
    assert found.empty == pytest.approx(board.roofline.read_mb_s * 1e6 / found.token_bytes)
    keys = 2 * 2 * 2 * (24 + 4)  # two layers, keys and values, two heads of 24 bytes and a scale
    assert 1 / found.full - 1 / found.empty == pytest.approx(511 * keys / (board.roofline.read_mb_s * 1e6))
    folder = image.parent / "model"
    again = prepare(PackRequest(str(folder), board="visionfive2", weights="q4", sessions=2))
    assert again.bound == found
    assert decode_bound(planned(again.compiled), load_board("native")) is None


def test_no_speed_is_claimed_where_nobody_measured(image: Path, tmp_path: Path) -> None:
    folder = image.parent / "model"
    for board in ("qemu-virt", "native", "k230"):
        packing = prepare(PackRequest(str(folder), board=board))
        assert packing.bound is None
        packing.write(tmp_path / "i.hsp")
        assert "tokens/s" not in inspect(tmp_path / "i.hsp").stdout
        assert packing.facts()["bound_tokens_per_second"] is None


def test_pack_says_the_bound(image: Path) -> None:
    words = ["pack", str(image.parent / "model"), "--board", "bpi-f3", "--dry-run"]
    said = CliRunner().invoke(create_app(), words).output
    assert "at most" in said
    assert "the board's memory gives 2.7 GB/s" in said


def test_who_signs_says_so_as_json(image: Path, tmp_path: Path) -> None:
    def facts(*words: object) -> dict[str, object]:
        result = CliRunner().invoke(create_app(), [*map(str, words), "--json"])
        assert result.exit_code == 0, result.output
        return json.loads(result.stdout)  # type: ignore[no-any-return]

    key, out = tmp_path / "k", tmp_path / "out.hsp"
    made = facts("keygen", key)
    assert made == {"private": str(key), "public": f"{key}.pub", "key": made["key"]}
    signed = facts("sign", image, "--key", key, "-o", out, "--image-version", 3)
    assert signed == {"image": str(out), "key": made["key"], "image_version": 3}
    assert facts("verify", out, "--key", f"{key}.pub") == signed
    plan = facts("flash", image, "--medium", tmp_path / "disk", "--dry-run")
    assert plan["board"] == "visionfive2"
    assert plan["plan"]
    assert not (tmp_path / "disk").exists()


def test_a_summary_of_any_bytes_is_a_summary_or_a_refusal(image: Path, tmp_path: Path) -> None:
    """Tables with wrong values and right hashes: the loader may refuse them, the host must not fall over them."""
    data, dice, shown = image.read_bytes(), random.Random(7), 0
    for _ in range(80):
        editor = ImageEditor(data)
        small = [place for place in editor.sections.values() if place[1] < 20_000]
        for _ in range(dice.choice((1, 2, 4))):
            at, size = dice.choice(small)
            editor.data[at + dice.randrange(size)] = dice.choice((0, 255, dice.randrange(256)))
        (tmp_path / "mutant.hsp").write_bytes(editor.sealed())
        try:
            opened = Image(tmp_path / "mutant.hsp")
            bound = image_bound(opened)
            shown += len(list(summary(opened, bound.words() if bound else None))) > 5
            json.dumps(image_facts(opened))
        except HostError:
            pass
    assert shown > 10
