# SPDX-License-Identifier: Apache-2.0
"""What encoders share: the head that a config's architecture names, and the keys of BERT's kin."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

from host.errors import SourceError
from host.families.parts.decoder import Attention, Decoder, Dense, Head, Layer, Mlp, Names, Norm, Residual
from host.families.parts.standard import MAX_LAYERS, activation, head_size
from host.files.fields import Fields
from host.foreign import words
from host.ops.norm import NormKind
from host.ops.pool import PoolKind
from host.schema.image import OutputKind

MAX_LABELS = 1 << 16
SEQUENCE, TOKENS = "ForSequenceClassification", "ForTokenClassification"
OTHERS = ("ForQuestionAnswering", "ForMultipleChoice", "ForNextSentencePrediction")
VECTORS = Head(OutputKind.VECTORS, pool=(PoolKind.MEAN,))
"""Of a model that says no head: the mean of its rows."""
HEAD_KEY = " head"
"""The key of a config under which a head from another file stands: no JSON that a stranger writes holds a `Head`."""


LENGTH_KEY = " length"
"""Likewise, of the tokens that such a file says a text should have at most."""


def usual_context(fields: Fields, context: int) -> int:
    """Positions that are packed where nobody asks for more: what the model was made for."""
    length = fields.any(LENGTH_KEY)
    return min(context, length) if isinstance(length, int) and length > 0 else context


def labels(fields: Fields) -> tuple[str, ...]:
    """Names of the numbers that a classifier gives: id2label, else LABEL_0 and so on."""
    found = fields.any("id2label")
    if found is None:
        return tuple(f"LABEL_{i}" for i in range(fields.integer("num_labels", 2, high=MAX_LABELS)))
    try:
        named = {int(key): str(value) for key, value in dict(found).items()}
    except (TypeError, ValueError):
        named = {}
    if not named or set(named) != set(range(len(named))) or len(named) > MAX_LABELS:
        raise SourceError(f"{fields.where}: id2label is {words(found, 60)}, no list of labels; the config is damaged")
    return tuple(named[i] for i in range(len(named)))


def read_head(fields: Fields, of_sequence: Callable[[tuple[str, ...]], Head], before: tuple[Dense, ...] = ()) -> Head:
    """The head of the class that ``architectures`` names. SourceError for one that answers other questions.

    before: what stands between the layers and the classifier of tokens.
    """
    architectures = fields.any("architectures")
    name = architectures[0] if isinstance(architectures, list) and architectures else ""
    if not isinstance(name, str) or name.endswith(OTHERS):
        raise SourceError(
            f"{fields.where}: {words(name, 60)} is not supported; encoders give vectors, or labels of a text or of its "
            f"tokens (classes that end in {SEQUENCE} or {TOKENS})"
        )
    if name.endswith(SEQUENCE):
        return of_sequence(labels(fields))
    if name.endswith(TOKENS):
        found = labels(fields)
        return Head(OutputKind.LABELS, dense=(*before, Dense("classifier", len(found))), labels=found)
    given = fields.any(HEAD_KEY)
    return given if isinstance(given, Head) else VECTORS


def bert(fields: Fields, keys: Mapping[str, str], names: Names, unused: bool = False) -> Decoder:
    """BERT and its kin: learned positions, a norm behind the embedding and behind every sum, biases everywhere.

    keys: what the family's config calls hidden_size and the like, where it has names of its own. unused: whether the
    rows of positions up to that of ``pad_token_id`` are never used.
    """

    def key(name: str) -> str:
        return keys.get(name, name)

    width, heads = fields.integer(key("hidden_size"), 768), fields.integer(key("num_attention_heads"), 12)
    if fields.text("position_embedding_type", "absolute") != "absolute":
        raise SourceError(f"{fields.where}: only absolute positions (position_embedding_type) are supported")
    head_dim = head_size(fields, width, heads)
    first = fields.integer("pad_token_id", 1, low=0, high=1 << 20) + 1 if unused else 0
    rows = fields.integer("max_position_embeddings", 512)
    if rows <= first:
        raise SourceError(f"{fields.where}: {rows} positions, the first {first} of which are unused; damaged config")
    inner = fields.integer(key("intermediate_size"), 4 * width)
    fields.any("tie_word_embeddings")  # of the output that was trained with, and is not there
    return Decoder(
        vocab=fields.integer("vocab_size"),
        width=width,
        context=rows - first,
        usual_context=usual_context(fields, rows - first),
        norm=Norm(NormKind.LAYER, fields.number("layer_norm_eps", 1e-12), bias=True),
        attention=Attention(heads, heads, head_dim, qkv_bias=True, o_bias=True),
        mlp=Mlp(inner, activation(fields, key("hidden_act"), "gelu"), bias=True),
        layers=(Layer(float(head_dim) ** -0.5, rope=None),)
        * fields.integer(key("num_hidden_layers"), 12, high=MAX_LAYERS),
        tied=True,
        residual=Residual.POST,
        token_types=fields.integer("type_vocab_size", 2) if names.token_types else 0,
        position_offset=first,
        names=replace(names, final=None, gate=None),
    )
