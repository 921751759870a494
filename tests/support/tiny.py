# SPDX-License-Identifier: Apache-2.0
"""Tiny random models in memory, and their images: what tests of compiler, engine and link run on."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from host.compiler.compile import Compiled, Options, compile_model
from host.files.source import Blocks, RowChoice, Source, Tokenizer
from host.image.writer import write_image


@dataclass
class MemoryTensor:
    """A RawTensor whose values are in memory."""

    name: str
    values: npt.NDArray[np.float32]
    stored: Blocks | None = None

    @property
    def shape(self) -> tuple[int, ...]:
        return self.values.shape

    def rows(self, which: RowChoice) -> MemoryTensor:
        stored = None if self.stored is None else Blocks(self.stored.kind, self.stored.data[which])
        return MemoryTensor(self.name, self.values[which], stored)

    def float32(self) -> npt.NDArray[np.float32]:
        return self.values

    def blocks(self) -> Blocks | None:
        return self.stored


class Maker:
    """Random tensors by name, all from one seed."""

    def __init__(self, seed: int) -> None:
        self._rng = np.random.default_rng(seed)
        self.tensors: dict[str, MemoryTensor] = {}

    def matrix(self, name: str, rows: int, cols: int, scale: float | None = None) -> None:
        spread = cols**-0.5 if scale is None else scale
        values = (self._rng.standard_normal((rows, cols)) * spread).astype(np.float32)
        self.tensors[name] = MemoryTensor(name, values)

    def vector(self, name: str, size: int, centre: float = 0.0) -> None:
        values = (centre + 0.2 * self._rng.standard_normal(size)).astype(np.float32)
        self.tensors[name] = MemoryTensor(name, values)


def tiny_llama(seed: int = 1, **changes: Any) -> Source:
    """A Llama with two layers and grouped-query attention; ``changes`` are config keys."""
    config: dict[str, Any] = {
        "hidden_size": 96,
        "intermediate_size": 160,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "head_dim": 24,
        "vocab_size": 131,
        "max_position_embeddings": 512,
        "rms_norm_eps": 1e-5,
        "hidden_act": "silu",
        "rope_theta": 10000.0,
        "rope_scaling": None,
        "attention_bias": False,
        "mlp_bias": False,
        "tie_word_embeddings": True,
    } | changes
    dim, hidden, head = config["hidden_size"], config["intermediate_size"], config["head_dim"]
    q, kv = config["num_attention_heads"] * head, config["num_key_value_heads"] * head
    make = Maker(seed)
    make.matrix("model.embed_tokens.weight", config["vocab_size"], dim, 1.0)
    for i in range(config["num_hidden_layers"]):
        base = f"model.layers.{i}."
        make.vector(f"{base}input_layernorm.weight", dim, 1.0)
        make.vector(f"{base}post_attention_layernorm.weight", dim, 1.0)
        for letter, rows, cols in (("q", q, dim), ("k", kv, dim), ("v", kv, dim), ("o", dim, q)):
            make.matrix(f"{base}self_attn.{letter}_proj.weight", rows, cols)
            if config["attention_bias"]:
                make.vector(f"{base}self_attn.{letter}_proj.bias", rows)
        for name, rows, cols in (("gate", hidden, dim), ("up", hidden, dim), ("down", dim, hidden)):
            make.matrix(f"{base}mlp.{name}_proj.weight", rows, cols)
            if config["mlp_bias"]:
                make.vector(f"{base}mlp.{name}_proj.bias", rows)
    make.vector("model.norm.weight", dim, 1.0)
    if not config["tie_word_embeddings"]:
        make.matrix("lm_head.weight", config["vocab_size"], dim)
    return Source("llama", config, make.tensors, tiny_tokenizer(), "tiny-llama", {"format": "random", "seed": seed})


def tiny_gpt2(seed: int = 2, **changes: Any) -> Source:
    """A GPT-2 with two layers; ``changes`` are config keys."""
    config: dict[str, Any] = {
        "n_embd": 64,
        "n_inner": 144,
        "n_layer": 2,
        "n_head": 4,
        "n_positions": 256,
        "vocab_size": 131,
        "layer_norm_epsilon": 1e-5,
        "activation_function": "gelu_new",
        "scale_attn_weights": True,
        "scale_attn_by_inverse_layer_idx": False,
        "tie_word_embeddings": True,
    } | changes
    dim, hidden = config["n_embd"], config["n_inner"]
    make = Maker(seed)
    make.matrix("wte.weight", config["vocab_size"], dim, 1.0)
    make.matrix("wpe.weight", config["n_positions"], dim, 0.3)
    for i in range(config["n_layer"]):
        for name in ("ln_1", "ln_2"):
            make.vector(f"h.{i}.{name}.weight", dim, 1.0)
            make.vector(f"h.{i}.{name}.bias", dim)
        shapes = {
            "attn.c_attn": (3 * dim, dim),
            "attn.c_proj": (dim, dim),
            "mlp.c_fc": (hidden, dim),
            "mlp.c_proj": (dim, hidden),
        }
        for name, (rows, cols) in shapes.items():
            make.matrix(f"h.{i}.{name}.weight", rows, cols)
            make.vector(f"h.{i}.{name}.bias", rows)
    make.vector("ln_f.weight", dim, 1.0)
    make.vector("ln_f.bias", dim)
    if not config["tie_word_embeddings"]:
        make.matrix("lm_head.weight", config["vocab_size"], dim)
    return Source("gpt2", config, make.tensors, tiny_tokenizer(), "tiny-gpt2", {"format": "random", "seed": seed})


def tiny_tokenizer() -> Tokenizer:
    """One token a printable ASCII character or newline, and some special ones; 131 ids in all."""
    from tokenizers import Tokenizer as Library
    from tokenizers.decoders import Fuse
    from tokenizers.models import WordLevel
    from tokenizers.pre_tokenizers import Split

    words = ["<unk>", "<s>", "</s>", *(chr(c) for c in range(32, 127)), "\n"]
    words += [f"<extra{i}>" for i in range(131 - len(words))]
    library = Library(WordLevel({word: i for i, word in enumerate(words)}, unk_token="<unk>"))
    library.pre_tokenizer = Split("", "isolated")
    library.decoder = Fuse()
    template = "{% for message in messages %}{{ message.role }}: {{ message.content }}\n{% endfor %}"
    template += "{% if add_generation_prompt %}assistant: {% endif %}"
    return Tokenizer(library.to_str(), 1, (2,), template, {"bos_token": "<s>", "eos_token": "</s>"})


def tiny_image(path: Path, source: Source, options: Options | None = None) -> Compiled:
    """Compile ``source`` and write the image to ``path``."""
    compiled = compile_model(source, options or Options())
    write_image(path, source, compiled, {"name": source.name})
    return compiled
