# SPDX-License-Identifier: Apache-2.0
"""Breaks the line between host and firmware, and checks that no token is lost, doubled, altered or out of order.

``python tools/soak.py [--sessions N] [--faults N] [--seed S]`` prints a table and fails where a target is missed. The
native firmware runs in lockstep with the host (tests/support/lockstep.py), so nothing waits and a seed gives the same
run everywhere. A failure names its batch; ``--batch K`` runs that one again, alone, with its frames in words.
"""

from __future__ import annotations

import argparse
import functools
import gc
import itertools
import json
import math
import os
import random
import resource
import signal
import sys
import tempfile
import time
import traceback
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path
from types import FrameType, SimpleNamespace

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from host.errors import HostError  # noqa: E402
from host.faults import Faults  # noqa: E402
from host.link import attach, connection  # noqa: E402
from host.link.client import Client  # noqa: E402
from host.link.records import SamplerParams  # noqa: E402
from tests.support.lockstep import LockstepLine  # noqa: E402
from tests.support.native import build_library  # noqa: E402
from tests.support.tiny import tiny_image, tiny_llama  # noqa: E402
from tools.soak_session import PATIENCE, Answer, Hang, Session, Tally, make_scenario  # noqa: E402

BATCH = 20
"""Sessions on one device, one after the other."""
SCENARIOS = 12
REAL_LIMIT = 120
"""Seconds after which a session hangs that makes no time pass."""
RESYNC_BAUD = 115200
RESYNC_TARGET_MS = 250.0
RESYNC_TOKENS = 400
RESYNC_IDLE = 0.005
OP_SECONDS = (20e-6, 200e-6, 1e-3)
GAP_BYTES = 230.0
LEAK_BYTES = 32 << 20


def seed_epochs(seed: str) -> None:
    """Have clients choose their epochs and nonces by a seed."""
    rng = random.Random(seed)
    chosen = SimpleNamespace(randbits=rng.getrandbits, randbelow=rng.randrange)
    for module in (attach, connection):
        setattr(module, "secrets", chosen)  # noqa: B010 - it is no name that the module offers


@functools.lru_cache
def fault_free(image: Path, number: int) -> list[Answer]:
    """The answers of a scenario on a good line."""
    line = LockstepLine(image)
    try:
        return Session(line, random.Random(0), Tally(), None).run(make_scenario(number))
    finally:
        line.close()


class Batch:
    """Sessions on one device, one after the other, in a process of its own."""

    def __init__(self, image: Path, seed: int, number: int, gap: float, log: bool = False) -> None:
        self.tally = Tally()
        self._name = f"seed {seed} batch {number}"
        self._gap = gap
        self._log = log
        self._image = image
        self._line = LockstepLine(image)

    def run(self) -> Tally:
        """All its sessions."""
        signal.signal(signal.SIGALRM, _stop_waiting)
        for index in range(BATCH):
            self._session(f"{self._name} session {index}")
            if not self._line.alive:
                self._line.reset()
        self._line.close()
        return self.tally

    def _session(self, name: str) -> None:
        rng, tally = random.Random(name), self.tally
        number = rng.randrange(SCENARIOS)
        scenario = make_scenario(number)
        expected = fault_free(self._image, number)
        seed_epochs(name)
        self._line.set_faults(Faults(name, self._gap))
        signal.alarm(REAL_LIMIT)
        seen = len(tally.wrong)
        try:
            Session(self._line, rng, tally, expected, self._log).run(scenario)
            tally.complete += 1
        except HostError as error:
            if not self._line.alive:
                tally.crashes.append(f"{name}: {error}")
        except Hang as error:
            tally.hangs.append(f"{name}: {error}\n{traceback.format_exc()}")
        except Exception:
            tally.untyped.append(f"{name}: {traceback.format_exc()}")
        signal.alarm(0)
        tally.wrong[seen:] = [f"{name}: {words}" for words in tally.wrong[seen:]]
        tally.sessions += 1
        tally.faults += self._line.faults


