# SPDX-License-Identifier: Apache-2.0
"""The float reference of the golden tests: transformers on torch, on the CPU."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from host.errors import SourceError
from host.model import Source, load_source

REASON = "the float reference needs torch and transformers: pip install 'hartspeak[reference]'"


@pytest.fixture(scope="session", autouse=True)
def reference() -> Iterator[None]:
    """Skip without the libraries. Two threads, which is what CI has."""
    torch = pytest.importorskip("torch", reason=REASON)
    pytest.importorskip("transformers", reason=REASON)
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def smollm2() -> Source:
    """SmolLM2-135M-Instruct by its recipe."""
    try:
        return load_source("smollm2-135m-instruct")
    except SourceError as error:
        pytest.skip(f"SmolLM2 cannot be fetched: {error}")


def torch_llama(source: Source) -> Any:
    """A transformers Llama with the source's weights, dequantized to f32."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    keys = dict(source.config)
    theta, scaling = keys.pop("rope_theta", 10000.0), keys.pop("rope_scaling", None)
    keys["rope_parameters"] = {**(scaling or {"rope_type": "default"}), "rope_theta": theta}
    with torch.device("meta"):
        model = LlamaForCausalLM(LlamaConfig(**keys))
    model = model.to_empty(device="cpu")
    weights = {name: torch.from_numpy(tensor.float32()) for name, tensor in source.tensors.items()}
    missing, unexpected = model.load_state_dict(weights, strict=False)
    assert not unexpected
    assert set(missing) <= {"lm_head.weight"}
    model.tie_weights()
    model.model.rotary_emb = type(model.model.rotary_emb)(model.config)
    return model.eval()
