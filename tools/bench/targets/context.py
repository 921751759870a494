# SPDX-License-Identifier: Apache-2.0
"""What a token costs behind a long context, beside one at the start."""

from __future__ import annotations

from collections.abc import Iterator

from host.bench.measure import bench_tokens
from host.link.client import Client
from host.link.transfer import SavedSession, restore_session
from host.talk.opening import open_model
from tools.bench.targets.row import Bench, Row, native_state, variant_of

DEPTH = 2000
PROMPT, DECODE = 16, 2
TARGETS = (
    # variant, target, most of a prompt token and of a decoded one
    ("scalar", "spike:scalar", 2.0, 1.6),
    ("rvv256", "spike:rvv,vlen=256", 1.5, 1.4),
)


def token_costs(client: Client, state: SavedSession | None) -> tuple[float, float]:
    """Instructions of a prompt token and of a decoded one behind ``state``; a prompt is one chunk."""
    client.truncate(0)
    if state:
        restore_session(client, state)
    client.prompt(bench_tokens(PROMPT, client.info.vocab))
    done = client.generate(DECODE + 1).finish()
    return done.prefill_instret / PROMPT, done.decode_instret / DECODE


def rows(bench: Bench) -> Iterator[Row]:
    """A token at position 2,000 over one at position 0, by the device's own count on Spike."""
    for name, target, prompt, decode in TARGETS:
        image = bench.image(variant_of(name), "Q4_0")
        state = native_state(image, DEPTH + 1)
        with open_model(str(image), target) as model:
            start, deep = (token_costs(model.client, each) for each in (None, state))
        for what, first, last, most in zip(("prompt", "decoded"), start, deep, (prompt, decode), strict=True):
            note = f"{last / 1e6:.2f} of {first / 1e6:.2f} M"
            yield Row(f"a {what} token at position {DEPTH} over one at 0, {name}", last / first, most, note=note)
