# SPDX-License-Identifier: Apache-2.0
"""What the importer must know of an architecture: its config keys, its tensors, and how files name them."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt
from gguf import MODEL_ARCH, TensorNameMap, get_tensor_name_map

from host.errors import SourceError
from host.files.fields import Fields
from host.files.tensor import StoredTensor
from host.foreign import words

Config = dict[str, Any]
Shapes = dict[str, tuple[int, ...]]
MAX_LAYERS = 1024
SUFFIXES = (".weight", ".bias")
HEAD = "lm_head.weight"
WRAPPERS = {
    "_orig_mod.": "torch.compile",
    "module.": "DataParallel",
    "_fsdp_wrapped_module.": "FSDP",
    "base_model.model.": "peft",
    "language_model.": "a model of pictures and text",
}
"""What puts something before all names, and who does."""
LAYER = re.compile(r"(?<=\.)\d+(?=\.)")


@dataclass(frozen=True)
class Family:
    """One architecture."""

    name: str
    from_config: Callable[[Fields], Config]
    """config.json to the canonical config that `Source` documents."""
    from_gguf: Callable[[Fields, Mapping[str, StoredTensor]], Config]
    """GGUF metadata (and tensors, where their presence says something) to the same."""
    shapes: Callable[[Config], Shapes]
    """Every tensor of the model with its canonical shape."""
    gguf_arch: MODEL_ARCH
    prefix: str
    """What Hugging Face puts before some names and `Source` does not."""
    base: str
    """What a bare model's names (saved without its output) lack at their beginning; empty where that is ``prefix``."""
    embedding: str
    """The canonical name of the embedding, which a tied output is."""
    ignored: re.Pattern[str]
    """Names in safetensors that are no weights: buffers that old versions stored."""
    gguf_ignored: re.Pattern[str]
    transposed: re.Pattern[str]
    """Names whose safetensors hold [in, out]."""
    row_order: Callable[[str, Config], npt.NDArray[np.int64] | None]
    """For a canonical name: which GGUF row each canonical row is, or None where they are the same."""


def _listed(names: list[str]) -> str:
    """Up to eight names and how many more."""
    shown = ", ".join(name[:80] if name.isprintable() else repr(name[:80]) for name in names[:8])
    return shown if len(names) <= 8 else f"{shown} and {len(names) - 8} more"


def _check_layers(config: Config, tensors: int) -> None:
    """Raises SourceError for more layers than tensors, before a name is made for each of theirs."""
    layers = config.get("num_hidden_layers") or config["n_layer"]
    if layers > tensors:
        raise SourceError(f"the config says {layers} layers, the file holds {tensors} tensors; the file is incomplete")


def _bare(family: Family, found: Mapping[str, StoredTensor]) -> bool:
    """Whether these are the names of a model that was saved without its output, such as LlamaModel."""
    return bool(family.base) and family.embedding.removeprefix(family.base) in found and family.embedding not in found


def canonical_safetensors(family: Family, config: Config, found: Mapping[str, StoredTensor]) -> dict[str, StoredTensor]:
    """Tensors of safetensors under canonical names, [out, in], checked. Raises SourceError; see `check_tensors`.

    An output matrix beside a config that says it is tied counts where it is another one, as in transformers 5:
    ``config["tie_word_embeddings"]`` becomes what the file says.
    """
    _check_layers(config, len(found))
    tensors: dict[str, StoredTensor] = {}
    before = family.base if _bare(family, found) else ""
    for stored_name, tensor in found.items():
        name = stored_name.removeprefix(family.prefix)
        name = name if name == HEAD else before + name
        if family.ignored.fullmatch(name):
            continue
        if name in tensors:
            raise SourceError(f"tensor {name[:80]!r} stands in the file with and without {family.prefix!r}")
        turn = bool(family.transposed.fullmatch(name)) and len(tensor.stored) == 2
        tensors[name] = replace(tensor, name=name, transposed=turn)
    if config["tie_word_embeddings"] and HEAD in tensors:
        config["tie_word_embeddings"] = same_bytes(tensors, HEAD, family.embedding)
        if config["tie_word_embeddings"]:
            del tensors[HEAD]
    return check_tensors(family, config, tensors)


