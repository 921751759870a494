# SPDX-License-Identifier: Apache-2.0
"""The child process in which tokenizers and chat templates of strangers run. host/tokens/sandbox.py starts it and
limits it.

It is started by its path, without ``host`` and without site, so that it is there in 0.1 s: nothing of this product may
be imported here. The folders of the two libraries are its arguments. It reads requests from stdin and writes answers to
stdout, each 4 bytes of length (little-endian) and a JSON object; the end of stdin is its end.
"""

from __future__ import annotations

import contextlib
import functools
import heapq
import importlib.util
import json
import os
import re
import sys
from collections.abc import Callable, Iterable, Mapping
from itertools import pairwise
from typing import Any, BinaryIO

try:
    import resource
except ImportError:  # not on Windows: there only the parent's limits of time and output hold
    resource = None  # type: ignore[assignment]

MEMORY = 512 << 20
"""Address space at first, in bytes; a tokenizer adds MEMORY_A_BYTE for each byte of its JSON, up to MAX_MEMORY. One of
262,144 tokens and 510,000 merges takes 30 a byte."""
MEMORY_A_BYTE = 40
MEMORY_A_CHARACTER = 600
"""And a text for each of its characters while it is encoded: a long one does no harm, and where each character is a
token it takes some 400."""
MAX_MEMORY = 3 << 30
FUEL = 20_000_000
SHOWN = 64
KEPT = 8
KEPT_BYTES = 64 << 20
"""Tokenizers and templates that are kept ready, and the size of what they were read from."""


GENERATION = re.compile(
    r"\{#.*?#\}|\{%[-+]?\s*raw\s*[-+]?%\}.*?\{%[-+]?\s*endraw\s*[-+]?%\}"
    r"|\{%(?P<before>[-+]?)\s*(?P<end>end)?generation\s*(?P<after>[-+]?)%\}",
    re.DOTALL,
)
"""The tag that marks an answer in training, but not where it stands as text."""


class Refused(Exception):
    """An answer in words; the kind tells the parent what it is about."""

    def __init__(self, kind: str, words: str) -> None:
        super().__init__(words)
        self.kind = kind


# ---- tokenizers ----


class Ranked:
    """SentencePiece's BPE as llama.cpp does it: of all neighbours that make a piece, the pair whose piece ranks best is
    merged, of equals the leftmost. The library cannot have two merges of one rank, so this is done here.
    """

    def __init__(self, model: Mapping[str, Any], added: Iterable[Mapping[str, Any]], ranks: list[int]) -> None:
        self.vocab: dict[str, int] = model["vocab"]
        self.rank = {text: ranks[index] for text, index in self.vocab.items()}
        self.unknown = self.vocab.get(model.get("unk_token") or "")
        found = [self.vocab.get(f"<0x{byte:02X}>") for byte in range(256)]
        self.bytes = None if None in found else found
        self.added = {token["content"]: token["id"] for token in added if token["content"]}
        sizes: dict[str, set[int]] = {}
        for text in self.added:
            sizes.setdefault(text[0], set()).add(len(text))
        self.sizes = {first: sorted(found, reverse=True) for first, found in sizes.items()}

    def encode(self, text: str, normalize: Callable[[str], str]) -> list[int]:
        """Ids of a text: the longest added token at each place first, and what lies between merged."""
        ids: list[int] = []
        start = at = 0
        while at < len(text):
            size = next((n for n in self.sizes.get(text[at], ()) if text[at : at + n] in self.added), 0)
            if not size:
                at += 1
                continue
            if at > start:
                ids += self._between(normalize(text[start:at]))
            ids.append(self.added[text[at : at + size]])
            start = at = at + size
        return ids + (self._between(normalize(text[start:])) if start < len(text) else [])

    def _between(self, text: str) -> list[int]:
        ids: list[int] = []
        for piece in self._merged(text):
            known = self.vocab.get(piece)
            if known is not None:
                ids.append(known)
            elif self.bytes is not None:
                ids += [self.bytes[byte] for byte in piece.encode()]
            elif self.unknown is not None and ids[-1:] != [self.unknown]:
                ids.append(self.unknown)
        return ids

    def _merged(self, text: str) -> list[str]:
        symbols, rank = list(text), self.rank
        count = len(symbols)
        following = list(range(1, count + 1))
        before = list(range(-1, count - 1))
        heap = [(rank[a + b], i, a + b) for i, (a, b) in enumerate(pairwise(text)) if a + b in rank]
        heapq.heapify(heap)
        while heap:
            _, left, whole = heapq.heappop(heap)
            right = following[left]
            # Either may have been taken by another merge since.
            if not symbols[left] or right >= count or symbols[left] + symbols[right] != whole:
                continue
            symbols[left], symbols[right] = whole, ""
            after = following[left] = following[right]
            if after < count:
                before[after] = left
                if (pair := whole + symbols[after]) in rank:
                    heapq.heappush(heap, (rank[pair], left, pair))
            if (first := before[left]) >= 0 and (pair := symbols[first] + whole) in rank:
                heapq.heappush(heap, (rank[pair], first, pair))
        return [symbol for symbol in symbols if symbol]


