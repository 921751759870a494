# SPDX-License-Identifier: Apache-2.0
"""BERT's row."""

from tests.support.family_rows import Row

ROW = Row(
    model="BertModel",
    config={
        "hidden_size": 64,
        "intermediate_size": 112,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "max_position_embeddings": 384,
        "num_labels": 5,
    },
    variants={
        "vectors": {},
        "text-labels": {"model": "BertForSequenceClassification", "hidden_act": "gelu_new"},
        "token-labels": {"model": "BertForTokenClassification", "hidden_act": "relu", "type_vocab_size": 1},
    },
)
