# SPDX-License-Identifier: Apache-2.0
"""``host ports``: list the serial ports of this machine."""

from __future__ import annotations

import json
from typing import Annotated

import typer
from serial.tools import list_ports


def list_serial_ports() -> list[dict[str, str | int | None]]:
    """Every serial port: device name for ``--target``, description, USB vendor and product id and serial number."""
    return [
        {
            "device": port.device,
            "description": port.description,
            "manufacturer": port.manufacturer,
            "vid": port.vid,
            "pid": port.pid,
            "serial_number": port.serial_number,
        }
        for port in sorted(list_ports.comports(), key=lambda port: str(port.device))
    ]


def register(app: typer.Typer) -> None:
    """Add ``host ports``."""

    @app.command()
    def ports(json_: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False) -> None:
        """List the serial ports of this machine."""
        found = list_serial_ports()
        if json_:
            typer.echo(json.dumps(found, indent=2))
            return
        for port in found:
            ids = f" [{port['vid']:04x}:{port['pid']:04x}]" if port["vid"] is not None else ""
            typer.echo(f"{port['device']}\t{port['description']}{ids}")
        if not found:
            typer.echo("no serial port found; plug the board's USB-serial adapter in", err=True)