class Text:
    """One tokenizer: the library's, with its own merging where pieces have ranks."""

    def __init__(self, text: str, ranks: list[int] | None) -> None:
        from tokenizers import Tokenizer

        self.library = Tokenizer.from_str(text)
        # What training leaves in the file is not for answering: every text is taken whole, each time the same.
        dropout = getattr(self.library.model, "dropout", None) is not None
        self.trained = dropout or self.library.truncation is not None or self.library.padding is not None
        self.library.no_truncation()
        self.library.no_padding()
        if dropout:
            self.library.model.dropout = None
        self.ranked = None
        if ranks is not None:
            facts = json.loads(self.library.to_str())
            self.ranked = Ranked(facts["model"], facts["added_tokens"], ranks)

    def facts(self) -> dict[str, Any]:
        """Special tokens by id, what the post-processor puts before a text, whether training's parts were taken out."""
        added = self.library.get_added_tokens_decoder()
        special = {str(i): token.content for i, token in added.items() if token.special}
        return {"special": special, "prefix": self._prefix(), "trained": self.trained}

    def _prefix(self) -> list[int]:
        if self.library.post_processor is None:
            return []
        found = self.library.encode("a", add_special_tokens=True)
        count = next((i for i, mask in enumerate(found.special_tokens_mask) if not mask), 0)
        return list(found.ids[:count])

    def encode(self, text: str, whole: bool) -> list[Any]:
        """Ids of a text; whole: with what the post-processor puts around it, and a 1 for each of those."""
        if whole:
            found = self.library.encode(text, add_special_tokens=True)
            return [list(found.ids), list(found.special_tokens_mask)]
        if self.ranked is not None:
            normalizer = self.library.normalizer
            return self.ranked.encode(text, normalizer.normalize_str if normalizer else str)
        return list(self.library.encode(text, add_special_tokens=False).ids)


# ---- templates ----


def raise_exception(message: Any = "") -> None:
    """What templates call to refuse a conversation."""
    raise Refused("refused", str(message))


def tojson(
    value: Any, ensure_ascii: bool = False, indent: Any = None, separators: Any = None, sort_keys: bool = False
) -> Any:
    """The filter as transformers has it: unlike Jinja's own it leaves <, > and & alone."""
    import minijinja

    parts = tuple(separators) if separators is not None else None
    text = json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=parts, sort_keys=sort_keys)
    return minijinja.safe(text)


def strftime_now(pattern: str) -> str:
    """The date and time of this place."""
    from datetime import datetime

    return datetime.now().strftime(pattern)


def scoped(match: re.Match[str]) -> str:
    """{% generation %} as a tag that minijinja has, with its marks: like it, it trims and has names of its own."""
    before, end, after = match.group("before", "end", "after")
    return f"{{%{before} {end or ''}with {after}%}}" if before is not None else match[0]


