# SPDX-License-Identifier: Apache-2.0
"""What every importer gives to the compiler: one model in Hugging Face terms, whatever file it came from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True)
class Blocks:
    """Rows of a GGUF block format as stored, for passing 4- and 8-bit values through unchanged.

    ``kind`` is the GGUF type's name ("Q4_0", "Q4_1", "Q8_0"); ``data`` is uint8 [rows][bytes a row].
    """

    kind: str
    data: npt.NDArray[np.uint8]


class RawTensor(Protocol):
    """One tensor, read only when asked for. Row order and shape are Hugging Face's (Conv1D is NOT transposed here)."""

    name: str
    shape: tuple[int, ...]

    def float32(self) -> npt.NDArray[np.float32]:
        """The whole tensor in f32, dequantized. Raises SourceError on NaN or infinity, naming the tensor."""

    def blocks(self) -> Blocks | None:
        """Its stored blocks when the format is one that can be passed through, rows already in canonical order."""


@dataclass
class Tokenizer:
    """Text to ids and back. ``json`` is a tokenizer.json as the `tokenizers` library reads and writes it."""

    json: str
    bos: int | None
    stop_ids: tuple[int, ...]
    chat_template: str | None
    special: dict[str, str] = field(default_factory=dict)
    """bos_token, eos_token, ... as text: what chat templates refer to."""
    add_bos: bool = False
    """Whether plain prompts start with bos."""


@dataclass
class Source:
    """A model as found: architecture, config, tensors, tokenizer, provenance."""

    architecture: str
    """Hugging Face model_type: "llama", "gpt2", ..."""
    config: Mapping[str, Any]
    """Hugging Face config.json, from a GGUF's metadata translated to the same keys."""
    tensors: Mapping[str, RawTensor]
    """By Hugging Face name, e.g. model.layers.0.self_attn.q_proj.weight; without a leading "transformer." for GPT-2."""
    tokenizer: Tokenizer | None
    name: str
    provenance: dict[str, Any]
    """path (name only), sha256, format, licence, quantization of the source, recipe: goes into the manifest."""
