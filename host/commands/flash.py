# SPDX-License-Identifier: Apache-2.0
"""``host flash``: a model onto the medium of a board."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import Progress

from host.boards import Board, load_board, parse_size
from host.errors import UsageError
from host.image.reader import Image


def register(app: typer.Typer) -> None:
    """Add ``host flash``."""

    @app.command()
    def flash(
        image: Annotated[Path | None, typer.Argument(help="Image file; none with --confirm.")] = None,
        board: Annotated[str, typer.Option("--board", help="Board; `host boards` lists them.")] = "visionfive2",
        medium: Annotated[Path | None, typer.Option(help="Disk image to make, or a card in a reader.")] = None,
        port: Annotated[str | None, typer.Option(help="The board's console, at U-Boot, as --target names it.")] = None,
        device: Annotated[str, typer.Option(help="With --port: U-Boot's name of the medium.")] = "mmc 1",
        update: Annotated[bool, typer.Option("--update", help="Keep what runs; the image goes on trial.")] = False,
        confirm: Annotated[bool, typer.Option("--confirm", help="With --port: the image on trial is good.")] = False,
        slot: Annotated[str | None, typer.Option(help="Size of each of the two slots, such as '256 MiB'.")] = None,
        yes: Annotated[bool, typer.Option("--yes", help="Do not ask before a card is overwritten.")] = False,
    ) -> None:
        """Write a model, firmware and boot files to a board's medium, or update the model there."""
        chosen = load_board(board)
        if chosen.loader != "u-boot":
            raise UsageError(f"board {board} has no medium that U-Boot reads: {chosen.flash.how}")
        if (medium is None) == (port is None):
            raise UsageError("name either --medium (a file or a card) or --port (the board's console)")
        if confirm and (image or medium):
            raise UsageError("--confirm goes with --port alone")
        if image is None and not confirm:
            raise UsageError("which image? make one with `host pack`")
        if image:
            Image(image).verify()
        size = _slot(slot)
        if port:
            _by_console(chosen, port, device, image)
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


def _to_medium(board: Board, medium: Path, image: Path, update: bool, slot: int | None, yes: bool) -> None:
    from host.medium import device, flash

    size = image.stat().st_size
    card = device.find_disk(medium) if device.is_device(medium) else None
    if update:
        if card is None and not medium.is_file():
            raise UsageError(f"{medium}: there is no such medium; without --update it is made")
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
    from host.targets.simulators import build_root, firmware_files

    spec = parse_spec(board.name)
    files = firmware_files(board, spec.kernels, build_root())
    if not (files.directory / "selector.bin").is_file():
        build_firmware(board, spec, lambda words: typer.echo(words, err=True))
    return files.directory


def _by_console(board: Board, port: str, device: str, image: Path | None) -> None:
    from host.medium.console import UBoot
    from host.medium.flash import BoardDisk, minutes_by_line
    from host.targets import open_target, parse_spec

    spec = parse_spec(port)
    if not spec.is_line:
        raise UsageError(f"--port {port} is a simulator; it takes --medium, and a device or socket:// is a console")
    with open_target(spec, None) as target:
        typer.echo("waiting for U-Boot: switch the board on or reset it now", err=True)
        uboot = UBoot(target)
        uboot.catch(120.0)
        disk = BoardDisk(uboot, board, device)
        if image is None:
            typer.echo("confirmed" if disk.confirm() else "nothing is on trial")
            return
        data = image.read_bytes()
        minutes = minutes_by_line(len(data), spec.baud)
        typer.echo(
            f"about {minutes:.0f} minutes for {len(data) >> 10} KiB at {spec.baud}; a card takes seconds", err=True
        )
        with Bar(len(data)) as bar:
            letter = disk.update(data, bar)
        typer.echo(f"{device}: {image.name} is in slot {letter}, on trial; reset the board to boot it")
