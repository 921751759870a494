# SPDX-License-Identifier: Apache-2.0
"""XLM-RoBERTa, multilingual E5, BGE-M3: RoBERTa on a vocabulary of many languages. Conneau et al., arXiv:1911.02116."""

from __future__ import annotations

from host.families.parts.family import Family
from host.families.roberta import FAMILY as ROBERTA

FAMILY = Family(read=ROBERTA.read, base=ROBERTA.base, ignored=ROBERTA.ignored)
