# SPDX-License-Identifier: Apache-2.0
"""``farm:PLACE``: a board of a labgrid farm, acquired, with its serial line and power; needs the extra ``farm``.

labgrid finds, locks and powers the place; the bytes go through a line of our own, for labgrid's console waits 10 ms a
read.
"""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys

from host.errors import TargetError
from host.targets.base import Target
from host.targets.hooks import Hooks
from host.targets.ports import open_port
from host.targets.serial_line import SerialTarget
from host.targets.spec import TargetSpec

COMMAND_SECONDS = 60


def _client(place: str, *words: str) -> None:
    """Run labgrid-client for the place. Raises TargetError with its last words."""
    command = [sys.executable, "-m", "labgrid.remote.client", "-p", place, *words]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=COMMAND_SECONDS, check=False)
    except subprocess.TimeoutExpired:
        raise TargetError(
            f"labgrid did not answer within {COMMAND_SECONDS} s; does LG_COORDINATOR name the coordinator?"
        ) from None
    if done.returncode:
        said = (done.stderr or done.stdout).strip().splitlines() or ["it said nothing"]
        coordinator = os.environ.get("LG_COORDINATOR", "not set")
        raise TargetError(
            f"`labgrid-client -p {place} {' '.join(words)}` failed: {said[-1]} (LG_COORDINATOR is {coordinator})"
        )


def _line(place: str) -> str:
    """URL of the place's serial line, which must be acquired. Raises TargetError."""
    import labgrid
    from labgrid.resource.remote import RemotePlace

    try:
        target = labgrid.Target("hartspeak")
        RemotePlace(target, name=place)
        port = target.get_resource("NetworkSerialPort")
    except Exception as error:  # labgrid raises what gRPC and asyncio do, too
        raise TargetError(f"place {place} has no serial line within reach: {error}") from None
    scheme = "rfc2217" if port.protocol == "rfc2217" else "socket"
    return f"{scheme}://{port.host}:{port.port}"


class FarmTarget(Target):
    """A place, acquired while it is open. Raises TargetError, also where another user has it."""

    hint = SerialTarget.hint

    def __init__(self, spec: TargetSpec) -> None:
        if not importlib.util.find_spec("labgrid"):
            raise TargetError(
                f"{spec.text} needs labgrid, best in an environment of its own: pip install 'hartspeak[farm]'"
            )
        self._place = spec.place
        _client(spec.place, "acquire")
        try:
            url = _line(spec.place)
            self._line = open_port(TargetSpec(url, port=url), Hooks())
        except BaseException:
            _client(spec.place, "release")
            raise
        self.description = f"{spec.place} ({url})"
        self._closed = False

    @property
    def alive(self) -> bool:
        """Whether the line is open."""
        return self._line.alive

    @property
    def exit_reason(self) -> str:
        """Why the line is not open."""
        return self._line.exit_reason

    def read(self, timeout: float) -> bytes:
        """What has arrived; see Target."""
        return self._line.read(timeout)

    def write(self, data: bytes) -> None:
        """Send all of it; see Target."""
        self._line.write(data)

    def reset(self) -> None:
        """Switch the place's power off and on again."""
        _client(self._place, "power", "cycle")

    def close(self) -> None:
        """Close the line and release the place."""
        if not self._closed:
            self._closed = True
            self._line.close()
            _client(self._place, "release")
