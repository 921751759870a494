# SPDX-License-Identifier: Apache-2.0
"""libFuzzer with AddressSanitizer and UndefinedBehaviorSanitizer for C, atheris for Python, and every single-byte edit.

Only what parses is instrumented for coverage; harness, kernels and ops carry the sanitizers alone, or they would take
most of the time. A finding is left in ``<build>/assure/findings``; its bytes go as a line of hexadecimal digits into
``tests/fuzz/corpus/<target>.hex`` with the fix, from where every run begins.
"""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from tools.assure.common import CLANG_HINT, GENERATED, ROOT, WORK, Failed, Missing, Row, find_tool, run

C_FLAGS = [
    *("-std=c11", "-D_GNU_SOURCE", "-g", "-O2", "-Wall", "-Wextra", "-Werror", "-ffp-contract=off"),
    *("-fno-math-errno", "-Wundef", "-DKERNELS_RVV=0", "-DKERNELS_CHOSEN=0"),
]
SANITIZE = ["-fsanitize=address,undefined", "-fno-sanitize-recover=all"]
COUNT = ["-fsanitize-coverage=inline-8bit-counters,pc-table"]
"""Of blocks; to be told what values are compared with, too, would cost a third of the executions."""
# There is no heap to leak from, and frames kept after their return cost a third of the time.
SANITIZERS = {
    "ASAN_OPTIONS": "detect_leaks=0:detect_stack_use_after_return=0",
    "UBSAN_OPTIONS": "print_stacktrace=1",
}
FULL = 100_000_000
FULL_PYTHON = 1_000_000
SAMPLE_SECONDS = 30
SAMPLE_LIMIT = 1800
"""For a sample of edits, also on a busy machine."""
FULL_SECONDS = 48 * 3600
EDIT_STRIDE = 61
"""The sample tries every so many of the 255 other values of a byte."""


@dataclass(frozen=True)
class Target:
    """A C target: its file, and the sources with and without instrumentation for coverage, as globs in firmware/.

    bare: sources without sanitizers either, which another target and the proofs cover.
    """

    name: str
    words: str
    watched: tuple[str, ...]
    others: tuple[str, ...] = ()
    bare: tuple[str, ...] = ()
    max_len: int = 600


TARGETS = (
    Target(
        "image",
        "image loader and a step",
        ("image/*.c", "tokenizer/*.c"),
        ("engine/*.c", "common/*.c", "ops/*.c", "kernels/scalar/*.c", "kernels/swar/*.c"),
        max_len=180,
    ),
    Target("frame", "frame codec and ring", ("link/cobs.c", "common/crc32c.c", "link/frame.c", "link/ring.c")),
    Target(
        "message",
        "messages, the whole device end",
        ("link/[!cf]*.c", "jobs/*.c", "serve/*.c", "terminal/*.c"),
        ("common/console.c", "link/frame.c", "tokenizer/*.c", "../tests/support/fake_engine.c"),
        ("link/cobs.c",),
        max_len=400,
    ),
)


def _sources(patterns: tuple[str, ...]) -> list[Path]:
    base = ROOT / "firmware"
    found = [path for pattern in patterns for path in sorted((base / pattern).parent.glob(Path(pattern).name))]
    return [
        path for path in found if path.name not in ("sha256.c", "blake2b.c")
    ]  # the image target has digests of zeros


def compile_objects(compiler: list[str], sources: list[Path], folder: Path, flags: list[str]) -> list[Path]:
    """Objects of the sources, made again where a source, any header or the flags here are newer."""
    folder.mkdir(parents=True, exist_ok=True)
    common = [*(ROOT / "firmware").rglob("*.[hi]*"), *GENERATED.rglob("*.h"), Path(__file__)]
    newest = max(path.stat().st_mtime for path in common)
    objects = []
    for source in sources:
        target = folder / f"{source.parent.name}-{source.name}.o"
        if not target.exists() or target.stat().st_mtime < max(newest, source.stat().st_mtime):
            include = ["-Ifirmware", f"-I{GENERATED}"]
            run([*compiler, *C_FLAGS, *flags, *include, "-c", source, "-o", target], 300, log=f"build-{source.stem}")
        objects.append(target)
    return objects


def arch_flags() -> list[str]:
    """What native kernels need of the processor."""
    return ["-march=x86-64-v3"] if os.uname().machine == "x86_64" else []


def build(target: Target) -> Path:
    """The fuzzer of a target. Raises Missing without clang."""
    clang = find_tool("clang", CLANG_HINT)
    folder = WORK / target.name
    watched, bare = _sources(target.watched), _sources(target.bare)
    others = [ROOT / "tests/fuzz" / f"fuzz_{target.name}.c", *_sources(target.others)]
    objects = compile_objects([clang], watched, folder, [*arch_flags(), *SANITIZE, *COUNT])
    objects += compile_objects(
        [clang], [path for path in others if path not in watched], folder, [*arch_flags(), *SANITIZE]
    )
    objects += compile_objects([clang], bare, folder, arch_flags())
    program = WORK / f"fuzz_{target.name}"
    run([clang, *SANITIZE, "-fsanitize=fuzzer", *objects, "-o", program], 120, log=f"link-{target.name}")
    return program


