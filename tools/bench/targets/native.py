# SPDX-License-Identifier: Apache-2.0
"""Native beside llama.cpp (the extra ``llamacpp``) on this machine: one file, as many threads, in turns in one run.

One thread is compared by processor time, which other programs hardly change; two threads by the wall clock, which wants
a machine that does nothing else: a note says how much others took. A ratio is llama.cpp's median over ours, so more is
better.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from host.bench.traffic import total_traffic, traffic_by_group
from host.image.reader import Image
from host.packing.resolve import resolve_image
from tools.bench import peers
from tools.bench.beside import memory
from tools.bench.beside.costs import Cost, Pass, in_turns
from tools.bench.beside.ours import open_ours
from tools.bench.beside.processors import Others
from tools.bench.beside.theirs import check_installed, open_theirs
from tools.bench.targets.row import Bench, Row

PROMPT, DECODE, TURNS = 128, 32, 7
THREADS = (1, 2)
PREFILL = 1.5
DECODED = {"Q4_0": 1.4, "Q4_1": 1.4, "Q8_0": 1.25}
BOUND = 0.9
"""Of the speed at which memory is read: who decodes so fast with two threads need not be faster."""


@dataclass(frozen=True)
class Found:
    """What one run found out about one file. read: as many bytes as a decoded token reads."""

    kind: str
    threads: int
    ours: Cost
    theirs: Cost
    read: Pass
    note: str = ""


def decode_rows(found: Found, ours: float, theirs: float, read: float, how: str) -> Iterator[Row]:
    """Of seconds a decoded token: the ratio, or the share of memory's speed where that is what is reached."""
    ratio, share = theirs / ours, read / ours
    note = f"{ours * 1e3:.2f} ms of {theirs * 1e3:.2f}; reading alone takes {read * 1e3:.2f}"
    if found.threads > 1 and ratio < DECODED[found.kind] and share >= BOUND:
        yield Row(f"decode, share of the read bound, {how}", share, BOUND, at_least=True, note=f"{note}; {ratio:.2f} x")
        return
    row = f"decode beside llama.cpp's, {how}"
    yield Row(row, ratio, DECODED[found.kind], at_least=True, note=f"{note}, {share:.0%} of our time")


def rows_of(found: Found) -> Iterator[Row]:
    """The rows of one file and number of threads."""
    ours, theirs = found.ours, found.theirs
    if found.threads == 1:
        how = f"{found.kind}, 1 thread, CPU time"
        prefill = (ours.cpu_prefill, theirs.cpu_prefill)
        decode = (ours.cpu_decode, theirs.cpu_decode, found.read.cpu)
    else:
        how = f"{found.kind}, {found.threads} threads, wall"
        prefill = (ours.wall_prefill, theirs.wall_prefill)
        decode = (ours.wall_decode, theirs.wall_decode, found.read.wall)
    note = f"{prefill[0] * 1e3:.2f} ms of {prefill[1] * 1e3:.2f}{found.note}"
    yield Row(f"prefill beside llama.cpp's, {how}", prefill[1] / prefill[0], PREFILL, at_least=True, note=note)
    yield from decode_rows(found, *decode, how)


def decoded_bytes(image: Image) -> int:
    """What a decoded token reads, by the image's program."""
    return round(total_traffic(traffic_by_group(image, DECODE, 1, 1, logits_each=True)).bytes)


def measure(kind: str, model: Path, threads: int, read_loop: Path) -> Found:
    """Ours, llama.cpp's and the memory's in turns. Raises HostError."""
    image = resolve_image(str(model), "native")
    size = decoded_bytes(Image(image))
    with open_ours(image, threads) as ours, open_theirs(model, threads, ours.client.info.vocab) as theirs:
        read = functools.partial(memory.read_once, read_loop, size, threads)
        others = Others([ours.pid, theirs.process.pid])
        costs = in_turns(ours, theirs, read, PROMPT, DECODE, TURNS)
        note = f"; {ours.kernels} kernels; other programs took {others.share():.0%} of the processors"
        note += f"; llama.cpp of xllamacpp {theirs.version}: {theirs.system}"
    return Found(kind, threads, *costs, note)


def rows(bench: Bench) -> Iterator[Row]:
    """Prefill and decode, each file, 1 and 2 threads; prefill's notes say which llama.cpp it is, and with what."""
    check_installed()
    read_loop = memory.build_read_loop(bench.work)
    for kind in DECODED:
        model = peers.quantized_file(bench.source, kind, bench.work)
        for threads in THREADS:
            yield from rows_of(measure(kind, model, threads, read_loop))
