# SPDX-License-Identifier: Apache-2.0
"""Gemma's row."""

from tests.families.llama import ROW as LLAMA
from tests.support.family_rows import Row

ROW = Row(model="GemmaForCausalLM", config={**LLAMA.config, "head_dim": 24}, gguf={})