def _stop_waiting(_number: int, _frame: FrameType | None) -> None:
    raise Hang(f"{REAL_LIMIT} s without the line's clock moving on")


def open_files() -> int:
    """Of this process."""
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


def run_batch(image: Path, seed: int, number: int, gap: float) -> Tally:
    """One batch, and whether it left anything behind."""
    open_before = open_files()
    tally = Batch(image, seed, number, gap).run()
    gc.collect()
    if (left := open_files() - open_before) > 0:
        tally.leaks.append(f"batch {number}: {left} files are open")
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    tally.resident.append((os.getpid(), pages * resource.getpagesize()))
    return tally


def soak(image: Path, seed: int, sessions: int, faults: int, gap: float, jobs: int) -> Tally:
    """Batches in processes of their own until there were so many sessions and faults."""
    total, started = Tally(), itertools.count()
    with ProcessPoolExecutor(jobs) as pool:
        running: set[Future[Tally]] = set()
        while True:
            while len(running) < 2 * jobs and (total.sessions < sessions or total.faults.total() < faults):
                running.add(pool.submit(run_batch, image, seed, next(started), gap))
            if not running:
                return total
            done, running = wait(running, return_when=FIRST_COMPLETED)
            for future in done:
                total.add(future.result())
            if sys.stderr.isatty():
                print(
                    f"\r{total.sessions} sessions, {total.faults.total()} faults ", end="", file=sys.stderr, flush=True
                )


def measure_resync(image: Path, seed: int, bursts: int) -> list[float]:
    """Milliseconds from the end of each burst on a line at 115200 until a token comes, all before it having come.

    Bursts last 0.1 to 50 ms, on either way or both, while the device answers at about 30, 150 and 1,500 tokens/s.
    """
    seed_epochs(f"resync {seed}")
    found: list[float] = []
    for op_seconds in OP_SECONDS:
        line = LockstepLine(image, baud=RESYNC_BAUD, op_seconds=op_seconds, idle_seconds=RESYNC_IDLE)
        rng, mine = random.Random(f"resync {seed} {op_seconds}"), list[float]()
        while len(mine) < bursts // len(OP_SECONDS):
            mine += _resync_answer(line, rng)
        line.close()
        found += mine
    return sorted(found)


def _resync_answer(line: LockstepLine, rng: random.Random) -> list[float]:
    """Of the bursts in one answer."""
    client = Client(line, patience=PATIENCE, clock=line.now)
    client.connect()
    client.truncate(0)
    client.prompt([5, 6, 7])
    found: list[float] = []
    end, begin, noise = 0.0, line.now() + rng.uniform(0.05, 0.3), 0
    for _ in client.generate(RESYNC_TOKENS, SamplerParams(temperature=1.5, seed=rng.getrandbits(32))):
        now = line.now()
        if end and now > end:
            if line.noise > noise:
                found.append(1000 * (now - end))
            end, begin = 0.0, now + rng.uniform(0.2, 0.6)
        elif not end and now >= begin:
            begin = now + rng.uniform(0, 0.1)
            end, noise = begin + rng.uniform(1e-4, 0.05), line.noise
            for way in rng.choice(([line.to_host], [line.to_device], [line.to_host, line.to_device])):
                way.garble(begin, end)
    return found


@dataclass(frozen=True)
class Row:
    """One line of the table."""

    what: str
    found: str
    target: str
    good: bool


def percentile(values: list[float], share: float) -> float:
    """The value that ``share`` of the sorted values do not exceed."""
    return values[min(len(values) - 1, math.ceil(share * len(values)) - 1)]


