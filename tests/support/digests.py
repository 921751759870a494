# SPDX-License-Identifier: Apache-2.0
"""Digests of logits: what every image says to fixed tokens, bit for bit, on every target and in every version.

A case is a model, how it is compiled, and a script of tokens. Its digest is the first 16 hex digits of the SHA-256 of
all logits that the script asks for: f32, little-endian, as they come over the link. Neither the layout of the weights
nor the target nor the image's format has a part in it. The small models' weights come from SHAKE-128 of the tensor's
name, as integers times a power of two, so that neither libm nor numpy's generators can change them.
"""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from host.boards import load_board
from host.compiler.compile import KV_FORMATS, LAYOUTS, Options
from host.compiler.passes import PASSES
from host.files.source import Source
from host.link.client import Client
from host.model import load_source
from host.packing.pack import PackRequest, prepare
from host.schema.formats import formats
from host.schema.image import Layout, Overflow
from host.targets import TargetSpec, open_target
from host.targets.abilities import slowness
from host.targets.opening import build_firmware
from tests.support.family_rows import head_of, rows, tiny_model
from tests.support.model_files import write_folder, write_gguf
from tests.support.tiny import MemoryTensor, tiny_gpt2, tiny_image, tiny_llama

FILE = Path(__file__).parents[1] / "golden" / "digests.json"
REFERENCE = "native:harts=1"
TARGETS = (
    REFERENCE,
    "native:harts=4",
    "native:scalar,harts=1",
    "linux:harts=1",
    "linux:harts=4",
    "linux:rvv,vlen=128,harts=1",
    "linux:rvv,vlen=1024,harts=4",
    "linux-aarch64:harts=4",
    "linux-aarch64:scalar,harts=1",
    "qemu-virt:harts=1",
    "qemu-virt:harts=4",
    "qemu-virt:rvv,vlen=256,harts=1",
    "qemu-virt:rvv,vlen=256,harts=4",
    "spike:scalar,harts=1",
    "spike:scalar,harts=4",
    "spike:rvv,vlen=128,harts=1",
    "spike:rvv,vlen=256,harts=4",
    "visionfive2@spike:harts=1",
    "visionfive2@spike:harts=4",
)
"""Everything that can be started here, with one hart and with four."""
DIGITS = 16
PATIENCE = 20.0
RECIPE = "smollm2-135m-instruct"
SOURCES = {"llama": tiny_llama, "gpt2": tiny_gpt2}
Script = tuple[tuple[int, int, bool], ...]
"""Steps of (session, tokens to append or, where negative, to roll back, whether their logits are asked for)."""


def chat(first: int) -> Script:
    """Prefill of ``first`` tokens in chunks, two sessions by turns, decoding, rolling back and reading on."""
    decode = ((0, 1, True), (1, 1, True)) * 2
    return ((0, first, False), (1, 19, False), (0, 1, True), (1, 11, True), *decode, (0, -3, False), (0, 6, True))


USUAL = chat(70)
TEXTS: Script = ((0, 30, True), (1, 77, True), (0, 200, True))
"""Whole texts for an encoder."""
REAL: Script = ((0, 20, False), (1, 6, False), (0, 1, True), (1, 1, True), (0, 1, True))
"""Three rows of a large vocabulary, each of which takes a simulated line seconds."""


@dataclass(frozen=True)
class Case:
    """One image, or one for each layout where it ``has_layouts``, and what it is asked.

    stored: the file that the model goes through: "folder", or a GGUF in this type; nothing where empty.
    twin: the case that must have the same digest.
    """

    family: str
    config: Mapping[str, Any] = field(default_factory=dict)
    options: Options = field(default_factory=Options)
    script: Script = USUAL
    stored: str = ""
    twin: str = ""
    has_layouts: bool = False


def options(weights: str = "q8", kv: str = "int8", **changes: Any) -> Options:
    """Two sessions and a context of 256 unless changed."""
    given: dict[str, Any] = {"context": 256, "sessions": 2} | changes
    return Options(weights=formats()[weights], kv=KV_FORMATS[kv], **given)


