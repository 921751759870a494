# SPDX-License-Identifier: Apache-2.0
"""One variant of the build: a board's firmware with one family of kernels, in its own directory."""

from __future__ import annotations

import os
import shlex
import sys
from pathlib import Path
from typing import Any

from SCons.Action import Action
from SCons.Environment import Environment

from host.boards import Board
from host.errors import HostError, UsageError
from host.kernels import families
from host.places import PACKAGE
from host.words import shown_lines
from tools.scons import sodium
from tools.scons.options import ROOT, Options
from tools.scons.settings import check_path, literal, word
from tools.scons.toolchain import COMMON, FREESTANDING, Toolchain, choose

GENERATED: dict[str, tuple[str, list[Path]]] = {
    "image": ("image_format.h", [PACKAGE / folder for folder in ("schema", "ir", "ops")]),
    "formats": ("formats.h", [PACKAGE / "schema", PACKAGE / "kernels.py"]),
    "wire": ("wire.h", [PACKAGE / "schema/wire"]),
    "errors": ("errors.h", [PACKAGE / "errors.py"]),
    "selector": ("selector.h", [PACKAGE / "medium/selector.py"]),
    "unicode": ("unicode.h", [ROOT / "tools/gen_unicode.py"]),
}
"""Headers by kind: the name, then the files and folders that they are made from."""
CORE = ("common", "formats", "image", "engine", "ops", "tokenizer", "link", "jobs", "serve", "terminal", "kernels")


def build(env: Any, options: Options) -> list[Any]:
    """All files of the variant; the first is the ELF that the memory table is about."""
    made = build_hosted(env, options) if options.board.hosted else build_bare(env, options)
    top = options.base.resolve() == ROOT / "build"
    database = env.CompilationDatabase(
        "compile_commands.json" if top else literal(options.base / "compile_commands.json")
    )
    env.Default(made, database)
    return made


def short_line(env: Any, step: str) -> str:
    """What SCons prints for a step: ``CC firmware/ops/norm.c``; the whole command with ``verbose=1``."""
    what = "$SOURCE" if step in ("CC", "AS") else "$TARGET"
    return "" if env["verbose"] else f"{step:<4} {what}"


