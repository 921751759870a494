# SPDX-License-Identifier: Apache-2.0
"""An image that passes cannot make the engine touch memory that is not its own, whatever its bytes are."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.fuzz.images import write_gpt2, write_llama
from tests.support.native import ROOT, build_library


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The fused program of a Llama whose context slides, and the unfused one of a GPT-2: all ops between them."""
    folder = tmp_path_factory.mktemp("fuzz")
    return {"llama": write_llama(folder / "llama.hsp"), "gpt2": write_gpt2(folder / "gpt2.hsp")}


def fuzz(image: Path, *arguments: str) -> dict[str, int]:
    """Counts by error name; fails with the change that ended the process, if one did."""
    build_library()
    trace = image.with_suffix(".trace")
    command = [sys.executable, str(ROOT / "tests/fuzz/image_fuzz.py"), str(image), str(trace), *arguments]
    done = subprocess.run(
        command,
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=250,
        check=False,
    )
    last = trace.read_text().strip() if trace.exists() else "none"
    assert done.returncode == 0, f"ended with {done.returncode} at {last}\n{done.stderr[-2000:]}"
    counts: dict[str, int] = json.loads(done.stdout)
    return counts


@pytest.mark.parametrize("model", ["llama", "gpt2"])
def test_every_change_is_refused_or_harmless(images: dict[str, Path], model: str) -> None:
    counts = fuzz(images[model], "each")
    assert sum(counts.values()) > 2500
    assert counts["IMAGE_OP"] > sum(counts.values()) // 10
    assert counts["harmless"] > 0
    for error in ("IMAGE_SECTION", "IMAGE_PLAN", "IMAGE_TENSOR", "IMAGE_STATE"):
        assert counts[error] > 10


@pytest.mark.parametrize("model", ["llama", "gpt2"])
def test_several_changes_at_once(images: dict[str, Path], model: str) -> None:
    assert sum(fuzz(images[model], "random", "1", "600").values()) == 600


@pytest.mark.slow
@pytest.mark.parametrize("model", ["llama", "gpt2"])
def test_many_changes(images: dict[str, Path], model: str) -> None:
    assert sum(fuzz(images[model], "all").values()) > 10000
    for seed in range(2, 8):
        assert sum(fuzz(images[model], "random", str(seed), "10000").values()) == 10000
