# SPDX-License-Identifier: Apache-2.0
"""What is done about a device that has restarted, or whose line was away: its sessions get back what they held."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import google_crc32c
import numpy as np

from host.errors import DeviceFailure, DeviceFaulty, DeviceRestarted, TargetError
from host.link import limits
from host.link.attach import Attachment
from host.link.memory import Memory
from host.link.records import DeviceInfo
from host.link.requests import Requests
from host.link.sessions import Sessions
from host.schema.wire import requests
from host.schema.wire.header import Type
from host.schema.wire.hello import DeviceState
from host.schema.wire.requests import Space

GOES_ON = "is back; the answer goes on"
AS_IT_WAS = "is back; its sessions are as they were"
RESTORED = "restarted; its sessions are restored"


class Recovery:
    """Recovers one device, as often as it gets on in between.

    wanted: recover it whenever it has restarted and go on with what was asked; else DeviceRestarted is raised. prompt:
    appends tokens to a session of this number.
    """

    def __init__(
        self,
        wanted: bool,
        attachment: Attachment,
        asking: Requests,
        sessions: Sessions,
        memory: Memory,
        prompt: Callable[[Sequence[int], int], int],
    ) -> None:
        self.wanted = wanted
        self._attachment = attachment
        self._requests = asking
        self._sessions = sessions
        self._memory = memory
        self._prompt = prompt
        self._connection = asking.connection
        self._device = asking.connection.device
        self._line = asking.connection.line
        self._restarts = self._returns = 0
        """Of the device, and of a line that was away, since the last token or score came."""
        self._busy = False

    def note_result(self) -> None:
        """A token or score has come: what restarts is getting on."""
        self._restarts = self._returns = 0

    def recover_if_wanted(self) -> bool:
        """Recover the device where that is wanted, and not done just now. Returns whether."""
        if not self.wanted or self._busy:
            return False
        self.recover()
        return True

    def recover_run(self, request: int, index: int) -> bool | None:
        """Recover the device, where that is wanted, and have a GENERATE go on; see ``host.link.run.Restarts``."""
        if not self.wanted or self._busy:
            return None
        return self.recover((request, index))

    def recover(self, run: tuple[int, int] | None = None) -> bool:
        """Connect to a device that has restarted, or whose line was away, and give its sessions back what they held.

        run: id of a GENERATE, and the index of the next token awaited. Returns whether the device has gone on with it;
        then its next results come by themselves. Raises TargetError when the device does not come back, or runs another
        image; DeviceFaulty when it restarts again and again without a token in between.
        """
        line, before, held = self._line, self._device.info, self._sessions.ledger.known_tokens()
        self._busy = True
        try:
            while True:
                reason = self._note_restart()
                try:
                    words = self._restore(before, held, run)
                    break
                except DeviceRestarted:
                    continue
        finally:
            self._busy, self._sessions.ledger.tokens = False, held
        if words != RESTORED and not reason and self._device.info.uptime_us >= before.uptime_us:
            self._note_return()
        if line.console:
            line.console(f"[{line.stream.description} {words}{f' ({reason})' if reason else ''}]")
        return words == GOES_ON

    def _note_restart(self) -> str:
        """Returns the firmware's last words. DeviceFaulty at one restart too many."""
        self._restarts += 1
        failure = self._line.failure
        if self._restarts <= limits.MOST_RESTARTS:
            return failure
        why = f"Its last words were: {failure}. " if failure else ""
        raise DeviceFaulty(
            f"{self._line.stream.description} has restarted {self._restarts} times and given no token in between. {why}"
            "A watchdog ends an op that takes too long, so the model may be too large for this target, or its time too "
            "short (watchdog= of scons); a trap is a fault of the firmware.\n"
            f"Last lines:\n{self._line.seen()}"
        )

    def _note_return(self) -> None:
        """What looked like a restart was a line that had been away."""
        self._restarts -= 1
        self._returns += 1
        if self._returns > limits.MOST_RETURNS:
            raise DeviceFaulty(
                f"{self._line.stream.description} has been away {self._returns} times and given no token in between; "
                "check the cable"
            )

    def _restore(self, before: DeviceInfo, held: dict[int, list[int]], run: tuple[int, int] | None) -> str:
        """Returns in words what was found."""
        self._attachment.attach(self._device.patience)
        self._check_same(before)
        if run is not None and self._take_up(*run):
            return GOES_ON
        if self._device.info.state == DeviceState.RUNNING:
            self._requests.stop_all()
        self._sessions.ledger.clear()
        kept = [self._give_back(tokens, session) for session, tokens in held.items()]
        return AS_IT_WAS if all(kept) else RESTORED

    def _check_same(self, before: DeviceInfo) -> None:
        """Raise where the device does not run the image that it ran before."""
        info, name = self._device.info, self._line.stream.description
        if info.root != before.root:
            raise TargetError(f"{name} restarted with another image; open it again with that one")
        for field in limits.OF_MODEL:
            if getattr(info, field) != getattr(before, field):
                raise self._line.faulty(f"says that the {field} of the same image is another one now")

    def _take_up(self, request: int, index: int) -> bool:
        """Have the device send the rest of a GENERATE from token ``index`` on. Returns whether it still knows it."""
        if self._device.info.run != request:
            return False
        self._connection.expect(request)
        try:
            self._requests.ask(Type.RESUME, requests.Resume, target=request, index=index)
        except DeviceFailure:
            self._connection.forget(request)
            return False
        return True

    def _give_back(self, tokens: list[int], session: int) -> bool:
        """Make a session hold these tokens, the last of them pending. Returns whether it held those before."""
        kept = self._still_holds(tokens[:-1], session)
        self._prompt(tokens[-1:] if kept else tokens, session)
        return kept

    def _still_holds(self, tokens: list[int], session: int) -> bool:
        """Whether a session begins with these tokens, as where only the line was away; it is then rolled back to them.

        Those evaluated are compared by their checksum.
        """
        try:
            contents = self._sessions.contents(session)
            done, left = tokens[: contents.length], tokens[contents.length :]
            data = np.asarray(done, dtype="<u4").tobytes()
            if tuple(left) != contents.pending[: len(left)]:
                return False
            if data and self._memory.checksum(Space.SESSION, session, 0, len(data)) != google_crc32c.value(data):
                return False
            self._sessions.truncate(len(tokens), session)
        except DeviceFailure:
            return False
        return True
