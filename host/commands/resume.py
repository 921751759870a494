# SPDX-License-Identifier: Apache-2.0
"""``host resume``: take up an answer that an earlier host asked for and did not hear to its end."""

from __future__ import annotations

import typer

from host.command_line.options import ImageArgument, LogOption, PatienceOption, QuietOption, TargetOption, open_options
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
        from host.command_line.report import print_facts, show
        from host.link.interrupts import deferred_interrupts
        from host.link.records import MAX_TOKENS, SamplerParams
        from host.talk.opening import open_model
        from host.talk.text_session import TextSession

        notices = Notices(quiet or json_)
        with (
            open_model(image, target, open_options(notices, log, patience), resume=True) as model,
            deferred_interrupts(model.client),
        ):
            answer = TextSession(model, SamplerParams(), MAX_TOKENS).resume()
            show(answer, notices, json_)
            print_facts(model, answer, None, json_)
