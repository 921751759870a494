# SPDX-License-Identifier: Apache-2.0
"""An image in words: its plan, program, tensors and hashes, as text for people and as plain data for programs."""

from __future__ import annotations

from collections.abc import Iterator
from enum import IntEnum
from typing import Any

from construct import ConstructError

from host.errors import ImageError
from host.image.device_text import NOT_COMPOSED, may_differ, why_no_terminal
from host.image.reader import Image
from host.ir.program import OpEntry
from host.ops import OPS
from host.schema.image import (
    ARENA_UNIT,
    NO_TENSOR,
    Domain,
    Overflow,
    SectionId,
    Signature,
    Space,
    runtime_bytes,
)
from host.words import shown


def size_text(size: int) -> str:
    """Bytes with a binary unit."""
    for unit, shift in (("GiB", 30), ("MiB", 20), ("KiB", 10)):
        if size >= 1 << shift:
            return f"{size / (1 << shift):.1f} {unit}"
    return f"{size} bytes"


def image_facts(image: Image) -> dict[str, Any]:
    """Everything but the contents, as plain data."""
    return {
        "file": image.path.name,
        "root": image.root,
        "hash": image.hash.name,
        "version": f"{image.header['version_major']}.{image.header['version_minor']}",
        "image_version": image.header["image_version"],
        "file_size": image.header["file_size"],
        "sections": {s.name: {"offset": at, "size": size} for s, (at, size) in image.sections.items()},
        "plan": image.plan | {name: image.plan[name].name for name in ("overflow", "output_kind")},
        "states": [state | {name: state[name].name for name in ("kind", "format")} for state in image.states],
        "tensors": [vars(t) | {"format": t.format.name.upper(), "layout": t.layout.name} for t in image.tensors],
        "program": [{"op": op.name.upper(), "domain": op.domain.name} | _named(op) for op in image.ops],
        "manifest": image.manifest,
        "bits_per_weight": bits_per_weight(image),
        "session_bytes": session_bytes(image),
        "signed_by": signed_by(image),
        "terminal": _terminal(image),
    }


def session_bytes(image: Image) -> int:
    """KV pages, tables and history that one more session takes."""
    pages = [state["pages"] for state in image.states]
    largest = max((state["page_bytes"] for state in image.states), default=0)
    one, two = (runtime_bytes(n, image.plan["context"], image.plan["vocab"], pages, largest) for n in (1, 2))
    return two - one


def _terminal(image: Image) -> str:
    """Whether somebody with nothing but a terminal gets an answer."""
    if SectionId.TOKENS in image.sections:
        return f"answers typed lines, with tables of {size_text(image.sections[SectionId.TOKENS][1])}"
    if SectionId.BPE in image.sections:
        return f"answers typed lines, with tables of {size_text(image.sections[SectionId.BPE][1])}{_composed(image)}"
    if SectionId.TOKENIZER not in image.sections:
        return "answers no typed lines: the image has no tokenizer"
    try:
        reason = why_no_terminal(image.tokenizer)
    except ImageError as error:  # a stranger's tokenizer: the rest of the image is shown all the same
        reason = str(error)
    return f"answers no typed lines: {reason or 'packed before it could'}"


def _composed(image: Image) -> str:
    """What to know of typed lines that are not composed, where it matters."""
    try:
        return f"; {NOT_COMPOSED}" if may_differ(image.tokenizer) else ""
    except ImageError:  # a stranger's tokenizer, as below
        return ""


def _named(op: OpEntry) -> dict[str, Any]:
    """Fields with enums as names."""
    return {name: value.name if isinstance(value, IntEnum) else value for name, value in op.fields.items()}


def signed_by(image: Image) -> str | None:
    """The id of the key that an image says it is signed by, hexadecimal; None for an unsigned one."""
    if SectionId.SIGNATURE not in image.sections:
        return None
    try:
        return bytes(Signature.parse(image.section(SectionId.SIGNATURE)).key_id).hex()
    except ConstructError:
        return "a damaged signature"


def bits_per_weight(image: Image) -> float:
    """Bits that WEIGHTS takes for each value of the tensors, scales and padding included."""
    values = sum(t.rows * t.cols for t in image.tensors)
    return 8 * sum(t.size for t in image.tensors) / values if values else 0.0


