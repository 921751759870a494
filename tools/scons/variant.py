# SPDX-License-Identifier: Apache-2.0
"""One variant of the build: a board's firmware with one family of kernels, in its own directory."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from SCons.Action import Action

from host.boards import Board
from host.choices import choices
from host.errors import HostError, UsageError
from tools.scons import sodium
from tools.scons.toolchain import COMMON, FREESTANDING, Toolchain, choose

ROOT = Path(__file__).resolve().parents[2]
GENERATED = {
    "image": ("image_format.h", "host/image/format.py"),
    "wire": ("wire.h", "host/link/messages.py"),
    "errors": ("errors.h", "host/errors.py"),
    "selector": ("selector.h", "host/medium/selector.py"),
    "unicode": ("unicode.h", "tools/gen_unicode.py"),
}
CORE = ("engine", "ops", "link", "kernels")


@dataclass(frozen=True)
class Trust:
    """Whose images a firmware accepts: the key's 32 bytes, and the lowest version."""

    key: bytes
    lowest_version: int


@dataclass(frozen=True)
class Options:
    """What was asked for on the command line."""

    board: Board
    kernels: str
    toolchain: str
    base: Path
    harts: int | None
    model: str
    trust: Trust | None
    faults: bool = False
    cache: str = ""

    @property
    def directory(self) -> Path:
        """``build/<board>``, with the kernel family where it is not the board's default."""
        suffix = "" if self.kernels == self.board.kernels else f"-{self.kernels}"
        return self.base / f"{self.board.name}{suffix}"


def make_options(board: Board, env: Any) -> Options:
    """The checked options of one variant. Raises UsageError."""
    kernels = env["kernels"] or board.kernels
    if kernels not in ("scalar", "rvv"):
        raise UsageError(f"kernels={kernels} is not known; {choices(kernels, ('scalar', 'rvv'))}")
    if kernels not in board.isa:
        raise UsageError(f"board {board.name} has no V extension: kernels=rvv is not for it")
    harts = None
    if env["harts"]:
        if not env["harts"].isdigit() or not 1 <= int(env["harts"]) <= len(board.harts.ids):
            raise UsageError(f"harts={env['harts']}: board {board.name} has 1 to {len(board.harts.ids)}")
        harts = int(env["harts"])
    if env["watchdog"]:
        if not env["watchdog"].isdigit() or not board.timer:
            raise UsageError(f"watchdog={env['watchdog']} is no number of milliseconds, or {board.name} has no timer")
        board = replace(board, timer=replace(board.timer, watchdog_ms=int(env["watchdog"])))
    trust, base = make_trust(env), Path(env["build"])
    cache = env["cache"] or os.environ.get("HARTSPEAK_OBJECTS", "")
    return Options(board, kernels, env["toolchain"], base, harts, env["model"], trust, env["faults"], cache)


def make_trust(env: Any) -> Trust | None:
    """key= and lowest_version=, checked; None without a key. Raises UsageError."""
    lowest = env["lowest_version"]
    if not lowest.isdigit() or int(lowest) >= 1 << 32:
        raise UsageError(f"lowest_version={lowest} is not a number from 0 to {(1 << 32) - 1}")
    if not env["key"]:
        if int(lowest):
            raise UsageError("lowest_version= needs key=: without a signature anybody can write any version")
        return None
    from host.trust.keys import load_public

    return Trust(load_public(Path(env["key"])), int(lowest))


def build(env: Any, options: Options) -> list[Any]:
    """All files of the variant; the first is the ELF that the memory table is about."""
    made = build_hosted(env, options) if options.board.hosted else build_bare(env, options)
    top = options.base.resolve() == ROOT / "build"
    database = env.CompilationDatabase("compile_commands.json" if top else str(options.base / "compile_commands.json"))
    env.Default(made, database)
    return made


def short_line(env: Any, step: str) -> str:
    """What SCons prints for a step: ``CC firmware/ops/norm.c``; the whole command with ``verbose=1``."""
    what = "$SOURCE" if step in ("CC", "AS") else "$TARGET"
    return "" if env["verbose"] else f"{step:<4} {what}"


