# SPDX-License-Identifier: Apache-2.0
"""BERT: Devlin et al., arXiv:1810.04805. MiniLM (Wang et al., arXiv:2002.10957) is one, with smaller layers."""

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
    embedding="bert.embeddings.word_embeddings",
    positions="bert.embeddings.position_embeddings",
    token_types="bert.embeddings.token_type_embeddings",
    embedding_norm="bert.embeddings.LayerNorm",
    layer="bert.encoder.layer.{}.",
    q="attention.self.query",
    k="attention.self.key",
    v="attention.self.value",
    o="attention.output.dense",
    before_attention="attention.output.LayerNorm",
    up="intermediate.dense",
    down="output.dense",
    before_mlp="output.LayerNorm",
)


def head(labels: tuple[str, ...], width: int) -> Head:
    """The first row through the pooler."""
    dense = (Dense("bert.pooler.dense", width, Activation.TANH), Dense("classifier", len(labels)))
    return Head(OutputKind.LABELS, (PoolKind.FIRST,), dense, labels=labels)


def read(fields: Fields) -> Decoder:
    """A BERT that decodes, or looks at another model's states, is refused by its keys."""
    d = bert(fields, {}, NAMES)
    return replace(d, head=read_head(fields, lambda labels: head(labels, d.width)))


FAMILY = Family(
    read=read,
    compared=("all-MiniLM-L6-v2 in torch",),
    refused=(
        "a second text beside the first one (token types), so rerankers that need them",
        "heads that answer questions",
        "BERTs that decode",
    ),
    base="bert.",
    ignored=re.compile(r"bert\.embeddings\.position_ids|bert\.pooler\..*|(?:bert\.)?cls\..*"),
)
