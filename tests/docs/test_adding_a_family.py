# SPDX-License-Identifier: Apache-2.0
"""A family is one file: the one that docs/adding-an-architecture.md shows is all it takes."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import host.families
from host.compiler.compile import Options
from host.errors import SourceError
from host.files.source import Source
from host.model import load_source
from tests.support.family_rows import tiny_model
from tests.support.model_files import stored_arrays, write_folder
from tests.support.native import Native
from tests.support.tiny import tiny_image

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "adding-an-architecture.md"
QKV = re.compile(r"(model\.layers\.\d+\.)self_attn\.q_proj(\.weight|\.bias)")


@pytest.fixture
def pocket(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The example of the page in a folder beside the package's own."""
    code = next(block for block in re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.S) if "FAMILY =" in block)
    (tmp_path / "families").mkdir()
    (tmp_path / "families" / "pocket.py").write_text(code)
    monkeypatch.setattr(host.families, "__path__", [*host.families.__path__, str(tmp_path / "families")])
    host.families.families.cache_clear()
    yield
    host.families.families.cache_clear()


def as_pocket(made: Source) -> dict[str, np.ndarray]:
    """The tensors of a Qwen2 as the example names them."""
    arrays = stored_arrays(made)
    found = {}
    for name, values in arrays.items():
        if q := QKV.fullmatch(name):
            parts = [arrays[f"{q[1]}self_attn.{letter}_proj{q[2]}"] for letter in "qkv"]
            found[f"{q[1]}attention.query_key_value{q[2]}"] = np.concatenate(parts)
        elif not re.search(r"\.[kv]_proj\.", name):
            found[name.replace("embed_tokens", "words").replace("self_attn.o_proj", "attention.out")] = values
    return found


def logits(native: Native, path: Path, source: Source) -> np.ndarray:
    tiny_image(path, source, Options(context=64))
    native.load(path)
    return native.feed([5, 9, 17, 3, 80, 2, 44], every=True)


@pytest.mark.usefixtures("pocket")
def test_the_file_on_the_page_is_a_family(native: Native, tmp_path: Path) -> None:
    made = tiny_model("qwen2", tie_word_embeddings=False)
    folder = write_folder(made, tmp_path / "m", arrays=as_pocket(made))
    config = (folder / "config.json").read_text().replace('"qwen2"', '"pocket"')
    (folder / "config.json").write_text(config)
    found = load_source(folder)
    assert found.architecture == "pocket"
    assert found.notes == []
    plain = logits(native, tmp_path / "pocket.hsp", found)
    np.testing.assert_array_equal(plain, logits(native, tmp_path / "qwen2.hsp", made))
    (folder / "config.json").write_text(config.replace("{", '{"words_factor": 3.0, ', 1))
    assert np.abs(logits(native, tmp_path / "scaled.hsp", load_source(folder)) - plain).max() > 0.1


@pytest.mark.usefixtures("pocket")
def test_errors_list_what_the_folder_holds(tmp_path: Path) -> None:
    folder = write_folder(tiny_model("qwen2"), tmp_path / "m")
    (folder / "config.json").write_text('{"model_type": "mamba9"}')
    with pytest.raises(SourceError, match=r"mamba9.*phi3, pocket, qwen2"):
        load_source(folder)


def test_users_can_read_which_families_there_are() -> None:
    table = (ROOT / "README.md").read_text()
    assert [name for name in host.families.families() if f"`{name}`" not in table] == []
    listed = subprocess.run(
        [sys.executable, "-m", "host", "models"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert listed.stdout.splitlines()[-1].endswith(f": {', '.join(host.families.families())}")
