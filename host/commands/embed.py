# SPDX-License-Identifier: Apache-2.0
"""``host embed``: vectors of texts from an encoder on a target."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from host.command_line.options import (
    BaudOption,
    BoardOption,
    ImageArgument,
    LogOption,
    PatienceOption,
    QuietOption,
    TargetOption,
    open_options,
)
from host.errors import UsageError
from host.terminal import Notices
from host.words import shown

TextOption = Annotated[list[str] | None, typer.Option("--text", help="A text; repeat it for several (none).")]
FileOption = Annotated[Path | None, typer.Option("--file", help="A text a line, UTF-8 (none).")]
CutOption = Annotated[bool, typer.Option("--cut", help="Leave out what the model cannot read of a long text.")]


def read_texts(texts: list[str] | None, file: Path | None) -> list[str]:
    """The texts of the command line, then those of the file. UsageError where there is none."""
    found = list(texts or ())
    if file is not None:
        try:
            lines = file.read_text(encoding="utf-8").splitlines()
        except OSError as error:
            raise UsageError(f"cannot read {file}: {error.strerror}") from error
        except UnicodeDecodeError as error:
            raise UsageError(f"{file} is not UTF-8 text (byte {error.start})") from error
        found += [line for line in lines if line.strip()]
    if not found:
        raise UsageError("there is no text; give --text or --file")
    return found


def register(app: typer.Typer) -> None:
    """Add ``host embed``."""

    @app.command()
    def embed(
        image: ImageArgument,
        text: TextOption = None,
        file: FileOption = None,
        target: TargetOption = "native",
        board: BoardOption = None,
        prompt: Annotated[
            str | None, typer.Option(help="Name of a prompt to put before each text (the model's own).")
        ] = None,
        cut: CutOption = False,
        npy: Annotated[Path | None, typer.Option(help="Write the vectors here, f32 [texts][width] (none).")] = None,
        json_: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
        quiet: QuietOption = False,
        log: LogOption = None,
        patience: PatienceOption = None,
        baud: BaudOption = None,
    ) -> None:
        """Make vectors of texts, and show how alike they are."""
        import numpy as np

        from host.link.interrupts import deferred_interrupts
        from host.schema.image import OutputKind
        from host.talk.encoder import Encoder, cosines
        from host.talk.opening import open_model

        texts = read_texts(text, file)
        notices = Notices(quiet or json_)
        options = open_options(notices, log, patience, baud)
        with open_model(image, target, options, board=board, restore=True) as model, deferred_interrupts(model.client):
            encoder = Encoder(model, OutputKind.VECTORS)
            before = encoder.prompt(prompt)
            found = [encoder.encode(before + each, cut) for each in texts]
        if any(len(each.results) > 1 for each in found):
            raise UsageError("the model makes a vector a token; its folder says no pooling (modules.json)")
        vectors = np.concatenate([each.results for each in found])
        if npy is not None:
            np.save(npy, vectors, allow_pickle=False)
        if json_:
            rows = zip(texts, found, vectors, strict=True)
            facts = [{"text": t, "cut": each.cut, "vector": row.tolist()} for t, each, row in rows]
            typer.echo(json.dumps(facts))
            return
        for at, (each, row) in enumerate(zip(texts, cosines(vectors), strict=True)):
            left = f", {found[at].cut} tokens cut" if found[at].cut else ""
            typer.echo(f"{at:>3}  {' '.join(f'{value:6.3f}' for value in row)}  {shown(each, 50)}{left}")
        typer.echo(f"cosine of each pair; {vectors.shape[1]} numbers a vector")
