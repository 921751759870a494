# SPDX-License-Identifier: Apache-2.0
"""Breaks the firmware in the middle of answers and checks that each goes on with the same tokens.

``python tools/hangs.py [--count N] [--target SPEC]...`` builds firmware with ``faults=1``, has it hang and trap by
turns, prints a table and fails where a target is missed. A device that hangs with interrupts off is beyond its own
watchdog: the harness resets it once it is silent, and it is counted apart.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from host.errors import DeviceRestarted, HostError, TargetError  # noqa: E402
from host.link.client import Client  # noqa: E402
from host.link.generation import Generation  # noqa: E402
from host.link.records import SamplerParams, Token  # noqa: E402
from host.places import build_root  # noqa: E402
from host.schema.wire.requests import Failure  # noqa: E402
from host.targets import Target, open_target  # noqa: E402
from tests.support.tiny import tiny_image, tiny_llama  # noqa: E402
from tools.soak import percentile  # noqa: E402

TARGETS = ("spike", "qemu-virt", "visionfive2@spike")
WATCHDOG_MS = {"qemu-virt": 1000}
"""On the wall's clock, which goes on while the simulator waits for a processor."""
SPIKE_WATCHDOG_MS = 20
"""On Spike's own clock, which is ten to a hundred times slower than the wall's."""
WORDS = {Failure.HANG: "WATCHDOG: ", Failure.TRAP: "TRAP: "}
BATCH = 25
ANSWER = 16
LATEST = 6
"""Tokens of an answer that have come, at most, when the device is broken."""
DEAF_SHARE = 0.1
PATIENCE = 60.0
DEAF_PATIENCE = 5.0
"""Seconds of silence after which the harness resets a device."""
LIMIT_SECONDS = 3.0


@dataclass(frozen=True)
class Strike:
    """One failure: what it was, and what came of it."""

    target: str
    kind: Failure
    seconds: float
    """From the failure, or from the harness's reset where the device was deaf, to the next token."""
    same: bool
    """Whether the tokens and the digests of their logits are those of the fault-free answer."""
    told: bool
    """Whether the device said why it restarted."""
    problem: str = ""


class Broken:
    """A device that is broken again and again, and its one conversation."""

    def __init__(self, spec: str, build: Path, image: Path, seed: str) -> None:
        self._rng = random.Random(seed)
        self._spec = spec
        self._lines: list[str] = []

        def start() -> Target:
            return open_target(f"{spec}:build={build}", image)

        self._prompt = [self._rng.randrange(3, 130) for _ in range(self._rng.randint(2, 12))]
        self._params = SamplerParams(temperature=self._rng.choice((0.0, 1.0, 1.5)), seed=self._rng.getrandbits(32))
        self._client = Client(start(), self._lines.append, PATIENCE, restore=True, reopen=start)
        self._client.connect(PATIENCE)
        self._expected = _ids(self._begin())

    def close(self) -> None:
        """End the simulator."""
        self._client.stream.close()

    def _begin(self) -> Generation:
        self._client.truncate(0)
        self._client.prompt(self._prompt)
        return self._client.generate(ANSWER, self._params, digest=True)

    def strike(self, kind: Failure) -> Strike | None:
        """Break the device in an answer. None where the answer was over before."""
        self._lines.clear()
        run = self._begin()
        got = [next(run) for _ in range(self._rng.randint(0, LATEST))]
        self._client.requests.send_fail(kind)
        began, came = time.monotonic(), 0.0
        if kind == Failure.DEAF:
            got += self._to_the_end(run)
            began = self._power_cycle()
            run = self._client.generate(ANSWER - len(got), self._params, digest=True)
        for token in run:
            got.append(token)
            came = came or (time.monotonic() if self._restored() else 0.0)
        if not self._restored():
            self._await_restart()
            return None
        came = came or time.monotonic()  # nothing was left to say but the answer's end
        same = [(token.id, token.digest) for token in got] == self._expected
        told = kind not in WORDS or any(line.startswith(WORDS[kind]) for line in self._lines)
        problem = "" if same and told else f"{[token.id for token in got]} of {self._expected}, said: {self._lines}"
        return Strike(self._spec, kind, came - began, same, told, problem)

    def _restored(self) -> bool:
        return any("its sessions are restored" in line for line in self._lines)

    def _to_the_end(self, run: Generation) -> Iterator[Token]:
        """What a device says before it falls silent."""
        self._client.device.patience = DEAF_PATIENCE
        with contextlib.suppress(TargetError):
            yield from run
        self._client.device.patience = PATIENCE

    def _power_cycle(self) -> float:
        """Reset the device from outside; returns the time."""
        assert isinstance(self._client.stream, Target)
        began = time.monotonic()
        self._client.stream.reset()
        self._client.recovery.recover()
        return began

    def _await_restart(self) -> None:
        try:
            while True:
                self._client.ping()
        except DeviceRestarted:
            self._client.recovery.recover()


