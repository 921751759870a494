# SPDX-License-Identifier: Apache-2.0
"""Llama's row."""

from tests.support.family_rows import Row

LLAMA3 = {"factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 64}
ROW = Row(
    model="LlamaForCausalLM",
    config={
        "hidden_size": 64,
        "intermediate_size": 112,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 384,
    },
    variants={
        "tied": {"tie_word_embeddings": True},
        "untied": {"tie_word_embeddings": False, "num_key_value_heads": 4},
        "odd-sizes": {"hidden_size": 48, "num_attention_heads": 3, "num_key_value_heads": 1},
        "wide-heads": {"hidden_size": 40, "head_dim": 24, "intermediate_size": 72},
        "biases": {"attention_bias": True, "mlp_bias": True},
        "gelu": {"hidden_act": "gelu"},
        "rope-theta": {"rope_parameters": {"rope_type": "default", "rope_theta": 5e5}},
        "rope-linear": {"rope_parameters": {"rope_type": "linear", "factor": 4.0}},
        "rope-llama3": {"rope_parameters": {"rope_type": "llama3", **LLAMA3}},
        "rope-dynamic": {"rope_parameters": {"rope_type": "dynamic", "factor": 2.0}},
        "rope-yarn": {"rope_parameters": {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 96}},
    },
    gguf={},
)
