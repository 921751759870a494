# SPDX-License-Identifier: Apache-2.0
"""Models in memory written out as users have them: a Hugging Face folder, shards, a GGUF."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from gguf import (
    GGML_QUANT_SIZES,
    MODEL_ARCH_NAMES,
    GGMLQuantizationType,
    GGUFWriter,
    get_tensor_name_map,
    quants,
)
from safetensors.numpy import save_file

from host.families import decoder_of, families
from host.families.parts.build import qkv_rows
from host.files.source import Source
from host.ops.norm import NormKind


def stored_arrays(source: Source) -> dict[str, np.ndarray]:
    """Arrays as safetensors hold them: GPT-2's linear weights [in, out], names with their prefix."""
    family = families()[source.architecture]
    arrays = {}
    for name, tensor in source.tensors.items():
        values = tensor.float32()
        values = np.ascontiguousarray(values.T) if family.transposed.fullmatch(name) else values
        arrays[name if name.startswith("lm_head") else family.prefix + name] = values
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
    family, decoder = families()[source.architecture], decoder_of(source)
    assert family.gguf is not None
    writer = GGUFWriter(path, MODEL_ARCH_NAMES[family.gguf])
    hyperparameters(writer, source)
    (vocabulary or write_vocabulary)(writer, decoder.vocab)
    for name, values in (extra or {}).items():
        writer.add_tensor(name, values)
    names = get_tensor_name_map(family.gguf, len(decoder.layers))
    for name, tensor in source.tensors.items():
        values = tensor.float32()
        if family.gguf_pairs and ".q_proj" in name:
            values = interleaved(values, decoder.attention.heads)
        if family.gguf_pairs and ".k_proj" in name:
            values = interleaved(values, decoder.attention.kv_heads)
        if name.endswith("norm.weight"):
            values = values + np.float32(decoder.norm.offset)
        if family.gguf_values.get("sorted_qkv") and "query_key_value" in name:
            values = values[np.concatenate([part.order() for part in qkv_rows(decoder.attention).values()])]
        data, data_type = _quantized(values, kind)
        full = name if name.startswith("lm_head") else family.prefix + name
        writer.add_tensor(names.get_name(full, (".weight", ".bias")), data, raw_dtype=data_type)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def hyperparameters(writer: GGUFWriter, source: Source) -> None:
    """What most families have in common."""
    decoder = decoder_of(source)
    writer.add_context_length(decoder.context)
    writer.add_embedding_length(decoder.width)
    writer.add_block_count(len(decoder.layers))
    writer.add_feed_forward_length(decoder.mlp.width)
    writer.add_head_count(decoder.attention.heads)
    eps = writer.add_layer_norm_eps if decoder.norm.kind == NormKind.LAYER else writer.add_layer_norm_rms_eps
    eps(decoder.norm.eps)
    if decoder.names.positions:
        return
    writer.add_head_count_kv(decoder.attention.kv_heads)
    writer.add_key_length(decoder.attention.head_dim)
    writer.add_rope_freq_base(source.config.get("rope_theta", 10000.0))
    rotated = next(layer.rope for layer in decoder.layers if layer.rope)
    writer.add_rope_dimension_count(2 * len(rotated.frequencies))


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
