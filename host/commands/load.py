# SPDX-License-Identifier: Apache-2.0
"""``host load``: send an image into the memory of a running device."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from host.command_line.completion import image_files
from host.command_line.options import BaudOption, LogOption, PatienceOption, QuietOption, TargetOption, open_options
from host.terminal import Notices


def register(app: typer.Typer) -> None:
    """Add ``host load``."""

    @app.command()
    def load(
        image: Annotated[Path, typer.Argument(help="Image file; host pack makes one.", autocompletion=image_files)],
        target: TargetOption,
        quiet: QuietOption = False,
        log: LogOption = None,
        patience: PatienceOption = None,
        baud: BaudOption = None,
        json_: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    ) -> None:
        """Replace the model of a running device over the link, until it is switched off.

        Interrupted, it goes on where it stopped when it is called again.
        """
        from host.image.reader import Image
        from host.link.transfer import send_image
        from host.talk.fitness import check_device
        from host.talk.opening import open_device

        opened = Image(image)
        notices = Notices(quiet or json_)
        with open_device(target, open_options(notices, log, patience, baud)) as client:
            for note in check_device(opened, client.info):
                notices.line(f"note: {note}")
            info, sent = send_image(client, image, notices.transfer)
            notices.clear()
            if json_:
                facts = {"root": info.root.hex(), "bytes": image.stat().st_size, "sent": sent}
                typer.echo(json.dumps(facts))
                return
            typer.echo(f"image {info.root.hex()[:8]} is loaded: {sent} of {image.stat().st_size} bytes sent", err=True)
