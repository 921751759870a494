# SPDX-License-Identifier: Apache-2.0
"""llama.cpp to compare with: its source from the sdist of ``llama-cpp-python``, built by our compiler for one ISA.

Needs cmake and ninja. Building takes minutes a variant, once.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tarfile
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from gguf import GGMLQuantizationType, GGUFReader, GGUFValueType, GGUFWriter, quants

from host.cache import cache_directory, private_folder
from host.errors import TargetError, UsageError
from host.fetch import Package, download_sdist
from tools.scons.toolchain import zig_path

SDIST = Package("llama-cpp-python", "0.3.36", "832db0699007f1be95a7e41ef12e88926b02ba836461e36a36372db2760c1a2e")
HERE = Path(__file__).resolve().parent
OUTPUT_TENSORS = ("token_embd.weight", "output.weight")


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
OURS = (
    *VARIANTS,
    *(Variant(f"rvv{n}", RVV_CPU, f"{RVV_QEMU}{n}", f"linux:rvv,vlen={n}", (), "ON") for n in (512, 1024)),
)
"""Those too on which only our firmware is counted."""


def work_folder() -> Path:
    """Where llama.cpp is built and its models lie: the user's cache."""
    return cache_directory() / "peers"


def call(*words: object, cwd: Path | None = None) -> str:
    """Run a program and return its output. TargetError with its last words where it fails."""
    done = subprocess.run([str(w) for w in words], cwd=cwd, capture_output=True, text=True, check=False)
    if done.returncode:
        tail = "\n".join((done.stdout + done.stderr).strip().splitlines()[-12:])
        raise TargetError(f"{words[0]} failed ({done.returncode}):\n{tail}")
    return done.stdout


def fetch_source(work: Path) -> Path:
    """llama.cpp's source, unpacked from the sdist."""
    private_folder(work)
    for found in work.glob("llama_cpp_python-*/vendor/llama.cpp"):
        return found
    with tempfile.TemporaryDirectory(dir=work) as folder:
        sdist = download_sdist(SDIST, Path(folder), TargetError)
        with tarfile.open(sdist) as archive:
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
    for tool in ("cmake", "ninja"):
        if not shutil.which(tool):
            raise UsageError(f"{tool} is not installed: pip install cmake ninja, or apt install cmake ninja-build")
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


def _copy_fields(reader: GGUFReader, writer: GGUFWriter) -> None:
    for name, field in reader.fields.items():
        if name.startswith("GGUF.") or name == "general.architecture":
            continue
        kind = field.types[0]
        inner = field.types[-1] if kind == GGUFValueType.ARRAY else None
        writer.add_key_value(name, field.contents(), kind, inner)


def requantize(source: Path, kind: str, out: Path) -> Path:
    """A GGUF with every matrix of ``source`` in another type, but for Q8_0 in embedding and output matrix.

    llama.cpp's own quantizer uses the cores of the machine it runs on; this one is the gguf library's, on the host.
    """
    if out.is_file():
        return out
    reader = GGUFReader(source)
    part = out.with_suffix(".part")
    writer = GGUFWriter(part, str(reader.fields["general.architecture"].contents()))
    _copy_fields(reader, writer)
    for tensor in reader.tensors:
        if len(tensor.shape) == 1:
            writer.add_tensor(tensor.name, tensor.data, raw_dtype=tensor.tensor_type)
            continue
        wanted = GGMLQuantizationType.Q8_0 if tensor.name in OUTPUT_TENSORS else GGMLQuantizationType[kind]
        data = tensor.data
        if wanted != tensor.tensor_type:
            data = quants.quantize(quants.dequantize(data, tensor.tensor_type).astype(np.float32), wanted)
        writer.add_tensor(tensor.name, data, raw_dtype=wanted)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return part.rename(out)