def prepare(env: Any, options: Options, tools: Toolchain) -> Any:
    """A copy of the environment for a toolchain."""
    env = env.Clone()
    build = options.directory
    env.Replace(
        CC=tools.cc,
        LINK=tools.cc,
        CCFLAGS=[*tools.arch, *COMMON, *path_maps(options), *defines(options)],
        LINKFLAGS=[*tools.arch, *tools.linker, "-Wl,--gc-sections"],
        CPPPATH=["firmware", str(build)],
        ASPPFLAGS=["$CCFLAGS", "-D__ASSEMBLER__=1"],
        SHLINKFLAGS=["$LINKFLAGS", "-shared"],
        LIBPREFIX="lib",
        STATIC_AND_SHARED_OBJECTS_ARE_THE_SAME=True,
    )
    if not env["verbose"]:
        for name in ("CC", "SHCC", "ASPP"):
            env[f"{name}COMSTR"] = short_line(env, "AS" if name == "ASPP" else "CC")
        for name in ("LINK", "SHLINK"):
            env[f"{name}COMSTR"] = short_line(env, "LINK")
    if options.cache:
        env.CacheDir(options.cache)
    return env


def path_maps(options: Options) -> list[str]:
    """What keeps this machine's paths out of debug information, so that every checkout builds the same bytes.

    So nor do they matter to what SCons has cached: "$(" and "$)" say that.
    """
    folder = options.directory.resolve()
    maps = [f"-ffile-prefix-map={ROOT}=.", f"-ffile-prefix-map={folder}=build/{options.directory.name}"]
    return ["$(", *maps, "$)"]


def defines(options: Options) -> list[str]:
    """Options of the build as C sees them."""
    flags = {
        "KERNELS_RVV": options.kernels == "rvv",
        "TRUST_REQUIRED": options.trust is not None,
        "PORT_FAULTS": options.faults,
    }
    return [f"-D{name}={int(value)}" for name, value in flags.items()]


def core_sources(kernels: str) -> list[Path]:
    """C and assembly files that name no board; rvv ones only where they are built."""
    found = []
    for folder in CORE:
        for path in sorted((ROOT / "firmware" / folder).rglob("*.[cS]")):
            parts = path.relative_to(ROOT / "firmware").with_suffix("").parts
            vector = any(part == "rvv" or part.startswith("rvv_") or part.endswith("_rvv") for part in parts)
            if (kernels == "rvv" or not vector) and "test" not in parts:
                found.append(path.relative_to(ROOT))
    return found


def objects(env: Any, options: Options, sources: list[Path], folder: str, **flags: Any) -> list[Any]:
    """Object nodes under ``<variant>/<folder>``, one a source."""
    made = []
    for source in sources:
        target = options.directory / folder / source.with_suffix(source.suffix + ".o")
        made += env.StaticObject(target=str(target), source=str(source), **flags)
    return made


# Actions are functions of the module: SCons signs a function with all that it closes over, and Options has no
# signature that is the same in the next run.
def write_header(target: list[Any], source: list[Any], env: Any) -> int:  # noqa: ARG001
    """Action: a header of env["KIND"]."""
    from tools import gen_headers, gen_unicode

    if env["KIND"] == "unicode":
        return gen_unicode.main(Path(str(target[0])))
    return gen_headers.main(["gen_headers", env["KIND"], str(target[0])])


def write_board(target: list[Any], source: list[Any], env: Any) -> int:  # noqa: ARG001
    """Action: board.h or the linker script."""
    from tools import gen_board

    options = env["OPTIONS"]
    path = Path(str(target[0]))
    if path.suffix == ".ld":
        path.write_text(gen_board.linker(options.board, options.harts, path.stem))
    else:
        path.write_text(gen_board.header(options.board, options.kernels, options.harts))
    return 0


def write_flat(target: list[Any], source: list[Any], env: Any) -> int:  # noqa: ARG001
    """Action: the flat binary of an ELF."""
    from tools.memory_table import flatten

    Path(str(target[0])).write_bytes(flatten(Path(str(source[0]))))
    return 0


def write_trust(target: list[Any], source: list[Any], env: Any) -> int:  # noqa: ARG001
    """Action: trust.h, the key in C."""
    from host.trust.keys import key_id

    trust = env["OPTIONS"].trust
    lines = [f"#define TRUST_LOWEST_VERSION {trust.lowest_version}u"]
    for name, data in (("TRUST_KEY", trust.key), ("TRUST_KEY_ID", key_id(trust.key))):
        lines.append(f"#define {name} {{{', '.join(f'{byte:#04x}' for byte in data)}}}")
    Path(str(target[0])).write_text("\n".join([*lines, ""]))
    return 0


