# SPDX-License-Identifier: Apache-2.0
"""A family's random model in transformers beside the same model packed and run natively: how far apart they are."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from host.compiler.compile import Compiled, Options, compile_model
from host.compiler.passes import PASSES
from host.families import decoder_of
from host.families.parts.decoder import Residual
from host.files.source import Source
from host.image.writer import write_image
from host.ir.value import Value
from host.model import load_source
from host.ops import decode_op
from host.schema.formats.f32 import F32
from host.schema.formats.q8 import Q8
from host.schema.image import ARENA_UNIT, Format, Space
from tests.support.family_rows import divergence, torch_model
from tests.support.native import Native

LENGTH = 300
"""Positions: more than any window of the rows, and than the 256 that attention takes at once."""
PROMPT, GREEDY = 16, 64
ENTROPY = 3.0
"""Nats to which the reference is sharpened before quantized logits are compared: random models are nearly flat."""
SHARPER = 1.25

Array = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Exact:
    """f32 weights and cache. Differences are the largest ones, of the largest magnitude in the reference."""

    logits: float
    layers: tuple[float, ...]
    """What each layer hands on."""
    greedy: int | None
    """Tokens that agree of ``GREEDY`` decoded greedily, up to the first that does not; None of an encoder."""
    kl: float


@dataclass(frozen=True)
class Quantized:
    """q8 weights and int8 cache."""

    kl: float
    top1: float
    entropy: float
    """Mean entropy of the reference, in nats."""


def tokens(count: int) -> list[int]:
    """The same for all; none is padding to anyone, which has no position."""
    return np.random.default_rng(3).integers(4, 257, count).tolist()


def relative(found: Array, wanted: Array) -> float:
    """The largest difference over the largest magnitude."""
    assert found.shape == wanted.shape
    return float(np.abs(found - wanted).max() / np.abs(wanted).max())


class Reference:
    """transformers' model, and what its layers hand on."""

    def __init__(self, family: str, variant: str) -> None:
        self.model = torch_model(family, variant)
        self.layers: list[Array] = []

    def source(self, folder: Path) -> Source:
        """The model as it is saved, read back."""
        self.model.save_pretrained(folder)
        return load_source(folder, require_tokenizer=False)

    def logits(self, ids: list[int]) -> Array:
        """[tokens][vocab]; of an encoder [results][width], its vectors being the mean of the rows."""
        import torch

        with torch.no_grad():
            found = self.model(torch.tensor([ids]))
        if "logits" not in found:
            return np.asarray(found.last_hidden_state.mean(dim=1).numpy())
        return np.asarray(found.logits.reshape(-1, found.logits.shape[-1]).numpy())

    def watched(self, ids: list[int], count: int) -> Array:
        """The logits, with what each of ``count`` layers hands on in ``layers``."""
        import torch

        lists = [each for each in self.model.modules() if isinstance(each, torch.nn.ModuleList) and len(each) == count]
        self.layers = []

        def keep(_module: Any, _inputs: Any, output: Any) -> None:
            self.layers.append(np.asarray((output[0] if isinstance(output, tuple) else output)[0].numpy()))

        hooks = [layer.register_forward_hook(keep) for layer in lists[0]]
        try:
            return self.logits(ids)
        finally:
            for hook in hooks:
                hook.remove()

    def sharpen(self, ids: list[int]) -> float:
        """Scale the output matrix until the mean entropy is at most ENTROPY nats, which is returned."""
        import torch

        for _ in range(40):
            found = entropy(self.logits(ids))
            if found <= ENTROPY:
                break
            with torch.no_grad():
                self.model.get_output_embeddings().weight.mul_(SHARPER)
        return found


def entropy(logits: Array) -> float:
    """Mean over rows, in nats."""
    x = logits.astype(np.float64) - logits.max(axis=-1, keepdims=True)
    p = np.exp(x) / np.exp(x).sum(axis=-1, keepdims=True)
    return float(-(p * np.log(np.maximum(p, 1e-300))).sum(axis=-1).mean())


