# SPDX-License-Identifier: Apache-2.0
"""What follows a build: the memory table with its check, and the size, run and debug aliases."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

from SCons.Action import Action

from host.choices import choices
from host.errors import HostError, UsageError
from host.image.fitness import check_board
from host.image.reader import Image
from host.places import PACKAGE
from host.words import file_name, shown
from tools.scons import media
from tools.scons.options import ROOT, Options
from tools.scons.settings import literal
from tools.scons.variant import near, short_line

PACKERS = ("schema", "files", "tokens", "ir", "ops", "families", "model", "compiler", "quant", "image", "packing")
"""Parts of host/ that an image depends on."""


def model_node(env: Any, options: Options) -> Any:
    """The image that model= names, packed first where that is a recipe; None without model=."""
    if not options.model:
        return None
    path = _find_model(options.model)
    if path.suffix != ".toml":
        check_board(Image(path), options.board, options.kernels)
        return env.File(literal(path))
    image = options.place(f"{file_name(path.stem)}.hsp")
    packers = [p for folder in PACKERS for p in sorted((PACKAGE / folder).rglob("*.py"))]
    sources = [literal(path), *map(near, packers), env.Value(f"{options.board.name} {options.kernels}")]
    return env.Command(image, sources, Action(pack, short_line(env, "PACK") or None), OPTIONS=options)[0]


def _find_model(model: str) -> Path:
    """The image or recipe that model= names. Raises UsageError."""
    try:
        path, recipe = Path(model), ROOT / "models" / f"{model}.toml"
        if Path(model).name == model and recipe.is_file():
            path = recipe
        if path.is_file():
            return path
    except (OSError, ValueError):  # no name of a file
        pass
    recipes = sorted(path.stem for path in (ROOT / "models").glob("*.toml"))
    raise UsageError(
        f"model={shown(model)}: there is no such image (`host pack` makes one) or recipe; {choices(model, recipes)}"
    )


def pack(target: list[Any], source: list[Any], env: Any) -> int:
    """Action: the image of a recipe for the variant."""
    options = env["OPTIONS"]
    command = [sys.executable, "-m", "host", "pack", str(source[0]), "-o", str(target[0])]
    command += ["--board", options.board.name, "--layout", options.board.layout(options.kernels)]
    return subprocess.call(command, cwd=ROOT)


def show_table(target: list[Any], source: list[Any], env: Any) -> int:
    """Action: prints the memory table; fails where the board's memory or a stack is too small."""
    from tools import memory_table, stack_bound

    elf, image = Path(str(source[0])), Path(str(source[1])) if env["HAS_MODEL"] else None
    try:
        text = memory_table.table(env["OPTIONS"].board, elf, image)
        print(text)
        memory_table.check_fit(env["OPTIONS"].board, elf, image)
        if memory := env["OPTIONS"].board.memory:
            print(stacks := stack_bound.check(elf, memory.stack))
            text += f"\n{stacks}"
    except HostError as error:
        sys.stderr.write(f"scons: {error}\n")
        return 1
    Path(str(target[0])).write_text(text + "\n")
    return 0


def add_table(env: Any, options: Options, elf: Any, model: Any) -> Any:
    """The memory table: printed after a link, for a new image and when the board has changed."""
    sources = [elf, *([model] if model else []), env.Value(str(options.board))]
    action = Action(show_table, None)
    return env.Command(options.place("memory.txt"), sources, action, OPTIONS=options, HAS_MODEL=bool(model))


def target_spec(options: Options) -> str:
    """The host's name for what was built, e.g. ``qemu-virt:rvv,harts=2``."""
    kind = options.board.name + ("@spike" if options.board.simulator.kind == "twin" else "")
    parts = [options.kernels] if options.kernels != options.board.kernels else []
    parts += [f"harts={options.harts}"] if options.harts else []
    return kind + (":" + ",".join(parts) if parts else "")


def run(options: Options, model: Any) -> int:
    """Chat with the firmware on the board's simulator; returns the command's exit status."""
    if model is None:
        sys.stderr.write("scons: run needs model=IMAGE or model=RECIPE\n")
        return 2
    command = [sys.executable, "-m", "host", "chat", str(model), "--target", target_spec(options)]
    return subprocess.call(command, cwd=ROOT, env=os.environ | {"HARTSPEAK_BUILD": str(options.base.absolute())})


def debug(options: Options, elf: Any, model: Any) -> int:
    """GDB on the firmware, halted at its first instruction; returns GDB's exit status."""
    if options.board.simulator.kind != "qemu":
        sys.stderr.write(
            f"scons: debug works with board=qemu-virt, which has a GDB server; {options.board.name} has none. "
            "The engine is the same: build it for qemu-virt, or use gdb on build/native/firmware\n"
        )
        return 2
    gdb = shutil.which("gdb-multiarch") or shutil.which("riscv64-unknown-elf-gdb")
    if gdb is None:
        sys.stderr.write("scons: debug needs gdb-multiarch (Debian, Ubuntu: apt install gdb-multiarch)\n")
        return 2
    from host.targets.simulators import debug_server

    try:
        image = Path(str(model)) if model else None
        harts = options.harts or options.board.harts.default
        with debug_server(options.board, Path(str(elf)), options.kernels, harts, image) as (port, line):
            print(f"the link: host chat IMAGE --target socket://localhost:{line}, once you have continued")
            # Ctrl-C is GDB's, which takes it up again.
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            return subprocess.call([gdb, "-q", str(elf), "-ex", f"target remote localhost:{port}"])
    except HostError as error:
        sys.stderr.write(f"scons: {error}\n")
        return 1


def add(env: Any, options: Options, built: list[Any]) -> None:
    """Default targets and aliases of a variant."""
    elf, model = built[0], model_node(env, options)
    table = add_table(env, options, elf, model)
    env.Default(table)
    media.add(env, options, built, model)
    image = model if model is not None else None

    def always(name: str, what: Any) -> None:
        env.AlwaysBuild(env.Alias(name, table, Action(what, None)))

    def show_size(target: list[Any], source: list[Any], env: Any) -> int:  # noqa: ARG001
        print(Path(str(source[0])).read_text(), end="")
        return 0

    always("size", show_size)
    always("run", lambda target, source, env: run(options, image))  # noqa: ARG005
    always("debug", lambda target, source, env: debug(options, elf, image))  # noqa: ARG005