def trust_objects(env: Any, options: Options, folder: str, **flags: Any) -> list[Any]:
    """What checks signatures, where key= asks for it: our own file and libsodium's."""
    if options.trust is None:
        return []
    library, bare = sodium.find_sodium(), not options.board.hosted
    sources = [Path("firmware/trust/trust.c"), Path("firmware/trust/sodium_glue.c")]
    made = objects(env, options, sources, folder, **flags)
    theirs = [f"-I{library / name}" for name in sodium.INCLUDES] + (["-Ifirmware/trust/compat"] if bare else [])
    theirs += ["-Ifirmware/boot/include"] if bare else []
    given = [*flags.get("CCFLAGS", env["CCFLAGS"]), *theirs, *sodium.FLAGS]
    for source in sodium.SOURCES:
        target = options.directory / folder / f"sodium/{Path(source).name}.o"
        made += env.StaticObject(target=str(target), source=str(library / source), CCFLAGS=given)
    return made


def generated(env: Any, options: Options) -> None:
    """The headers made from Python declarations and from the board's file."""
    gen = options.directory / "gen"
    line = short_line(env, "GEN") or None
    for kind, (name, source) in GENERATED.items():
        sources = [source, "tools/gen_headers.py"]
        env.Command(str(gen / name), sources, Action(write_header, line), KIND=kind)
    parts = {"firmware": options.board.memory, "shim": has_shim(options), "applet": options.board.loader}
    names = ["board.h", *(f"{part}.ld" for part, there in parts.items() if there)]
    if options.trust:
        node = env.Command(str(gen / "trust.h"), ["host/trust/keys.py"], Action(write_trust, line), OPTIONS=options)
        env.Depends(node, env.Value(str(options.trust)))
    for name in names:
        sources = [str(options.board.file), "tools/gen_board.py", "host/boards.py"]
        sources += ["linker/firmware.ld.in"] if name.endswith(".ld") else []
        node = env.Command(str(gen / name), sources, Action(write_board, line), OPTIONS=options)
        # The board with dram= and harts= applied: what the text is made from beyond the file.
        env.Depends(node, env.Value(f"{options.board} {options.kernels} {options.harts}"))


def build_hosted(env: Any, options: Options) -> list[Any]:
    """A Linux or native executable; for native the shared library that the tests load, too."""
    tools = choose(options.toolchain, options.board, options.kernels)
    exe = prepare(env, options, tools)
    generated(exe, options)
    native = options.board.isa[options.kernels] == "native"
    exe.Append(CCFLAGS=["-fPIC"] if native else [])
    core = objects(exe, options, core_sources(options.kernels), "obj", CCFLAGS=[*exe["CCFLAGS"], *FREESTANDING])
    core += trust_objects(exe, options, "obj")
    # Nor libc is for V: a machine without it must get as far as being told.
    scalar = choose(options.toolchain, options.board, "scalar").arch
    flags = [*scalar, *exe["CCFLAGS"][len(tools.arch) :], "-D_GNU_SOURCE"]
    sources = [p.relative_to(ROOT) for p in sorted((ROOT / "firmware/port").glob("hosted*.c"))]
    port = objects(exe, options, sources, "obj", CCFLAGS=flags)
    link = [*scalar, *exe["LINKFLAGS"][len(tools.arch) :], *([] if native else ["-static"])]
    made = list(exe.Program(str(options.directory / "firmware"), core + port, LINKFLAGS=link))
    harts = [node for node in port if node.name == "hosted_harts.c.o"]
    return made + (build_library(exe, options, core + harts) if native else [])


def build_library(env: Any, options: Options, nodes: list[Any]) -> list[Any]:
    """``libfirmware.so``: everything but main(), with the ports' harts, for ctypes."""
    flags = [*env["LINKFLAGS"], "-shared", "-pthread"]
    return list(env.SharedLibrary(str(options.directory / "libfirmware.so"), nodes, SHLINKFLAGS=flags))


