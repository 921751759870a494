# SPDX-License-Identifier: Apache-2.0
"""``host eval``: measure perplexity on a target, and the distance to a reference image."""

from __future__ import annotations

import json
from contextlib import ExitStack
from dataclasses import asdict, replace
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from host.bench.evaluate import Quality, evaluate, text_windows
from host.command_line.options import BoardOption, ImageArgument, LogOption, PatienceOption, TargetOption
from host.errors import UsageError
from host.link.interrupts import deferred_interrupts
from host.talk.opening import OpenOptions, open_model
from host.terminal import Notices


def read_text(path: Path) -> str:
    """Read a text file. UsageError says why it cannot be read."""
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"{path} is not UTF-8 text (byte {error.start})") from error
    if not text.strip():
        raise UsageError(f"{path} is empty; give a text of at least two words")
    return text


def quality_lines(quality: Quality) -> list[str]:
    """Render the results for people."""
    lines = [
        f"perplexity            {quality.perplexity:.4f} over {quality.tokens} tokens in {quality.windows} windows",
    ]
    if quality.kl_mean is not None and quality.top1 is not None:
        lines += [
            f"reference perplexity  {quality.reference_perplexity:.4f}",
            f"KL(reference||model)  {quality.kl_mean:.6f} nats mean, {quality.kl_max:.6f} at most",
            f"same top token        {quality.top1:.2%}",
        ]
    return lines


def register(app: typer.Typer) -> None:
    """Add ``host eval``."""

    @app.command("eval")
    def eval_(
        image: ImageArgument,
        text: Annotated[Path, typer.Option(help="UTF-8 text to predict.")],
        target: TargetOption = "native",
        board: BoardOption = None,
        reference: Annotated[
            str | None, typer.Option(help="Image to compare with, such as the same in f32 (none).")
        ] = None,
        reference_target: Annotated[str, typer.Option(help="Where the reference runs.")] = "native",
        tokens: Annotated[int, typer.Option(min=2, help="Tokens of the text to use.")] = 512,
        window: Annotated[int, typer.Option(min=2, help="Tokens a window; each starts anew.")] = 256,
        json_: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
        log: LogOption = None,
        patience: PatienceOption = None,
    ) -> None:
        """Measure a packed model: perplexity, KL divergence and top-1 agreement with a reference."""
        content = read_text(text)
        notices = Notices()
        options = OpenOptions(waiting=notices.waiting, log=log, patience=patience)
        with ExitStack() as stack:
            model = stack.enter_context(open_model(image, target, options, board=board, restore=True))
            other = None
            if reference is not None:
                unlogged = replace(options, log=None)
                other = stack.enter_context(open_model(reference, reference_target, unlogged, restore=True))
                if other.tokenizer.json != model.tokenizer.json:
                    raise UsageError("the images have different tokenizers; the reference must be the same model")
            for each in (model, other):
                if each:
                    each.client.line.on_wait = None  # the bar tells what goes on
                    stack.enter_context(deferred_interrupts(each.client))
            notices.clear()
            limit = min(each.client.info.context for each in (model, other) if each)
            windows = text_windows(model.tokenizer, content, tokens, min(window, limit))
            columns = (TextColumn("evaluating"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
            with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
                task = bar.add_task("evaluating")
                quality = evaluate(
                    model.client,
                    windows,
                    other.client if other else None,
                    lambda done, total: bar.update(task, completed=done, total=total),
                )
        if json_:
            typer.echo(json.dumps(asdict(quality), indent=2))
        else:
            for line in quality_lines(quality):
                typer.echo(line)