class Packed:
    """The model in a native engine, not fused, so that what layers hand on can be read between ops."""

    def __init__(self, native: Native, source: Source, folder: Path, options: Options) -> None:
        self.native, self.decoder, self.rows = native, decoder_of(source), 0
        self.compiled: Compiled = compile_model(source, options)
        write_image(folder / "m.hsp", source, self.compiled, {"name": source.name})
        native.load(folder / "m.hsp")

    def handed_on(self) -> dict[int, Value]:
        """By op, the value that a layer hands on: its last sum, or the norm of that where norms stand behind sums."""
        nodes = self.compiled.graph.nodes
        found = [(i, node.outputs()[0]) for i, node in enumerate(nodes) if node.outputs()]
        sums = [(i, value) for i, value in found if value.name.endswith("mlp_residual")]
        if self.decoder.residual != Residual.POST:
            return dict(sums)
        return {i + 1: nodes[i + 1].outputs()[0] for i, _ in sums}

    def watched(self, ids: list[int]) -> tuple[Array, list[Array]]:
        """The logits of all positions, and what each layer hands on, [tokens][width]."""
        ends = self.handed_on()
        rows: dict[int, list[Array]] = {op: [] for op in ends}
        calls = 0

        def poll() -> int:
            nonlocal calls
            if (value := ends.get(calls)) is not None:
                rows[calls].append(self._read(calls, value))
            calls += 1
            return 0

        self.native.set_poll(poll)
        found = []
        if self.decoder.head is not None:
            calls, self.rows = 0, len(ids)
            found.append(self.encode(ids))
            self.native.set_poll(None)
            return np.concatenate(found), [np.concatenate(each) for each in rows.values()]
        for first in range(0, len(ids), self.native.info.max_logit_rows):
            calls, self.rows = 0, min(self.native.info.max_logit_rows, len(ids) - first)
            found.append(self.native.step([(0, first + i, ids[first + i], 1) for i in range(self.rows)]))
        self.native.set_poll(None)
        return np.concatenate(found), [np.concatenate(each) for each in rows.values()]

    def _read(self, op: int, value: Value) -> Array:
        """Rows of a value that ``op`` has just computed, [rows][width]."""
        place = decode_op(op, self.compiled.lowered.ops[op]).fields["dst"]
        assert place["space"] == Space.ARENA
        assert place["col"] == 0
        size = place["stride"] * ARENA_UNIT
        at = place["offset"] * ARENA_UNIT
        rows = self.native.arena[at : at + self.rows * size].view(np.float32).reshape(self.rows, -1)
        return rows[:, : value.width].copy()

    def encode(self, ids: list[int]) -> Array:
        """What an encoder makes of a text: [results][width]."""
        self.native.truncate(0)
        head = self.decoder.head
        first = len(ids) - 1 if head and head.pool else 0
        return self.native.step([(0, i, token, int(i >= first)) for i, token in enumerate(ids)])

    def greedy(self, prompt: list[int], count: int) -> list[int]:
        """The likeliest tokens behind a prompt."""
        self.native.truncate(0)
        found: list[int] = []
        logits = self.native.feed(prompt)
        for _ in range(count):
            found.append(int(logits[-1].argmax()))
            logits = self.native.feed(found[-1:])
        return found


def exact(native: Native, family: str, variant: str, folder: Path) -> Exact:
    """Compare in f32."""
    reference = Reference(family, variant)
    source, ids = reference.source(folder), tokens(LENGTH)
    assert source.architecture == family
    assert source.notes == []
    options = Options(weights=F32, kv=Format.F32, context=LENGTH, without=tuple(PASSES))
    ours = Packed(native, source, folder, options)
    wanted = reference.watched(ids, len(ours.decoder.layers))
    found, layers = ours.watched(ids)
    scaled = [layer * np.float32(ours.decoder.residual_scale) for layer in layers]
    agreed = None
    if ours.decoder.head is None:
        agreed = agree(reference, ids[:PROMPT], ours.greedy(ids[:PROMPT], GREEDY))
    return Exact(
        relative(found, wanted),
        tuple(relative(a, b) for a, b in zip(scaled, reference.layers, strict=True)),
        agreed,
        divergence(found, wanted),
    )


def agree(reference: Reference, prompt: list[int], ours: list[int]) -> int:
    """How many tokens transformers decodes greedily, too, up to the first that it does not: by one pass over ours."""
    ids = prompt + ours
    filled = ids + tokens(LENGTH)[len(ids) :]  # as long as what was packed: LongRoPE goes by the length
    theirs = reference.logits(filled)[len(prompt) - 1 : len(ids) - 1].argmax(axis=-1).tolist()
    return next((i for i, (a, b) in enumerate(zip(ours, theirs, strict=True)) if a != b), len(ours))


def near(native: Native, family: str, variant: str, folder: Path) -> float:
    """The least cosine of an encoder's results in q8 with those of the reference."""
    reference, ids = Reference(family, variant), tokens(LENGTH)
    ours = Packed(native, reference.source(folder), folder, Options(weights=Q8, kv=Format.KV8, context=LENGTH))
    found, wanted = ours.encode(ids).astype(np.float64), reference.logits(ids)
    lengths = np.linalg.norm(found, axis=-1) * np.linalg.norm(wanted, axis=-1)
    return float(((found * wanted).sum(axis=-1) / lengths).min())


def quantized(native: Native, family: str, variant: str, folder: Path) -> Quantized:
    """Compare in q8 with an int8 cache."""
    reference, ids = Reference(family, variant), tokens(LENGTH)
    reached = reference.sharpen(ids)
    Packed(native, reference.source(folder), folder, Options(weights=Q8, kv=Format.KV8, context=LENGTH))
    wanted, found = reference.logits(ids), native.feed(ids, every=True)
    top1 = float((wanted.argmax(axis=-1) == found.argmax(axis=-1)).mean())
    return Quantized(divergence(found, wanted), top1, reached)
