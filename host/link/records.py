# SPDX-License-Identifier: Apache-2.0
"""What a device and its answers are to the rest of the host: plain records."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from host.errors import UsageError
from host.schema.wire.answers import Reason

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

MAX_TOKENS = 0xFFFFFFFF
"""The longest answer that can be asked for."""
RANGES = (
    ("temperature", 0.0, 100.0),
    ("top_p", 1e-6, 1.0),
    ("min_p", 0.0, 1.0),
    ("repeat_penalty", 0.01, 100.0),
)
"""What the sampler takes: `sampler_check` in firmware/engine/sampler.c."""


@dataclass(frozen=True)
class DeviceInfo:
    """What HELLO_REPLY says of the device; see ``HelloReply`` for each value."""

    firmware: str
    board: str
    isa: str
    kernels: str
    vlen: int
    harts: int
    uart_clock_hz: int
    counters: bool
    state: int
    error: int
    detail: int
    running: int
    root: bytes
    vocab: int
    context: int
    max_rows: int
    max_logit_rows: int
    sessions: int
    layers: int
    overflow: int
    pending_limit: int
    image_bytes: int
    weight_bytes: int
    arena_bytes: int
    runtime_bytes: int
    arena_available: int
    uptime_us: int
    run: int
    run_session: int
    run_tokens: int
    baud: int
    bauds: tuple[int, ...]
    image_area: int
    slot_bytes: int
    version_min: int
    version_max: int


@dataclass(frozen=True)
class SessionContents:
    """What a session holds; see ``answers.StateReply``. pending: tokens that wait to be evaluated."""

    length: int
    high: int
    pending: tuple[int, ...]
    bytes: int


@dataclass(frozen=True)
class SamplerParams:
    """How a token is chosen; the defaults are greedy."""

    temperature: float = 0.0
    top_k: int = 0
    top_p: float = 1.0
    min_p: float = 0.0
    repeat_penalty: float = 1.0
    repeat_last: int = 64
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse what the wire cannot carry or the device's sampler does not take, with UsageError."""
        for name, least, most in RANGES:
            value = getattr(self, name)
            if not least <= value <= most:
                raise UsageError(f"{name} is {value}; it must be a number from {least} to {most}")
        for name, limit in (("top_k", 1 << 32), ("repeat_last", 1 << 32), ("seed", 1 << 64)):
            value = getattr(self, name)
            if not isinstance(value, int) or not 0 <= value < limit:
                raise UsageError(f"{name} is {value}; it must be a whole number from 0 to {limit - 1}")


@dataclass(frozen=True)
class Token:
    """One sampled token: its id, microseconds since the one before (the first: since the request), logits' CRC-32C."""

    id: int
    time_us: int
    digest: int


@dataclass(frozen=True)
class ScoreRow:
    """One evaluated position.

    target: the token that follows, or None for the last; logprob: its natural log-probability; argmax: the likeliest
    token; digest: CRC-32C of the logits; logits: f32 [vocab], when asked for.
    """

    position: int
    target: int | None
    logprob: float
    argmax: int
    digest: int
    logits: npt.NDArray[np.float32] | None = None


@dataclass(frozen=True)
class Done:
    """How a request ended and what it cost; see ``answers.Done``."""

    reason: Reason
    evaluated: int
    generated: int
    length: int
    first_us: int
    total_us: int
    prefill_instret: int
    prefill_cycles: int
    decode_instret: int
    decode_cycles: int

    @property
    def tokens_per_second(self) -> float:
        """Decoded tokens a second, the first one and the prefill apart; 0 when fewer than two came."""
        span = self.total_us - self.first_us
        return (self.generated - 1) * 1e6 / span if self.generated > 1 and span else 0.0


@dataclass(frozen=True)
class OpCost:
    """What one op of the program cost since the last reset, on hart 0."""

    id: int
    weight: int
    calls: int
    instret: int
    cycles: int


@dataclass(frozen=True)
class DeviceStats:
    """The cost by op, in program order, and the device's view of the line."""

    ops: list[OpCost]
    frames_received: int
    frames_damaged: int
    frames_duplicate: int
    frames_lost: int
    frames_repeated: int
    uptime_us: int
