# SPDX-License-Identifier: Apache-2.0
"""Qwen2's row."""

from tests.families.llama import ROW as LLAMA
from tests.support.family_rows import Row

ROW = Row(
    model="Qwen2ForCausalLM",
    config=LLAMA.config,
    variants={
        "plain": {},
        "upper-windows": {
            "tie_word_embeddings": True,
            "use_sliding_window": True,
            "sliding_window": 40,
            "max_window_layers": 1,
        },
    },
    gguf={},
)
