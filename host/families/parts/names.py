# SPDX-License-Identifier: Apache-2.0
"""Tensors as files hold them, under the names that a family's graph asks for: [out, in], in order, none too many."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import replace
from functools import cache

import numpy as np
import numpy.typing as npt
from gguf import MODEL_ARCH, TensorNameMap, get_tensor_name_map

from host.errors import SourceError
from host.families.parts.build import shapes
from host.families.parts.decoder import Decoder
from host.families.parts.family import Family
from host.files.tensor import StoredTensor
from host.foreign import words

SUFFIXES = (".weight", ".bias")
EMBEDDING = "token_embd.weight"
OUTPUT = "output.weight"
"""A GGUF's names for the embedding and the output matrix."""
GGUF_BUFFERS = re.compile(r"rope_(?:freqs|factors_long|factors_short)\.weight|blk\.\d+\.attn_rot_embd(?:\.weight)?")
"""Tensors of a GGUF that are no weights."""
WRAPPERS = {
    "_orig_mod.": "torch.compile",
    "module.": "DataParallel",
    "_fsdp_wrapped_module.": "FSDP",
    "base_model.model.": "peft",
    "language_model.": "a model of pictures and text",
}
"""What puts something before all names, and who does."""
OLD = {".gamma": ".weight", ".beta": ".bias"}
LAYER = re.compile(r"(?<=\.)\d+(?=\.)")
Found = Mapping[str, StoredTensor]


def _listed(names: list[str]) -> str:
    """Up to eight names and how many more."""
    shown = ", ".join(name[:80] if name.isprintable() else repr(name[:80]) for name in names[:8])
    return shown if len(names) <= 8 else f"{shown} and {len(names) - 8} more"


def _check_layers(decoder: Decoder, tensors: int) -> None:
    """Raises SourceError for more layers than tensors, before a name is made for each of theirs."""
    layers = len(decoder.layers)
    if layers > tensors:
        raise SourceError(f"the config says {layers} layers, the file holds {tensors} tensors; the file is incomplete")


def _bare(family: Family, embedding: str, found: Found) -> bool:
    """Whether these are the names of a model that was saved without its output, such as LlamaModel."""
    return bool(family.base) and embedding.removeprefix(family.base) in found and embedding not in found


def _renewed(name: str, wanted: Collection[str]) -> str:
    """What very old files call gamma and beta."""
    new = next((name.removesuffix(old) + late for old, late in OLD.items() if name.endswith(old)), name)
    return new if new in wanted else name


def canonical_safetensors(
    name: str, family: Family, decoder: Decoder, found: Found
) -> tuple[dict[str, StoredTensor], Decoder]:
    """Tensors of safetensors under canonical names, [out, in], checked, and the record that they bear out.

    An output matrix beside a config that says it is tied counts where it is another one, as in transformers 5: the
    record is untied then. Raises SourceError; see `check_tensors`.
    """
    _check_layers(decoder, len(found))
    embedding, head = f"{decoder.names.embedding}.weight", f"{decoder.names.head}.weight"
    wanted = shapes(decoder)
    tensors: dict[str, StoredTensor] = {}
    before = family.base if _bare(family, embedding, found) else ""
    for stored_name, tensor in found.items():
        ours = stored_name.removeprefix(family.prefix)
        ours = ours if ours == head or ours in wanted else _renewed(before + ours, wanted)
        if ours not in wanted and family.ignored.fullmatch(ours):
            continue
        if ours in tensors:
            raise SourceError(f"tensor {ours[:80]!r} stands in the file with and without {family.prefix!r}")
        turn = bool(family.transposed.fullmatch(ours)) and len(tensor.stored) == 2
        tensors[ours] = replace(tensor, name=ours, transposed=turn)
    if decoder.tied and head in tensors:
        decoder = replace(decoder, tied=same_bytes(tensors, head, embedding))
        if decoder.tied:
            del tensors[head]
    return check_tensors(name, family, decoder, tensors), decoder


@cache
def _names(arch: MODEL_ARCH) -> TensorNameMap:
    return get_tensor_name_map(arch, 1)


def _gguf_name(family: Family, arch: MODEL_ARCH, head: str, name: str) -> str:
    """What a GGUF calls a canonical name; layer 0 of the library's table stands for all, whatever count a file has."""
    full = name if name.rpartition(".")[0] == head else family.prefix + name
    layer = LAYER.search(full)
    first = LAYER.sub("0", full, count=1)
    found = _names(arch).get_name(first, SUFFIXES)
    if found is None or layer is None:
        return found or full
    return found.replace("blk.0.", f"blk.{layer[0]}.")


