# SPDX-License-Identifier: Apache-2.0
"""Transformers: one record says what one of them computes; build.py makes its graph, for all families.

    x = embedding_scale * embed(tokens) (+ positions)
    in each layer:
        x = x + residual_scale * after(attention(before(x)))
        x = x + residual_scale * after(mlp(before(x)))
    logits = cap(logit_scale * head(final(x)))

``before`` and ``after`` are norms; a family that has no name for one of them has no such norm. `Residual` says where
families put the sums and norms otherwise; a model with a `Head` is an encoder, whose rows see all of their sequence.
The scales cost nothing on a device: logit_scale goes into the weight of the last norm; residual_scale into everything
else, for x is kept divided by it, which norms do not see but for their eps.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass

from host.families.parts.rope import Rope
from host.ops.norm import NormKind
from host.ops.pool import PoolKind
from host.schema.image import Activation, OutputKind


@dataclass(frozen=True)
class Names:
    """What tensors are called, without ".weight" and ".bias". None: a model of the family has no such tensor."""

    embedding: str = "model.embed_tokens"
    positions: str | None = None
    """Learned positions [position_offset + context][width]."""
    layer: str = "model.layers.{}."
    """What stands before all names below but the last two; {} is the layer."""
    token_types: str | None = None
    """Rows that tell texts of a pair apart [any][width]; the first one is added to every position."""
    embedding_norm: str | None = None
    before_attention: str | None = "input_layernorm"
    q: str = "self_attn.q_proj"
    k: str = "self_attn.k_proj"
    v: str = "self_attn.v_proj"
    qkv: str | None = None
    """One tensor in place of the three, their rows one after the other."""
    q_norm: str | None = None
    k_norm: str | None = None
    """Norms of queries and keys before they are rotated."""
    o: str = "self_attn.o_proj"
    after_attention: str | None = None
    before_mlp: str | None = "post_attention_layernorm"
    """None where blocks are parallel: both read what ``before_attention`` makes."""
    gate: str | None = "mlp.gate_proj"
    """None: the feed-forward block has no gate."""
    up: str = "mlp.up_proj"
    gate_up: str | None = None
    """One tensor in place of the two, their rows one after the other."""
    down: str = "mlp.down_proj"
    after_mlp: str | None = None
    final: str | None = "model.norm"
    head: str = "lm_head"
    label: str = "{}."
    """What stands before the names of a layer's values in the graph."""


@dataclass(frozen=True)
class Norm:
    """What the norms have in common."""

    kind: NormKind
    eps: float
    bias: bool = False
    offset: float = 0.0
    """What is added to the stored weight: 1 where a file holds its distance from one."""


class Residual(enum.Enum):
    """Where a layer adds and normalises."""

    PRE = "x + block(norm(x)), one block after the other"
    POST = "norm(x + block(x)), one block after the other"
    PARALLEL = "x + attention(norm(x)) + mlp(norm(x)), each block with a norm of its own or both with one"


class QkvOrder(enum.Enum):
    """How the rows of one tensor for queries, keys and values are ordered."""

    BLOCKS = "all queries, all keys, all values"
    GROUPS = "by KV head: its queries, its key, its value"


class HeadNorm(enum.Enum):
    """Over what the norms of queries and keys run, where a family has them."""

    EACH = "each head, all with one weight"
    WHOLE = "all heads at once"


@dataclass(frozen=True)
class Attention:
    """What the attention blocks of all layers have in common."""

    heads: int
    kv_heads: int
    head_dim: int
    norm: HeadNorm = HeadNorm.EACH
    qkv_bias: bool = False
    o_bias: bool = False
    order: QkvOrder = QkvOrder.BLOCKS
    softcap: float = 0.0
    """What bounds a score: softcap * tanh(score / softcap); 0: nothing."""


@dataclass(frozen=True)
class Mlp:
    """A feed-forward block: down(activation(gate x) * up x), without a gate down(activation(up x))."""

    width: int
    activation: Activation
    bias: bool = False


@dataclass(frozen=True)
class Layer:
    """What may differ from layer to layer."""

    scale: float
    """What multiplies the product of a query and a key, before the softmax."""
    rope: Rope | None
    """None: heads are not rotated."""
    window: int = 0
    """Positions that a row sees, itself among them; 0: all before it. Of an encoder: those on each side; 0: all."""
    normed: bool = True
    """Whether there is a norm before the attention."""


@dataclass(frozen=True)
class Dense:
    """One product of a head: norm(activation(weight x + bias))."""

    name: str
    width: int
    activation: Activation = Activation.NONE
    bias: bool = True
    norm: str | None = None


@dataclass(frozen=True)
class Head:
    """What an encoder makes of its rows."""

    kind: OutputKind
    pool: tuple[PoolKind, ...] = ()
    """Makes one row of a sequence; (): each row has a result."""
    dense: tuple[Dense, ...] = ()
    unit: bool = False
    """Whether the result is brought to length 1."""
    labels: tuple[str, ...] = ()
    """Of LABELS, what each number is for."""


@dataclass(frozen=True)
class Decoder:
    """What one model computes. Two files of one model give equal records."""

    vocab: int
    width: int
    context: int
    """The longest sequence, in positions."""
    norm: Norm
    attention: Attention
    mlp: Mlp
    layers: tuple[Layer, ...]
    tied: bool
    """Whether the output matrix is the embedding."""
    embedding_scale: float = 1.0
    residual_scale: float = 1.0
    logit_scale: float = 1.0
    logit_cap: float = 0.0
    """What bounds a logit, as softcap a score; 0: nothing."""
    residual: Residual = Residual.PRE
    head_bias: bool = False
    usual_context: int = 0
    """What is packed where nobody asks for more, because more costs something; 0: ``context``."""
    token_types: int = 0
    """Rows of the tensor of that name."""
    head: Head | None = None
    """None: logits of the next token; each row sees those before it."""
    position_offset: int = 0
    """Rows of the learned positions before that of position 0."""
    names: Names = Names()
