# SPDX-License-Identifier: Apache-2.0
"""ModernBERT's row."""

from tests.families.bert import ROW as BERT
from tests.support.family_rows import Row

ROW = Row(
    model="ModernBertModel",
    config={**BERT.config, "num_hidden_layers": 4, "local_attention": 60, "pad_token_id": 0},
    variants={
        "vectors": {},
        "text-labels": {"model": "ModernBertForSequenceClassification", "classifier_pooling": "mean"},
        "token-labels": {"model": "ModernBertForTokenClassification", "norm_bias": True, "attention_bias": True},
    },
)
