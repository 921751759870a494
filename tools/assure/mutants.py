# SPDX-License-Identifier: Apache-2.0
"""Mutants of images: refused, or the same tokens and logits whatever the target, the harts and what lay in the arena.

``tests/fuzz/image_mutants.py`` makes them, ``tests/fuzz/run_mutants.c`` loads and steps them. Native, under
AddressSanitizer and UndefinedBehaviorSanitizer, each is stepped on one hart and on four that take turns in the worst
order; of those that are accepted a share goes to the same program for RISC-V Linux with vectors, under QEMU, on one
hart and on four. A mutant that crashes or differs is left in ``<build>/assure/findings``.
"""

from __future__ import annotations

import itertools
import os
import shutil
import struct
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from host.boards import load_board
from host.errors import BY_NUMBER
from tests.fuzz.image_mutants import Mutator
from tests.fuzz.image_parts import bases
from tools.assure.common import CLANG_HINT, ROOT, WORK, Failed, Missing, Row, find_tool, run
from tools.assure.fuzz import SANITIZE, SANITIZERS, arch_flags, compile_objects
from tools.scons.toolchain import choose
from tools.scons.variant import core_sources

FULL = 1_000_000
FULL_QEMU = 20_000
SAMPLE_SECONDS = 60
SAMPLE_QEMU_SECONDS = 25
SEED = 20261128
NATIVE = ("1", "165", "4", "90")
"""Harts, and what the arena is filled with, of each of two loads."""
QEMU = (("1", "0"), ("4", "255"))
HASHES = ("blake2b.c", "sha256.c")
LEFT_OUT = ("pool.c", *HASHES)
QEMU_HINT = "apt install qemu-user-static"
VECTORS = "rv64,v=true,vlen=256,elen=64,vext_spec=v1.0"

Stream = Iterator[tuple[int, bytes]]
"""Images by number."""


def build_native() -> Path:
    """The sanitized program, whose harts are fibers."""
    clang = find_tool("clang", CLANG_HINT)
    sources = [ROOT / path for path in core_sources("scalar") if path.name not in LEFT_OUT and path.suffix == ".c"]
    sources += [ROOT / "tests/fuzz" / name for name in ("run_mutants.c", "fibers.c")]
    objects = compile_objects([clang], sources, WORK / "mutants", [*arch_flags(), *SANITIZE, "-DMUTANTS_ASAN=1"])
    # Others watch over it, and it would take a sixth of the time.
    objects += compile_objects(
        [clang], [ROOT / "firmware/common" / name for name in HASHES], WORK / "mutants", arch_flags()
    )
    program = WORK / "run_mutants"
    run([clang, *SANITIZE, *objects, "-o", program], 120, log="link-mutants")
    return program


def build_vectors() -> Path:
    """The same for RISC-V Linux with the vector kernels; harts are threads, as on a board."""
    tools = choose("zig", load_board("linux"), "rvv")
    flags = [*tools.arch, "-UKERNELS_RVV", "-DKERNELS_RVV=1", "-DMUTANTS_ASAN=0"]
    sources = [ROOT / path for path in core_sources("rvv")]
    sources += [ROOT / "tests/fuzz/run_mutants.c", ROOT / "firmware/port/hosted_harts.c"]
    objects = compile_objects(tools.cc, sources, WORK / "mutants-rvv", flags)
    program = WORK / "run_mutants_rvv"
    run([*tools.cc, *tools.arch, "-static", *objects, "-o", program, "-lpthread"], 300, log="link-mutants-rvv")
    return program


class Runner:
    """A program that answers images with lines. A thread feeds it, so that making and stepping overlap."""

    def __init__(self, command: list[str | Path], log: str) -> None:
        self._log = WORK / f"{log}.txt"
        with self._log.open("w") as out:
            self._process = subprocess.Popen(
                list(map(str, command)),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=out,
                env={**os.environ, **SANITIZERS},
            )

    def answers(self, images: Stream) -> Iterator[tuple[int, bytes, list[str]]]:
        """Each image with the words of its line. Raises Failed, with the image left, where the program ends."""
        waiting: list[tuple[int, bytes]] = []
        feeder = threading.Thread(target=self._feed, args=(images, waiting), daemon=True)
        feeder.start()
        assert self._process.stdout is not None
        try:
            for line in self._process.stdout:
                index, data = waiting.pop(0)
                yield index, data, line.decode().split()
            feeder.join()
            code = self._process.wait()
        finally:
            self._process.kill()
        if waiting or code:
            raise Failed(f"{keep(*waiting[0]) if waiting else ''} ended the program with {code}:\n{self._words()}")

    def _feed(self, images: Stream, waiting: list[tuple[int, bytes]]) -> None:
        assert self._process.stdin is not None
        try:
            for index, data in images:
                waiting.append((index, data))
                self._process.stdin.write(struct.pack("<I", len(data)) + data)
                self._process.stdin.flush()
            self._process.stdin.close()
        except BrokenPipeError:
            pass

    def _words(self) -> str:
        return self._log.read_text(errors="replace")[-2000:]