def _formats() -> Iterator[tuple[str, Case]]:
    for family in SOURCES:
        for weights in formats():
            for kv in KV_FORMATS:
                case = Case(family, options=options(weights, kv), has_layouts=kv == "int8")
                yield f"formats/{family}-{weights}-{kv}", case
    all_four = options("q4m", output_weights=formats()["q4m"])
    yield "formats/llama-q4m-output-q4m", Case("llama", options=all_four, has_layouts=True)


LLAMA3 = {"factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 64}
YARN = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 96}
FACTORS = {"rope_type": "factors", "factors": [1.0 + i / 4 for i in range(12)]}
VARIANTS: dict[str, tuple[str, dict[str, Any]]] = {
    "llama-untied": ("llama", {"tie_word_embeddings": False}),
    "llama-one-kv-head": ("llama", {"num_key_value_heads": 1}),
    "llama-as-many-kv-heads": ("llama", {"num_key_value_heads": 4}),
    "llama-wide-heads": ("llama", {"hidden_size": 64, "head_dim": 32, "intermediate_size": 96}),
    "llama-three-layers": ("llama", {"num_hidden_layers": 3}),
    "llama-attention-bias": ("llama", {"attention_bias": True}),
    "llama-biases": ("llama", {"attention_bias": True, "mlp_bias": True}),
    "llama-gelu": ("llama", {"hidden_act": "gelu"}),
    "llama-gelu-tanh": ("llama", {"hidden_act": "gelu_pytorch_tanh"}),
    "llama-relu": ("llama", {"hidden_act": "relu"}),
    "llama-rope-theta": ("llama", {"rope_theta": 5e5}),
    "llama-rope-linear": ("llama", {"rope_scaling": {"rope_type": "linear", "factor": 4.0}}),
    "llama-rope-llama3": ("llama", {"rope_scaling": {"rope_type": "llama3", **LLAMA3}}),
    "llama-rope-yarn": ("llama", {"rope_scaling": YARN}),
    "llama-rope-factors": ("llama", {"rope_scaling": FACTORS}),
    "gpt2-untied": ("gpt2", {"tie_word_embeddings": False}),
    "gpt2-exact-gelu": ("gpt2", {"activation_function": "gelu"}),
    "gpt2-scaled-by-layer": ("gpt2", {"scale_attn_by_inverse_layer_idx": True}),
    "gpt2-unscaled": ("gpt2", {"scale_attn_weights": False}),
}
ROUGH = ("fold_norms",)
"""The pass that changes the order of roundings, where weights are f32."""


def _families() -> Iterator[tuple[str, Case]]:
    for name, (family, config) in VARIANTS.items():
        yield f"families/{name}", Case(family, config, options("q4m" if "bias" in name else "q8"))


def _rows() -> Iterator[tuple[str, Case]]:
    """The other families, each as its row in tests/families has it."""
    for family in rows():
        if family not in SOURCES:
            yield f"rows/{family}", Case(family, options=options(), script=TEXTS if head_of(family) else USUAL)
    labels = {"architectures": ["BertForTokenClassification"], "num_labels": 5}
    yield "rows/bert-labels", Case("bert", labels, options(), TEXTS)


def _passes() -> Iterator[tuple[str, Case]]:
    for family in SOURCES:
        base, exact = f"formats/{family}-q8-int8", f"passes/{family}-f32-unfolded"
        yield exact, Case(family, options=options("f32", without=ROUGH))
        unfused = tuple(PASSES)
        yield f"passes/{family}-q8-none", Case(family, options=options(without=unfused), twin=base)
        yield f"passes/{family}-f32-none", Case(family, options=options("f32", without=unfused), twin=exact)
    for left in (name for name in PASSES if name not in ROUGH):
        case = Case("llama", options=options(without=(left,)), twin="formats/llama-q8-int8")
        yield f"passes/llama-q8-without-{left.replace('_', '-')}", case


