# SPDX-License-Identifier: Apache-2.0
"""A model of GPT-2 124M's shapes with random weights, which is all that speed depends on, packed for a board."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save_file
from tokenizers import Tokenizer
from tokenizers.models import WordLevel

from host.families.gpt2 import FAMILY
from host.families.parts.build import shapes
from host.files.fields import Fields
from host.packing.pack import PackRequest, prepare

CONFIG: dict[str, Any] = {
    "model_type": "gpt2",
    "architectures": ["GPT2LMHeadModel"],
    "n_embd": 768,
    "n_layer": 12,
    "n_head": 12,
    "n_positions": 1024,
    "vocab_size": 50257,
    "layer_norm_epsilon": 1e-5,
    "activation_function": "gelu_new",
}


def write_source(folder: Path) -> None:
    """A folder as Hugging Face has them, in half precision, with a vocabulary of so many invented words."""
    rng = np.random.default_rng(124)
    tensors = {}
    for name, shape in shapes(FAMILY.read(Fields(CONFIG, "gpt2"))).items():
        stored = shape[::-1] if FAMILY.transposed.fullmatch(name) else shape
        tensors[name] = (rng.standard_normal(stored, np.float32) * 0.02).astype(np.float16)
    words = {f"<{i}>": i for i in range(CONFIG["vocab_size"])}
    Tokenizer(WordLevel(words, unk_token="<0>")).save(str(folder / "tokenizer.json"))
    save_file(tensors, folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps(CONFIG))


def gpt2_image(board: str, weights: str, out: Path) -> Path:
    """An image with ``weights`` everywhere, output matrix included; made where it is not there."""
    if not out.is_file():
        with tempfile.TemporaryDirectory() as folder:
            write_source(Path(folder))
            request = PackRequest(source=folder, board=board, weights=weights, output_weights=weights)
            prepare(request).write(out)
    return out