def prepare(env: Any, options: Options, tools: Toolchain) -> Any:
    """A copy of the environment for a toolchain."""
    env = env.Clone()
    env.Replace(
        CC=[word(part) for part in tools.cc],
        LINK=[word(part) for part in tools.cc],
        CCFLAGS=[*tools.arch, *COMMON, *path_maps(options), *defines(options)],
        LINKFLAGS=[*tools.arch, *tools.linker, "-Wl,--gc-sections"],
        ESCAPE=shlex.quote,
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
    include(env, options, "firmware")
    if options.cache:
        env.CacheDir(literal(options.cache))
    return env


def include(env: Any, options: Options, *folders: str) -> None:
    """Set where headers are looked for: folders of the checkout, then what is generated.

    SCons' own flags for that are evaluated twice, so that a ``$`` in a folder's name would be.
    """
    env["CPPPATH"] = [*folders, env.Dir(literal(options.directory))]
    flags = [f"-I{folder}" for folder in (*folders, options.directory)]
    env["_CPPINCFLAGS"] = ["$(", *map(word, flags), "$)"]


def path_maps(options: Options) -> list[str]:
    """What keeps this machine's paths out of debug information, so that every checkout builds the same bytes.

    So nor do they matter to what SCons has cached: "$(" and "$)" say that.
    """
    folder = options.directory.resolve()
    maps = [f"-ffile-prefix-map={ROOT}=.", f"-ffile-prefix-map={folder}=build/{options.directory.name}"]
    return ["$(", *map(word, maps), "$)"]


def defines(options: Options) -> list[str]:
    """Options of the build as C sees them."""
    flags = {
        "KERNELS_RVV": options.kernels == "rvv",
        "KERNELS_CHOSEN": bool(options.board.chosen),
        "PORT_FAULTS": options.faults,
    }
    return [f"-D{name}={int(value)}" for name, value in flags.items()]


ASKS_FOR_SIGNATURES = "firmware/image/header.c"
"""The one file that differs in a firmware with a key: all others are what they are without, and not compiled again."""


def core_sources(*kernels: str) -> list[Path]:
    """C and assembly files that name no board, with those of some families: the one that runs, or all to choose from.

    Of a family that only stands in for these, as scalar does for all, everything but its table is there.
    """
    helpers = {"scalar", *(name for family in kernels for name in families()[family].uses)}
    found = []
    for folder in CORE:
        for path in sorted((ROOT / "firmware" / folder).rglob("*.[cS]")):
            family = _family_of(path.relative_to(ROOT))
            is_wanted = not family or family in kernels or (family in helpers and path.stem != "table")
            if "test" not in path.parts and is_wanted:
                found.append(path.relative_to(ROOT))
    return found


def _family_of(source: Path) -> str:
    """The kernel family that a file belongs to; empty: none."""
    return source.parts[2] if source.parts[:2] == ("firmware", "kernels") and source.parts[2] in families() else ""


def board_sources(board: Board, kernels: str) -> list[Path]:
    """core_sources() of a board's firmware."""
    return core_sources(*(one.name for one in board.chosen)) if board.chosen else core_sources(kernels)


def core_objects(env: Any, options: Options, arch: list[str]) -> list[Any]:
    """Objects of all that names no board, those of each family compiled for its processors.

    arch: the flags of ``env`` for the architecture, which come first.
    """
    made, rest = [], [*env["CCFLAGS"][len(arch) :], *FREESTANDING]
    sources = board_sources(options.board, options.kernels)
    for family in sorted({_family_of(source) for source in sources}):
        kernels = family if family in {one.name for one in options.board.chosen} else options.kernels
        flags = [*choose(options.toolchain, options.board, kernels).arch, *rest]
        files = [source for source in sources if _family_of(source) == family]
        made += objects(env, options, files, "obj", CCFLAGS=flags)
    return made


def objects(env: Any, options: Options, sources: list[Path], folder: str, **flags: Any) -> list[Any]:
    """Object nodes under ``<variant>/<folder>``, one a source."""
    made = []
    for source in sources:
        target = options.place(Path(folder) / source.with_suffix(source.suffix + ".o"))
        given = flags
        if options.trust is not None and source.as_posix() == ASKS_FOR_SIGNATURES:
            given = {**flags, "CCFLAGS": [*flags.get("CCFLAGS", env["CCFLAGS"]), "-DTRUST_REQUIRED=1"]}
        made += env.StaticObject(target=target, source=str(source), **given)
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
    check_path("the cache", library)
    theirs = [word(f"-I{library / name}") for name in sodium.INCLUDES]
    theirs += ["-Ifirmware/trust/compat"] if bare else []
    theirs += ["-Ifirmware/boot/include"] if bare else []
    given = [*flags.get("CCFLAGS", env["CCFLAGS"]), *theirs, *sodium.FLAGS]
    for source in sodium.SOURCES:
        target = options.place(f"{folder}/sodium/{Path(source).name}.o")
        made += env.StaticObject(target=target, source=literal(library / source), CCFLAGS=given)
    return made


def generated(env: Any, options: Options) -> None:
    """The headers made from Python declarations and from the board's file."""
    line = short_line(env, "GEN") or None
    for kind, (name, places) in GENERATED.items():
        found = [file for place in places for file in (sorted(place.rglob("*.py")) if place.is_dir() else [place])]
        sources = [*map(near, found), "tools/gen_headers.py"]
        node = env.Command(options.place(f"gen/{name}"), sources, Action(write_header, line), KIND=kind)
        # The names of kernels say which of them read which format.
        if kind == "formats":
            env.Depends(node, env.Value(sorted(path.name for path in (ROOT / "firmware/kernels").glob("*/linear_*.c"))))
            env.Depends(node, env.Value(str(families())))
    parts = {"firmware": options.board.memory, "shim": has_shim(options), "applet": options.board.loader}
    names = ["board.h", *(f"{part}.ld" for part, there in parts.items() if there)]
    if options.trust:
        target, keys = options.place("gen/trust.h"), near(PACKAGE / "trust/keys.py")
        node = env.Command(target, [keys], Action(write_trust, line), OPTIONS=options)
        env.Depends(node, env.Value(str(options.trust)))
    for name in names:
        sources = [near(options.board.file), "tools/gen_board.py", near(PACKAGE / "boards.py")]
        sources += ["linker/firmware.ld.in"] if name.endswith(".ld") else []
        node = env.Command(options.place(f"gen/{name}"), sources, Action(write_board, line), OPTIONS=options)
        # The board with dram= and harts= applied: what the text is made from beyond the file.
        env.Depends(node, env.Value(f"{options.board} {options.kernels} {options.harts}"))


def build_hosted(env: Any, options: Options) -> list[Any]:
    """A Linux or native executable; for native the shared library that the tests load, too."""
    tools = choose(options.toolchain, options.board, options.kernels)
    exe = prepare(env, options, tools)
    generated(exe, options)
    native = options.board.isa[options.kernels] == "native"
    exe.Append(CCFLAGS=["-fPIC"] if native else [])
    core = core_objects(exe, options, tools.arch)
    core += trust_objects(exe, options, "obj")
    # Nor libc is for what kernels need: a machine without it must get as far as being told.
    plain = choose(options.toolchain, options.board).arch
    flags = [*plain, *exe["CCFLAGS"][len(tools.arch) :], "-D_GNU_SOURCE"]
    sources = [p.relative_to(ROOT) for p in sorted((ROOT / "firmware/port").glob("hosted*.c"))]
    port = objects(exe, options, sources, "obj", CCFLAGS=flags)
    link = [*plain, *exe["LINKFLAGS"][len(tools.arch) :], *([] if native else ["-static"])]
    made = list(exe.Program(options.place("firmware"), core + port, LINKFLAGS=link))
    shared = [node for node in port if node.name in LIBRARY]
    return made + (build_library(exe, options, core + shared) if native else [])


LIBRARY = [f"hosted_{name}.c.o" for name in ("harts", "kernels", "processor")]


def build_library(env: Any, options: Options, nodes: list[Any]) -> list[Any]:
    """``libfirmware.so``: everything but main(), with LIBRARY of the port, for ctypes."""
    flags = [*env["LINKFLAGS"], "-shared", "-pthread"]
    return list(env.SharedLibrary(options.place("libfirmware.so"), nodes, SHLINKFLAGS=flags))


def build_bare(env: Any, options: Options) -> list[Any]:
    """The ELF for a bare-metal board and its flat binary."""
    tools = choose(options.toolchain, options.board, options.kernels)
    bare = prepare(env, options, tools)
    bare.Append(CCFLAGS=[*FREESTANDING, "-Wvla", *tools.stack_sizes])
    include(bare, options, "firmware", "firmware/boot/include")
    generated(bare, options)
    assert options.board.entry
    port = [ROOT / "firmware/port" / name for name in ("bare.c", f"bare_{options.board.entry.mode}.c")]
    boot = sorted((ROOT / "firmware/boot").glob("*.[cS]"))
    own = [*port, *boot, *sorted((ROOT / "firmware/drivers").glob("*.c"))]
    own += [ROOT / f"firmware/flash/{name}.c" for name in ("handoff", "selector", "slot", "update", "update_slot")]
    nodes = objects(bare, options, core_sources(options.kernels), "obj") + trust_objects(bare, options, "obj")
    # Not for V: a trap must be able to tell of a core without it.
    scalar = [*choose(options.toolchain, options.board).arch, *bare["CCFLAGS"][len(tools.arch) :]]
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
    named = ["flash/applet.c", "flash/selector.c", "flash/handoff.c", "common/crc32c.c"]
    named += ["image/header.c", "image/hash.c", "common/blake2b.c", "common/sha256.c", "boot/memory.c"]
    nodes = objects(env, options, [Path("firmware") / name for name in named], "applet", CCFLAGS=flags)
    nodes += trust_objects(env, options, "applet", CCFLAGS=flags)
    return flat_binary(env, options, link_bare(env, options, nodes, "applet"), "selector.bin")


def link_bare(env: Any, options: Options, nodes: list[Any], name: str) -> list[Any]:
    """``<name>.elf`` by ``gen/<name>.ld``."""
    script = f"gen/{name}.ld"
    flags = ["-nostdlib", "-static", "-T", word(str(options.directory / script)), "-Wl,-z,max-page-size=4096"]
    elf = env.Program(options.place(f"{name}.elf"), nodes, LINKFLAGS=[*env["LINKFLAGS"], *flags])
    env.Depends(elf, options.place(script))
    return list(elf)


def flat_binary(env: Any, options: Options, elf: Any, name: str) -> list[Any]:
    """The loaded bytes of an ELF from its lowest address on."""
    return list(env.Command(options.place(name), elf, Action(write_flat, short_line(env, "BIN") or None)))


def environment(verbose: bool) -> Any:
    """SCons' environment, with what compilers need of the caller's; ``verbose`` prints whole commands."""
    keep = ("PATH", "HOME", "TMPDIR", "XDG_CACHE_HOME", "ZIG_GLOBAL_CACHE_DIR", "LANG", "TERM", "PYTHONPATH")
    variables = {key: os.environ[key] for key in keep if key in os.environ}
    tools = ["cc", "gcc", "as", "link", "gnulink", "compilation_db"]
    return Environment(tools=tools, ENV=variables, verbose=verbose)


def near(path: Path) -> str:
    """A file of the product as SCons takes it: relative to the checkout where it lies in it."""
    return literal(path.relative_to(ROOT) if path.is_relative_to(ROOT) else path)


def stop(error: HostError | OSError | ValueError) -> None:
    """End the build with one line for a user's mistake, and its exit code."""
    sys.stderr.write(f"scons: {shown_lines(str(error))}\n")
    sys.exit(error.exit_code if isinstance(error, HostError) else UsageError.exit_code)
