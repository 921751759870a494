# SPDX-License-Identifier: Apache-2.0
"""``host bench``: measure how fast an image runs on a target, and where the time goes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from host.bench.measure import Plan, measure
from host.bench.report import bench_facts, check_picture, plot, print_report
from host.boards import board_names, load_board
from host.command_line.options import BoardOption, ImageArgument, LogOption, PatienceOption, TargetOption
from host.link.interrupts import deferred_interrupts
from host.talk.opening import OpenOptions, open_model
from host.targets import parse_spec
from host.terminal import Notices
from host.words import shown


def register(app: typer.Typer) -> None:
    """Add ``host bench``."""

    @app.command()
    def bench(
        image: ImageArgument,
        target: TargetOption = "native",
        board: BoardOption = None,
        prompt: Annotated[int, typer.Option("-p", "--prompt", min=1, help="Tokens of the prompt (pp).")] = 64,
        generate: Annotated[int, typer.Option("-n", "--generate", min=1, help="Tokens to decode (tg).")] = 16,
        repeats: Annotated[int, typer.Option("-r", "--repeats", min=1, help="Runs of each.")] = 3,
        depth: Annotated[int, typer.Option("-d", "--depth", min=1, help="Tokens in front of the decoded ones.")] = 1,
        ops: Annotated[bool, typer.Option("--ops", help="Count instructions and cycles by op.")] = False,
        picture: Annotated[
            Path | None,
            typer.Option("-o", "--out", "--plot", help="Draw the stacked picture: a .svg, .png or .pdf (no file)."),
        ] = None,
        json_: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
        log: LogOption = None,
        patience: PatienceOption = None,
    ) -> None:
        """Measure prefill and decode: tokens/s, TTFT, TPOT, instructions, bytes read, share of the board's bound."""
        if picture:
            check_picture(picture)
        plan = Plan(prompt, generate, repeats, depth, ops)
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        notices = Notices()
        options = OpenOptions(waiting=notices.waiting, log=log, patience=patience)
        with (
            open_model(image, target, options, board=board) as model,
            deferred_interrupts(model.client),
            Progress(*columns, console=Console(stderr=True), transient=True) as bar,
        ):
            notices.clear()
            model.client.line.on_wait = None  # the bar tells what goes on
            task = bar.add_task("runs")
            result = measure(
                model.client, model.image, plan, lambda done, total: bar.update(task, completed=done, total=total)
            )
            info, name = model.client.info, model.image.manifest.get("name") or model.image.path.stem
        roofline = load_board(info.board).roofline if info.board in board_names() else None
        facts = bench_facts(result, info, roofline, measured=parse_spec(target).is_line)
        title = f"{shown(name)} on {info.board}, {info.kernels} kernels, {info.harts} hart{'s' * (info.harts != 1)}"
        if json_:
            typer.echo(json.dumps({"image": name} | facts, indent=2))
        else:
            console = Console(highlight=False)
            console.print(f"{title}{f', VLEN {info.vlen}' if info.vlen else ''}")
            print_report(result, facts, console)
        if picture:
            plot(result, title, picture)
