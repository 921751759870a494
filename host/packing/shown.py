# SPDX-License-Identifier: Apache-2.0
"""Packing before a person's eyes: the plan and a progress bar on stderr."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from host.errors import ImageError, UsageError
from host.files.source import Tokenizer
from host.image.device_text import why_no_terminal
from host.image.inspect import size_text
from host.image.reader import Image
from host.output import begins_with, check_output
from host.packing.pack import SUFFIX, Packing, PackRequest, prepare
from host.schema.image import MAGIC
from host.schema.scales import slowed_by
from host.words import file_name, shown


def pack_image(
    request: PackRequest, out: Path | None = None, quiet: bool = False, force: bool = False
) -> tuple[Packing, Path]:
    """Pack as asked, with the plan and a progress bar on stderr unless ``quiet``.

    Returns the packing and the image's path: ``out``, or NAME.BOARD.hsp in the current directory. FitError before
    anything is written if it does not fit the board; UsageError where something else than an image has the name that
    was given, or another product the name that was not, unless ``force``.
    """
    console = Console(stderr=True, quiet=quiet, highlight=False)
    if out is not None and (out.is_dir() or not out.name):
        raise UsageError(f"-o {out} is a directory; name the image's file, such as {out / f'model{SUFFIX}'}")
    if out is not None:
        check_output(out, is_image, force, instead="name a file, or give --dry-run, which only says whether it fits")
    packing = prepare(request)
    for line in plan_lines(packing):
        console.print(line, soft_wrap=True, markup=False)
    packing.check_fit()
    if reason := slowed_by():
        console.print(f"note: packing takes several times as long as it might: {reason}", soft_wrap=True, markup=False)
    path = out if out is not None else Path(f"{file_name(packing.source.name)}.{packing.board.name}{SUFFIX}")
    if out is None:
        check_output(path, is_image, force, "the image's name", "name it by -o")
        if not force and is_image(path) and not is_same_product(path, packing):
            raise UsageError(
                f"{path} exists and is the image of another model, or of an old version; name this one by -o, or give "
                "--force"
            )
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f}%"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task(f"packing {escape(shown(path.name))}", total=packing.compiled.weight_bytes)
        packing.write(path, lambda done, _total: bar.update(task, completed=done))
    return packing, path


is_image = begins_with(MAGIC)
"""Whether a file is a model image, of whatever version."""


def is_same_product(path: Path, packing: Packing) -> bool:
    """Whether a file is an image that was made from the same source for the same board."""
    try:
        found = Image(path).manifest
    except ImageError:
        return False
    made = packing.manifest()
    return all(found.get(key) == made[key] for key in ("name", "source", "board"))


def _typed(tokenizer: Tokenizer | None) -> list[str]:
    """What somebody with nothing but a terminal misses."""
    reason = why_no_terminal(tokenizer) if tokenizer is not None else None
    return [f"note: the device answers no typed lines, for {reason}; host chat does not need it"] if reason else []


def plan_lines(packing: Packing) -> list[str]:
    """What the image needs of the board, for people."""
    f = packing.facts()
    limit = f["image_available"]
    advice = packing.advice()
    return [
        f"{f['name']} for {f['board']}: {f['weights']} weights ({f['output_weights']} embedding and output), "
        f"{f['kv']} cache, {f['layout']} layout",
        f"  weights              {size_text(f['weight_bytes']):>12}",
        f"  image                {size_text(f['image_bytes']):>12}"
        + (f" of {size_text(limit)}" if limit is not None else ""),
        f"  activations          {size_text(f['activation_bytes']):>12}",
        f"  each session         {size_text(f['session_bytes']):>12} for {f['context']} positions",
        f"  arena, {f['sessions']} session(s)  {size_text(f['arena_needed']):>12} of {size_text(f['arena_available'])}",
        f"  room for             {f['max_sessions']:>12} session(s)",
        *([f"  speed                {bound.words()}"] if (bound := packing.bound) else []),
        *(f"note: {note}" for note in packing.source.notes),
        *_typed(packing.source.tokenizer),
        *([f"note: {advice}"] if advice else []),
    ]
