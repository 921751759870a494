# SPDX-License-Identifier: Apache-2.0
"""An image in words: its plan, program, tensors and hashes, as text for people and as plain data for programs."""

from __future__ import annotations

from collections.abc import Iterator
from enum import IntEnum
from typing import Any

from host.image.bpe import why_no_terminal
from host.image.format import (
    ARENA_UNIT,
    NO_TENSOR,
    Domain,
    Overflow,
    SectionId,
    Space,
    runtime_bytes,
)
from host.image.reader import Image, OpEntry

TENSOR_FIELDS = ("table", "positions", "weight", "bias", "tensor", "frequencies")


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
        "version": f"{image.header['version_major']}.{image.header['version_minor']}",
        "image_version": image.header["image_version"],
        "file_size": image.header["file_size"],
        "sections": {s.name: {"offset": at, "size": size} for s, (at, size) in image.sections.items()},
        "plan": image.plan | {"overflow": image.plan["overflow"].name},
        "states": [state | {"format": state["format"].name} for state in image.states],
        "tensors": [vars(t) | {"format": t.format.name, "layout": t.layout.name} for t in image.tensors],
        "program": [{"op": op.id.name, "domain": op.domain.name} | _named(op) for op in image.ops],
        "manifest": image.manifest,
    }


def session_bytes(image: Image) -> int:
    """KV pages, tables and history that one more session takes."""
    pages = [state["pages"] for state in image.states]
    largest = max((state["page_bytes"] for state in image.states), default=0)
    one, two = (runtime_bytes(n, image.plan["context"], image.plan["vocab"], pages, largest) for n in (1, 2))
    return two - one


def _terminal(image: Image) -> str:
    """Whether somebody with nothing but a terminal gets an answer."""
    if SectionId.BPE in image.sections:
        return f"answers typed lines, with tables of {size_text(image.sections[SectionId.BPE][1])}"
    if SectionId.TOKENIZER not in image.sections:
        return "answers no typed lines: the image has no tokenizer"
    return f"answers no typed lines: {why_no_terminal(image.tokenizer) or 'packed before it could'}"


def _named(op: OpEntry) -> dict[str, Any]:
    """Fields with enums as names."""
    return {name: value.name if isinstance(value, IntEnum) else value for name, value in op.fields.items()}


def image_text(image: Image) -> Iterator[str]:
    """Lines for people: facts, memory, sections, states, tensors, program."""
    plan, manifest = image.plan, image.manifest
    yield f"image     {image.path.name}, format {image.header['version_major']}.{image.header['version_minor']}"
    yield f"root      {image.root}"
    for key in ("name", "licence", "tool"):
        if manifest.get(key):
            yield f"{key:<9} {manifest[key]}"
    yield f"model     {plan['layers']} layers, dim {plan['dim']}, vocabulary {plan['vocab']}"
    overflow = "stops when full" if plan["overflow"] == Overflow.STOP else f"slides behind {plan['sinks']} sinks"
    yield f"context   {plan['context']} positions, {overflow}; {plan['sessions']} session(s)"
    yield f"step      {plan['max_rows']} rows, {plan['max_logit_rows']} with logits"
    yield f"memory    activations {size_text(plan['arena_bytes'])}, runtime {size_text(plan['runtime_bytes'])}"
    yield f"session   {size_text(session_bytes(image))} each"
    yield f"weights   {size_text(image.sections[SectionId.WEIGHTS][1])}"
    yield f"terminal  {_terminal(image)}"
    yield ""
    yield "section        offset       bytes"
    for section, (offset, size) in image.sections.items():
        yield f"{section.name.lower():<10} {offset:>10} {size:>11}"
    yield ""
    yield "state  format  KV heads  head dim  window  sinks  pages  page bytes"
    for index, s in enumerate(image.states):
        yield (
            f"{index:>5}  {s['format'].name.lower():<6}  {s['kv_heads']:>8}  {s['head_dim']:>8}  "
            f"{s['window']:>6}  {s['sinks']:>5}  {s['pages']:>5}  {s['page_bytes']:>10}"
        )
    yield ""
    yield "tensor  format  layout  rows x cols        offset      bytes  name"
    for t in image.tensors:
        shape = f"{t.rows} x {t.cols}"
        yield (
            f"{t.index:>6}  {t.format.name.lower():<6}  {t.layout.name.lower():<6}  {shape:<15} {t.offset:>9} "
            f"{t.size:>10}  {t.name}"
        )
    yield ""
    yield "   op  rows    what"
    for op in image.ops:
        domain = "all" if op.domain == Domain.ROWS else "logits"
        yield f"{op.index:>5}  {domain:<6}  {op_text(image, op)}"


def op_text(image: Image, op: OpEntry) -> str:
    """One op as a line: result, name, operands, tensors by name, and parameters that are not neutral."""
    fields = _named(op)
    places = {k: _place(v) for k, v in fields.items() if isinstance(v, dict) and v["space"] != Space.NONE}
    tensors = [
        f"{key}={image.tensors[fields[key]].name}"
        for key in TENSOR_FIELDS
        if isinstance(fields.get(key), int) and fields[key] < len(image.tensors)
    ]
    rest = [
        f"{key}={value:g}" if isinstance(value, float) else f"{key}={value}"
        for key, value in fields.items()
        if not isinstance(value, dict) and key not in TENSOR_FIELDS and value not in (0, 0.0, NO_TENSOR, "NONE")
    ]
    target = f"{places.pop('dst')} = " if "dst" in places else ""
    operands = [place if key in ("src", "x", "a") else f"{key}={place}" for key, place in places.items()]
    return f"{target}{op.id.name.lower()}({', '.join([*operands, *tensors])}) {' '.join(rest)}".rstrip()


def _place(operand: dict[str, int]) -> str:
    """An operand as its byte offset in the arena and the first element of the row that is meant."""
    text = f"@{operand['offset'] * ARENA_UNIT:#x}"
    return f"{text}+{operand['col']}" if operand["col"] else text
