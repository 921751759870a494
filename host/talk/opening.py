# SPDX-License-Identifier: Apache-2.0
"""A device opened for a command: its target, a client that says hello, and the image that it should run."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from host.errors import TargetError, UsageError
from host.files.source import Tokenizer
from host.image.reader import Image
from host.link.client import Client
from host.link.describe import describe
from host.link.interrupts import deferred_interrupts
from host.link.line import Waiting
from host.link.rate import line_rate
from host.link.stream import ByteStream
from host.output import open_log
from host.packing.resolve import resolve_image
from host.talk.fitness import device_notes
from host.targets import open_target, parse_spec
from host.targets.base import Target
from host.targets.serial_line import adapter_of, port_of
from host.tokens.chat_template import ChatFormatter

PORT_PATIENCE = 120.0
SIMULATOR_PATIENCE = 600.0
CONNECT_SECONDS = 60.0
LOG_LINE = "frames of a line to hartspeak, in words"
AWAY_SECONDS = 60.0
"""For which a line that was unplugged is awaited."""


@dataclass(frozen=True)
class OpenOptions:
    """How a device is opened and watched.

    console: gets the lines that the device prints. waiting: is told what is waited for. log: a file that gets all
    frames in words. patience: see Client; by default long for simulators, whose end is noticed at once anyway. baud:
    the rate that the line is changed to, or "auto" for the fastest that works.
    """

    console: Callable[[str], None] | None = None
    waiting: Waiting | None = None
    log: Path | None = None
    patience: float | None = None
    baud: str | None = None


@dataclass
class LoadedModel:
    """A device and the image that it runs. ``tokenizer`` raises ImageError where the image has none."""

    image: Image
    client: Client

    @property
    def tokenizer(self) -> Tokenizer:
        """The image's tokenizer with its stop ids and chat template."""
        return self.image.tokenizer

    def check_image(self) -> None:
        """Raise when the device has no valid model (DeviceFailure) or another one than the image (TargetError)."""
        self.client.require_model()
        info, plan = self.client.info, self.image.plan
        root = info.root.hex()
        if root != self.image.root:
            raise TargetError(
                f"the device runs image {root[:8]}, but {self.image.path} is {self.image.root[:8]}: their tokens would "
                "not mean the same; name the image that was loaded, or load this one"
            )
        for name in ("vocab", "context", "overflow"):
            if getattr(info, name) != plan[name]:
                raise self.client.line.faulty(f"says that {name} of {self.image.path} is {getattr(info, name)}")
        self.client.device.session_bytes = most_session_bytes(self.image)


def most_session_bytes(image: Image) -> int:
    """The most bytes that a session of an image can hold: its tokens, and all pages of each state."""
    pages = (state["pages"] * state["page_bytes"] for state in image.states)
    return int(4 * image.plan["context"] + sum(pages))


@contextmanager
def open_model(
    image: str,
    target: str,
    options: OpenOptions | None = None,
    *,
    board: str | None = None,
    chat: bool = False,
    restore: bool = False,
    resume: bool = False,
) -> Iterator[LoadedModel]:
    """Start or open a target with an image, say hello, and end it all on leaving.

    chat: refuse an image without chat template before anything is started. restore: see Client; a simulator that has
    ended is started again, a line that was unplugged is awaited. resume: leave what an earlier host asked for running.
    """
    options = options or OpenOptions()
    console = options.console
    path = resolve_image(image, target, board)
    opened = Image(path)
    if chat:
        ChatFormatter(opened.tokenizer)
    spec = parse_spec(target)
    adapter = adapter_of(spec.port) if spec.port else ""

    def reopen() -> Target:
        return open_target(replace(spec, port=port_of(adapter, spec.port)), path, console)

    away = AWAY_SECONDS if spec.port else 0.0
    if options.patience is None:
        options = replace(options, patience=PORT_PATIENCE if spec.is_line else SIMULATOR_PATIENCE)
    stream = open_target(spec, path, console)
    size = path.stat().st_size
    with open_client(stream, options, restore=restore, away=away, resume=resume, size=size) as client:
        client.line.reopen = reopen if restore and not spec.place else None
        model = LoadedModel(opened, client)
        model.check_image()
        if console:
            for note in device_notes(opened, client.info):
                console(f"note: {note}")
        with line_rate(client, options.baud):
            try:
                yield model
            finally:
                client.line.reopen = None  # a command that ends does not wait for a line


@contextmanager
def open_client(
    stream: ByteStream,
    options: OpenOptions,
    *,
    restore: bool = False,
    away: float = 0.0,
    resume: bool = False,
    size: int = 0,
) -> Iterator[Client]:
    """Say hello over a stream, whose rate stays; closes the stream on leaving.

    restore, away: see Client. resume: see its connect. size: bytes of the device's image, where they are known.
    """
    patience = PORT_PATIENCE if options.patience is None else options.patience
    try:
        file = open_log(options.log, LOG_LINE) if options.log else None
    except UsageError:
        stream.close()
        raise
    trace = (lambda item: print(describe(item), file=file, flush=True)) if file else None
    client = Client(stream, options.console, patience, trace, restore=restore, away=away)
    client.device.image_bytes, client.line.on_wait = size, options.waiting
    try:
        with deferred_interrupts(client):
            client.connect(min(patience, CONNECT_SECONDS), resume)
            client.line.check_interrupt()
        yield client
    finally:
        client.close()
        if file:
            file.close()


@contextmanager
def open_device(target: str, options: OpenOptions) -> Iterator[Client]:
    """A client of whatever runs on a target, which need not have a model; Ctrl-C waits for the end of a frame."""
    stream = open_target(target, None, options.console)
    with open_client(stream, options) as client, deferred_interrupts(client), line_rate(client, options.baud):
        yield client