def keep(index: int, data: bytes) -> Path:
    """A finding as a file."""
    path = WORK / "findings" / f"mutant-{index}.hsp"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


def mutants(mutator: Mutator, count: int, seconds: float) -> Stream:
    """At most so many, for at most so long."""
    end = time.monotonic() + seconds
    for index in range(count):
        if time.monotonic() > end:
            return
        yield index, mutator.make(index)


def step_native(full: bool, kept: Path) -> tuple[Row, list[tuple[int, str]]]:
    """The row, and number and digest of the accepted ones that lie in ``kept`` behind their sizes."""
    program = build_native()
    mutator = Mutator(bases(WORK / "mutant-bases"), SEED)
    counts: Counter[str] = Counter()
    digests: list[tuple[int, str]] = []
    stride = max(1, FULL // (4 * FULL_QEMU)) if full else 1
    images = mutants(mutator, FULL, float("inf") if full else SAMPLE_SECONDS)
    began = time.monotonic()
    with kept.open("wb") as file:
        for index, data, (state, *rest) in Runner(["nice", program, *NATIVE], "mutants-native").answers(images):
            counts[state if state == "stepped" else BY_NUMBER[-int(rest[0])].name] += 1
            if state != "stepped":
                continue
            if len(set(rest)) != 1:
                raise Failed(f"{keep(index, data)}: one hart and four, or two fillings of the arena, differ: {rest}")
            if counts["stepped"] % stride == 0 and len(digests) < FULL_QEMU:
                digests.append((index, rest[0]))
                file.write(struct.pack("<I", len(data)) + data)
    total = sum(counts.values())
    print(f"assure: mutants: {dict(counts)}, {total / (time.monotonic() - began):.0f} a second", flush=True)
    words = f"{total:,} mutants: {total - counts['stepped']:,} refused, {counts['stepped']:,} accepted and stepped; "
    words += "the same on 1 hart and on 4, no finding"
    target = f"{FULL:,}" if full else f"sample; {FULL:,} with --full"
    good = counts["stepped"] > 0
    return Row("strangers: image mutants, native with sanitizers", words, target, good), digests


def stored(kept: Path, digests: list[tuple[int, str]], seconds: float) -> Stream:
    """The accepted ones again."""
    end = time.monotonic() + seconds
    with kept.open("rb") as file:
        for index, _ in digests:
            if time.monotonic() > end:
                return
            size = struct.unpack("<I", file.read(4))[0]
            yield index, file.read(size)


def step_vectors(full: bool, kept: Path, digests: list[tuple[int, str]]) -> Row:
    """Accepted ones under QEMU, against what they gave here."""
    qemu = shutil.which("qemu-riscv64-static") or shutil.which("qemu-riscv64")
    if not qemu:
        raise Missing(f"qemu-riscv64 is not installed: {QEMU_HINT}")
    program, done = build_vectors(), []
    for harts, fill in QEMU:
        images = stored(kept, digests, float("inf") if full else SAMPLE_QEMU_SECONDS)
        runner = Runner(["nice", qemu, "-cpu", VECTORS, program, harts, fill], f"mutants-rvv-{harts}")
        done.append(0)
        for (index, data, answer), (_, digest) in zip(runner.answers(images), itertools.cycle(digests), strict=False):
            if answer != ["stepped", digest]:
                raise Failed(f"{keep(index, data)}: native gave {digest}, QEMU on {harts} harts {answer}")
            done[-1] += 1
    counts = " and ".join(f"{count:,} on {harts}" for count, (harts, _) in zip(done, QEMU, strict=True))
    words = f"{counts} harts, tokens and digests of logits as native's"
    target = f"{FULL_QEMU:,}" if full else f"sample; {FULL_QEMU:,} with --full"
    return Row("strangers: accepted mutants on QEMU RVV, 1 and 4 harts", words, target, min(done) > 0)


def rows(full: bool) -> list[Row]:
    """Two rows. Raises Missing and Failed."""
    WORK.mkdir(parents=True, exist_ok=True)
    kept = WORK / "mutants-accepted.bin"
    row, digests = step_native(full, kept)
    try:
        return [row, step_vectors(full, kept, digests)]
    except Missing as missing:
        return [row, Row("strangers: accepted mutants on QEMU RVV, 1 and 4 harts", f"skipped: {missing}", "", None)]
    finally:
        kept.unlink(missing_ok=True)
