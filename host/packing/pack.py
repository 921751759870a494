# SPDX-License-Identifier: Apache-2.0
"""Packing a model for a board: source to image, with what it needs known before anything is written."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from functools import cached_property
from importlib import metadata
from pathlib import Path
from typing import Any

from host.bench.bound import Bound, board_layout, decode_bound, planned
from host.boards import Board, board_names, load_board
from host.choices import choices
from host.compiler.compile import (
    KV_FORMATS,
    LAYOUTS,
    MAX_LOGIT_ROWS,
    MAX_ROWS,
    Compiled,
    Options,
    compile_model,
)
from host.errors import FitError, SourceError, UsageError
from host.files.source import Source
from host.image.inspect import size_text
from host.image.writer import Progress, image_size, write_image
from host.model import load_source
from host.packing.fit import Asked, Room, alternatives
from host.schema.formats import formats
from host.schema.formats.f32 import F32
from host.schema.formats.q8 import Q8
from host.schema.image import SECTION_ALIGN, Overflow
from host.schema.limits import LIMIT_SESSIONS
from host.words import shown

SUFFIX = ".hsp"
KV_NAMES = {fmt: name for name, fmt in KV_FORMATS.items()}


@dataclass(frozen=True)
class PackRequest:
    """What a user asks for. None leaves a value to the recipe, and after it to the defaults."""

    source: str
    board: str = "native"
    weights: str | None = None
    output_weights: str | None = None
    kv: str | None = None
    context: int | None = None
    sessions: int | None = None
    layout: str | None = None
    rows: int = MAX_ROWS
    logit_rows: int = MAX_LOGIT_ROWS
    overflow: str = "stop"
    sinks: int = 0
    without: tuple[str, ...] = ()
    image_version: int = 0


@dataclass(frozen=True)
class Packing:
    """A compiled model beside the board it is for; ``write`` makes the image."""

    source: Source
    compiled: Compiled
    board: Board
    request: PackRequest

    @cached_property
    def image_bytes(self) -> int:
        """Size of the image file."""
        return image_size(self.source, self.compiled, self.manifest())

    @property
    def max_sessions(self) -> int:
        """How many sessions the board's arena has room for, up to the firmware's limit."""
        room = self.board.arena_bytes - self.compiled.arena_bytes
        fitting = (n for n in range(LIMIT_SESSIONS, 0, -1) if self.compiled.runtime(n) <= room)
        return next(fitting, 0)

    @cached_property
    def bound(self) -> Bound | None:
        """What the board can decode at most; None where nobody measured its memory."""
        return decode_bound(planned(self.compiled), self.board)

    @property
    def needed_bytes(self) -> int:
        """Arena that the plan takes: activations and all sessions."""
        return self.compiled.arena_bytes + self.compiled.runtime(self.compiled.options.sessions)

    def facts(self) -> dict[str, Any]:
        """What the image needs and what the board has, in bytes."""
        options, compiled = self.compiled.options, self.compiled
        return {
            "name": self.source.name,
            "board": self.board.name,
            "architecture": self.source.architecture,
            "weights": options.weights.name,
            "output_weights": options.output_format.name,
            "kv": KV_NAMES[options.kv],
            "layout": options.layout.order.name.lower(),
            "context": compiled.context,
            "sessions": options.sessions,
            "ops": len(compiled.lowered.ops),
            "image_bytes": self.image_bytes,
            "weight_bytes": compiled.weight_bytes,
            "activation_bytes": compiled.arena_bytes,
            "session_bytes": compiled.session_bytes,
            "runtime_bytes": compiled.runtime(options.sessions),
            "arena_needed": self.needed_bytes,
            "arena_available": self.board.arena_bytes,
            "image_available": self.board.image_limit,
            "max_sessions": self.max_sessions,
            "bound_tokens_per_second": self.bound.empty if self.bound else None,
            "bound_tokens_per_second_full_context": self.bound.full if self.bound else None,
        }

    def advice(self) -> str | None:
        """What would give a better image of the same source; None if nothing would."""
        natural = formats()[default_weights(self.source)]
        chosen = self.compiled.options.weights
        if chosen is natural or chosen.bits != natural.bits:
            return None
        return (
            f"the source's {natural.bits}-bit values are quantized a second time, which costs quality; "
            f"--weights {natural.name} takes them over as they are"
        )

    def check_fit(self) -> None:
        """FitError with the missing bytes and commands that fit, if board and plan do not go together."""
        limit = self.board.image_limit
        if limit is not None and self.image_bytes > limit:
            raise FitError(
                f"{self.source.name} does not fit {self.board.name}: the image takes {size_text(self.image_bytes)}, "
                f"the board has {size_text(limit)} for it, {size_text(self.image_bytes - limit)} too little; "
                + self._what_fits()
            )
        missing = self.needed_bytes - self.board.arena_bytes
        if missing > 0:
            raise FitError(
                f"{self.source.name} does not fit {self.board.name}: activations and "
                f"{self.compiled.options.sessions} session(s) take {size_text(self.needed_bytes)}, the board's arena "
                f"has {size_text(self.board.arena_bytes)}, {size_text(missing)} too little; {self._what_fits()}"
            )

    def _what_fits(self) -> str:
        """Commands that were tried and fit; else the boards that have room for it as it is."""
        options = self.compiled.options
        asked = Asked(
            options.weights.name, KV_NAMES[options.kv], self.compiled.context, options.sessions, options.max_rows
        )
        if found := alternatives(asked, self._room):
            return "\n  ".join(["this fits:", *(command(replace(self.request, **changes)) for changes in found)])
        if boards := [name for name in board_names() if self._fits_board(load_board(name))]:
            return f"nothing that host pack can change is enough; it fits {', '.join(boards)}, or take a smaller model"
        return "nothing that host pack can change is enough; take a smaller model"

    def _room(self, changes: Mapping[str, Any]) -> Room:
        """Whether a trial fits; what the image has beside its weights is taken to stay, but for a page of hashes."""
        try:
            options = _options(replace(self.request, **changes), self.source, self.board)
            trial = compile_model(self.source, options)
        except UsageError:
            return Room(False, False)
        size = self.image_bytes - self.compiled.weight_bytes + trial.weight_bytes + SECTION_ALIGN * bool(changes)
        limit, arena = self.board.image_limit, trial.arena_bytes + trial.runtime(options.sessions)
        return Room(limit is None or size <= limit, arena <= self.board.arena_bytes)

    def _fits_board(self, board: Board) -> bool:
        image = board.image_limit is None or self.image_bytes <= board.image_limit
        return image and self.needed_bytes <= board.arena_bytes

    def manifest(self) -> dict[str, Any]:
        """What the image says of its making: no time, no path, so that the same input gives the same bytes."""
        options = self.compiled.options
        return {
            "name": self.source.name,
            "architecture": self.source.architecture,
            "source": self.source.provenance,
            "licence": self.source.provenance.get("licence"),
            "tool": tool_version(),
            "weights": options.weights.name,
            "output_weights": options.output_format.name,
            "kv": KV_NAMES[options.kv],
            "layout": options.layout.order.name.lower(),
            "board": self.board.name,
            **self.source.about,
            "options": {
                "context": self.compiled.context,
                "sessions": options.sessions,
                "rows": options.max_rows,
                "logit_rows": options.max_logit_rows,
                "overflow": options.overflow.name.lower(),
                "sinks": options.sinks,
                "without": sorted(options.without),
            },
        }

    def write(self, path: Path, progress: Progress | None = None) -> None:
        """Write the image; nothing is left at ``path`` if it fails."""
        write_image(path, self.source, self.compiled, self.manifest(), progress, self.request.image_version)


def command(request: PackRequest) -> str:
    """The command line that asks for this, without the options that are as they are by default."""
    words = ["host", "pack", request.source, "--board", request.board]
    for field in fields(PackRequest):
        value = getattr(request, field.name)
        if field.name in ("source", "board", "logit_rows") or value == field.default:
            continue
        each = value if isinstance(value, tuple) else (value,)
        words += [word for one in each for word in (f"--{field.name.replace('_', '-')}", str(one))]
    return shlex.join(words)


def tool_version() -> str:
    """Name and version of this program, for the manifest."""
    try:
        return f"hartspeak {metadata.version('hartspeak')}"
    except metadata.PackageNotFoundError:
        return "hartspeak"


def prepare(request: PackRequest) -> Packing:
    """Load, compile and plan; nothing is written and nothing large is read. Any HostError of the parts."""
    board = load_board(request.board)
    try:
        source = load_source(request.source)
    except OSError as error:
        raise SourceError(f"{error.filename or request.source} cannot be read: {error.strerror or error}") from error
    options = _options(request, source, board)
    return Packing(source, compile_model(source, options), board, request)


def _options(request: PackRequest, source: Source, board: Board) -> Options:
    recipe = source.pack
    weights = request.weights or recipe.get("weights") or default_weights(source)
    context = request.context if request.context is not None else recipe.get("context")
    sessions = request.sessions if request.sessions is not None else recipe.get("sessions", 1)
    chosen = _choose("--weights", weights, formats())
    kv = request.kv or recipe.get("kv") or ("f32" if chosen is F32 else "int8")
    output = request.output_weights
    order = request.layout or board.layout()
    _choose("--layout", order, LAYOUTS)
    overflow = {"stop": Overflow.STOP, "slide": Overflow.SLIDE}
    return Options(
        weights=chosen,
        output_weights=_choose("--output-weights", output, formats()) if output else None,
        kv=_choose("--kv", kv, KV_FORMATS),
        layout=board_layout(board, order),
        context=context,
        sessions=sessions,
        max_rows=request.rows,
        max_logit_rows=request.logit_rows,
        overflow=_choose("--overflow", request.overflow, overflow),
        sinks=request.sinks,
        without=request.without,
    )


def _choose(option: str, word: str, known: Mapping[str, Any]) -> Any:
    if word not in known:
        raise UsageError(f"{option} {shown(word)!r} is not known; {choices(word, known)}")
    return known[word]


def default_weights(source: Source) -> str:
    """The format that takes over most of the source's values as they are; q8 where none does."""
    kinds = source.provenance.get("quantization")
    by_kind = {kind: one.name for one in formats().values() for kind in one.suits}
    counts = {kind: n for kind, n in kinds.items() if kind in by_kind} if isinstance(kinds, dict) else {}
    total = sum(n for kind, n in kinds.items() if kind != "F32") if isinstance(kinds, dict) else 0
    for kind, count in counts.items():
        if 2 * count > total:
            return by_kind[kind]
    return Q8.name
