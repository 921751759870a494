# SPDX-License-Identifier: Apache-2.0
"""StarCoder2's row."""

from tests.families.llama import ROW as LLAMA
from tests.support.family_rows import Row

ROW = Row(
    model="Starcoder2ForCausalLM",
    config={**LLAMA.config},
    variants={
        "plain": {"sliding_window": None},
        "window": {"sliding_window": 45},
        "no-biases": {"use_bias": False, "sliding_window": None, "tie_word_embeddings": False},
    },
    gguf={},
)
