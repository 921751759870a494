# SPDX-License-Identifier: Apache-2.0
"""Instructions a token of llama.cpp and of our firmware, on the same GGUF, under qemu-riscv64: ``peers.py MODEL.gguf``.

llama.cpp is the source inside the sdist of ``llama-cpp-python``; both are compiled by the zig of this environment for
one ISA and run with one thread. A TCG plugin counts every executed instruction of the process, so a token's cost is the
difference of two runs: decode from an empty context, prefill of one prompt. Needs cmake, ninja and a QEMU with plugins
(a dynamically linked qemu-riscv64; Debian: the package qemu-user). Building llama.cpp takes minutes a variant, once.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from host.bench.measure import bench_tokens  # noqa: E402
from host.boards import load_board  # noqa: E402
from host.errors import HostError, TargetError  # noqa: E402
from host.talk import open_client, resolve_image  # noqa: E402
from host.targets import parse_spec  # noqa: E402
from host.targets.opening import build_firmware  # noqa: E402
from host.targets.process import ProcessTarget  # noqa: E402
from host.targets.simulators import build_root, firmware_files  # noqa: E402
from tools.scons.toolchain import zig_path  # noqa: E402

SDIST = "llama-cpp-python==0.3.36"
HERE = Path(__file__).resolve().parent
PATIENCE = 600.0


@dataclass(frozen=True)
class Variant:
    """One ISA: zig's name for it, QEMU's, our target, and what llama.cpp's build is told."""

    name: str
    cpu: str
    qemu: str
    target: str
    flags: tuple[str, ...]
    vector: str


RVV_CPU = "generic_rv64+m+a+f+d+c+v+zfh+zvfh+zicbop+zihintpause+zba+zbb"
RVV_QEMU = "rv64,v=true,vext_spec=v1.0,Zfh=true,vlen="
VARIANTS = (
    # clang says __riscv_v_intrinsic also without V, and ggml believes it.
    Variant("scalar", "generic_rv64+m+a+f+d+c+zba+zbb", "rv64", "linux", ("-U__riscv_v_intrinsic",), "OFF"),
    Variant("rvv128", RVV_CPU, f"{RVV_QEMU}128", "linux:rvv,vlen=128", (), "ON"),
    Variant("rvv256", RVV_CPU, f"{RVV_QEMU}256", "linux:rvv,vlen=256", (), "ON"),
)
REFERENCE = {"rvv256": 125.2, "rvv128": 127.0, "scalar": 986.0}
"""Recorded, not measured by this run: llama.cpp's M instructions a decoded token, SmolLM2-135M Q4_1, same source."""


def call(*words: object, cwd: Path | None = None) -> str:
    """Run a program and return its output. TargetError with its last words where it fails."""
    done = subprocess.run([str(w) for w in words], cwd=cwd, capture_output=True, text=True, check=False)
    if done.returncode:
        tail = "\n".join((done.stdout + done.stderr).strip().splitlines()[-12:])
        raise TargetError(f"{words[0]} failed ({done.returncode}):\n{tail}")
    return done.stdout


def build_plugin(work: Path, qemu: str) -> Path:
    """Compile the counting plugin for this QEMU's plugin interface."""
    major = int(call(qemu, "--version").split("version ")[1].split(".")[0])
    out = work / "count_insns.so"
    version = f"-DPLUGIN_VERSION={1 if major < 9 else 2}"
    call(zig_path(), "cc", "-O2", "-shared", "-fPIC", version, HERE / "count_insns.c", "-o", out)
    return out


def fetch_source(work: Path) -> Path:
    """llama.cpp's source, unpacked from the sdist."""
    for found in work.glob("llama_cpp_python-*/vendor/llama.cpp"):
        return found
    call(sys.executable, "-m", "pip", "download", "--no-deps", "--no-binary", "llama-cpp-python", "-d", work, SDIST)
    with tarfile.open(next(work.glob("llama_cpp_python-*.tar.gz"))) as archive:
        archive.extractall(work, filter="data")
    return next(work.glob("llama_cpp_python-*/vendor/llama.cpp"))


def write_tools(folder: Path, variant: Variant) -> None:
    """Compiler and archiver as cmake wants them: zig, with our ISA in place of upstream's -march."""
    folder.mkdir(parents=True, exist_ok=True)
    zig, flags = zig_path(), " ".join(variant.flags)
    for name in ("cc", "c++"):
        (folder / name).write_text(
            '#!/bin/sh\nfor a in "$@"; do\n    shift\n    case $a in -march=*|-mabi=*) ;; *) set -- "$@" "$a" ;; esac\n'
            f"done\nexec {zig} {name} -target riscv64-linux-musl -mcpu={variant.cpu} -mabi=lp64d "
            f'-fno-sanitize=undefined {flags} "$@"\n'
        )
    for name in ("ar", "ranlib"):
        (folder / name).write_text(f'#!/bin/sh\nexec {zig} {name} "$@"\n')
    for tool in folder.iterdir():
        tool.chmod(0o755)


