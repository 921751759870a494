# SPDX-License-Identifier: Apache-2.0
"""Models in memory written out as users have them: a Hugging Face folder, shards, a GGUF."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from gguf import GGML_QUANT_SIZES, GGMLQuantizationType, GGUFWriter, quants
from safetensors.numpy import save_file

from host.files.source import Source

CONV1D = re.compile(r"h\.\d+\.(attn\.c_attn|attn\.c_proj|mlp\.c_fc|mlp\.c_proj)\.weight")
LLAMA_NAMES = {
    "model.embed_tokens": "token_embd",
    "model.norm": "output_norm",
    "lm_head": "output",
    "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ffn_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}
GPT2_NAMES = {
    "wte": "token_embd",
    "wpe": "position_embd",
    "ln_f": "output_norm",
    "lm_head": "output",
    "ln_1": "attn_norm",
    "ln_2": "ffn_norm",
    "attn.c_attn": "attn_qkv",
    "attn.c_proj": "attn_output",
    "mlp.c_fc": "ffn_up",
    "mlp.c_proj": "ffn_down",
}


def stored_arrays(source: Source) -> dict[str, np.ndarray]:
    """Arrays as safetensors hold them: GPT-2's linear weights [in, out], names with their prefix."""
    arrays = {}
    for name, tensor in source.tensors.items():
        values = tensor.float32()
        if source.architecture == "gpt2":
            values = np.ascontiguousarray(values.T) if CONV1D.fullmatch(name) else values
            name = name if name.startswith("lm_head") else f"transformer.{name}"
        arrays[name] = values
    return arrays


def write_folder(source: Source, folder: Path, shards: int = 1, arrays: dict[str, Any] | None = None) -> Path:
    """A Hugging Face folder with config.json, tokenizer.json and safetensors in one or more files."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps({"model_type": source.architecture, **source.config}))
    if source.tokenizer is not None:
        (folder / "tokenizer.json").write_text(source.tokenizer.json)
        extra = {**source.tokenizer.special, "chat_template": source.tokenizer.chat_template}
        (folder / "tokenizer_config.json").write_text(json.dumps(extra))
    arrays = stored_arrays(source) if arrays is None else arrays
    if shards == 1:
        save_file(arrays, folder / "model.safetensors")
        return folder
    weight_map = {}
    for shard in range(shards):
        file = f"model-{shard + 1:05}-of-{shards:05}.safetensors"
        part = dict(list(arrays.items())[shard::shards])
        weight_map.update(dict.fromkeys(part, file))
        save_file(part, folder / file)
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": weight_map}))
    return folder


def gguf_name(name: str, names: dict[str, str]) -> str:
    """A Hugging Face name as llama.cpp's converter writes it."""
    base, suffix = name.rsplit(".", 1)
    match = re.fullmatch(r"(?:model\.layers|h)\.(\d+)\.(.+)", base)
    return f"blk.{match[1]}.{names[match[2]]}.{suffix}" if match else f"{names[base]}.{suffix}"


def interleaved(values: np.ndarray, heads: int) -> np.ndarray:
    """q or k rows in the order that llama.cpp's converter gives them."""
    return values.reshape(heads, 2, -1, *values.shape[1:]).swapaxes(1, 2).reshape(values.shape)


def _quantized(values: np.ndarray, kind: str) -> tuple[np.ndarray, GGMLQuantizationType]:
    wanted = GGMLQuantizationType[kind]
    if values.ndim != 2 or values.shape[1] % GGML_QUANT_SIZES[wanted][0]:
        wanted = GGMLQuantizationType.F32
    return quants.quantize(values, wanted), wanted


def write_gguf(
    source: Source,
    path: Path,
    kind: str = "F32",
    extra: dict[str, np.ndarray] | None = None,
    vocabulary: Callable[[GGUFWriter, int], None] | None = None,
) -> Path:
    """A GGUF of the model with all matrices of whole blocks in ``kind``, and ``extra`` tensors under their own names.

    vocabulary: writes the tokenizer's entries in place of ``write_vocabulary``.
    """
    writer = GGUFWriter(path, source.architecture)
    (llama_metadata if source.architecture == "llama" else gpt2_metadata)(writer, source.config)
    (vocabulary or write_vocabulary)(writer, source.config["vocab_size"])
    for name, values in (extra or {}).items():
        writer.add_tensor(name, values)
    for name, tensor in source.tensors.items():
        values = tensor.float32()
        if source.architecture == "llama" and ".q_proj" in name:
            values = interleaved(values, source.config["num_attention_heads"])
        if source.architecture == "llama" and ".k_proj" in name:
            values = interleaved(values, source.config["num_key_value_heads"])
        data, data_type = _quantized(values, kind)
        names = LLAMA_NAMES if source.architecture == "llama" else GPT2_NAMES
        writer.add_tensor(gguf_name(name, names), data, raw_dtype=data_type)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def llama_metadata(writer: GGUFWriter, config: Any) -> None:
    """Hyperparameters of a Llama."""
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(config["num_attention_heads"])
    writer.add_head_count_kv(config["num_key_value_heads"])
    writer.add_key_length(config["head_dim"])
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    writer.add_rope_freq_base(config["rope_theta"])


def gpt2_metadata(writer: GGUFWriter, config: Any) -> None:
    """Hyperparameters of a GPT-2."""
    writer.add_context_length(config["n_positions"])
    writer.add_embedding_length(config["n_embd"])
    writer.add_block_count(config["n_layer"])
    writer.add_feed_forward_length(config["n_inner"])
    writer.add_head_count(config["n_head"])
    writer.add_layer_norm_eps(config["layer_norm_epsilon"])


def write_vocabulary(writer: GGUFWriter, size: int) -> None:
    """Characters, two merges and special tokens, ``size`` in all."""
    words = ["<unk>", "<s>", "</s>", *(chr(c) for c in range(33, 127)), "\u0120", "\u010a", "he", "\u0120he"]
    words += [f"<extra{i}>" for i in range(size - len(words))]
    special = {"<unk>", "<s>", "</s>"}
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list(words)
    writer.add_token_types([3 if word in special or word.startswith("<extra") else 1 for word in words])
    writer.add_token_merges(["h e", "\u0120 he"])
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_chat_template("{% for m in messages %}{{ m.role }}: {{ m.content }}</s>{% endfor %}")
