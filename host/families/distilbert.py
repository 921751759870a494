# SPDX-License-Identifier: Apache-2.0
"""DistilBERT: a BERT without token types and pooler. Sanh et al., arXiv:1910.01108."""

from __future__ import annotations

import re
from dataclasses import replace

from host.families.parts.decoder import Decoder, Dense, Head, Names
from host.families.parts.encoder import bert, read_head
from host.families.parts.family import Family
from host.files.fields import Fields
from host.ops.pool import PoolKind
from host.schema.image import Activation, OutputKind

NAMES = Names(
    embedding="distilbert.embeddings.word_embeddings",
    positions="distilbert.embeddings.position_embeddings",
    embedding_norm="distilbert.embeddings.LayerNorm",
    layer="distilbert.transformer.layer.{}.",
    q="attention.q_lin",
    k="attention.k_lin",
    v="attention.v_lin",
    o="attention.out_lin",
    before_attention="sa_layer_norm",
    up="ffn.lin1",
    down="ffn.lin2",
    before_mlp="output_layer_norm",
)
KEYS = {
    "hidden_size": "dim",
    "num_attention_heads": "n_heads",
    "num_hidden_layers": "n_layers",
    "intermediate_size": "hidden_dim",
    "hidden_act": "activation",
}


def head(labels: tuple[str, ...], width: int) -> Head:
    """The first row through a layer with a ReLU."""
    dense = (Dense("pre_classifier", width, Activation.RELU), Dense("classifier", len(labels)))
    return Head(OutputKind.LABELS, (PoolKind.FIRST,), dense, labels=labels)


def read(fields: Fields) -> Decoder:
    """Sinusoidal positions are stored like learned ones."""
    fields.any("sinusoidal_pos_embds")
    d = bert(fields, KEYS, NAMES)
    return replace(d, head=read_head(fields, lambda labels: head(labels, d.width)))


FAMILY = Family(
    read=read,
    base="distilbert.",
    ignored=re.compile(r"distilbert\.embeddings\.position_ids|vocab_(?:transform|layer_norm|projector)\..*"),
)
