# SPDX-License-Identifier: Apache-2.0
"""What every importer gives to the compiler: one model in Hugging Face terms, whatever file it came from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from host.errors import HostError, SourceError

RowChoice = slice | npt.NDArray[np.int64]
"""Rows of a matrix: a range, or their numbers."""


@dataclass(frozen=True)
class Blocks:
    """Rows of a GGUF block format as stored, for passing their values through unchanged.

    ``kind`` is the GGUF type's name, such as "Q4_0"; ``data`` is uint8 [rows][bytes a row].
    """

    kind: str
    data: npt.NDArray[np.uint8]


class RawTensor(Protocol):
    """One tensor, read only when asked for.

    Shape and row order are Hugging Face's for Llama. **Every linear weight is [out, in]**, GPT-2's too, whose Conv1D
    weights are stored [in, out] in safetensors: the importer has transposed them. Rows of q and k that a GGUF holds in
    its own order are back in Hugging Face's (rotary pairs are i and i + head_dim / 2), in blocks() as well.
    """

    @property
    def name(self) -> str:
        """As in `Source.tensors`."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Row-major."""

    def rows(self, which: RowChoice) -> RawTensor:
        """These rows of a matrix as a tensor; reading it reads no others."""

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
    prefix: tuple[int, ...] = ()
    """What plain prompts start with where it is not bos alone: ids, bos among them if it is wanted."""
    ranks: tuple[int, ...] | None = None
    """By id, how early a piece is made of two neighbours where pieces of one rank exist, which merges cannot say: the
    pair of the lowest rank first, of equals the leftmost (llama.cpp's SentencePiece). None: the merges' own order."""
    refusal: type[HostError] = field(default=SourceError, compare=False, repr=False)
    """The error that says that it is damaged: ImageError where it comes from an image."""

    @property
    def start(self) -> tuple[int, ...]:
        """The ids that plain prompts start with."""
        return self.prefix or ((self.bos,) if self.add_bos and self.bos is not None else ())


@dataclass
class Source:
    """A model as found: architecture, config, tensors, tokenizer, provenance.

    The config is config.json as its family reads it (`host.families.decoder_of`); a GGUF's metadata stand under the
    same keys (host/families/parts/gguf_config.py). tie_word_embeddings is what the tensors say.

    The tensors are exactly those that the architecture has, with the shapes that the config implies. A tied model has
    no lm_head.weight; an untied one has.
    """

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
    pack: Mapping[str, Any] = field(default_factory=dict)
    """How the recipe wants it packed (weights, kv, context, sessions); empty without a recipe."""
    notes: list[str] = field(default_factory=list)
    """What was decided about the file that its user should know, a line each."""
    about: dict[str, Any] = field(default_factory=dict)
    """What an image's manifest says beside that: names of labels, prompts."""
