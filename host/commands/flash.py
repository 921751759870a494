# SPDX-License-Identifier: Apache-2.0
"""``host flash``: write a model onto the medium of a board, or update it there."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import Progress

from host.boards import Board, load_board, parse_size
from host.command_line import completion
from host.command_line.options import BaudOption
from host.errors import TargetError, UsageError
from host.image.fitness import check_board, check_memory
from host.image.reader import Image
from host.link.client import Client
from host.link.interrupts import deferred_interrupts
from host.link.rate import line_rate
from host.link.transfer import flash_image
from host.medium.console import UBoot
from host.medium.flash import BoardDisk, minutes_by_console, minutes_by_link
from host.output import check_output
from host.places import build_root
from host.targets import Target, open_target, parse_spec
from host.targets.spec import TargetSpec
from host.words import shown

HELLO_SECONDS = 3.0
"""A running firmware answers within one."""
FIRMWARE_PATIENCE = 120.0
UBOOT_SECONDS = 120.0


def register(app: typer.Typer) -> None:
    """Add ``host flash``."""

    @app.command()
    def flash(
        image: Annotated[
            Path | None, typer.Argument(help="Image file; none with --confirm.", autocompletion=completion.image_files)
        ] = None,
        board: Annotated[
            str, typer.Option("--board", help="Board; `host boards` lists them.", autocompletion=completion.boards)
        ] = "visionfive2",
        medium: Annotated[
            Path | None, typer.Option(help="Disk image to make, or a card in a reader (none: --port).")
        ] = None,
        port: Annotated[
            str | None, typer.Option(help="The board's line, as --target names it (none: --medium).")
        ] = None,
        device: Annotated[str, typer.Option(help="With --port at U-Boot: its name of the medium.")] = "mmc 1",
        update: Annotated[bool, typer.Option("--update", help="Keep what runs; the image goes on trial.")] = False,
        confirm: Annotated[
            bool, typer.Option("--confirm", help="With --port at U-Boot: what is on trial is good.")
        ] = False,
        slot: Annotated[
            str | None, typer.Option(help="Size of each of the two slots, such as '256 MiB' (what there is room for).")
        ] = None,
        baud: BaudOption = None,
        yes: Annotated[
            bool,
            typer.Option("--yes", help="Do not ask before a card, or a file that is no disk, is replaced."),
        ] = False,
        dry_run: Annotated[bool, typer.Option("-n", "--dry-run", help="Only say what would be written.")] = False,
        json_: Annotated[bool, typer.Option("--json", help="With --dry-run: print JSON.")] = False,
    ) -> None:
        """Write a model, firmware and boot files to a board's medium, or update the model there.

        With --port by the running firmware where it can write the medium, else by U-Boot. Interrupted at the running
        firmware, it goes on where it stopped when it is called again.
        """
        chosen = load_board(board)
        if chosen.loader != "u-boot":
            raise UsageError(f"board {board} has no medium that U-Boot reads: {chosen.flash.how}")
        if (medium is None) == (port is None):
            raise UsageError("name either --medium (a file or a card) or --port (the board's line)")
        if confirm and (image or medium):
            raise UsageError("--confirm goes with --port alone")
        if image is None and not confirm:
            raise UsageError("which image? make one with `host pack`")
        if json_ and not dry_run:
            raise UsageError("--json prints a plan: add --dry-run")
        size = _slot(slot)
        if medium:
            _check_medium(medium, update, yes)
        if image:
            opened = Image(image)
            check_board(opened, chosen)
            opened.verify()
        if dry_run:
            lines = _plan(chosen, medium, image, update, size)
            facts = {"board": board, "onto": str(medium or port), "image": str(image) if image else None, "plan": lines}
            typer.echo(json.dumps(facts, indent=2) if json_ else "\n".join(f"{medium or port}: {x}" for x in lines))
        elif port:
            _by_line(chosen, port, device, image, baud)
        elif image and medium:
            _to_medium(chosen, medium, image, update, size, yes)


def _slot(text: str | None) -> int | None:
    try:
        size = parse_size(text) if text else None
    except ValueError as error:
        raise UsageError(f"--slot: {error}") from None
    if size is not None and (size <= 0 or size % (1 << 20)):
        raise UsageError(f"--slot {text} is not a number of MiB")
    return size


class Bar:
    """A progress bar with one line for each thing that is done."""

    def __init__(self, total: int) -> None:
        self._progress = Progress(console=Console(stderr=True), transient=True)
        self._tasks: dict[str, object] = {}
        self._total = total

    def __enter__(self) -> Bar:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def __call__(self, what: str, done: int) -> None:
        """As `device.Progress`."""
        if what not in self._tasks:
            self._tasks[what] = self._progress.add_task(what, total=self._total)
        self._progress.update(self._tasks[what], completed=done)  # type: ignore[arg-type]


def _check_medium(medium: Path, update: bool, yes: bool) -> None:
    """Raise UsageError before anything long is done where the medium must not be written."""
    from host.medium import device, flash

    if device.is_device(medium):
        device.find_disk(medium)
        return
    if update and not medium.is_file():
        raise UsageError(f"{medium}: there is no such medium; without --update it is made")
    check_output(medium, None if update else flash.is_ours, yes, "--medium", "give --yes to overwrite it")


def _plan(board: Board, medium: Path | None, image: Path | None, update: bool, slot: int | None) -> list[str]:
    """What would be done; nothing is written or started, and no line is opened."""
    from host.medium import device, flash

    if medium and image:
        card = device.find_disk(medium).size if device.is_device(medium) else None
        return list(flash.update_lines(medium, image) if update else flash.plan_lines(card, image, slot))
    if image:
        size = image.stat().st_size
        return [f"{image.name}, {size} bytes, would go to the slot of {board.name} that is not in use"]
    return [f"what is on trial on {board.name} would be confirmed"]


def _to_medium(board: Board, medium: Path, image: Path, update: bool, slot: int | None, yes: bool) -> None:
    from host.medium import device, flash

    size = image.stat().st_size
    card = device.find_disk(medium) if device.is_device(medium) else None
    if update:
        with Bar(size) as bar:
            letter = flash.update_medium(medium, image, bar)
        typer.echo(f"{medium}: {image.name} is in slot {letter}, on trial: it stays when it has answered once")
        return
    build = _build(board)
    if card is None:
        with Bar(size + (18 << 20)) as bar:
            total = flash.write_disk_file(medium, board, build, image, slot, bar)
        typer.echo(f"{medium}: a disk of {total >> 20} MiB; write it to a card as it is, for instance with dd")
        return
    question = f"{card.path} ({card.model}, {card.size >> 20} MiB) will be overwritten, all of it. Go on?"
    if not yes and not typer.confirm(question):
        raise UsageError("nothing was written")
    with Bar(size + (18 << 20)) as bar:
        flash.write_whole(medium, card.size, board, build, image, slot, bar)
    typer.echo(f"{medium}: written and read back; slot a holds {image.name}")


def _build(board: Board) -> Path:
    from host.targets import parse_spec
    from host.targets.opening import build_firmware
    from host.targets.simulators import firmware_files

    spec = parse_spec(board.name)
    files = firmware_files(board, spec.kernels, build_root())
    if not (files.directory / "selector.bin").is_file():
        build_firmware(board, spec, lambda words: typer.echo(words, err=True))
    return files.directory


def _by_line(board: Board, port: str, device: str, image: Path | None, baud: str | None) -> None:
    spec = parse_spec(port)
    if not spec.is_line and (image is None or not spec.disk):
        raise UsageError(f"--port {port} starts a simulator: name the disk with an image for it, disk=FILE")
    with open_target(spec, None) as target:
        if image and _by_firmware(board, target, spec, image, baud):
            return
        typer.echo("waiting for U-Boot: switch the board on or reset it now", err=True)
        uboot = UBoot(target)
        uboot.catch(UBOOT_SECONDS)
        _by_uboot(BoardDisk(uboot, board, device), device, image, spec.baud)


def _by_firmware(board: Board, target: Target, spec: TargetSpec, image: Path, baud: str | None) -> bool:
    """Whether a firmware of ours answers on the line that can write the medium; then it is done."""
    client = Client(target, patience=FIRMWARE_PATIENCE)
    try:
        client.connect(HELLO_SECONDS if spec.is_line else FIRMWARE_PATIENCE)
    except TargetError:
        if not spec.is_line:
            raise
        return False
    info = client.info
    if info.board != board.name:
        raise UsageError(f"{spec.text} is board {shown(info.board)}, not {board.name}; give its name by --board")
    check_memory(Image(image), board.name, info.arena_available, None)
    if not info.slot_bytes:
        words = f"the firmware of {info.board} cannot write a medium, or booted from none of ours"
        if not spec.is_line:
            raise UsageError(f"{words}; use --medium")
        typer.echo(f"{words}; U-Boot can, and --medium with the card in a reader is the fastest", err=True)
        return False
    with deferred_interrupts(client), line_rate(client, baud):
        size, rate = image.stat().st_size, client.info.baud or spec.baud
        if spec.is_line:
            _say_minutes(minutes_by_link(size, rate), size, rate)
        with Bar(size) as bar:
            _, sent = flash_image(client, image, lambda done, _: bar("sending", done))
    typer.echo(f"{image.name} is in the other slot, {sent} of {size} bytes sent; on trial from the next start on")
    return True


def _say_minutes(minutes: float, size: int, rate: int) -> None:
    typer.echo(f"about {minutes:.0f} minutes for {size >> 10} KiB at {rate}; a card takes seconds", err=True)


def _by_uboot(disk: BoardDisk, device: str, image: Path | None, rate: int) -> None:
    if image is None:
        typer.echo("confirmed" if disk.confirm() else "nothing is on trial")
        return
    data = image.read_bytes()
    _say_minutes(minutes_by_console(len(data), rate), len(data), rate)
    with Bar(len(data)) as bar:
        letter = disk.update(data, bar)
    typer.echo(f"{device}: {image.name} is in slot {letter}, on trial; reset the board to boot it")
