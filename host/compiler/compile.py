# SPDX-License-Identifier: Apache-2.0
"""From a source to a program with its weights' places and its memory plan: everything but the bytes of the weights."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from host.compiler.lower import Lowered, Lowerer
from host.compiler.passes import run_passes
from host.compiler.tensors import TensorSpec
from host.errors import SourceError, UsageError
from host.families import build_graph
from host.files.source import Source, Tokenizer
from host.ir.graph import Graph
from host.ir.lowering import PlanOptions
from host.schema.formats.q4m import Q4M
from host.schema.formats.q8 import Q8
from host.schema.image import MAX_STOP_IDS, NO_TENSOR, Format, Layout, Overflow, runtime_bytes
from host.schema.limits import (
    LIMIT_CONTEXT,
    LIMIT_LOGIT_ROWS,
    LIMIT_OPS,
    LIMIT_ROWS,
    LIMIT_SESSIONS,
    LIMIT_STATES,
    LIMIT_TENSORS,
    LIMIT_VOCAB,
    LIMIT_WIDTH,
)
from host.schema.weights import WeightFormat

KV_FORMATS = {"f32": Format.F32, "int8": Format.KV8}
LAYOUTS = {"rvv": Layout.RVV, "swar": Layout.SWAR}
MAX_ROWS = 64
MAX_LOGIT_ROWS = 8


@dataclass(frozen=True)
class Options:
    """How a model is compiled. ``output_weights`` None: q8 beside weights of fewer bits, else as ``weights``."""

    weights: WeightFormat = Q4M
    output_weights: WeightFormat | None = None
    kv: Format = Format.KV8
    layout: Layout = Layout.RVV
    context: int | None = None
    sessions: int = 1
    max_rows: int = MAX_ROWS
    max_logit_rows: int = MAX_LOGIT_ROWS
    overflow: Overflow = Overflow.STOP
    sinks: int = 0
    without: tuple[str, ...] = ()

    @property
    def output_format(self) -> WeightFormat:
        """Format of the embedding table and the output matrix.

        The output matrix of a small model is its largest and feeds the softmax directly: 8 bits there cost little
        quality, 4 bits a lot. A tied model has one tensor for both.
        """
        if self.output_weights is not None:
            return self.output_weights
        return Q8 if self.weights.bits < Q8.bits else self.weights


@dataclass(frozen=True)
class Compiled:
    """A compiled model. ``plan`` holds the values of host.schema.image.Plan by name."""

    plan: dict[str, int | list[int]]
    lowered: Lowered
    graph: Graph
    options: Options
    context: int

    @property
    def weight_bytes(self) -> int:
        """Size of WEIGHTS."""
        last = self.lowered.tensors[-1]
        return last.offset + last.size

    @property
    def tensors(self) -> list[TensorSpec]:
        """The tensor table."""
        return self.lowered.tensors

    @property
    def session_bytes(self) -> int:
        """KV pages and history of one session."""
        one, two = (self.runtime(sessions) for sessions in (1, 2))
        return two - one

    def runtime(self, sessions: int) -> int:
        """Bytes that the engine needs behind the activations for so many sessions."""
        states = self.lowered.states
        pages, largest = [s.pages for s in states], max((s.page_bytes for s in states), default=0)
        return runtime_bytes(sessions, self.context, self.graph.vocab, pages, largest)

    @property
    def arena_bytes(self) -> int:
        """Activations."""
        return self.lowered.arena_bytes


def compile_model(source: Source, options: Options) -> Compiled:
    """Build the graph, run the passes, lower and plan. Reads no large tensor unless norms are folded.

    SourceError for what the architecture does not support, UsageError for options that contradict the model.
    """
    return compile_graph(build_graph(source, options.context), source.tokenizer, options)


def compile_graph(graph: Graph, tokenizer: Tokenizer | None, options: Options) -> Compiled:
    """Run the passes, lower and plan; the graph is changed. Raises as `compile_model`."""
    _check_limits(graph)
    context = _check_options(graph, options)
    for node in graph.nodes:
        node.choose_formats(options.weights, options.output_format)
    run_passes(graph, options.without)
    rows, wanted = _rows(graph, options, context)
    fixed = PlanOptions(
        context=context,
        sessions=options.sessions,
        max_rows=rows,
        max_logit_rows=wanted,
        kv_format=options.kv,
        overflow=options.overflow,
        sinks=options.sinks,
    )
    lowered = Lowerer(graph, fixed, options.layout).run()
    if len(lowered.tensors) > LIMIT_TENSORS:
        count = len(lowered.tensors)
        raise SourceError(f"the model's program names {count} tensors; the firmware takes {LIMIT_TENSORS} at most")
    if len(lowered.ops) > LIMIT_OPS:
        raise SourceError(f"the model's program has {len(lowered.ops)} ops; the firmware holds {LIMIT_OPS} at most")
    compiled = Compiled({}, lowered, graph, options, context)
    compiled.plan.update(_plan(tokenizer, compiled, fixed))
    return compiled


def _rows(graph: Graph, options: Options, context: int) -> tuple[int, int]:
    """Rows of a step, and of those that want a result."""
    if graph.whole:
        return context, 1 if graph.one_result else context
    return min(options.max_rows, context), min(options.max_logit_rows, options.max_rows, context)


def _plan(tokenizer: Tokenizer | None, compiled: Compiled, fixed: PlanOptions) -> dict[str, int | list[int]]:
    graph, lowered = compiled.graph, compiled.lowered
    stop_ids = _stop_ids(tokenizer.stop_ids if tokenizer else (), graph.vocab)
    bos = tokenizer.bos if tokenizer else None
    if bos is not None and bos >= graph.vocab:
        raise SourceError(f"the tokenizer's bos id {bos} is outside the model's vocabulary of {graph.vocab}")
    return {
        "vocab": graph.vocab,
        "dim": graph.dim,
        "layers": graph.layers,
        "context": fixed.context,
        "max_rows": fixed.max_rows,
        "max_logit_rows": fixed.max_logit_rows,
        "sessions": fixed.sessions,
        "overflow": fixed.overflow,
        "sinks": fixed.sinks,
        "tensor_count": len(lowered.tensors),
        "state_count": len(lowered.states),
        "op_count": len(lowered.ops),
        "output_kind": graph.output,
        "output_width": graph.logits.width if graph.logits else 0,
        "output_whole_step": int(graph.whole),
        "output_offset": lowered.logits_offset,
        "output_stride": lowered.logits_stride,
        "arena_bytes": lowered.arena_bytes,
        "runtime_bytes": compiled.runtime(fixed.sessions),
        "bos": NO_TENSOR if bos is None else bos,
        "flags": 0,
        "stop_count": len(stop_ids),
        "stop_ids": stop_ids + [0] * (MAX_STOP_IDS - len(stop_ids)),
    }


def _stop_ids(ids: Iterable[int], vocab: int) -> list[int]:
    found = list(dict.fromkeys(ids))
    outside = [i for i in found if not 0 <= i < vocab]
    if outside:
        raise SourceError(f"the tokenizer's stop ids {outside} are outside the model's vocabulary of {vocab}")
    if len(found) > MAX_STOP_IDS:
        raise SourceError(f"the model has {len(found)} stop ids; an image holds {MAX_STOP_IDS} at most")
    return found


def _check_limits(graph: Graph) -> None:
    """SourceError for what the firmware as shipped cannot hold."""
    largest = max(value.width for node in graph.nodes for value in node.outputs() if value is not graph.logits)
    for what, value, limit in (
        ("vocabulary entries", graph.vocab, LIMIT_VOCAB),
        ("attention layers", len(graph.states), LIMIT_STATES),
        ("activations in a row", largest, LIMIT_WIDTH),
    ):
        if value > limit:
            raise SourceError(f"the model has {value} {what}; the firmware holds {limit} at most")
    for node in graph.nodes:
        node.check_limits(graph.states)
        node.check_numbers()


def _check_options(graph: Graph, options: Options) -> int:
    """The context in positions, after every option was held against the model."""
    slide = options.overflow == Overflow.SLIDE
    if slide and graph.learned_positions:
        raise UsageError("this model has learned positions, so its context cannot slide; use --overflow stop")
    most = min(graph.max_context, LIMIT_ROWS if graph.whole else LIMIT_CONTEXT)
    if slide and graph.whole:
        raise UsageError("this model reads a whole text at once, so its context cannot slide; use --overflow stop")
    context = options.context if options.context is not None else min(most, graph.usual_context or most)
    if not 1 <= context <= most:
        raise UsageError(f"--context {context} is outside this model's 1 to {most} positions")
    for name, value, limit in (
        ("--sessions", options.sessions, LIMIT_SESSIONS),
        ("--rows", options.max_rows, LIMIT_ROWS),
        ("--logit-rows", options.max_logit_rows, LIMIT_LOGIT_ROWS),
    ):
        if not 1 <= value <= limit:
            raise UsageError(f"{name} {value} is outside 1 to {limit}")
    if not slide and options.sinks:
        raise UsageError("--sinks pins positions of a context that slides; add --overflow slide or leave it out")
    if slide and not 0 <= options.sinks < context:
        raise UsageError(f"--sinks {options.sinks} leaves nothing of the {context} positions to slide")
    return context
