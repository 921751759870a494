# SPDX-License-Identifier: Apache-2.0
"""OLMo 2's row."""

from tests.families.llama import ROW as LLAMA
from tests.support.family_rows import Row

ROW = Row(
    model="Olmo2ForCausalLM",
    config=LLAMA.config,
    variants={"plain": {}, "biases": {"attention_bias": True, "num_key_value_heads": 1}},
    gguf={},
)
