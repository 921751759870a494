# SPDX-License-Identifier: Apache-2.0
"""From text to a device and back: an image, a target and a client opened together, and the conversation on them."""

from __future__ import annotations

import hashlib
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

from host.boards import load_board
from host.cache import forget, is_kept, private_folder, remember, remembered
from host.choices import choices
from host.errors import DeviceFailure, SourceError, TargetError, UsageError
from host.files.recipe import cache_folder, find_recipe
from host.files.source import Tokenizer
from host.image.reader import Image, identity, whole_identity
from host.link.client import Client
from host.link.describe import describe
from host.link.generation import Generation
from host.link.interrupts import deferred_interrupts
from host.link.line import Waiting
from host.link.rate import line_rate
from host.link.records import Done, SamplerParams
from host.link.stream import ByteStream
from host.output import open_log
from host.packing.pack import SUFFIX, PackRequest, tool_version
from host.packing.shown import pack_image
from host.schema.image import MAGIC
from host.schema.wire.constants import MAX_STOP_IDS
from host.streams import typed
from host.talk.fitness import device_notes
from host.targets import open_target, parse_spec
from host.targets.base import Target
from host.targets.serial_line import adapter_of, port_of
from host.tokens.chat_template import ChatFormatter, TextStream, encode_prompt
from host.tokens.tokenizer import codec_of
from host.words import file_name, shown

Progress = Callable[[int, int], None]

PORT_PATIENCE = 120.0
SIMULATOR_PATIENCE = 600.0
LOG_LINE = "frames of a line to hartspeak, in words"
AWAY_SECONDS = 60.0
"""For which a line that was unplugged is awaited."""


def resolve_image(name: str, target: str, board: str | None = None) -> Path:
    """The image that a user names by its path, or packs now from a recipe or model file, for the target's board.

    What was packed is kept in the user's cache and used again while recipe, files and version are the same.
    """
    path = Path(name)
    if board:
        load_board(board)
    if path.suffix == SUFFIX or _is_image(path):
        return path
    spec = parse_spec(target)
    board = board or spec.board
    if not board:
        raise UsageError(f"{name} must be packed first, but {target} does not tell for which board; add --board")
    family = (
        {"rvv": "rvv", "scalar": "swar"}[spec.kernels] if spec.kernels not in ("", load_board(board).kernels) else None
    )
    key = hashlib.sha256(f"{tool_version()} {_fingerprint(name)} {board} {family}".encode())
    out = cache_folder() / "images" / f"{file_name(path.stem)}.{board}.{key.hexdigest()[:12]}{SUFFIX}"
    if not is_kept(out, remembered(out)[0], whole_identity):
        private_folder(out.parent)
        forget(out)
        pack_image(PackRequest(source=name, board=board, family=family), out)
        remember(out, identity(out))
    return out


def _is_image(path: Path) -> bool:
    """Whether a file begins as an image does. SourceError where it cannot be read."""
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            return False
        with path.open("rb") as file:
            return file.read(len(MAGIC)) == MAGIC
    except (FileNotFoundError, NotADirectoryError):
        return False
    except (OSError, ValueError) as error:
        raise SourceError(f"{path} cannot be read: {getattr(error, 'strerror', None) or error}") from error


def _fingerprint(name: str) -> str:
    """The recipe's contents, and path, time and size of the file or of each file in the folder."""
    recipe = find_recipe(name)
    path = recipe.path if recipe else Path(name)
    files = [] if path is None else sorted(path.iterdir()) if path.is_dir() else [path]
    stats = [(file.resolve(), file.stat()) for file in files if file.is_file()]
    said = [(str(file), s.st_mtime_ns, s.st_ctime_ns, s.st_ino, s.st_size) for file, s in stats]
    return f"{recipe} {said}"


@dataclass
class Talk:
    """An open device that runs a known image. ``tokenizer`` raises ImageError where the image has none."""

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
        self.client.device.session_bytes = state_bytes(self.image)


