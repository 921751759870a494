# SPDX-License-Identifier: Apache-2.0
"""Another rate of the line, tried by both ends at once."""

from __future__ import annotations

from contextlib import suppress

from host.errors import TargetError, UsageError
from host.link.connection import Connection
from host.link.requests import Requests
from host.link.stream import ByteStream, SerialStream, has_rate
from host.schema.wire import requests
from host.schema.wire.constants import BAUD_TRY_US
from host.schema.wire.header import Type

BAUD_TRY_SECONDS = BAUD_TRY_US / 1e6 * 0.8
"""Less than the device waits, so that it does not go back behind a PING that came through."""
BAUD_PING_SECONDS = 0.1


def set_baud(asking: Requests, baud: int) -> bool:
    """Change the rate of the line to ``baud`` bits a second; see ``Client.set_baud``."""
    connection, line = asking.connection, asking.connection.line
    before = _rated(line.stream).baud
    line.keep_rate(before)
    asking.ask(Type.SET_BAUD, requests.SetBaud, baud=baud)
    stream = _rated(line.stream)
    with suppress(TargetError):  # an adapter or server that cannot make it: then nothing comes through
        stream.set_baud(baud)
    if _comes_through(connection):
        return True
    stream.set_baud(before)
    connection.pause(2 * BAUD_TRY_SECONDS)
    asking.ping()
    return False


def _rated(stream: ByteStream) -> SerialStream:
    if has_rate(stream):
        return stream
    raise UsageError(f"{stream.description} has no rate that could be changed; leave --baud out")


def _comes_through(connection: Connection) -> bool:
    end = connection.line.now() + BAUD_TRY_SECONDS
    while connection.line.now() < end:
        if connection.echo(2, BAUD_PING_SECONDS):
            return True
    return False
