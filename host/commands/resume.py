# SPDX-License-Identifier: Apache-2.0
"""``host resume``: take up an answer that an earlier host asked for and did not hear to its end."""

from __future__ import annotations

import json

import typer

from host.commands.run import ImageArgument, LogOption, PatienceOption, QuietOption, TargetOption, record, show
from host.link.interrupts import deferred_interrupts
from host.link.records import MAX_TOKENS, SamplerParams
from host.talk.talk import Speaker, open_talk
from host.terminal import Notices


def register(app: typer.Typer) -> None:
    """Add ``host resume``."""

    @app.command()
    def resume(
        image: ImageArgument,
        target: TargetOption,
        json_: bool = typer.Option(False, "--json", help="Print one JSON object instead of text."),
        quiet: QuietOption = False,
        log: LogOption = None,
        patience: PatienceOption = None,
    ) -> None:
        """Take up the answer that a device is making or made last, from its beginning to its end."""
        notices = Notices(quiet or json_)
        with (
            open_talk(
                image, target, console=notices.line, waiting=notices.waiting, log=log, patience=patience, resume=True
            ) as talk,
            deferred_interrupts(talk.client),
        ):
            answer = Speaker(talk, SamplerParams(), MAX_TOKENS).resume()
            show(answer, notices, json_)
            if json_:
                typer.echo(json.dumps(record(talk, answer, None), indent=2))