def _contexts() -> Iterator[tuple[str, Case]]:
    few = options(max_rows=16, max_logit_rows=3)
    yield "contexts/llama-small-chunks", Case("llama", options=few, twin="formats/llama-q8-int8")
    # Positions 256 and up are a second partial result of attention.
    for kv in KV_FORMATS:
        yield f"contexts/llama-long-{kv}", Case("llama", options=options(kv=kv, context=384), script=chat(300))
    yield "contexts/gpt2-long", Case("gpt2", {"n_positions": 384}, options(context=384), chat(300))
    # The last row of session 0 is the last position that there is.
    full = Case("llama", options=options(context=77), script=(*USUAL, (0, 1, True)))
    yield "contexts/llama-full", full
    for sinks in (0, 4):
        for kv in KV_FORMATS:
            slid = options(kv=kv, context=96, overflow=Overflow.SLIDE, sinks=sinks)
            yield f"contexts/llama-slide-{sinks}-{kv}", Case("llama", options=slid, script=chat(250))


def _files() -> Iterator[tuple[str, Case]]:
    for family in SOURCES:
        base = f"formats/{family}-q8-int8"
        yield f"files/{family}-safetensors", Case(family, options=options(), stored="folder", twin=base)
    mistral = Case("llama", {"model_type": "mistral", "sliding_window": 256}, options(), stored="folder")
    yield "files/mistral-safetensors", replace(mistral, twin="formats/llama-q8-int8")
    # Rows of whole blocks, so that every matrix is stored in the type and its values are taken over.
    for family in SOURCES:
        width = "n_inner" if family == "gpt2" else "intermediate_size"
        for kind, weights in (("Q4_0", "q4"), ("Q4_1", "q4m"), ("Q8_0", "q8"), ("F16", "q8")):
            case = Case(family, {width: 160}, options(weights), stored=kind)
            yield f"files/{family}-gguf-{kind.lower().replace('_', '-')}", case


def _real() -> Iterator[tuple[str, Case]]:
    for weights in ("q4m", "q4", "q8"):
        yield f"smollm2/{weights}", Case(RECIPE, options=options(weights), script=REAL, has_layouts=True)


CASES: dict[str, Case] = dict([*_formats(), *_families(), *_rows(), *_passes(), *_contexts(), *_files(), *_real()])
"""By name: the part before the slash is what belongs together."""


def whole_numbers(name: str, shape: tuple[int, ...]) -> npt.NDArray[np.float32]:
    """16-bit integers from the tensor's name, times a power of two.

    A matrix keeps the size of what goes through it within a factor of two. Norm weights lie around 1, embeddings within
    2 of zero, other vectors within 1/4.
    """
    raw = np.frombuffer(hashlib.shake_128(name.encode()).digest(2 * int(np.prod(shape))), "<i2")
    values = raw.reshape(shape).astype(np.float32) * np.float32(2.0**-15)
    if len(shape) == 1:
        centre = 1.0 if name.endswith("weight") else 0.0
        return values * np.float32(0.25) + np.float32(centre)
    if "embed" in name or name.startswith("w"):
        return values * np.float32(2.0)
    power = next(p for p in range(32) if 4**p >= shape[1])
    return values * np.float32(2.0 ** (1 - power))


def whole_source(family: str, config: Mapping[str, Any]) -> Source:
    """A tiny model whose weights are whole numbers times powers of two."""
    changes = {key: value for key, value in config.items() if key != "model_type"}
    source = SOURCES[family](**changes) if family in SOURCES else tiny_model(family, **changes)
    tensors = {name: MemoryTensor(name, whole_numbers(name, raw.shape)) for name, raw in source.tensors.items()}
    return replace(source, tensors=tensors)


def stored_source(case: Case, folder: Path) -> Source:
    """The case's model as its file gives it."""
    source = whole_source(case.family, case.config)
    if not case.stored:
        return source
    if case.stored == "folder":
        return load_source(
            write_folder(replace(source, architecture=case.config.get("model_type", case.family)), folder)
        )
    return load_source(write_gguf(source, folder / "m.gguf", case.stored))


