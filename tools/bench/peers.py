# SPDX-License-Identifier: Apache-2.0
"""Instructions a token of llama.cpp and of our firmware under qemu-riscv64: ``python -m tools.bench.peers``.

Both are compiled by the zig of this environment for one ISA and run one model, quantized alike, with one thread. A TCG
plugin counts every executed instruction of the process, so a token's cost is the difference of two runs: decode from
an empty context, prefill of one prompt. ``--wall`` compares seconds instead, without the plugin, in one run. Needs a
QEMU with plugins (a dynamically linked qemu-riscv64; Debian: the package qemu-user) and what tools/bench/llama.py
needs. What was counted of llama.cpp is kept and not counted twice.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

from host.bench.measure import Plan, bench_tokens, measure
from host.boards import load_board
from host.errors import HostError, TargetError, UsageError
from host.files.recipe import fetch, find_recipe
from host.packing.resolve import resolve_image
from host.places import build_root
from host.talk.opening import OpenOptions, open_client, open_model
from host.targets import parse_spec
from host.targets.opening import build_firmware
from host.targets.process import ProcessTarget
from host.targets.simulators import firmware_files
from tools.bench.llama import HERE, VARIANTS, Variant, build_llama, call, requantize, work_folder
from tools.scons.toolchain import zig_path

MODEL = "smollm2-135m-instruct"
FORMATS = ("Q4_0", "Q8_0", "Q4_1")
PATIENCE = 600.0
RECORDED = {
    ("rvv256", "Q4_0"): (66.0, 28.3),
    ("rvv256", "Q8_0"): (85.1, 44.2),
    ("rvv256", "Q4_1"): (125.2, 105.3),
    ("rvv128", "Q4_0"): (113.5, 92.9),
    ("rvv128", "Q8_0"): (90.4, 70.2),
    ("rvv128", "Q4_1"): (127.0, 105.8),
    ("scalar", "Q4_0"): (1069.0, 845.0),
    ("scalar", "Q8_0"): (1061.0, 832.0),
    ("scalar", "Q4_1"): (986.0, 764.0),
}
"""llama.cpp, SmolLM2-135M, M instructions a decoded and a prompt token, measured once with this tool's method."""


def build_plugin(work: Path, qemu: str) -> Path:
    """Compile the counting plugin for this QEMU's plugin interface."""
    major = int(call(qemu, "--version").split("version ")[1].split(".")[0])
    out = work / "count_insns.so"
    version = f"-DPLUGIN_VERSION={1 if major < 9 else 2}"
    call(zig_path(), "cc", "-O2", "-shared", "-fPIC", version, HERE / "count_insns.c", "-o", out)
    return out


@dataclass(frozen=True)
class Counter:
    """QEMU with the plugin."""

    qemu: str
    plugin: Path

    def command(self, cpu: str, out: Path) -> list[str]:
        """What stands in front of the program."""
        return [self.qemu, "-cpu", cpu, "-plugin", f"{self.plugin},out={out}"]

    def read(self, out: Path) -> int:
        """The count that the run left. TargetError where QEMU wrote none."""
        if not out.is_file():
            raise TargetError(f"{self.qemu} counted nothing: it must be linked dynamically, with plugins enabled")
        return int(out.read_text())


def count_llama(counter: Counter, program: Path, cpu: str, model: Path, prompt: int, decode: int) -> int:
    """All instructions of one run of llama.cpp."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "count"
        call(*counter.command(cpu, out), program, model, prompt, decode)
        return counter.read(out)


def our_program(variant: Variant) -> Path:
    """Our firmware for the variant, built where it is not there."""
    spec = parse_spec(variant.target)
    board = load_board(spec.board)
    firmware = firmware_files(board, spec.kernels, build_root(spec.build))
    build_firmware(board, spec, None)
    return firmware.program


def count_ours(counter: Counter, program: Path, cpu: str, image: Path, prompt: int, decode: int) -> int:
    """All instructions of one run of our firmware; the hashes of the image are among them, in every run."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "count"
        command = [*counter.command(cpu, out), str(program), "--image", str(image), "--harts", "1"]
        target = ProcessTarget(lambda _: command, f"linux under {counter.qemu}")
        with open_client(target, OpenOptions(patience=PATIENCE)) as client:
            client.require_model()
            client.prompt(bench_tokens(prompt, client.info.vocab))
            client.generate(decode + 1).finish()
        return counter.read(out)