def state_bytes(image: Image) -> int:
    """The most bytes that the state of a session of an image can have: its tokens, and all pages of each state."""
    pages = (state["pages"] * state["page_bytes"] for state in image.states)
    return int(4 * image.plan["context"] + sum(pages))


@contextmanager
def open_talk(
    image: str,
    target: str,
    *,
    board: str | None = None,
    console: Callable[[str], None] | None = None,
    log: Path | None = None,
    patience: float | None = None,
    chat: bool = False,
    restore: bool = False,
    resume: bool = False,
    baud: str | None = None,
    waiting: Waiting | None = None,
) -> Iterator[Talk]:
    """Start or open a target with an image, say hello, and end it all on leaving.

    console: gets the lines that the device prints. log: a file that gets all frames in words. patience: see Client; by
    default long for simulators, whose end is noticed at once anyway. chat: refuse an image without chat template
    before anything is started. restore: see Client; a simulator that has ended is started again, a line that was
    unplugged is awaited. resume: leave what an earlier host asked for running. baud: change the line's rate to it, or
    with "auto" to the fastest that works. waiting: is told what is waited for.
    """
    path = resolve_image(image, target, board)
    opened = Image(path)
    if chat:
        ChatFormatter(opened.tokenizer)
    spec = parse_spec(target)
    adapter = adapter_of(spec.port) if spec.port else ""

    def reopen() -> Target:
        return open_target(replace(spec, port=port_of(adapter, spec.port)), path, console)

    away = AWAY_SECONDS if spec.port else 0.0
    if patience is None:
        patience = PORT_PATIENCE if spec.is_line else SIMULATOR_PATIENCE
    stream = open_target(spec, path, console)
    size = path.stat().st_size
    with open_client(
        stream, console, log, patience, restore=restore, away=away, resume=resume, size=size, waiting=waiting
    ) as client:
        client.line.reopen = reopen if restore and not spec.place else None
        talk = Talk(opened, client)
        talk.check_image()
        if console:
            for note in device_notes(opened, client.info):
                console(f"note: {note}")
        with line_rate(client, baud):
            try:
                yield talk
            finally:
                client.line.reopen = None  # whoever leaves does not wait for a line


@contextmanager
def open_client(
    stream: ByteStream,
    console: Callable[[str], None] | None,
    log: Path | None,
    patience: float,
    *,
    restore: bool = False,
    away: float = 0.0,
    resume: bool = False,
    size: int = 0,
    waiting: Waiting | None = None,
) -> Iterator[Client]:
    """Say hello over a stream; closes the stream on leaving. See Client, and ``resume`` of its connect.

    size: bytes of the device's image, where they are known. waiting: is told what is waited for.
    """
    try:
        file = open_log(log, LOG_LINE) if log else None
    except UsageError:
        stream.close()
        raise
    trace = (lambda item: print(describe(item), file=file, flush=True)) if file else None
    client = Client(stream, console, patience, trace, restore=restore, away=away)
    client.device.image_bytes, client.line.on_wait = size, waiting
    try:
        with deferred_interrupts(client):
            client.connect(min(patience, 60.0), resume)
            client.line.check_interrupt()
        yield client
    finally:
        client.close()
        if file:
            file.close()


@contextmanager
def open_device(
    target: str,
    console: Callable[[str], None],
    log: Path | None,
    patience: float | None,
    baud: str | None,
    waiting: Waiting | None = None,
) -> Iterator[Client]:
    """A client of whatever runs on a target, which need not have a model; Ctrl-C waits for the end of a frame.

    See ``open_talk`` for the rest.
    """
    stream = open_target(target, None, console)
    with (
        open_client(stream, console, log, patience or PORT_PATIENCE, waiting=waiting) as client,
        deferred_interrupts(client),
        line_rate(client, baud),
    ):
        yield client


