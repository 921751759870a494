# SPDX-License-Identifier: Apache-2.0
"""Falcon's row."""

from tests.support.family_rows import Row

ROW = Row(
    model="FalconForCausalLM",
    config={
        "hidden_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_kv_heads": 2,
        "ffn_hidden_size": 112,
        "max_position_embeddings": 384,
        "new_decoder_architecture": True,
    },
    variants={
        "plain": {},
        "one-norm": {"num_ln_in_parallel_attn": 1},
        "one-kv-head": {"new_decoder_architecture": False},
        "kv-heads-alike": {"new_decoder_architecture": False, "multi_query": False, "num_kv_heads": 4, "bias": True},
        "one-by-one": {"new_decoder_architecture": False, "parallel_attn": False, "tie_word_embeddings": False},
    },
    gguf={},
)
