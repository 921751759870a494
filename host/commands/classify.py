# SPDX-License-Identifier: Apache-2.0
"""``host classify``: labels of texts, or of their tokens, from an encoder on a target."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated, Any

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
from host.commands.embed import CutOption, FileOption, TextOption, read_texts
from host.terminal import Notices
from host.words import shown

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from host.talk.encoder import Encoded


def best(labels: list[str], probabilities: npt.NDArray[np.float32], most: int) -> list[dict[str, Any]]:
    """The likeliest labels, the best first, of equals the first."""
    order = sorted(range(len(labels)), key=lambda i: (-float(probabilities[i]), i))[:most]
    return [{"label": labels[i], "probability": float(probabilities[i])} for i in order]


def facts_of(
    text: str, found: Encoded, labels: list[str], probabilities: npt.NDArray[np.float32], most: int
) -> dict[str, Any]:
    """What is said of one text: its labels, or those of each of its own tokens."""
    facts: dict[str, Any] = {"text": text, "cut": found.cut}
    if len(found.tokens) != len(probabilities):
        return facts | {"labels": best(labels, probabilities[0], most)}
    own = [i for i, special in enumerate(found.special) if not special]
    tokens = [{"token": found.tokens[i], "labels": best(labels, probabilities[i], most)} for i in own]
    return facts | {"tokens": tokens}


def print_facts(facts: dict[str, Any]) -> None:
    """The same for people."""
    cut = f"  ({facts['cut']} tokens cut)" if facts["cut"] else ""
    typer.echo(f"{shown(facts['text'], 100)}{cut}")
    for each in facts.get("tokens", [{"token": "", "labels": facts.get("labels", [])}]):
        named = "  ".join(f"{shown(label['label'], 40)} {label['probability']:.3f}" for label in each["labels"])
        typer.echo(f"  {shown(each['token'], 24):<24}  {named}" if each["token"] else f"  {named}")


def register(app: typer.Typer) -> None:
    """Add ``host classify``."""

    @app.command()
    def classify(
        image: ImageArgument,
        text: TextOption = None,
        file: FileOption = None,
        target: TargetOption = "native",
        board: BoardOption = None,
        top: Annotated[int, typer.Option(min=1, help="Labels to show.")] = 3,
        cut: CutOption = False,
        json_: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
        quiet: QuietOption = False,
        log: LogOption = None,
        patience: PatienceOption = None,
        baud: BaudOption = None,
    ) -> None:
        """Label texts, or their tokens, with probabilities."""
        from host.link.interrupts import deferred_interrupts
        from host.schema.image import OutputKind
        from host.talk.encoder import Encoder
        from host.talk.opening import open_model

        texts = read_texts(text, file)
        notices = Notices(quiet or json_)
        options = open_options(notices, log, patience, baud)
        with open_model(image, target, options, board=board, restore=True) as model, deferred_interrupts(model.client):
            encoder = Encoder(model, OutputKind.LABELS)
            found = [(each, encoder.encode(each, cut)) for each in texts]
        said = [facts_of(each, made, encoder.labels, encoder.probabilities(made.results), top) for each, made in found]
        if json_:
            typer.echo(json.dumps(said))
            return
        for facts in said:
            print_facts(facts)