def build_bare(env: Any, options: Options) -> list[Any]:
    """The ELF for a bare-metal board and its flat binary."""
    tools = choose(options.toolchain, options.board, options.kernels)
    bare = prepare(env, options, tools)
    bare.Append(CCFLAGS=[*FREESTANDING, "-Wvla", *tools.stack_sizes], CPPPATH=["firmware/boot/include"])
    generated(bare, options)
    assert options.board.entry
    port = [ROOT / "firmware/port" / name for name in ("bare.c", f"bare_{options.board.entry.mode}.c")]
    boot = sorted((ROOT / "firmware/boot").glob("*.[cS]"))
    own = [*port, *boot, *sorted((ROOT / "firmware/drivers").glob("*.c"))]
    own += [ROOT / f"firmware/flash/{name}.c" for name in ("handoff", "selector", "slot", "update", "update_slot")]
    nodes = objects(bare, options, core_sources(options.kernels), "obj") + trust_objects(bare, options, "obj")
    # Not for V: a trap must be able to tell of a core without it.
    scalar = [*choose(options.toolchain, options.board, "scalar").arch, *bare["CCFLAGS"][len(tools.arch) :]]
    sources = [p.relative_to(ROOT) for p in own]
    nodes += objects(bare, options, sources, "obj", CCFLAGS=scalar, ASPPFLAGS=[*scalar, "-D__ASSEMBLER__=1"])
    elf = link_bare(bare, options, nodes, "firmware")
    made = [*elf, *flat_binary(bare, options, elf, "firmware.bin")]
    made += build_shim(bare, options) if has_shim(options) else []
    return made + (build_applet(bare, options, scalar) if options.board.loader else [])


def has_shim(options: Options) -> bool:
    """Whether the board is tried on a twin that needs an SBI of our own."""
    return options.board.simulator.kind == "twin"


def build_shim(env: Any, options: Options) -> list[Any]:
    """The SBI shim for the board's twin: its own ELF at the start of DRAM."""
    folder = ROOT / "firmware/boot/shim"
    drivers = [ROOT / f"firmware/drivers/{name}.c" for name in ("clint", "fdt", "ns16550", "power")]
    sources = [p.relative_to(ROOT) for p in [*sorted(folder.glob("*.[cS]")), *drivers]]
    return link_bare(env, options, objects(env, options, sources, "shim"), "shim")


def build_applet(env: Any, options: Options, flags: list[str]) -> list[Any]:
    """The selector as a program of U-Boot: its flat binary, ``selector.bin``."""
    named = ["flash/applet.c", "flash/selector.c", "flash/handoff.c", "link/crc32c.c"]
    named += ["engine/image_header.c", "engine/sha256.c", "boot/memory.c"]
    nodes = objects(env, options, [Path("firmware") / name for name in named], "applet", CCFLAGS=flags)
    nodes += trust_objects(env, options, "applet", CCFLAGS=flags)
    return flat_binary(env, options, link_bare(env, options, nodes, "applet"), "selector.bin")


def link_bare(env: Any, options: Options, nodes: list[Any], name: str) -> list[Any]:
    """``<name>.elf`` by ``gen/<name>.ld``."""
    script = str(options.directory / f"gen/{name}.ld")
    flags = ["-nostdlib", "-static", f"-Wl,-T,{script}", "-Wl,-z,max-page-size=4096"]
    elf = env.Program(str(options.directory / f"{name}.elf"), nodes, LINKFLAGS=[*env["LINKFLAGS"], *flags])
    env.Depends(elf, script)
    return list(elf)


def flat_binary(env: Any, options: Options, elf: Any, name: str) -> list[Any]:
    """The loaded bytes of an ELF from its lowest address on."""
    return list(env.Command(str(options.directory / name), elf, Action(write_flat, short_line(env, "BIN") or None)))


def environment() -> dict[str, str]:
    """What compilers need of the caller's environment."""
    keep = ("PATH", "HOME", "TMPDIR", "XDG_CACHE_HOME", "ZIG_GLOBAL_CACHE_DIR", "LANG", "TERM", "PYTHONPATH")
    return {key: os.environ[key] for key in keep if key in os.environ}


def stop(error: HostError) -> None:
    """End the build with one line for a user's mistake."""
    sys.stderr.write(f"scons: {error}\n")
    sys.exit(2)
