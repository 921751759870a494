# SPDX-License-Identifier: Apache-2.0
"""What the protocol costs on a slow line: ``python -m tools.bench.link``.

The native firmware answers over a line of 115200 baud with a clock of its own (tests/support/lockstep.py), so that
figures are the same everywhere. The added latency of a token is the time from its sampling on the device until the
host has it, without the time that its frame's bytes take on the line; both ends look at the line every 0.2 ms. What the
host computes for a token is told apart, in processor time of this machine.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from host.compiler.compile import Options
from host.link.client import Client
from host.link.records import Token
from tests.support.lockstep import LockstepLine
from tests.support.tiny import tiny_image, tiny_llama

BAUD = 115200
BYTE_SECONDS = 10 / BAUD
STEP_SECONDS = 0.0002
RATE = 20
"""Tokens a second that the share of the line is told for."""
SESSIONS = 12
PROMPT = (5, 6, 7)
QUIET_SECONDS = 0.05
"""After which nothing is under way: what is asked then arrives without waiting."""
TRIALS = (1e-3, 2e-3)
"""Seconds for an op, to find how many a token takes."""
LATENCY_MS = 2.0


@dataclass(frozen=True)
class Case:
    """An answer, or answers by turns in so many sessions of so many tokens a turn; rate 0: as fast as it can."""

    name: str
    rate: float
    sessions: int = 1
    turn: int = 0


CASES = (
    Case("one answer, a device of 20 tokens/s", 20),
    Case("one answer, 100 tokens/s", 100),
    Case("one answer, as fast as the line takes it", 0),
    Case("12 sessions by turns of 16 tokens", 20, SESSIONS, 16),
    Case("12 sessions by turns of 4 tokens", 20, SESSIONS, 4),
    Case("12 sessions by turns of 1 token", 20, SESSIONS, 1),
)


@dataclass(frozen=True)
class Result:
    """Bytes a token on either way, the share of the fuller way at 20 tokens/s, times in ms.

    Latencies are those of an answer alone at its device's own rate, else None.
    """

    name: str
    tokens: int
    tokens_second: float
    bytes_to_host: float
    bytes_to_device: float
    share: float
    latency_p50: float | None
    latency_most: float | None
    host_ms: float


class Line(LockstepLine):
    """Counts its bytes, and the processor's time that passes in it."""

    def __init__(self, image: Path, op_seconds: float) -> None:
        self.received = self.sent = 0
        self.processor = 0.0
        super().__init__(image, baud=BAUD, op_seconds=op_seconds, idle_seconds=STEP_SECONDS, step_seconds=STEP_SECONDS)

    def read(self, timeout: float) -> bytes:
        """See ByteStream."""
        began = time.process_time()
        data = super().read(timeout)
        self.processor += time.process_time() - began
        self.received += len(data)
        return data

    def write(self, data: bytes) -> None:
        """See ByteStream."""
        self.sent += len(data)
        super().write(data)


def _open(image: Path, op_seconds: float) -> tuple[Client, Line]:
    line = Line(image, op_seconds)
    client = Client(line, clock=line.now)
    client.connect()
    return client, line


def _answer(client: Client, line: Line, count: int, session: int) -> Iterator[tuple[Token, float]]:
    """Tokens, each with the seconds from its sampling to here that its bytes do not explain."""
    before, received = line.sent, line.received
    run = client.generate(count, session=session)
    sampled = line.now() + (line.sent - before) * BYTE_SECONDS
    for token in run:
        sampled += token.time_us / 1e6
        yield token, line.now() - sampled - (line.received - received) * BYTE_SECONDS
        received = line.received


def op_seconds(image: Path, rate: float) -> float:
    """What an op must take for so many tokens a second: a token takes its ops and, on a UART, its frame."""
    periods = []
    for trial in TRIALS:
        client, line = _open(image, trial)
        client.prompt(PROMPT)
        times = [token.time_us / 1e6 for token, _ in _answer(client, line, 9, 0)][1:]  # the first has the prompt in it
        line.close()
        periods.append(sum(times) / len(times))
    ops = (periods[1] - periods[0]) / (TRIALS[1] - TRIALS[0])
    return (1 / rate - periods[0]) / ops + TRIALS[0]


def measure(image: Path, case: Case, tokens: int) -> Result:
    """One case."""
    client, line = _open(image, op_seconds(image, case.rate) if case.rate else 1e-6)
    for session in range(case.sessions):
        client.truncate(0, session)
        client.prompt(PROMPT, session)
    line.read(QUIET_SECONDS)
    received, sent, began = line.received, line.sent, line.now()
    processor, inside = time.process_time(), line.processor
    late: list[float] = []
    while len(late) < tokens:
        for session in range(case.sessions):
            late += [seconds for _, seconds in _answer(client, line, case.turn or tokens, session)]
    count, seconds = len(late), line.now() - began
    host = time.process_time() - processor - (line.processor - inside)
    ways = ((line.received - received) / count, (line.sent - sent) / count)
    line.close()
    late.sort()
    alone = case.rate and not case.turn
    return Result(
        case.name,
        count,
        count / seconds,
        *ways,
        max(ways) * BYTE_SECONDS * RATE,
        1000 * late[count // 2] if alone else None,
        1000 * late[-1] if alone else None,
        1000 * host / count,
    )


def show(results: list[Result]) -> None:
    """Print the table."""
    print(
        f"| on a line of {BAUD} baud | tokens/s | bytes a token to the host | to the device | line used at {RATE}/s |"
    )
    print("|---|---|---|---|---|")
    for each in results:
        ways = f"{each.bytes_to_host:.1f} | {each.bytes_to_device:.1f}"
        print(f"| {each.name} | {each.tokens_second:.1f} | {ways} | {each.share:.1%} |")
    first = results[0]
    print(f"\nadded latency of a token: {first.latency_p50:.2f} ms in the middle, {first.latency_most:.2f} ms at most")
    print(f"processor time of the host: {first.host_ms:.2f} ms a token")


def main(arguments: list[str] | None = None) -> int:
    """Measure and print; 1 where a token comes too late."""
    parser = argparse.ArgumentParser(prog="python -m tools.bench.link", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--tokens", type=int, default=96, help="of each case (%(default)s)")
    parser.add_argument("--json", action="store_true", help="print JSON")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        image = Path(folder) / "tiny.hsp"
        tiny_image(image, tiny_llama(), Options(sessions=SESSIONS))
        results = [measure(image, case, options.tokens) for case in CASES]
    if options.json:
        print(json.dumps([asdict(each) for each in results], indent=2))
    else:
        show(results)
    return int((results[0].latency_most or 0.0) > LATENCY_MS)


if __name__ == "__main__":
    raise SystemExit(main())