def _ids(run: Generation) -> list[tuple[int, int]]:
    return [(token.id, token.digest) for token in run]


def run_batch(spec: str, build: Path, image: Path, seed: str, kinds: list[Failure]) -> list[Strike]:
    """These failures, one after the other, on one device."""
    made: list[Strike] = []
    device = Broken(spec, build, image, seed)
    try:
        for kind in kinds:
            while (strike := device.strike(kind)) is None:
                pass
            made.append(strike)
    except HostError as error:
        kind = kinds[len(made)]
        made.append(Strike(spec, kind, 0.0, False, False, f"{type(error).__name__}: {error}"))
    finally:
        device.close()
    return made


def build_firmware(spec: str, build: Path) -> None:
    """Firmware of the target's board that can be broken."""
    board = spec.partition("@")[0]
    words = [f"board={board}", "faults=1", f"watchdog={WATCHDOG_MS.get(board, SPIKE_WATCHDOG_MS)}", f"build={build}"]
    command = [sys.executable, "-m", "SCons", "-s", *words]
    subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.DEVNULL)


def plan(targets: list[str], count: int, seed: int) -> Iterator[tuple[str, str, list[Failure]]]:
    """Batches as (target, seed, failures): ``count`` hangs and traps by turns, and a tenth as many deaf devices."""
    for i, spec in enumerate(targets):
        share = count // len(targets) + (i < count % len(targets))
        kinds = [(Failure.HANG, Failure.TRAP)[number % 2] for number in range(share)]
        kinds += [Failure.DEAF] * max(1, round(share * DEAF_SHARE))
        for first in range(0, len(kinds), BATCH):
            yield spec, f"{seed} {spec} {first}", kinds[first : first + BATCH]


def strike_all(targets: list[str], count: int, seed: int, jobs: int) -> list[Strike]:
    """Build, break, and collect."""
    build = build_root() / "hangs"
    for spec in targets:
        build_firmware(spec, build)
    made: list[Strike] = []
    with tempfile.TemporaryDirectory() as folder, ProcessPoolExecutor(jobs) as pool:
        image = Path(folder) / "tiny.hsp"
        tiny_image(image, tiny_llama())
        batches = plan(targets, count, seed)
        futures = [pool.submit(run_batch, spec, build, image, name, kinds) for spec, name, kinds in batches]
        for future in futures:
            made += future.result()
            if sys.stderr.isatty():
                print(f"\r{len(made)} failures ", end="", file=sys.stderr, flush=True)
    return made


def row(spec: str, kind: Failure, strikes: list[Strike]) -> dict[str, object]:
    """One line of the table."""
    mine = [strike for strike in strikes if strike.target == spec and strike.kind == kind]
    times = sorted(strike.seconds for strike in mine if strike.same) or [float("nan")]
    shares = {"p50": percentile(times, 0.5), "p99": percentile(times, 0.99), "most": times[-1]}
    late = sum(seconds > LIMIT_SECONDS for seconds in times)
    found = {"same": sum(strike.same for strike in mine), "told": sum(strike.told for strike in mine), "late": late}
    return {"target": spec, "failure": kind.name, "count": len(mine), **found, **shares}


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="hangs.py", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--count", type=int, default=1000, help="hangs and traps, of all targets (%(default)s)")
    parser.add_argument("--target", action="append", help=f"default: {', '.join(TARGETS)}")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> int:
    """Run and print; 1 where an answer did not go on as it should, or too late."""
    options = parse(arguments)
    targets = options.target or list(TARGETS)
    try:
        strikes = strike_all(targets, options.count, options.seed, options.jobs)
    except HostError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    table = [row(spec, kind, strikes) for spec in targets for kind in Failure]
    problems = [f"{strike.target} {strike.kind.name}: {strike.problem}" for strike in strikes if strike.problem]
    if options.json:
        print(json.dumps({"rows": table, "problems": problems}))
    else:
        show(table, problems)
    late = any(line["late"] for line in table if line["failure"] != Failure.DEAF.name)
    return int(bool(problems) or late)


def show(table: list[dict[str, object]], problems: list[str]) -> None:
    """Print it all for people."""
    print(
        "| target | failure | count | same tokens | reported | s until continued, p50 | p99 | most | later than 3 s |"
    )
    print("|---|---|---|---|---|---|---|---|---|")
    for line in table:
        times = " | ".join(f"{line[name]:.2f}" for name in ("p50", "p99", "most"))
        counts = " | ".join(str(line[name]) for name in ("target", "failure", "count", "same", "told"))
        print(f"| {counts} | {times} | {line['late']} |")
    print(f"\nDEAF hangs with interrupts off: the harness resets it after {DEAF_PATIENCE:.0f} s of silence, from where")
    print("its time counts.")
    for problem in problems[:12]:
        print(f"\n{problem}")


if __name__ == "__main__":
    sys.exit(main())