@dataclass
class Answer:
    """The text of one answer, piece by piece; Ctrl-C while iterating ends it early, with ``done.reason`` CANCELLED.

    Iterate within ``deferred_interrupts``, or Ctrl-C may cut a frame in two.

    ``run`` has all token ids, a stop id at the end included; ``text`` is what was given out so far.
    """

    run: Generation
    stop_ids: tuple[int, ...]
    stream: TextStream
    stops: tuple[str, ...] = ()
    text: str = ""
    tokens: list[dict[str, int]] = field(default_factory=list)
    stopped_by_text: bool = False

    @property
    def done(self) -> Done:
        """How it ended. Only after the iteration."""
        assert self.run.done is not None
        return self.run.done

    def __iter__(self) -> Iterator[str]:
        held = ""
        try:
            for token in self.run:
                self.tokens.append({"id": token.id, "time_us": token.time_us, "digest": token.digest})
                held += "" if token.id in self.stop_ids else self.stream.push(token.id)
                end = min((at for stop in self.stops if (at := held.find(stop)) >= 0), default=-1)
                if end >= 0:
                    self.stopped_by_text = True
                    self.run.cancel()
                    yield self._give(held[:end])
                    return
                safe = len(held) - _overlap(held, self.stops)
                yield self._give(held[:safe])
                held = held[safe:]
        except KeyboardInterrupt:
            self.run.cancel()
        yield self._give(held + self.stream.finish())

    def _give(self, text: str) -> str:
        self.text += text
        return text


def _overlap(text: str, stops: tuple[str, ...]) -> int:
    """Characters at the end of ``text`` that may be the beginning of a stop text."""
    longest = max((len(stop) for stop in stops), default=1) - 1
    for size in range(min(longest, len(text)), 0, -1):
        if any(stop.startswith(text[-size:]) for stop in stops):
            return size
    return 0


class Speaker:
    """Questions and answers on one session of a device."""

    def __init__(self, talk: Talk, params: SamplerParams, max_tokens: int, stops: tuple[str, ...] = ()) -> None:
        self.talk = talk
        self.client = talk.client
        self.params = params
        self.max_tokens = max_tokens
        self.digest = False
        stops = tuple(map(typed, stops))
        if "" in stops:
            raise UsageError("a stop text is empty, which would end every answer at once; leave --stop out")
        self._text = codec_of(talk.tokenizer)
        self._stops, self._stop_ids = self._split_stops(stops)

    def _split_stops(self, stops: tuple[str, ...]) -> tuple[tuple[str, ...], tuple[int, ...]]:
        """Special tokens become stop ids, as many as a request takes.

        Other stop texts are watched for, as their characters may be parts of many tokens.
        """
        ids = list(self.talk.tokenizer.stop_ids)
        texts = []
        for stop, token in zip(stops, self._text.ids(stops) if stops else (), strict=True):
            if token is None or token not in self._text.special or len(ids) >= MAX_STOP_IDS:
                texts.append(stop)
            else:
                ids.append(token)
        return tuple(texts), tuple(ids)

    def complete(self, ids: list[int], progress: Progress | None = None) -> Answer:
        """Append tokens to the session and answer. UsageError where they do not fit the context."""
        info, length = self.client.info, self.client.length()
        if not info.overflow and length + len(ids) >= info.context:
            raise UsageError(
                f"{len(ids)} tokens do not fit: {min(length, info.context)} of {info.context} positions are used; "
                "shorten the prompt, reset the conversation, or pack the image with a longer --context"
            )
        self.client.prompt(ids)
        run = self.client.generate(self.max_tokens, self.params, self._stop_ids, digest=self.digest, progress=progress)
        return Answer(run, self._stop_ids, TextStream(self._text), self._stops)

    def resume(self) -> Answer:
        """The answer that the device is making or made last, from its beginning. After ``open_talk(resume=True)``."""
        return Answer(self.client.resume(), self._stop_ids, TextStream(self._text), self._stops)

    def complete_text(self, text: str, progress: Progress | None = None) -> Answer:
        """Continue a plain text, from an empty session. UsageError where there is nothing to begin from."""
        tokenizer = self.talk.tokenizer
        if not text and not (tokenizer.add_bos and tokenizer.bos is not None):
            raise UsageError("the prompt is empty, and this model has no start token to begin from; give it a word")
        self.client.truncate(0)
        return self.complete(encode_prompt(self.talk.tokenizer, typed(text)), progress)