@cache
def _names(arch: MODEL_ARCH) -> TensorNameMap:
    return get_tensor_name_map(arch, 1)


def _gguf_name(family: Family, name: str) -> str:
    """What a GGUF calls a canonical name; layer 0 of the library's table stands for all, whatever count a file has."""
    full = name if name == HEAD else family.prefix + name
    layer = LAYER.search(full)
    first = LAYER.sub("0", full, count=1)
    found = _names(family.gguf_arch).get_name(first, SUFFIXES)
    if found is None or layer is None:
        return found or full
    return found.replace("blk.0.", f"blk.{layer[0]}.")


def canonical_gguf(family: Family, config: Config, found: Mapping[str, StoredTensor]) -> dict[str, StoredTensor]:
    """Tensors of a GGUF under canonical names, rows in canonical order, checked. Raises SourceError."""
    _check_layers(config, len(found))
    in_file = {_gguf_name(family, name): name for name in family.shapes(config)}
    tensors: dict[str, StoredTensor] = {}
    for stored_name, tensor in found.items():
        if family.gguf_ignored.fullmatch(stored_name) or (
            stored_name == "output.weight" and config["tie_word_embeddings"]
        ):
            continue
        name = in_file.get(stored_name, stored_name)
        if name in tensors:
            raise SourceError(f"tensor {name[:80]!r} stands in the file under two names; the file is damaged")
        tensors[name] = tensor
    # The order of rows is as long as the config says, so it is made once the shapes have borne that out.
    checked = check_tensors(family, config, tensors)
    return {name: replace(each, name=name, order=family.row_order(name, config)) for name, each in checked.items()}


def _cause(family: Family, unknown: list[str]) -> str:
    """What tensors with such names are likely to be."""
    if any(".lora_" in name for name in unknown):
        return "this is a LoRA adapter: merge it into its model first (peft: merge_and_unload, then save_pretrained)"
    if any(name.endswith((".qweight", ".qzeros", ".weight_packed", ".quant_map")) for name in unknown):
        return "the weights are already quantized; take the original model in bf16, or a GGUF"
    if any(".experts." in name or "exps." in name for name in unknown):
        return "this is a mixture of experts, which is not supported"
    found = next((name for name in unknown if name.endswith(family.embedding)), None)
    before = found.removesuffix(family.embedding).removesuffix(family.prefix) if found else ""
    if before and all(name.startswith(before) for name in unknown):
        maker = next((who for prefix, who in WRAPPERS.items() if before.endswith(prefix)), "a program around the model")
        return (
            f"all begin with {words(before)}, which {maker} puts there: save the model itself, or take that away from "
            "the names (transformers would not load these either)"
        )
    return "this is another architecture, or an adapter that must be merged first"


def check_tensors(family: Family, config: Config, tensors: dict[str, StoredTensor]) -> dict[str, StoredTensor]:
    """The tensors in the architecture's order. Raises SourceError naming unknown and missing ones and wrong shapes."""
    shapes = family.shapes(config)
    unknown = sorted(set(tensors) - set(shapes))
    if unknown:
        raise SourceError(
            f"{len(unknown)} tensors are not part of a {family.name} model as its config describes it: "
            f"{_listed(unknown)}; {_cause(family, unknown)}"
        )
    missing = [name for name in shapes if name not in tensors]
    if missing:
        raise SourceError(
            f"{len(missing)} of {len(shapes)} tensors are missing: {_listed(missing)}; the file is incomplete, or a "
            "shard of a larger model"
        )
    for name, shape in shapes.items():
        if tensors[name].shape != shape:
            raise SourceError(
                f"tensor {name} has the shape {tensors[name].shape}, the config implies {shape}; config and weights "
                "are of different models"
            )
    return {name: tensors[name] for name in shapes}


def same_bytes(tensors: Mapping[str, StoredTensor], first: str, second: str) -> bool:
    """Whether two tensors of a file are there and identical: a tied output that was written out twice."""
    a, b = tensors.get(first), tensors.get(second)
    if a is None or b is None or (a.kind, a.stored) != (b.kind, b.stored):
        return False
    return bool(np.array_equal(a.raw, b.raw))
