# SPDX-License-Identifier: Apache-2.0
"""Mistral's row."""

from tests.families.llama import ROW as LLAMA
from tests.support.family_rows import Row

ROW = Row(
    model="MistralForCausalLM",
    config={**LLAMA.config, "sliding_window": 70},
    variants={"window": {}, "no-window": {"sliding_window": None, "head_dim": 24}},
)
