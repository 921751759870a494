# SPDX-License-Identifier: Apache-2.0
"""Whose image it is.

``host keygen``: make a key pair for signed images.
``host sign``: sign an image.
``host verify``: check an image's signature and all its hashes.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import Progress

from host.command_line.completion import image_files
from host.image.inspect import signed_by
from host.image.reader import Image
from host.output import check_output
from host.packing.shown import is_image


def register(app: typer.Typer) -> None:
    """Add ``host keygen``, ``host sign`` and ``host verify``."""

    @app.command()
    def keygen(
        key: Annotated[Path, typer.Argument(help="File for the private key; the public one is KEY.pub.")],
        passphrase: Annotated[bool, typer.Option("--passphrase", help="Ask for a passphrase.")] = False,
        json_: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    ) -> None:
        """Make a key pair for signed images."""
        from host.trust.keys import key_id, load_public, make_keys

        words = typer.prompt("passphrase", hide_input=True, confirmation_prompt=True) if passphrase else None
        public = make_keys(key, words)
        if json_:
            facts = {"private": str(key), "public": str(public), "key": key_id(load_public(public)).hex()}
            typer.echo(json.dumps(facts))
            return
        typer.echo(f"private key {key}: keep it away from boards and repositories")
        typer.echo(f"public key {public}: build it into the firmware (scons board=B key={public})")

    @app.command()
    def sign(
        image: Annotated[Path, typer.Argument(help="Image file.", autocompletion=image_files)],
        key: Annotated[Path, typer.Option("--key", help="Private key.")],
        output: Annotated[Path | None, typer.Option("-o", "--out", "--output", help="Signed image (in place).")] = None,
        image_version: Annotated[
            int | None, typer.Option(min=0, max=0xFFFFFFFF, help="New counter against roll-back (as it is).")
        ] = None,
        force: Annotated[bool, typer.Option("--force", help="Replace a file that is no image.")] = False,
        json_: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    ) -> None:
        """Sign an image."""
        from host.trust.keys import is_locked, load_private
        from host.trust.signing import sign_image

        opened, out = Image(image), output or image
        check_output(out, is_image, force, "-o" if output else "the image")
        words = typer.prompt("passphrase", hide_input=True) if is_locked(key) else None
        _verify(opened, json_)
        sign_image(opened, load_private(key, words), out, image_version)
        signed = Image(out)
        version = signed.header["image_version"]
        if json_:
            typer.echo(json.dumps({"image": str(out), "key": signed_by(signed), "image_version": version}))
            return
        typer.echo(f"{out}: signed, version {version}")

    @app.command()
    def verify(
        image: Annotated[Path, typer.Argument(help="Image file.", autocompletion=image_files)],
        key: Annotated[Path, typer.Option("--key", help="Public key.")],
        json_: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    ) -> None:
        """Check an image's signature and all its hashes."""
        from host.trust.keys import key_id, load_public
        from host.trust.signing import check_signature

        opened, public = Image(image), load_public(key)
        check_signature(opened, public)
        _verify(opened, json_)
        version = opened.header["image_version"]
        if json_:
            typer.echo(json.dumps({"image": str(image), "key": key_id(public).hex(), "image_version": version}))
            return
        typer.echo(f"{image}: signed by {key_id(public).hex()}, version {version}, all hashes match")


def _verify(image: Image, quiet: bool) -> None:
    with Progress(console=Console(stderr=True, quiet=quiet), transient=True) as bar:
        task = bar.add_task("checking hashes")
        image.verify(lambda done, total: bar.update(task, completed=done, total=total))