def build_editor() -> Path:
    """The image target with a main() of its own that tries every single-byte edit."""
    clang = find_tool("clang", CLANG_HINT)
    target = next(each for each in TARGETS if each.name == "image")
    sources = [ROOT / "tests/fuzz/fuzz_image.c", *_sources(target.watched)]
    sources += [path for path in _sources(target.others) if path not in sources]
    objects = compile_objects([clang], sources, WORK / "edits", [*arch_flags(), *SANITIZE, "-DEVERY_EDIT=1"])
    program = WORK / "every_edit"
    run([clang, *SANITIZE, *objects, "-o", program], 120, log="link-edits")
    return program


def write_images() -> str:
    """Images to edit, as $FUZZ_IMAGES takes them."""
    run([sys.executable, "-m", "tests.fuzz.images", WORK / "images"], 120, log="images")
    return ":".join(map(str, sorted((WORK / "images").glob("*.hsp"))))


def _jobs() -> int:
    return max(1, os.cpu_count() or 1)


def _fuzz(name: str, command: list[str | Path], full_runs: int, full: bool, env: dict[str, str]) -> int:
    """Run libFuzzer from the kept corpus; return the executions. Raises Failed with the finding."""
    grown, findings = WORK / f"corpus-{name}", WORK / "findings"
    for folder in (grown, findings):
        folder.mkdir(parents=True, exist_ok=True)
    kept = ROOT / "tests/fuzz/corpus" / f"{name}.hex"
    for i, line in enumerate(kept.read_text().split() if kept.exists() else []):
        (grown / f"kept-{i}").write_bytes(bytes.fromhex(line))
    corpus = [grown, *(seeds for seeds in [WORK / "seeds" / name] if seeds.is_dir())]
    limit = [f"-runs={full_runs}"] if full else [f"-max_total_time={SAMPLE_SECONDS}"]
    options = [*limit, "-timeout=20", "-rss_limit_mb=4000", f"-artifact_prefix={findings}/{name}-", "-verbosity=1"]
    allowed = FULL_SECONDS if full else SAMPLE_SECONDS * 4
    text = run([*command, *options, *corpus], allowed, env={**SANITIZERS, **env}, log=f"fuzz-{name}")
    done = re.search(r"Done (\d+) runs", text)
    if not done:
        raise Failed(f"fuzzing {name} printed no count:\n{text[-2000:]}")
    return int(done[1])


def _row(words: str, runs: int, wanted: int, seconds: float, full: bool) -> Row:
    measured = f"{runs:,} executions, {runs / max(seconds, 1e-3):,.0f} a second, no finding"
    return Row(f"fuzzing: {words}", measured, f"{wanted:,}" if full else f"sample; {wanted:,} with --full", True)


def _pool(full: bool) -> ThreadPoolExecutor:
    """Runs whole counts beside each other, samples one by one, for rates that mean something."""
    return ThreadPoolExecutor(_jobs() if full else 1)


def rows(full: bool) -> list[Row]:
    """One row a C target."""
    env = {"FUZZ_IMAGES": write_images()}
    programs = {target: build(target) for target in TARGETS}

    def measure(target: Target) -> Row:
        began = time.monotonic()
        runs = _fuzz(target.name, [programs[target], f"-max_len={target.max_len}"], FULL, full, env)
        return _row(target.words, runs, FULL, time.monotonic() - began, full)

    with _pool(full) as pool:
        return list(pool.map(measure, TARGETS))


def edit_rows(full: bool) -> list[Row]:
    """Every other value of every byte that the loader reads, or every 61st of them."""
    env = {**SANITIZERS, "FUZZ_IMAGES": write_images(), "EDIT_STRIDE": "1" if full else str(EDIT_STRIDE)}
    text = run([build_editor()], FULL_SECONDS if full else SAMPLE_LIMIT, env=env, log="edits")
    found = re.search(r"(\d+) edits: (\d+) refused, (\d+) accepted and stepped", text)
    if not found:
        raise Failed(f"the edits printed no count:\n{text[-2000:]}")
    count, refused, accepted = map(int, found.groups())
    words = f"{count:,} edits: {refused:,} refused, {accepted:,} stepped without harm"
    return [Row("single-byte edits of an image", words, "all values" if full else "a 61st; all with --full", True)]


READERS = (
    ("gguf", "GGUF reader"),
    ("safetensors", "safetensors reader"),
    ("decoder", "host's decoder"),
    ("tokenizer", "tokenizer.json"),
    ("config", "config.json"),
    ("recipe", "recipe reader"),
    ("manifest", "manifests shown"),
)


def reader_rows(full: bool) -> list[Row]:
    """One row a reader in Python."""
    if importlib.util.find_spec("atheris") is None:
        raise Missing("atheris is not installed: pip install -e '.[assure]' (Linux on x86-64)")
    script = ROOT / "tests/fuzz/fuzz_python.py"
    shutil.rmtree(WORK / "seeds", ignore_errors=True)
    run([sys.executable, script, "seeds", WORK / "seeds"], 120, log="seeds")

    def measure(reader: tuple[str, str]) -> Row:
        began = time.monotonic()
        runs = _fuzz(reader[0], [sys.executable, script, reader[0]], FULL_PYTHON, full, {})
        return _row(reader[1], runs, FULL_PYTHON, time.monotonic() - began, full)

    with _pool(full) as pool:
        return list(pool.map(measure, READERS))
