# SPDX-License-Identifier: Apache-2.0
"""Requests with one answer each, and those of them that are about the device as a whole."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from construct import Struct

from host.errors import DeviceRestarted, TargetError
from host.link import limits
from host.link.connection import PING_SECONDS, POLL_SECONDS, Connection
from host.link.records import DeviceStats, OpCost
from host.schema.wire import answers, requests
from host.schema.wire.header import Type
from host.schema.wire.requests import Failure, StatsFlag


class Requests:
    """Asks on a connection. Every method raises what ``Connection.await_answer`` does.

    on_restart: called when the device has restarted before it answered. It returns whether the device can be asked
    again; else the method raises DeviceRestarted.
    """

    def __init__(self, connection: Connection, on_restart: Callable[[], bool]) -> None:
        self.connection = connection
        self._on_restart = on_restart

    def ask(self, kind: Type, struct: Struct, /, **values: Any) -> int:
        """Send a request that OK answers; returns the OK's value."""
        return int(answers.Ok.parse(self.ask_for(Type.OK, kind, struct, **values)).value)

    def ask_for(self, answer: Type, kind: Type, struct: Struct, /, tail: bytes = b"", **values: Any) -> bytes:
        """Send a request with one answer, again where the device has restarted; returns the answer's payload."""
        while True:
            try:
                return self.connection.answer(self.connection.send(kind, struct, tail, **values), answer)
            except DeviceRestarted:
                if not self._on_restart():
                    raise

    def ping(self) -> float:
        """Seconds until the device answered; a lost PING is said again."""
        line, patience = self.connection.line, self.connection.device.patience
        start = line.now()
        while not self.connection.echo(1, PING_SECONDS):
            if line.now() - start > patience:
                raise self.connection.silent()
        return line.now() - start

    def stats(self, enable: bool | None = None, reset: bool = False) -> DeviceStats:
        """Ask for the cost by op, then switch counting on or off and reset it, where asked for."""
        ops: list[OpCost] = []
        while True:
            payload = self.ask_for(Type.STATS_REPLY, Type.STATS, requests.Stats, flags=0, first=len(ops))
            head = answers.StatsReply.parse(payload)
            if head.total > limits.MOST_OPS or (head.count and head.first != len(ops)):
                raise self.connection.line.faulty(
                    f"has {head.total} ops, and sent those from {head.first} on instead of {len(ops)}"
                )
            for i in range(head.count):
                at = answers.StatsReply.sizeof() + i * answers.OpRecord.sizeof()
                record = answers.OpRecord.parse(payload[at:])
                ops.append(OpCost(record.id, record.weight, record.calls, record.instret, record.cycles))
            if not head.count or len(ops) >= head.total:
                break
        flags = (StatsFlag.RESET if reset else 0) | (
            0 if enable is None else StatsFlag.ENABLE if enable else StatsFlag.DISABLE
        )
        if flags:
            self.ask_for(Type.STATS_REPLY, Type.STATS, requests.Stats, flags=flags, first=len(ops))
        return DeviceStats(
            ops,
            head.frames_received,
            head.frames_damaged,
            head.frames_duplicate,
            head.frames_lost,
            head.frames_repeated,
            head.uptime_us,
        )

    def send_cancel(self, target: int) -> None:
        """Ask the device to stop the request ``target``, 0 for any; its DONE tells when it has."""
        self.connection.send(Type.CANCEL, requests.Cancel, answered=False, target=target)

    def stop_all(self) -> None:
        """Cancel what an earlier host left running, and wait until it has ended."""
        line = self.connection.line
        deadline = line.now() + self.connection.device.patience
        while line.now() < deadline:
            if not self.ask(Type.CANCEL, requests.Cancel, target=0):
                return
            self.connection.read(POLL_SECONDS)
        raise TargetError(f"{line.stream.description} does not end the request that it was running; reset it")

    def send_fail(self, kind: Failure) -> None:
        """Break a device whose firmware was built with ``faults=1``, in the middle of whatever it runs."""
        self.connection.send(Type.FAIL, requests.Fail, answered=False, kind=kind)