def build_llama(work: Path, variant: Variant) -> Path:
    """llama.cpp and our small program on it, static, for the variant."""
    base = work / f"llama-{'rvv' if variant.vector == 'ON' else 'scalar'}"
    program = base / "llama_run"
    if program.is_file() and program.stat().st_mtime > (HERE / "llama_run.c").stat().st_mtime:
        return program
    source, tools, build = fetch_source(work), base / "tools", base / "build"
    write_tools(tools, variant)
    options = ["CMAKE_SYSTEM_NAME=Linux", "CMAKE_SYSTEM_PROCESSOR=riscv64", "CMAKE_BUILD_TYPE=Release"]
    options += ["BUILD_SHARED_LIBS=OFF", "GGML_NATIVE=OFF", "GGML_OPENMP=OFF"]
    names = (("C_COMPILER", "cc"), ("CXX_COMPILER", "c++"), ("AR", "ar"), ("RANLIB", "ranlib"))
    options += [f"CMAKE_{key}={tools / tool}" for key, tool in names]
    options += [f"GGML_{name}={variant.vector}" for name in ("RVV", "RV_ZFH", "RV_ZVFH", "RV_ZICBOP", "RV_ZIHINTPAUSE")]
    options += [f"LLAMA_BUILD_{part}=OFF" for part in ("COMMON", "TESTS", "TOOLS", "EXAMPLES", "SERVER")]
    print(f"building llama.cpp, {base.name}: some minutes", file=sys.stderr)
    call("cmake", "-G", "Ninja", "-S", source, "-B", build, *[f"-D{option}" for option in options])
    call("ninja", "-C", build, "llama")
    includes = [f"-I{source / 'include'}", f"-I{source / 'ggml' / 'include'}"]
    call(tools / "cc", "-O2", *includes, "-c", HERE / "llama_run.c", "-o", base / "llama_run.o")
    archives = [build / "src" / "libllama.a"] + [
        build / "ggml" / "src" / f"libggml{p}.a" for p in ("", "-cpu", "-base")
    ]
    call(tools / "c++", "-static", base / "llama_run.o", *archives, "-o", program)
    return program


@dataclass(frozen=True)
class Counter:
    """QEMU with the plugin."""

    qemu: str
    plugin: Path
    work: Path

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


def count_ours(counter: Counter, variant: Variant, image: Path, prompt: int, decode: int) -> int:
    """All instructions of one run of our firmware; the hashes of the image are among them, in every run."""
    spec = parse_spec(variant.target)
    board = load_board(spec.board)
    firmware = firmware_files(board, spec.kernels, build_root(spec.build))
    if not firmware.program.is_file():
        build_firmware(board, spec, None)
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "count"
        command = [*counter.command(variant.qemu, out), str(firmware.program), "--image", str(image), "--harts", "1"]
        target = ProcessTarget(lambda _: command, f"linux under {counter.qemu}")
        with open_client(target, None, None, PATIENCE) as client:
            client.require_model()
            client.prompt(bench_tokens(prompt, client.info.vocab))
            client.generate(decode + 1).finish()
        return counter.read(out)


@dataclass(frozen=True)
class Cost:
    """M instructions a token."""

    decode: float
    prefill: float


def cost(count: dict[tuple[int, int], int], prompt: int, decode: int) -> Cost:
    """From three runs, (prompt, decoded) to instructions: decode of an empty context, prefill by its difference."""
    one, longer, read = count[1, 0], count[1, decode], count[prompt, 0]
    return Cost((longer - one) / decode / 1e6, (read - one) / (prompt - 1) / 1e6)


def main() -> None:
    """Count, compare, print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("model", type=Path, help="GGUF that both run")
    parser.add_argument("--variant", action="append", choices=[v.name for v in VARIANTS])
    parser.add_argument("--work", type=Path, default=build_root() / "peers", help="where llama.cpp is built")
    parser.add_argument("--qemu", default=shutil.which("qemu-riscv64"), help="qemu-riscv64 with plugins")
    parser.add_argument("-p", "--prompt", type=int, default=16)
    parser.add_argument("-n", "--generate", type=int, default=4)
    parser.add_argument("--ours-only", action="store_true", help="do not build llama.cpp; compare with recorded values")
    given = parser.parse_args()
    if not given.qemu:
        parser.error("there is no qemu-riscv64; install it (Debian: apt install qemu-user) or give --qemu")
    work = given.work.resolve()
    work.mkdir(parents=True, exist_ok=True)
    counter = Counter(given.qemu, build_plugin(work, given.qemu), work)
    runs = [(1, 0), (1, given.generate), (given.prompt, 0)]
    print(f"{'M instructions a token':<24}{'decode':>10}{'prefill':>10}")
    for variant in (v for v in VARIANTS if not given.variant or v.name in given.variant):
        image = resolve_image(os.fspath(given.model), variant.target)
        ours = cost({r: count_ours(counter, variant, image, *r) for r in runs}, given.prompt, given.generate)
        print(f"{variant.name + ' ours':<24}{ours.decode:>10.2f}{ours.prefill:>10.2f}", flush=True)
        if given.ours_only:
            recorded = REFERENCE[variant.name]
            print(f"{'  SmolLM2 Q4_1, recorded':<24}{recorded:>9.1f}*{'-':>10}{ours.decode / recorded:>10.3f} x decode")
            continue
        program = build_llama(work, variant)
        count = {r: count_llama(counter, program, variant.qemu, given.model, *r) for r in runs}
        theirs = cost(count, given.prompt, given.generate)
        print(f"{variant.name + ' llama.cpp':<24}{theirs.decode:>10.2f}{theirs.prefill:>10.2f}")
        ratios = f"{ours.decode / theirs.decode:>10.3f}{ours.prefill / theirs.prefill:>10.3f}"
        print(f"{variant.name + ' ratio':<24}{ratios}", flush=True)


if __name__ == "__main__":
    try:
        main()
    except HostError as error:
        sys.exit(f"error: {error}")