@dataclass(frozen=True)
class Cost:
    """M instructions a token."""

    decode: float
    prefill: float


def cost(count: Callable[[int, int], int], prompt: int, decode: int) -> Cost:
    """From three runs of so many prompt and decoded tokens: decode of an empty context, prefill by its difference."""
    one, longer, read = count(1, 0), count(1, decode), count(prompt, 0)
    return Cost((longer - one) / decode / 1e6, (read - one) / (prompt - 1) / 1e6)


def kept(file: Path, key: str, measured: Callable[[], Cost]) -> Cost:
    """The cost under ``key`` in a JSON file, measured and added where it is not there."""
    found: dict[str, list[float]] = json.loads(file.read_text()) if file.is_file() else {}
    if key not in found:
        value = measured()
        found[key] = [value.decode, value.prefill]
        file.write_text(json.dumps(found, indent=1))
    return Cost(*found[key])


def model_file(name: str) -> Path:
    """The GGUF that a recipe or a path means. Raises HostError."""
    recipe = find_recipe(name)
    path = fetch(recipe) if recipe else Path(name)
    if path.suffix != ".gguf" or not path.is_file():
        raise UsageError(f"{name}: llama.cpp needs a GGUF file, or a recipe of one")
    return path


def quantized_file(source: Path, kind: str, work: Path) -> Path:
    """The model with its matrices in one type, made where it is not there."""
    size, time = source.stat().st_size, source.stat().st_mtime_ns
    return requantize(source, kind, work / f"{source.stem.rsplit('.', 1)[0]}.{size}.{time}.{kind}.gguf")


def compare_counts(given: argparse.Namespace, qemu: str, source: Path, work: Path) -> list[dict[str, object]]:
    """Every variant and format; prints a line as soon as it is known."""
    counter = Counter(qemu, build_plugin(work, qemu))
    prompt, decode = given.prompt, given.generate
    rows: list[dict[str, object]] = []
    print(f"{'M instructions a token':<16}{'':<8}{'decode':>8}{'llama':>9}{'ratio':>8}  {f'pp {prompt}':>8}", end="")
    print(f"{'llama':>9}{'ratio':>8}")
    for variant in (v for v in VARIANTS if not given.variant or v.name in given.variant):
        program = our_program(variant)
        for kind in given.format or FORMATS[:2]:
            model = quantized_file(source, kind, work)
            image = resolve_image(str(model), variant.target)
            ours = cost(partial(count_ours, counter, program, variant.qemu, image), prompt, decode)
            theirs = count_theirs(given, counter, variant, kind, model, work)
            ratios = Cost(ours.decode / theirs.decode, ours.prefill / theirs.prefill)
            print(f"{variant.name:<16}{kind:<8}{ours.decode:>8.2f}{theirs.decode:>9.2f}{ratios.decode:>8.3f}", end="  ")
            print(f"{ours.prefill:>8.2f}{theirs.prefill:>9.2f}{ratios.prefill:>8.3f}", flush=True)
            rows.append({"variant": variant.name, "format": kind, "ours": vars(ours), "llama": vars(theirs)})
    return rows


def count_theirs(
    given: argparse.Namespace, counter: Counter, variant: Variant, kind: str, model: Path, work: Path
) -> Cost:
    """llama.cpp's cost: recorded, kept from an earlier run, or counted now."""
    if given.ours_only:
        return Cost(*RECORDED[variant.name, kind])
    prompt, decode = given.prompt, given.generate
    program = build_llama(work, variant)
    key = f"{variant.name} {model.name} pp{prompt} tg{decode}"
    count = partial(count_llama, counter, program, variant.qemu, model)
    return kept(work / "llama.json", key, partial(cost, count, prompt, decode))


def ours_speed(image: Path, target: str, prompt: int, decode: int) -> tuple[float, float]:
    """Tokens a second of a prompt and of decoding, by the device's clock."""
    with open_model(str(image), target) as model:
        result = measure(model.client, model.image, Plan(prompt, decode, 1))
    return result.prefill.tokens_per_second[0], result.decode.tokens_per_second[0]