def write_case(case: Case, layout: Layout, path: Path) -> Path:
    """Make the case's image. SourceError where a real model cannot be fetched."""
    if case.family == RECIPE:
        request = PackRequest(
            source=RECIPE,
            weights=case.options.weights.name,
            layout=layout.name.lower(),
            context=case.options.context,
            sessions=case.options.sessions,
        )
        prepare(request).write(path)
    else:
        folder = path.with_suffix(".d")
        folder.mkdir()
        tiny_image(path, stored_source(case, folder), replace(case.options, layout=layout))
    return path


def layouts(case: Case, spec: TargetSpec) -> list[Layout]:
    """In which layouts a target gets a case: that of its kernels; on ``native``, which prefers neither, in both."""
    if spec.board == "native" and case.has_layouts:
        return list(LAYOUTS.values())
    return [Layout.RVV if spec.kernels == "rvv" else Layout.SWAR]


def digest(client: Client, case: Case) -> str:
    """Have a device that was just started run a case's script."""
    found, sent = hashlib.sha256(), 0
    head = head_of(case.family, **case.config) if case.script is TEXTS else None
    for session, count, wanted in case.script:
        if count < 0:
            client.truncate(client.length(session) + count, session)
            continue
        tokens = [((sent + i) * 37 + 5) % client.info.vocab for i in range(count)]
        sent += count
        if head is not None:
            width = len(head.labels) or rows()[case.family].width
            for result in client.encode(tokens, 1 if head.pool else count, width, session):
                found.update(result.astype("<f4").tobytes())
            continue
        client.prompt(tokens, session)
        if not wanted:
            client.generate(0, session=session).finish()
            continue
        for row in client.score(session, logits=True):
            assert row.logits is not None
            found.update(row.logits.astype("<f4").tobytes())
    return found.hexdigest()[:DIGITS]


def ask(spec: TargetSpec, image: Path, name: str) -> str:
    """Start a target with an image of a case and have it run the case's script; the digest. TargetError."""
    with open_target(spec, image) as target:
        patience = PATIENCE * max(slowness(spec), 1.0)
        client = Client(target, patience=patience)
        client.connect(timeout=patience)
        return digest(client, CASES[name])


class Images:
    """Images of cases, each made once. ``folder`` is empty and the caller's."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def path(self, name: str, layout: Layout) -> Path:
        """The case's image in this layout. SourceError where a real model cannot be fetched."""
        path = self._folder / f"{name.replace('/', '-')}-{layout.name.lower()}.hsp"
        return path if path.is_file() else write_case(CASES[name], layout, path)


def digests_of(spec: TargetSpec, name: str, images: Images) -> set[str]:
    """What a target gives for a case: one digest, if all layouts agree. SourceError, TargetError."""
    return {ask(spec, images.path(name, layout), name) for layout in layouts(CASES[name], spec)}


@functools.cache
def build_target(spec: TargetSpec) -> None:
    """Build a target's firmware, which otherwise might be that of older sources. TargetError where it fails."""
    if not spec.is_line:
        build_firmware(load_board(spec.board), spec, None)


def chosen(parts: Iterable[str]) -> list[str]:
    """Cases whose name begins with one of these words; all where there are none."""
    begins = tuple(parts)
    return [name for name in CASES if name.startswith(begins)] if begins else list(CASES)


def read_digests() -> dict[str, str]:
    """The digests as they shall be, by case. A case that is not in the file has the digest of its twin, if any."""
    written = dict(json.loads(FILE.read_text()))
    twins = {name: written[case.twin] for name, case in CASES.items() if case.twin in written}
    return twins | written


def unwritten_formats(known: Mapping[str, str]) -> set[str]:
    """Weight formats with no digest at all: they are new, and ``tools.digests --write`` gives them theirs."""
    written = {CASES[name].options.weights for name in known if name in CASES}
    return {name for name, value in formats().items() if value not in written}


def write_digests(digests: Mapping[str, str]) -> None:
    """Write the file: one line a case, in the cases' order. Cases that are gone are left out."""
    FILE.write_text(json.dumps({name: digests[name] for name in CASES if name in digests}, indent=1) + "\n")