def canonical_gguf(name: str, family: Family, decoder: Decoder, found: Found) -> dict[str, StoredTensor]:
    """Tensors of a GGUF under canonical names, rows in canonical order, checked. Raises SourceError."""
    if family.gguf is None:
        raise AssertionError(f"{name} has no GGUFs")
    _check_layers(decoder, len(found))
    head = decoder.names.head
    in_file = {_gguf_name(family, family.gguf, head, ours): ours for ours in shapes(decoder)}
    tensors: dict[str, StoredTensor] = {}
    for stored_name, tensor in found.items():
        if GGUF_BUFFERS.fullmatch(stored_name) or (stored_name == OUTPUT and decoder.tied):
            continue
        ours = in_file.get(stored_name, stored_name)
        if ours in tensors:
            raise SourceError(f"tensor {ours[:80]!r} stands in the file under two names; the file is damaged")
        tensors[ours] = tensor
    # The order of rows is as long as the config says, so it is made once the shapes have borne that out.
    checked = check_tensors(name, family, decoder, tensors)
    if not family.gguf_pairs:
        return {ours: replace(tensor, name=ours) for ours, tensor in checked.items()}
    return {ours: replace(tensor, name=ours, order=_order(ours, decoder)) for ours, tensor in checked.items()}


def _order(name: str, decoder: Decoder) -> npt.NDArray[np.int64] | None:
    """Where a GGUF that holds the lanes of rotated pairs side by side has each row; None where rows are as they are."""
    a, names = decoder.attention, decoder.names
    heads = {names.q: a.heads, names.k: a.kv_heads}
    count = next(
        (heads[each] for each in heads if name.removesuffix(".weight").removesuffix(".bias").endswith(each)), 0
    )
    if not count:
        return None
    stored = np.arange(count * a.head_dim, dtype=np.int64).reshape(count, a.head_dim // 2, 2)
    return np.ascontiguousarray(stored.swapaxes(1, 2)).reshape(-1)


def _cause(family: Family, embedding: str, unknown: list[str]) -> str:
    """What tensors with such names are likely to be."""
    if any(".lora_" in name for name in unknown):
        return "this is a LoRA adapter: merge it into its model first (peft: merge_and_unload, then save_pretrained)"
    if any(name.endswith((".qweight", ".qzeros", ".weight_packed", ".quant_map")) for name in unknown):
        return "the weights are already quantized; take the original model in bf16, or a GGUF"
    if any(".experts." in name or "exps." in name for name in unknown):
        return "this is a mixture of experts, which is not supported"
    found = next((name for name in unknown if name.endswith(embedding)), None)
    before = found.removesuffix(embedding).removesuffix(family.prefix) if found else ""
    if before and all(name.startswith(before) for name in unknown):
        maker = next((who for prefix, who in WRAPPERS.items() if before.endswith(prefix)), "a program around the model")
        return (
            f"all begin with {words(before)}, which {maker} puts there: save the model itself, or take that away from "
            "the names (transformers would not load these either)"
        )
    return "this is another architecture, or an adapter that must be merged first"


def check_tensors(name: str, family: Family, decoder: Decoder, tensors: Found) -> dict[str, StoredTensor]:
    """The tensors in the graph's order. Raises SourceError naming unknown and missing ones and wrong shapes."""
    wanted = shapes(decoder)
    unknown = sorted(set(tensors) - set(wanted))
    if unknown:
        cause = _cause(family, f"{decoder.names.embedding}.weight", unknown)
        raise SourceError(
            f"{len(unknown)} tensors are not part of a {name} model as its config describes it: "
            f"{_listed(unknown)}; {cause}"
        )
    missing = [each for each in wanted if each not in tensors]
    if missing:
        raise SourceError(
            f"{len(missing)} of {len(wanted)} tensors are missing: {_listed(missing)}; the file is incomplete, or a "
            "shard of a larger model"
        )
    for each, shape in wanted.items():
        if tensors[each].shape != shape:
            raise SourceError(
                f"tensor {each} has the shape {tensors[each].shape}, the config implies {shape}; config and weights "
                "are of different models"
            )
    return {each: tensors[each] for each in wanted}


def same_bytes(tensors: Mapping[str, StoredTensor], first: str, second: str) -> bool:
    """Whether two tensors of a file are there and identical: a tied output that was written out twice."""
    a, b = tensors.get(first), tensors.get(second)
    if a is None or b is None or (a.kind, a.stored) != (b.kind, b.stored):
        return False
    return bool(np.array_equal(a.raw, b.raw))