@dataclass(frozen=True)
class Speed:
    """Tokens a second of a prompt and of decoding: medians over the rounds. ratio_of: llama.cpp's on the same file."""

    name: str
    prefill: float
    decode: float
    ratio_of: Speed | None = None

    def line(self) -> str:
        """As text, with the ratios."""
        text = f"{self.name:<36}"
        for word, ours, theirs in (
            ("prompt", self.prefill, self.ratio_of and self.ratio_of.prefill),
            ("decode", self.decode, self.ratio_of and self.ratio_of.decode),
        ):
            text += f" {word} {ours:>7.2f} tokens/s {f'{ours / theirs:.2f} x' if theirs else '':>8} "
        return text.rstrip()


def compare_seconds(
    qemu: str, kinds: Sequence[str], prompt: int, decode: int, rounds: int, source: Path, work: Path
) -> list[Speed]:
    """llama.cpp and our firmware in turns on this machine, scalar, one thread each, without the plugin.

    Ours as a process under QEMU's user mode, as llama.cpp is, and as a machine under its system mode, as the demo is.
    """
    scalar = VARIANTS[0]
    program = build_llama(work, scalar)
    our_program(scalar)
    found: list[Speed] = []
    for kind in kinds:
        model = quantized_file(source, kind, work)
        targets = ("linux:harts=1", "qemu-virt:scalar,harts=1")
        images = [resolve_image(str(model), target) for target in targets]
        rates: dict[str, list[tuple[float, float]]] = {}
        for _ in range(rounds):
            first, rest = map(float, call(qemu, "-cpu", scalar.qemu, program, model, prompt, decode).split()[-2:])
            rates.setdefault(f"llama.cpp {kind}", []).append((prompt / first, decode / rest))
            for image, target in zip(images, targets, strict=True):
                rates.setdefault(f"ours {kind}, {target}", []).append(ours_speed(image, target, prompt, decode))
        theirs: Speed | None = None
        for name, values in rates.items():
            prefill, decode_rate = (statistics.median(phase) for phase in zip(*values, strict=True))
            found.append(Speed(name, prefill, decode_rate, theirs))
            theirs = theirs or found[-1]
    return found


def qemu_user() -> str:
    """QEMU's user mode with plugins. Raises UsageError where there is none."""
    found = shutil.which("qemu-riscv64")
    if not found:
        raise UsageError("there is no qemu-riscv64 (Debian: apt install qemu-user, which must not be the static one)")
    return found


def main() -> None:
    """Count or time, compare, print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("model", nargs="?", default=MODEL, help="GGUF that both run, or a recipe of one")
    parser.add_argument("--variant", action="append", choices=[v.name for v in VARIANTS], help="repeatable")
    parser.add_argument("--format", action="append", choices=FORMATS, help="repeatable; Q4_0 and Q8_0")
    parser.add_argument("--work", type=Path, default=work_folder(), help="where llama.cpp is built")
    parser.add_argument("-p", "--prompt", type=int, default=64)
    parser.add_argument("-n", "--generate", type=int, default=4)
    parser.add_argument("--ours-only", action="store_true", help="no llama.cpp: compare with recorded values")
    parser.add_argument("--wall", action="store_true", help="compare seconds, scalar, on this machine")
    parser.add_argument("--rounds", type=int, default=3, help="of --wall")
    parser.add_argument("--json", type=Path, help="write the figures to this file, too")
    given = parser.parse_args()
    try:
        work = given.work.resolve()
        work.mkdir(parents=True, exist_ok=True)
        source, qemu = model_file(given.model), qemu_user()
        if given.wall:
            kinds = given.format or FORMATS[:1]
            found = compare_seconds(qemu, kinds, given.prompt, given.generate, given.rounds, source, work)
            print("\n".join(speed.line() for speed in found))
            rows = [asdict(speed) for speed in found]
        else:
            rows = compare_counts(given, qemu, source, work)
    except HostError as error:
        sys.exit(f"peers: {error}")
    if given.json:
        given.json.write_text(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()
