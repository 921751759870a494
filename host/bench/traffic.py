# SPDX-License-Identifier: Apache-2.0
"""What a token must read and multiply, computed from an image's program: no device is asked.

Bytes are those of the packed tensors, padding included, as often as they come from memory when no cache holds a
weight from one step to the next. A step of several rows reads each matrix once. Activations are not counted.
"""

from __future__ import annotations

from host.errors import ImageError
from host.ir.program import OpEntry, Program, Traffic
from host.ops import OPS
from host.schema.image import NO_TENSOR, Domain


def op_traffic(image: Program, op: OpEntry, rows: int, start: int, logit_rows: int) -> Traffic:
    """What one op reads in a step of ``rows`` rows from position ``start`` on, ``logit_rows`` of them with logits."""
    count = rows if op.domain == Domain.ROWS else logit_rows
    if not count:
        return Traffic()
    return OPS[op.id].traffic(image, op, count, start)


def group_name(image: Program, op_id: int, weight: int) -> str:
    """Under which name an op's cost is added up: its kind, and the role of its weight where it has one of its own."""
    op = OPS[op_id]
    if op.told_apart_by is None or weight >= len(image.tensors):
        return op.name
    if image.tensors[weight].rows == image.plan["vocab"]:
        return f"{op.name} output"
    words = [w for w in image.tensors[weight].name.split(".") if not w.isdigit() and w not in ("weight", "model", "h")]
    return f"{op.name} {words[-1] if words else weight}"


def op_group(image: Program, op: OpEntry) -> str:
    """``group_name`` of an op of the program."""
    name = OPS[op.id].told_apart_by
    return group_name(image, op.id, NO_TENSOR if name is None else op.fields[name])


def traffic_by_group(image: Program, tokens: int, start: int, chunk: int, logits_each: bool) -> dict[str, Traffic]:
    """A token's share when ``tokens`` tokens from position ``start`` on are evaluated, ``chunk`` rows a step.

    logits_each: whether the logits of every row are wanted (decode) or only those of the last (a prompt).
    """
    if tokens < 1 or chunk < 1:
        raise ImageError("a benchmark needs at least one token")
    totals: dict[str, Traffic] = {}
    for first in range(0, tokens, chunk):
        rows = min(chunk, tokens - first)
        logit_rows = rows if logits_each else int(first + rows == tokens)
        for op in image.ops:
            group = op_group(image, op)
            cost = op_traffic(image, op, rows, start + first, logit_rows)
            totals[group] = totals.get(group, Traffic()) + cost
    return {group: total / tokens for group, total in totals.items()}


def total_traffic(groups: dict[str, Traffic]) -> Traffic:
    """The sum over all groups."""
    return sum(groups.values(), Traffic())