def summary(image: Image, speed: str | None = None, signature: str | None = None) -> Iterator[str]:
    """What a person wants to know of an image, a fact a line.

    ``speed``: what its board can do at most. ``signature``: what a key said of it.
    """
    plan, manifest = image.plan, image.manifest
    said = {key: shown(str(manifest.get(key) or "unknown")) for key in ("name", "architecture", "board", "layout")}
    yield f"{image.path.name}: {said['name']} ({said['architecture']}) for {said['board']}, {said['layout']} layout"
    yield f"  source     {_source(manifest)}"
    yield f"  licence    {shown(str(manifest.get('licence') or 'not stated'))}"
    formats = f"{manifest.get('weights', '?')} ({manifest.get('output_weights', '?')} embedding and output)"
    size = image.sections[SectionId.WEIGHTS][1]
    yield f"  weights    {shown(formats)}, {bits_per_weight(image):.2f} bits a weight, {size_text(size)}"
    yield f"  KV cache   {shown(str(manifest.get('kv', '?')))}"
    yield f"  model      {plan['layers']} layers, dim {plan['dim']}, vocabulary {plan['vocab']}"
    overflow = "stops when full" if plan["overflow"] == Overflow.STOP else f"slides behind {plan['sinks']} sinks"
    yield f"  context    {plan['context']} positions, {overflow}; {plan['sessions']} session(s)"
    arena = plan["arena_bytes"] + plan["runtime_bytes"]
    yield (
        f"  memory     image {size_text(image.header['file_size'])}; arena {size_text(arena)}: activations "
        f"{size_text(plan['arena_bytes'])}, sessions {size_text(plan['runtime_bytes'])}, "
        f"{size_text(session_bytes(image))} each"
    )
    if speed:
        yield f"  speed      {speed}"
    yield f"  terminal   {_terminal(image)}"
    key = signed_by(image)
    yield f"  signature  {signature or ('none' if key is None else f'by key {key}, not checked: give --key KEY.pub')}"
    version = f"{image.header['version_major']}.{image.header['version_minor']}"
    yield (
        f"  identity   {image.root} ({image.hash.name}), image version {image.header['image_version']}, "
        f"format {version}, by {shown(str(manifest.get('tool') or 'an unknown tool'))}"
    )


def _source(manifest: dict[str, Any]) -> str:
    """The file's name, how it came, its hash."""
    source = manifest.get("source")
    if not isinstance(source, dict):
        return "not stated"
    words = [str(source.get("path", "?"))]
    words += [f"{what} {source[key]}" for key, what in (("recipe", "recipe"), ("package", "from")) if source.get(key)]
    return shown(", ".join([*words, f"SHA-256 {source.get('sha256', 'not stated')}"]), 400)


def image_text(image: Image) -> Iterator[str]:
    """Lines for people: sections, states, tensors, program."""
    plan = image.plan
    yield f"step      {plan['max_rows']} rows, {plan['max_logit_rows']} with logits"
    yield ""
    yield "section        offset       bytes"
    for section, (offset, size) in image.sections.items():
        yield f"{section.name.lower():<10} {offset:>10} {size:>11}"
    yield ""
    yield "state  kind      format  KV heads  head dim  window  sinks  pages  page bytes"
    for index, s in enumerate(image.states):
        yield (
            f"{index:>5}  {s['kind'].name.lower():<8}  {s['format'].name.lower():<6}  {s['kv_heads']:>8}  "
            f"{s['head_dim']:>8}  {s['window']:>6}  {s['sinks']:>5}  {s['pages']:>5}  {s['page_bytes']:>10}"
        )
    yield ""
    yield "tensor  format  layout  rows x cols        offset      bytes  name"
    for t in image.tensors:
        shape = f"{t.rows} x {t.cols}"
        yield (
            f"{t.index:>6}  {t.format.name:<6}  {t.layout.name.lower():<6}  {shape:<15} {t.offset:>9} "
            f"{t.size:>10}  {t.name}"
        )
    yield ""
    yield "   op  rows    what"
    for op in image.ops:
        domain = "all" if op.domain == Domain.ROWS else "logits"
        yield f"{op.index:>5}  {domain:<6}  {op_text(image, op)}"


def op_text(image: Image, op: OpEntry) -> str:
    """One op as a line: result, name, operands, tensors by name, and parameters that are not neutral."""
    fields, named = _named(op), OPS[op.id].tensors
    places = {k: _place(v) for k, v in fields.items() if isinstance(v, dict) and v["space"] != Space.NONE}
    tensors = [f"{key}={image.tensors[fields[key]].name}" for key in named if fields[key] < len(image.tensors)]
    rest = [
        f"{key}={value:g}" if isinstance(value, float) else f"{key}={value}"
        for key, value in fields.items()
        if not isinstance(value, dict) and key not in named and value not in (0, 0.0, NO_TENSOR, "NONE")
    ]
    target = f"{places.pop('dst')} = " if "dst" in places else ""
    operands = [place if key in ("src", "x", "a") else f"{key}={place}" for key, place in places.items()]
    return f"{target}{op.name}({', '.join([*operands, *tensors])}) {' '.join(rest)}".rstrip()


def _place(operand: dict[str, int]) -> str:
    """An operand as its byte offset in the arena and the first element of the row that is meant."""
    text = f"@{operand['offset'] * ARENA_UNIT:#x}"
    return f"{text}+{operand['col']}" if operand["col"] else text
