# SPDX-License-Identifier: Apache-2.0
"""Qwen3's row."""

from tests.families.llama import ROW as LLAMA
from tests.support.family_rows import Row

ROW = Row(
    model="Qwen3ForCausalLM",
    config={**LLAMA.config, "head_dim": 24},
    variants={"plain": {}, "biases": {"attention_bias": True, "tie_word_embeddings": True}},
    gguf={},
)
