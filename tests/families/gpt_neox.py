# SPDX-License-Identifier: Apache-2.0
"""GPT-NeoX's row."""

from tests.support.family_rows import Row

ROW = Row(
    model="GPTNeoXForCausalLM",
    config={
        "hidden_size": 64,
        "intermediate_size": 112,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "max_position_embeddings": 384,
        "partial_rotary_factor": 0.25,
    },
    variants={
        "plain": {},
        "one-by-one": {"use_parallel_residual": False, "hidden_act": "gelu_new"},
        "whole-heads": {"rope_parameters": {"rope_type": "default", "rope_theta": 5e4, "partial_rotary_factor": 1.0}},
        "no-biases": {"attention_bias": False, "tie_word_embeddings": True},
    },
    gguf={},
)
