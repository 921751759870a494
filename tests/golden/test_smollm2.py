# SPDX-License-Identifier: Apache-2.0
"""SmolLM2-135M on real text against transformers with the dequantized GGUF: what quantization costs, bounded."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from tokenizers import Tokenizer

from host.compiler.compile import KV_FORMATS, Options
from host.model import Source
from host.schema.formats import formats
from host.schema.image import Layout
from host.tokens.chat_template import ChatFormatter
from tests.golden.conftest import torch_llama
from tests.support.native import Native
from tests.support.tiny import tiny_image

TEXT = Path(__file__).parent / "lighthouse.txt"
POSITIONS = 256
QUESTION = [{"role": "user", "content": "What is the capital of France?"}]
BOUNDS = {"q4m": (0.02, 0.9), "q8": (0.02, 0.9), "q4": (0.4, 0.6)}
"""Weights: highest mean KL in nats, lowest share of positions where the likeliest token is the same. KV is int8.

The source is Q4_1: q4m takes its values over, q4 has to round them a second time, without a minimum.
"""


def log_softmax(logits: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    wide = logits.astype(np.float64)
    wide = wide - wide.max(-1, keepdims=True)
    return np.asarray(wide - np.log(np.exp(wide).sum(-1, keepdims=True)))


@pytest.fixture(scope="module")
def model(smollm2: Source) -> Any:
    return torch_llama(smollm2)


@pytest.fixture(scope="module")
def text(smollm2: Source, model: Any) -> tuple[list[int], npt.NDArray[np.float32]]:
    """Token ids of the text and the reference's logits for each."""
    import torch

    assert smollm2.tokenizer is not None
    ids = Tokenizer.from_str(smollm2.tokenizer.json).encode(TEXT.read_text()).ids[:POSITIONS]
    with torch.no_grad():
        return ids, model(torch.tensor([ids])).logits[0].numpy()


def run(source: Source, native: Native, path: Path, weights: str, kv: str, ids: list[int]) -> npt.NDArray[np.float32]:
    """The engine's logits for each position; the image is removed again, for it is large."""
    options = Options(weights=formats()[weights], kv=KV_FORMATS[kv], layout=Layout.SWAR, context=512)
    tiny_image(path, source, options)
    native.load(path)
    path.unlink()
    return native.feed(ids, every=True)


def test_the_reference_itself_is_sensible(smollm2: Source, model: Any, text: Any) -> None:
    """The import is right before anything is compared with it: it answers, and the text does not surprise it."""
    import torch

    assert smollm2.tokenizer is not None
    ids = ChatFormatter(smollm2.tokenizer).turn(QUESTION).ids
    stop = list(smollm2.tokenizer.stop_ids)
    answer = model.generate(torch.tensor([ids]), max_new_tokens=12, do_sample=False, eos_token_id=stop)
    assert "Paris" in Tokenizer.from_str(smollm2.tokenizer.json).decode(answer[0, len(ids) :].tolist())
    tokens, logits = text
    surprise = -log_softmax(logits[:-1])[np.arange(len(tokens) - 1), tokens[1:]]
    assert surprise.mean() < 4


@pytest.mark.parametrize("weights", list(BOUNDS))
def test_quantized_models_stay_close(
    smollm2: Source, text: Any, weights: str, native: Native, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ids, wanted = text
    found = run(smollm2, native, tmp_path / "m.hsp", weights, "int8", ids)
    reference, ours = log_softmax(wanted), log_softmax(found)
    divergence = (np.exp(reference) * (reference - ours)).sum(-1).mean()
    agreement = (wanted.argmax(-1) == found.argmax(-1)).mean()
    with capsys.disabled():
        print(f"\nSmolLM2 {weights}, KV int8, {len(ids)} positions: KL {divergence:.4f}, top-1 {agreement:.1%}")
    worst, least = BOUNDS[weights]
    assert divergence < worst
    assert agreement > least


@pytest.mark.slow
def test_f32_logits_of_a_whole_model(smollm2: Source, text: Any, native: Native, tmp_path: Path) -> None:
    ids, wanted = text
    found = run(smollm2, native, tmp_path / "m.hsp", "f32", "f32", ids[:128])
    assert np.abs(found - wanted[:128]).max() < 1e-3
