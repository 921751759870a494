# SPDX-License-Identifier: Apache-2.0
"""Images and session contents as bytes of a device: read, written, compared and loaded."""

from __future__ import annotations

from host.link.attach import Attachment
from host.link.ledger import Ledger
from host.link.records import DeviceInfo
from host.link.requests import Requests
from host.schema.wire import answers, requests
from host.schema.wire.header import Type
from host.schema.wire.requests import Space


class Memory:
    """The bytes that a device lets its host see. ``session`` counts in Space.SESSION alone."""

    def __init__(self, asking: Requests, attachment: Attachment, ledger: Ledger) -> None:
        self._requests = asking
        self._attachment = attachment
        self._ledger = ledger
        self._connection = asking.connection
        self._asked: dict[int, tuple[int, int]] = {}
        """Offset and size of READ and WRITE that are not answered yet."""

    def unload(self) -> None:
        """Have the device forget its model and sessions, so that an image can be written."""
        self._requests.ask(Type.UNLOAD, requests.Unload)
        self._ledger.clear()

    def load(self) -> DeviceInfo:
        """Have the device check and load what was written; returns what it then is, perhaps NO_MODEL."""
        self._requests.ask(Type.LOAD, requests.Load)
        return self._loaded()

    def flash(self, size: int) -> DeviceInfo:
        """Have the device load the ``size`` bytes in its slot, and try them at the next boots; returns as load()."""
        self._requests.ask(Type.FLASH, requests.Flash, bytes=size)
        return self._loaded()

    def _loaded(self) -> DeviceInfo:
        device = self._connection.device
        self._attachment.greet(device.patience)
        self._attachment.await_check()
        return device.info

    def checksum(self, space: Space, session: int, offset: int, size: int) -> int:
        """CRC-32C of up to ``SUM_BYTES`` bytes of an image or of a session's contents on the device."""
        return self._requests.ask(Type.SUM, requests.Sum, space=space, session=session, offset=offset, size=size)

    def send_write(self, space: Space, session: int, offset: int, data: bytes) -> int:
        """Ask for up to ``MAX_DATA_BYTES`` bytes to be written; ``await_ok`` waits until they are."""
        request = self._connection.send(
            Type.WRITE, requests.Write, data, space=space, session=session, offset=offset, count=len(data)
        )
        self._asked[request] = (offset, len(data))
        return request

    def await_ok(self, request: int) -> None:
        """Wait until a ``send_write`` was done. DeviceFailure where it was refused."""
        _offset, size = self._asked.pop(request)
        written = answers.Ok.parse(self._connection.answer(request, Type.OK)).value
        if written != size:
            raise self._connection.line.faulty(f"has written {written} of {size} bytes")

    def send_read(self, space: Space, session: int, offset: int, size: int) -> int:
        """Ask for up to ``MAX_DATA_BYTES`` bytes; ``await_data`` waits for them."""
        request = self._connection.send(
            Type.READ, requests.Read, space=space, session=session, offset=offset, size=size
        )
        self._asked[request] = (offset, size)
        return request

    def await_data(self, request: int) -> bytes:
        """The bytes that ``send_read`` asked for, all of them."""
        offset, size = self._asked.pop(request)
        payload = self._connection.answer(request, Type.DATA)
        head = answers.Data.parse(payload)
        if (head.offset, head.count) != (offset, size):
            raise self._connection.line.faulty(
                f"sent {head.count} bytes from {head.offset} on instead of {size} from {offset} on"
            )
        return payload[answers.Data.sizeof() :]
