# SPDX-License-Identifier: Apache-2.0
"""Another rate of a line for as long as something is done on it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress

from host.errors import HostError, TargetError, UsageError
from host.link.client import Client
from host.link.stream import has_rate


@contextmanager
def line_rate(client: Client, baud: str | None) -> Iterator[None]:
    """Change the line's rate while within: to a number, or with "auto" to the fastest offered one that works."""
    if baud is None or (baud == "auto" and not (client.info.bauds and has_rate(client.stream))):
        yield
        return
    if baud != "auto" and not baud.isdigit():
        raise UsageError(f"--baud {baud} is neither a number nor auto")
    before = client.info.baud
    wanted = sorted(client.info.bauds, reverse=True) if baud == "auto" else [int(baud)]
    for rate in wanted:
        if rate == before or (baud == "auto" and rate < before) or client.set_baud(rate):
            break
    else:
        if baud != "auto":
            raise TargetError(f"nothing came through at {baud}; the line is at {before} again: choose a lower --baud")
    gone = False
    try:
        yield
    except TargetError:
        gone = True
        raise
    finally:
        # A device that is left at another rate finds back by itself, only later.
        if not gone:
            with suppress(HostError):
                client.set_baud(before)
