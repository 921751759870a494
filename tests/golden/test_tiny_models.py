# SPDX-License-Identifier: Apache-2.0
"""Random models saved by transformers, through import, compiler and engine: the logits are transformers' own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from host.compiler.compile import Options
from host.model import load_source
from host.schema.formats.f32 import F32
from host.schema.image import Format, Layout
from tests.support.native import Native
from tests.support.tiny import tiny_image

TOLERANCE = 1e-3
LLAMA: dict[str, Any] = {
    "hidden_size": 64,
    "intermediate_size": 112,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "vocab_size": 257,
    "max_position_embeddings": 384,
}
GPT2: dict[str, Any] = {"n_embd": 48, "n_layer": 2, "n_head": 3, "vocab_size": 257, "n_positions": 320}
LLAMA3 = {"factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 64}
CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "llama-gqa-tied": ("llama", {"tie_word_embeddings": True}),
    "llama-untied": ("llama", {"tie_word_embeddings": False, "num_key_value_heads": 4}),
    "llama-odd-sizes": ("llama", {"hidden_size": 48, "num_attention_heads": 3, "num_key_value_heads": 1}),
    "llama-wide-heads": ("llama", {"hidden_size": 40, "head_dim": 24, "intermediate_size": 72}),
    "llama-biases": ("llama", {"attention_bias": True, "mlp_bias": True}),
    "llama-gelu": ("llama", {"hidden_act": "gelu"}),
    "llama-rope-theta": ("llama", {"rope": {"rope_type": "default", "rope_theta": 5e5}}),
    "llama-rope-linear": ("llama", {"rope": {"rope_type": "linear", "factor": 4.0}}),
    "llama-rope-llama3": ("llama", {"rope": {"rope_type": "llama3", **LLAMA3}}),
    "llama-rope-dynamic": ("llama", {"rope": {"rope_type": "dynamic", "factor": 2.0}}),
    "llama-rope-yarn": (
        "llama",
        {"rope": {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 96}},
    ),
    "gpt2-tied": ("gpt2", {}),
    "gpt2-untied": ("gpt2", {"tie_word_embeddings": False, "n_inner": 100}),
    "gpt2-exact-gelu": ("gpt2", {"activation_function": "gelu"}),
    "gpt2-scaled-by-layer": ("gpt2", {"scale_attn_by_inverse_layer_idx": True}),
}


def make_model(family: str, changes: dict[str, Any]) -> Any:
    """A transformers model with weights large enough that a wrong one shows: norms and biases are random, too."""
    import torch
    import transformers

    torch.manual_seed(11)
    if family == "llama":
        keys = LLAMA | changes
        rope = {"rope_theta": 10000.0} | keys.pop("rope", {"rope_type": "default"})
        model = transformers.LlamaForCausalLM(transformers.LlamaConfig(**keys, rope_parameters=rope))
    else:
        model = transformers.GPT2LMHeadModel(transformers.GPT2Config(**(GPT2 | changes)))
    with torch.no_grad():
        for name, values in model.named_parameters():
            if values.ndim == 1:
                centre = 1.0 if name.endswith("weight") else 0.0
                values.copy_(centre + 0.2 * torch.randn_like(values))
            else:
                values.copy_(torch.randn_like(values) * (0.7 if "emb" in name or "wte" in name else 0.15))
    return model.eval()


@pytest.fixture(scope="session", params=list(CASES))
def case(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[int], Any]:
    """A saved model, tokens, and transformers' logits [position][vocab]."""
    import torch

    model = make_model(*CASES[request.param])
    folder = tmp_path_factory.mktemp(request.param)
    model.save_pretrained(folder)
    tokens = np.random.default_rng(3).integers(0, 257, 300).tolist()
    with torch.no_grad():
        logits = model(torch.tensor([tokens])).logits[0].numpy()
    return folder, tokens, logits


@pytest.mark.parametrize("layout", [Layout.RVV, Layout.SWAR])
def test_f32_logits_are_the_references(
    case: tuple[Path, list[int], Any], layout: Layout, native: Native, tmp_path: Path
) -> None:
    folder, tokens, wanted = case
    source = load_source(folder, require_tokenizer=False)
    tiny_image(tmp_path / "m.hsp", source, Options(weights=F32, kv=Format.F32, layout=layout))
    native.load(tmp_path / "m.hsp")
    found = native.feed(tokens, every=True)
    assert found.shape == wanted.shape
    assert np.abs(wanted).max() > 1
    assert np.abs(found - wanted).max() < TOLERANCE
