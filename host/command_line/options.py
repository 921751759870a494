# SPDX-License-Identifier: Apache-2.0
"""Options and arguments that several commands have."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from host.command_line import completion
from host.link.records import MAX_TOKENS
from host.terminal import Notices

if TYPE_CHECKING:
    from host.talk.opening import OpenOptions

ImageArgument = Annotated[
    str, typer.Argument(help="Image file, or a recipe or model file to pack first.", autocompletion=completion.images)
]
TargetOption = Annotated[
    str,
    typer.Option(
        "-t",
        "--target",
        help="native, spike, qemu-virt, linux, visionfive2@spike, a serial port or socket://HOST:PORT.",
        autocompletion=completion.targets,
    ),
]
BoardOption = Annotated[
    str | None, typer.Option(help="Board to pack for (the target's).", autocompletion=completion.boards)
]
SystemOption = Annotated[str | None, typer.Option(help="System message (none).")]
StopOption = Annotated[list[str] | None, typer.Option(help="End the answer at this text; may be repeated (none).")]
TokensOption = Annotated[int, typer.Option(min=1, max=MAX_TOKENS, help="Longest answer, tokens.")]
TemperatureOption = Annotated[float, typer.Option(min=0.0, help="0 is greedy.")]
TopKOption = Annotated[int, typer.Option(min=0, help="Only the K likeliest tokens; 0: all.")]
TopPOption = Annotated[float, typer.Option(min=0.0, max=1.0, help="Only the likeliest tokens that make up P.")]
MinPOption = Annotated[float, typer.Option(min=0.0, max=1.0, help="Only tokens with P of the best one's probability.")]
PenaltyOption = Annotated[float, typer.Option(min=0.01, help="Divide repeated tokens' logits; 1: off.")]
LastOption = Annotated[int, typer.Option(min=0, help="Tokens looked back for repetitions.")]
SeedOption = Annotated[int, typer.Option(min=0, help="Of the random numbers.")]
QuietOption = Annotated[bool, typer.Option("-q", "--quiet", help="Do not show what the device prints.")]
LogOption = Annotated[Path | None, typer.Option(help="Write all frames to this file, in words (no file).")]
BaudOption = Annotated[
    str | None, typer.Option(help="Change the serial line to this rate, or auto: the fastest that works (as it is).")
]
PatienceOption = Annotated[
    float | None,
    typer.Option(min=1.0, help="Seconds of silence after which a device is given up (120; simulators 600)."),
]


def open_options(notices: Notices, log: Path | None, patience: float | None, baud: str | None = None) -> OpenOptions:
    """How a command opens its device: what the device prints and what is waited for are shown as notices."""
    from host.talk.opening import OpenOptions

    return OpenOptions(notices.line, notices.waiting, log, patience, baud)