class Template:
    """One chat template in an environment of its own."""

    def __init__(self, text: str, clock: bool) -> None:
        import minijinja

        self.error = minijinja.TemplateError
        self.environment = minijinja.Environment(
            filters={"tojson": tojson},
            globals={"raise_exception": raise_exception} | ({"strftime_now": strftime_now} if clock else {}),
            fuel=FUEL,
            auto_escape_callback=lambda _name: False,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        try:
            self.environment.add_template("chat", GENERATION.sub(scoped, text))
        except self.error as error:
            raise Refused("unreadable", error.message) from error

    def render(self, values: Mapping[str, Any]) -> str:
        """The text."""
        try:
            return str(self.environment.render_template("chat", **values))
        except self.error as error:
            raise Refused("fails", error.message) from error


# ---- requests ----


class Worker:
    """Requests by their names; each method is one."""

    def __init__(self) -> None:
        self.kept: dict[str, Any] = {}
        self.sizes: dict[str, int] = {}

    def _get(self, key: str) -> Any:
        if key not in self.kept:
            raise Refused("absent", "not loaded")
        return self.kept[key]

    def _make_room(self, size: int) -> None:
        """Forget the oldest, and allow the memory that what is kept takes."""
        while self.kept and (len(self.kept) >= KEPT or sum(self.sizes.values()) + size > KEPT_BYTES):
            oldest = next(iter(self.kept))
            del self.kept[oldest], self.sizes[oldest]
        allow_memory(sum(self.sizes.values()) + size)

    def _keep(self, key: str, value: Any, size: int) -> None:
        self.kept[key], self.sizes[key] = value, size

    def tokenizer(self, key: str, json: str, ranks: list[int] | None) -> dict[str, Any]:
        """Read a tokenizer.json."""
        self._make_room(len(json))
        made = Text(json, ranks)
        facts = made.facts()
        self._keep(key, made, len(json))
        return facts

    def plain(self, key: str) -> str:
        """It as the library writes it."""
        return str(self._get(key).library.to_str())

    def encode(self, key: str, text: str, whole: bool = False) -> list[Any]:
        """See `Text`."""
        tokenizer, kept = self._get(key), sum(self.sizes.values())
        allow_memory(kept, MEMORY_A_CHARACTER * len(text))
        try:
            return list(tokenizer.encode(text, whole))
        finally:
            allow_memory(kept)

    def decode(self, key: str, lists: list[list[int]], skip: bool) -> list[str]:
        """The texts of lists of ids."""
        library = self._get(key).library
        return [library.decode(ids, skip_special_tokens=skip) for ids in lists]

    def ids(self, key: str, tokens: list[str]) -> list[int | None]:
        """The id of each token; null for none."""
        return [self._get(key).library.token_to_id(token) for token in tokens]

    def tokens(self, key: str, ids: list[int]) -> list[str | None]:
        """The token of each id; null for none."""
        library = self._get(key).library
        return [library.id_to_token(index) if 0 <= index < 1 << 32 else None for index in ids]

    def beyond(self, key: str, size: int) -> dict[str, Any]:
        """How many ids are not below a vocabulary's size, and the first of their tokens."""
        found = self._get(key).library.get_vocab(with_added_tokens=True)
        tokens = sorted((index, token) for token, index in found.items() if index >= size)
        return {"count": len(tokens), "first": {token: index for index, token in tokens[:SHOWN]}}

    def table(self, name: str, values: list[Any]) -> Any:
        """What the library does to single characters: one of sandbox_tables.py."""
        return tables()[name](*values)

    def template(self, key: str, text: str, clock: bool) -> dict[str, Any]:
        """Read a chat template."""
        self._make_room(len(text))
        self._keep(key, Template(text, clock), len(text))
        return {}

    def render(self, key: str, values: dict[str, Any]) -> str:
        """A conversation as text."""
        return self._get(key).render(values)  # type: ignore[no-any-return]


@functools.cache
def tables() -> Mapping[str, Callable[..., Any]]:
    """The file beside this one, which no path leads to here."""
    spec = importlib.util.spec_from_file_location("sandbox_tables", __file__.replace("_worker", "_tables"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return dict(module.TABLES)


def allow_memory(size: int, more: int = 0) -> None:
    """The limit for tokenizers of so many characters, and ``more`` bytes. Without such a limit nothing happens."""
    if resource is None:
        return
    with contextlib.suppress(ValueError, OSError):
        _, hard = resource.getrlimit(resource.RLIMIT_AS)
        wanted = min(MAX_MEMORY, MEMORY + MEMORY_A_BYTE * size + more)
        resource.setrlimit(resource.RLIMIT_AS, (wanted if hard == resource.RLIM_INFINITY else min(wanted, hard), hard))


def allow_seconds(seconds: int) -> None:
    """The processor time of the next request, counted from now."""
    if resource is None:
        return
    used = resource.getrusage(resource.RUSAGE_SELF)
    limit = int(used.ru_utime + used.ru_stime) + 1 + seconds
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_CPU, (limit, resource.getrlimit(resource.RLIMIT_CPU)[1]))


def limit_all() -> None:
    """No files, no core, little memory. What a system does not have is left off."""
    if resource is None:
        return
    for name, soft, hard in (("RLIMIT_CORE", 0, 0), ("RLIMIT_FSIZE", 0, 0), ("RLIMIT_AS", MEMORY, MAX_MEMORY)):
        try:
            _, most = resource.getrlimit(getattr(resource, name))
            if most != resource.RLIM_INFINITY:
                soft, hard = min(soft, most), min(hard, most)
            resource.setrlimit(getattr(resource, name), (soft, hard))
        except (AttributeError, ValueError, OSError):
            pass


def answer(worker: Worker, request: dict[str, Any]) -> bytes:
    """The answer to a request, whatever happens in it; a panic of the Rust libraries is no Exception."""
    name, limit = request.pop("op"), request.pop("limit")
    allow_seconds(request.pop("seconds"))
    try:
        text = json.dumps({"value": getattr(worker, name)(**request)}).encode()
        if len(text) > limit:
            raise Refused("output", f"it makes more than {limit >> 20} MiB of text")
        return text
    except Refused as error:
        found = {"kind": error.kind, "words": str(error)[:500]}
    except MemoryError:
        found = {"kind": "memory", "words": "it takes too much memory"}
    except RecursionError:
        found = {"kind": "depth", "words": "it is nested too deep"}
    except BaseException as error:
        found = {"kind": "error", "words": (str(error) or type(error).__name__)[:500]}
    return json.dumps(found).encode()


def serve(source: BinaryIO, sink: BinaryIO) -> None:
    """Requests until stdin ends."""
    worker = Worker()
    while len(head := source.read(4)) == 4:
        request = json.loads(source.read(int.from_bytes(head, "little")))
        out = answer(worker, request)
        sink.write(len(out).to_bytes(4, "little") + out)
        sink.flush()


if __name__ == "__main__":
    sys.path[:0] = sys.argv[1:]
    limit_all()
    # Whatever a library prints goes nowhere, not between the answers.
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    try:
        serve(sys.stdin.buffer, answers)
    except (BrokenPipeError, KeyboardInterrupt):
        os._exit(0)