class Conversation(Speaker):
    """Turns by the image's chat template; each sends only what is new. SourceError where the image has no template."""

    def __init__(
        self,
        talk: Talk,
        params: SamplerParams,
        max_tokens: int,
        stops: tuple[str, ...] = (),
        system: str | None = None,
    ) -> None:
        super().__init__(talk, params, max_tokens, stops)
        self.system = typed(system) if system else system
        self.messages: list[dict[str, str]] = []
        self._formatter = ChatFormatter(talk.tokenizer)
        self._before: tuple[str, int | None] = ("", None)
        """What the session held before the last question: as text, and in tokens."""
        self.reset()

    def reset(self) -> None:
        """Forget everything but the system message."""
        self.messages = [{"role": "system", "content": self.system}] if self.system else []
        self._formatter.reset()
        self._before = ("", None)

    def ask(self, text: str, progress: Progress | None = None) -> Answer:
        """Say something. Iterate the answer to its end, then call ``answered``."""
        messages = [*self.messages, {"role": "user", "content": typed(text)}]
        before = (self._formatter.held, self.client.ledger.lengths.get(0))
        try:
            turn = self._formatter.turn(messages)
            if turn.restart:
                self.client.truncate(0)
            answer = self.complete(turn.ids, progress)
        except BaseException:
            self._formatter.reset()
            raise
        self.messages = messages
        self._before = ("", None) if turn.restart else before
        return answer

    def answered(self, answer: Answer) -> None:
        """Keep the answer as a part of the conversation."""
        if answer.stopped_by_text:
            # The session holds more than was shown: the next turn begins it anew.
            self._formatter.reset()
            self.messages.append({"role": "assistant", "content": answer.text})
            return
        self._formatter.answered(answer.run.tokens)
        said = [token for token in answer.run.tokens if token not in answer.stop_ids]
        text = self._text.decode(said)
        self.messages.append({"role": "assistant", "content": text})

    def unanswered(self) -> None:
        """Take back the last question, whose answer failed; the next turn begins the session anew."""
        if self.messages and self.messages[-1]["role"] == "user":
            self.messages.pop()
        self._formatter.reset()

    def take_back(self) -> str:
        """Take back the last question and its answer, for the question to be asked again. Returns the question.

        The session goes back to where it was before it, if the device can. UsageError where nothing was asked.
        """
        asked = [i for i, one in enumerate(self.messages) if one["role"] == "user"]
        if not asked:
            raise UsageError("nothing was asked yet")
        question = self.messages[asked[-1]]["content"]
        self.messages = self.messages[: asked[-1]]
        held, length = self._before
        self._formatter.reset()
        if length is not None and held:
            with suppress(DeviceFailure):
                self.client.truncate(length)
                self._formatter.held = held
        self._before = ("", None)
        return question

    def set_system(self, text: str | None) -> None:
        """Begin anew with another system message.

        SourceError or ImageError, and nothing changes, where the template takes none.
        """
        text = typed(text) if text else None
        said = [{"role": "system", "content": text}] if text else []
        self._formatter.reset()
        try:
            self._formatter.turn([*said, {"role": "user", "content": "?"}])
        finally:
            self._formatter.reset()
        self.system = text
        self.reset()

    def set_params(self, **changes: float) -> None:
        """Change sampling parameters by name. UsageError for an unknown one."""
        try:
            self.params = replace(self.params, **changes)  # type: ignore[arg-type]
        except TypeError as error:
            known = SamplerParams.__dataclass_fields__
            word = next((name for name in changes if name not in known), "")
            raise UsageError(f"unknown parameter {shown(word)}; {choices(word, known)}") from error
