# SPDX-License-Identifier: Apache-2.0
"""What sampling takes of a decoded token, by the device's own count on Spike, one hart.

It is all of a token but its ops, so the link's few instructions are charged to it. Natural: SmolLM2 goes on with a
text. Flat: a tiny model of as many tokens, whose logits lie within a thousandth; what it takes is set beside SmolLM2's
ops.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from host.compiler.compile import Options
from host.link.client import Client
from host.link.records import SamplerParams
from host.link.transfer import restore_session, save_session
from host.schema.formats.q8 import Q8
from host.talk.opening import open_model
from host.tokens.chat_template import encode_prompt
from tests.support.tiny import tiny_image, tiny_llama
from tools.bench.targets.row import Bench, Row, variant_of

TEXT = Path(__file__).resolve().parents[3] / "tests/golden/lighthouse.txt"
DEPTH = 24
"""Tokens of the text before the first that is drawn."""
DECODED = 2
VOCABULARY = 49152
TARGETS = (("rvv256", "spike:rvv,vlen=256", 0.05), ("scalar", "spike:scalar", 0.02))
FLAT = 0.10
SETTINGS = (
    ("top-p 0.9, top-k 40, T 0.8", SamplerParams(0.8, 40, 0.9), True),
    ("T 1", SamplerParams(1.0), True),
    ("top-p 0.9", SamplerParams(1.0, 0, 0.9), False),
)
"""Name, parameters, whether a target was set."""


@dataclass(frozen=True)
class Cost:
    """Instructions a token: of its ops, and of all else."""

    ops: float
    rest: float


def measure(client: Client, depth: int, last: int, params: SamplerParams) -> Cost:
    """A few tokens behind ``depth`` positions and the token ``last``."""
    client.truncate(depth)
    client.prompt([last])
    client.stats(enable=True, reset=True)
    done = client.generate(DECODED + 1, params).finish()
    ops = sum(op.instret for op in client.stats(enable=False).ops) / (DECODED + 1)
    return Cost(ops, done.decode_instret / DECODED - ops)


def natural(image: Path, target: str) -> Iterator[Cost]:
    """Of each setting; the text is read here, for states are the same everywhere."""
    with open_model(str(image), "native") as model:
        tokens = encode_prompt(model.tokenizer, TEXT.read_text())[:DEPTH]
        model.client.prompt(tokens[:-1])
        model.client.generate(0).finish()
        state = save_session(model.client)
    with open_model(str(image), target) as model:
        restore_session(model.client, state)
        for _, params, _ in SETTINGS:
            yield measure(model.client, DEPTH - 1, tokens[-1], params)


def flat(target: str) -> Iterator[Cost]:
    """Of each setting."""
    source = tiny_llama(vocab_size=VOCABULARY, num_hidden_layers=1, tie_word_embeddings=False)
    source.tensors["lm_head.weight"].float32()[:] *= 1e-4
    with tempfile.TemporaryDirectory() as folder:
        image = Path(folder) / "flat.hsp"
        tiny_image(image, source, Options(weights=Q8, context=64))
        with open_model(str(image), target) as model:
            for _, params, _ in SETTINGS:
                yield measure(model.client, 0, 1, params)


def rows(bench: Bench) -> Iterator[Row]:
    """Sampling's share of a token, on natural text and on flat logits."""
    for name, target, most in TARGETS:
        costs = list(natural(bench.image(variant_of(name), "Q4_0"), target))
        ops = costs[0].ops
        cases = [("natural text", most, costs), ("flat logits", FLAT, list(flat(target)))]
        for kind, goal, found in cases:
            for (setting, _, wanted), cost in zip(SETTINGS, found, strict=True):
                note = f"{cost.rest / 1e6:.2f} of {(ops + cost.rest) / 1e6:.2f} M, the link's among them"
                share = cost.rest / (ops + cost.rest)
                yield Row(f"sampling, {setting}, {kind}, {name}", share, goal if wanted else None, note=note)
