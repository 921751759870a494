# SPDX-License-Identifier: Apache-2.0
"""A GGUF's metadata under the names that config.json has for them, so that one function reads both."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gguf import MODEL_ARCH_NAMES

from host.errors import SourceError
from host.families.parts.family import Family
from host.families.parts.names import EMBEDDING, OUTPUT, same_bytes
from host.files.fields import Fields
from host.files.tensor import StoredTensor

GGUF_KEYS = {
    "context_length": "max_position_embeddings",
    "embedding_length": "hidden_size",
    "block_count": "num_hidden_layers",
    "feed_forward_length": "intermediate_size",
    "vocab_size": "vocab_size",
    "attention.head_count": "num_attention_heads",
    "attention.head_count_kv": "num_key_value_heads",
    "attention.key_length": "head_dim",
    "attention.layer_norm_rms_epsilon": "rms_norm_eps",
    "attention.layer_norm_epsilon": "layer_norm_eps",
    "attention.sliding_window": "sliding_window",
    "attention.sliding_window_pattern": "sliding_window_pattern",
    "attention.causal": "is_causal",
    "attention.scale": "attention_multiplier",
    "attention.clamp_kqv": "clip_qkv",
    "attn_logit_softcapping": "attn_logit_softcapping",
    "final_logit_softcapping": "final_logit_softcapping",
    "expert_count": "num_local_experts",
    "embedding_scale": "embedding_multiplier",
    "residual_scale": "residual_multiplier",
    "logit_scale": "logits_scaling",
    "rope.freq_base": "rope_theta",
    "rope.freq_base_swa": "rope_local_base_freq",
}
"""By key without the architecture before it."""
ROPE_KEYS = {
    *("rope.scaling.type", "rope.scaling.factor", "rope.scaling.original_context_length", "rope.scaling.attn_factor"),
    *("rope.scaling.yarn_beta_fast", "rope.scaling.yarn_beta_slow", "rope.scaling.finetuned", "rope.scale_linear"),
    *("rope.dimension_count", "attention.value_length"),
}
"""Keys that are read here."""
SILENT = {"expert_used_count", "tensor_data_layout"}
ZERO_IS_NONE = {
    *("attention_multiplier", "clip_qkv", "attn_logit_softcapping", "final_logit_softcapping"),
    *("embedding_multiplier", "residual_multiplier", "logits_scaling"),
}
"""Keys of which writers set 0 where a model has no such factor."""


def gguf_config(family: Family, metadata: Fields, tensors: Mapping[str, StoredTensor]) -> Fields:
    """The keys and values of config.json that a GGUF stands for. SourceError for what contradicts itself."""
    if family.gguf is None:
        raise AssertionError("a family without GGUFs has no metadata")
    arch = MODEL_ARCH_NAMES[family.gguf]
    values: dict[str, Any] = {}
    names: dict[str, str] = {}
    for stored, value in metadata.values.items():
        before, _, key = stored.partition(".")
        if before != arch or key in ROPE_KEYS or key in SILENT:
            continue
        ours = GGUF_KEYS.get(key, stored)
        ours = family.gguf_keys.get(ours, ours)
        values[ours] = None if ours in ZERO_IS_NONE and value == 0 else value
        names[ours] = stored
    if EMBEDDING in tensors:
        values.setdefault("vocab_size", tensors[EMBEDDING].stored[0])
    values["tie_word_embeddings"] = OUTPUT not in tensors or same_bytes(tensors, OUTPUT, EMBEDDING)
    values.update({key: tensor in tensors for key, tensor in family.gguf_biases.items()})
    values["rope_scaling"] = _rope_scaling(metadata, arch, tensors)
    values["partial_rotary_factor"] = _rotated_part(metadata, arch)
    names["partial_rotary_factor"] = f"{arch}.rope.dimension_count"
    values.update(family.gguf_values)
    if isinstance(pattern := values.get("sliding_window_pattern"), list):
        values["layer_types"] = ["sliding_attention" if each else "full_attention" for each in pattern]
        values["sliding_window_pattern"] = None
    metadata.integer(f"{arch}.context_length")
    if not metadata.has(f"{arch}.attention.layer_norm_epsilon"):
        metadata.number(f"{arch}.attention.layer_norm_rms_epsilon")
    return Fields(values, metadata.where, names)


def _rotated_part(metadata: Fields, arch: str) -> float:
    """The part of a head's lanes that is rotated. SourceError where keys and values differ."""
    heads = metadata.any(f"{arch}.attention.head_count")
    width = metadata.any(f"{arch}.embedding_length")
    whole = isinstance(heads, int) and isinstance(width, int) and heads > 0
    head_dim = metadata.integer(f"{arch}.attention.key_length", max(width // heads, 1) if whole else 1)
    if metadata.integer(f"{arch}.attention.value_length", head_dim, low=0) not in (0, head_dim):
        raise SourceError(f"{metadata.where}: {arch}.attention.value_length differs from key_length; not supported")
    rotary = metadata.integer(f"{arch}.rope.dimension_count", head_dim, low=0)
    return 1.0 if rotary in (0, head_dim) else rotary / head_dim


def _rope_scaling(metadata: Fields, arch: str, tensors: Mapping[str, StoredTensor]) -> dict[str, Any] | None:
    """The scaling that a GGUF names or, for Llama 3, holds as divisors of the frequencies."""
    factors = tensors.get("rope_freqs.weight")
    if factors is not None:
        return {"rope_type": "factors", "factors": factors.float32().reshape(-1).tolist()}
    at = f"{arch}.rope.scaling."
    short, beyond = (tensors.get(f"rope_factors_{each}.weight") for each in ("short", "long"))
    if short is not None:
        return {
            "rope_type": "longrope",
            "short_factor": short.float32().reshape(-1).tolist(),
            "long_factor": None if beyond is None else beyond.float32().reshape(-1).tolist(),
            "original_max_position_embeddings": metadata.any(f"{at}original_context_length"),
            "attention_factor": metadata.any(f"{at}attn_factor"),
        }
    kind = metadata.text(f"{at}type", "linear")  # as llama.cpp takes a missing one
    if kind == "none":
        return None  # whatever factor stands beside it
    if kind == "yarn":
        return {
            "rope_type": "yarn",
            "factor": metadata.any(f"{at}factor"),
            "original_max_position_embeddings": metadata.any(f"{at}original_context_length"),
            "beta_fast": metadata.any(f"{at}yarn_beta_fast"),
            "beta_slow": metadata.any(f"{at}yarn_beta_slow"),
            "attention_multiplier": metadata.any(f"{at}attn_factor"),
        }
    if kind != "linear":
        raise SourceError(f"{metadata.where}: RoPE scaling {kind[:40]!r} is not supported; none, linear and yarn are")
    factor = metadata.number(f"{at}factor", metadata.number(f"{arch}.rope.scale_linear", 0.0, positive=False), False)
    return None if factor in (0.0, 1.0) else {"rope_type": "linear", "factor": factor}
