# SPDX-License-Identifier: Apache-2.0
"""An image that passes cannot make the engine touch memory that is not its own, whatever its bytes are."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from host.compiler.compile import Options
from host.compiler.passes import PASSES
from host.image.format import Format, Layout, Overflow
from tests.support.native import ROOT, build_library
from tests.support.tiny import tiny_gpt2, tiny_image, tiny_llama

SMALL = {
    "hidden_size": 32,
    "intermediate_size": 32,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "head_dim": 16,
}


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The fused program of a Llama whose context slides, and the unfused one of a GPT-2: all ops between them."""
    folder = tmp_path_factory.mktemp("fuzz")
    llama, gpt2 = folder / "llama.hsp", folder / "gpt2.hsp"
    slide = Options(
        weights=Format.Q4M, context=48, sessions=2, max_rows=8, overflow=Overflow.SLIDE, sinks=4, layout=Layout.SWAR
    )
    tiny_image(llama, tiny_llama(**SMALL), slide)
    plain = Options(weights=Format.Q8, context=40, sessions=2, max_rows=8, kv=Format.F32, without=tuple(PASSES))
    tiny_image(gpt2, tiny_gpt2(n_embd=32, n_inner=32, n_layer=1, n_head=2), plain)
    return {"llama": llama, "gpt2": gpt2}


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
