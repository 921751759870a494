# SPDX-License-Identifier: Apache-2.0
"""U-Boot's console as something that can be called: commands with their output, files by XMODEM."""

from __future__ import annotations

import io
import re
import time
import zlib
from collections.abc import Callable

from xmodem import XMODEM1k

from host.errors import TargetError
from host.link.stream import ByteStream

PACKET = 1024
KEY_SECONDS = 0.3
"""Between two keys that stop the countdown."""
CTRL_C = b"\x03"
PROMPT = re.compile(rb"(?:^|[\r\n])[^\r\n]{0,30}[=#>$] ?$")
LINE_SECONDS = 2.0
RETRIES = 16


class UBoot:
    """A U-Boot at its prompt. Every method raises TargetError with what it said where it does not answer or refuses."""

    def __init__(self, stream: ByteStream) -> None:
        self._stream = stream
        self._count = 0
        self._rest = b""

    def catch(self, seconds: float) -> None:
        """Stop the countdown, however soon it comes, and find the prompt."""
        seen, end = b"", time.monotonic() + seconds
        while not PROMPT.search(seen[-200:]):
            if time.monotonic() > end:
                words = seen[-300:].decode(errors="replace").strip() or "nothing"
                raise TargetError(
                    f"U-Boot's prompt did not come within {seconds:.0f} s on {self._stream.description}; "
                    f"heard: {words}. Start this first, then switch the board on or reset it"
                )
            self._stream.write(CTRL_C)
            seen += self._stream.read(KEY_SECONDS)
        while data := self._stream.read(KEY_SECONDS):
            seen += data
        self.run("echo", LINE_SECONDS)

    def run(self, command: str, seconds: float = 10.0) -> str:
        """What a command printed. TargetError where it fails or does not end in time."""
        self._count += 1
        mark = f"hsp-{self._count}-"
        self._stream.write(f"{command}; echo {mark}$?\r".encode())
        found = self._until(re.compile(rf"[\r\n]{mark}(\d+)".encode()), command, seconds)
        output = found.string[: found.start()].decode(errors="replace")
        output = output.partition("$?")[2].replace("\r", "").strip()
        if found[1] != b"0":
            raise TargetError(f"U-Boot could not do {command!r}: {output or 'no words'}")
        return output

    def _until(self, pattern: re.Pattern[bytes], what: str, seconds: float) -> re.Match[bytes]:
        seen, end = self._rest, time.monotonic() + seconds
        while not (found := pattern.search(seen)):
            if time.monotonic() > end:
                raise TargetError(f"U-Boot did not end {what!r} within {seconds:.0f} s; heard: {seen[-300:]!r}")
            seen += self._stream.read(KEY_SECONDS)
        self._rest = seen[found.end() :]
        return found

    def read_memory(self, address: int, size: int) -> bytes:
        """Bytes of memory, as ``md`` prints them."""
        text = self.run(f"md.b {address:#x} {size:x}")
        rows = re.findall(r"^[0-9a-f]{8,16}: ((?:[0-9a-f]{2} ){1,16})", text, re.MULTILINE)
        data = bytes.fromhex("".join(rows))
        if len(data) != size:
            raise TargetError(f"U-Boot printed {len(data)} of {size} bytes at {address:#x}")
        return data

    def send(self, data: bytes, address: int, progress: Callable[[int], None] | None = None) -> None:
        """Bytes into memory by XMODEM-1K, checked there by CRC-32."""
        padded = data.ljust(-(-len(data) // PACKET) * PACKET, b"\0")
        self._stream.write(f"loadx {address:#x}\r".encode())
        self._until(re.compile(rb"loadx[^\r\n]*[\r\n].*?(?=C)", re.DOTALL), "loadx", LINE_SECONDS * 5)
        received = bytearray(self._rest)
        self._rest = b""

        def getc(size: int, timeout: float = 1) -> bytes | None:
            end = time.monotonic() + timeout
            while len(received) < size and (left := end - time.monotonic()) > 0:
                received.extend(self._stream.read(left))
            if len(received) < size:
                return None
            taken = bytes(received[:size])
            del received[:size]
            return taken

        def putc(packet: bytes, timeout: float = 1) -> int:  # noqa: ARG001
            self._stream.write(packet)
            return len(packet)

        def report(_total: int, good: int, _bad: int) -> None:
            if progress:
                progress(min(good * PACKET, len(data)))

        if not XMODEM1k(getc, putc).send(io.BytesIO(padded), retry=RETRIES, callback=report):
            raise TargetError(f"the transfer to {self._stream.description} broke off; check the cable and try again")
        self._rest = bytes(received)
        # It empties its receiver before it prompts.
        self._until(re.compile(rb"Start Addr[^\n]*\n[^\r\n]{0,30}[=#>$] ?$"), "loadx", LINE_SECONDS * 5)
        self.check(data, address)

    def check(self, data: bytes, address: int) -> None:
        """Whether memory holds ``data``, by CRC-32."""
        found = re.search(r"==> ([0-9a-f]{8})", self.run(f"crc32 {address:#x} {len(data):x}", 60.0))
        if not found or int(found[1], 16) != zlib.crc32(data):
            raise TargetError(f"the board's memory at {address:#x} has another CRC-32 than what was sent; try again")