def growth(resident: list[tuple[int, int]]) -> int:
    """Bytes that the process which grew most took beyond what it had after a fifth of its batches."""
    worst = 0
    for pid in {pid for pid, _ in resident}:
        sizes = [size for process, size in resident if process == pid]
        worst = max(worst, sizes[-1] - sizes[len(sizes) // 5])
    return worst


def rows(tally: Tally, resync: list[float], sessions: int, faults: int) -> list[Row]:
    """The table of a soak."""
    leaked, none = growth(tally.resident), "0"
    incomplete = tally.sessions - tally.complete - len(tally.untyped) - len(tally.hangs) - len(tally.crashes)
    p99 = percentile(resync, 0.99)
    return [
        Row("faults injected", f"{tally.faults.total():,}", f">= {faults:,}", tally.faults.total() >= faults),
        Row("sessions", f"{tally.sessions:,}", f">= {sessions:,}", tally.sessions >= sessions),
        Row("hosts killed in mid-answer, answers taken up", f"{tally.kills:,}, {tally.resumed:,}", "", True),
        Row("devices reset in mid-answer", f"{tally.resets:,}", "", True),
        Row("tokens compared", f"{tally.tokens:,}", "", True),
        Row("lost, doubled, altered or reordered tokens", str(len(tally.wrong)), none, not tally.wrong),
        Row("sessions that ended in a typed error", str(incomplete), "", True),
        Row("sessions that ended otherwise", str(len(tally.untyped)), none, not tally.untyped),
        Row("hangs", str(len(tally.hangs)), none, not tally.hangs),
        Row("crashes of the device", str(len(tally.crashes)), none, not tally.crashes),
        Row("files left open", str(len(tally.leaks)), none, not tally.leaks),
        Row("growth of memory, MiB", f"{leaked / 2**20:.1f}", f"<= {LEAK_BYTES >> 20}", leaked <= LEAK_BYTES),
        Row(
            f"in step again after a burst at {RESYNC_BAUD}, p99 of {len(resync)}, ms",
            f"{p99:.0f}",
            f"<= {RESYNC_TARGET_MS:.0f}",
            p99 <= RESYNC_TARGET_MS,
        ),
    ]


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="soak.py", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--sessions", type=int, default=10_000)
    parser.add_argument("--faults", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument(
        "--gap", type=float, default=GAP_BYTES, help="bytes from fault to fault on average (%(default)g)"
    )
    parser.add_argument("--bursts", type=int, default=1000, help="bursts whose end is measured (%(default)s)")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--batch", type=int, help="run this batch alone, with its frames on stderr")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> int:
    """Run and print; 1 where a target is missed."""
    options = parse(arguments)
    with tempfile.TemporaryDirectory() as folder:
        image = Path(folder) / "tiny.hsp"
        tiny_image(image, tiny_llama())
        build_library()
        if options.batch is not None:
            tally = Batch(image, options.seed, options.batch, options.gap, log=True).run()
            print("\n".join(tally.failures) or f"{tally.complete} of {tally.sessions} sessions complete")
            return bool(tally.failures)
        started = time.monotonic()
        tally = soak(image, options.seed, options.sessions, options.faults, options.gap, options.jobs)
        took = time.monotonic() - started
        table = rows(tally, measure_resync(image, options.seed, options.bursts), options.sessions, options.faults)
    if options.json:
        print(json.dumps({row.what: {"found": row.found, "target": row.target, "good": row.good} for row in table}))
    else:
        show(tally, table, options.seed, took)
    return not all(row.good for row in table)


def show(tally: Tally, table: list[Row], seed: int, took: float) -> None:
    """Print it all for people."""
    print(f"soak: seed {seed}, {took:.0f} s\n\n| measured | found | target | |\n|---|---|---|---|")
    for row in table:
        print(f"| {row.what} | {row.found} | {row.target} | {'' if row.good else 'MISSED'} |")
    print("\nfaults:", ", ".join(f"{kind.value} {count:,}" for kind, count in tally.faults.most_common()))
    for words, count in tally.errors.most_common(12):
        print(f"{count} times the host connected again after: {words}")
    for failure in tally.failures[:12]:
        print(f"\n{failure}")


if __name__ == "__main__":
    sys.exit(main())
