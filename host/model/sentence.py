# SPDX-License-Identifier: Apache-2.0
"""Folders of sentence-transformers: how the vectors of a text are made of an encoder's rows.

Reimers and Gurevych, arXiv:1908.10084. modules.json lists what follows the transformer: Pooling, Dense, Normalize.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from host.errors import SourceError
from host.families.parts.activation import ACTIVATIONS
from host.families.parts.decoder import Dense, Head
from host.files.fields import Fields, read_json
from host.files.safetensors import open_safetensors
from host.files.tensor import StoredTensor
from host.foreign import parse_json, read_bytes, words
from host.ops.pool import PoolKind
from host.schema.image import Activation, OutputKind
from host.words import shown

MODULES = "modules.json"
MAX_MODULES, MAX_PROMPTS = 16, 100
POOLS = {
    "pooling_mode_cls_token": PoolKind.FIRST,
    "pooling_mode_max_tokens": PoolKind.MAX,
    "pooling_mode_mean_tokens": PoolKind.MEAN,
    "pooling_mode_mean_sqrt_len_tokens": PoolKind.MEAN_SQRT,
    "pooling_mode_weightedmean_tokens": PoolKind.WEIGHTED_MEAN,
    "pooling_mode_lasttoken": PoolKind.LAST,
}
MODES = {"cls": PoolKind.FIRST, "max": PoolKind.MAX, "mean": PoolKind.MEAN, "mean_sqrt_len_tokens": PoolKind.MEAN_SQRT}
MODES |= {"weightedmean": PoolKind.WEIGHTED_MEAN, "lasttoken": PoolKind.LAST}
"""What newer files call them, one each under ``pooling_mode``."""
MODULE_NAMES = {
    "Identity": Activation.NONE,
    "Tanh": Activation.TANH,
    "ReLU": Activation.RELU,
    "GELU": Activation.GELU_ERF,
}


@dataclass
class Sentence:
    """What the folder says beside the transformer."""

    head: Head
    tensors: dict[str, StoredTensor] = field(default_factory=dict)
    """Of Dense modules, by the names that the head gives them."""
    max_length: int | None = None
    """Tokens of a text that the model was made for."""
    prompts: dict[str, str] = field(default_factory=dict)
    """What is put before a text, by the name of the purpose."""
    default_prompt: str | None = None


def read_sentence(folder: Path) -> Sentence | None:
    """None where the folder is none of sentence-transformers. SourceError names a module that is not supported."""
    path = folder / MODULES
    if not path.is_file():
        return None
    pools: tuple[PoolKind, ...] = ()
    found = Sentence(Head(OutputKind.VECTORS))
    dense: list[Dense] = []
    unit = False
    for number, (kind, where) in enumerate(_modules(path)):
        if kind == "Transformer" and number == 0 and not where:
            continue
        if kind == "Pooling" and not pools:
            pools = _pools(Fields(read_json(folder / where / "config.json"), f"{where}/config.json"))
        elif kind == "Dense" and pools and not unit:
            dense.append(_dense(folder, where, found.tensors))
        elif kind == "Normalize" and pools:
            unit = True
        else:
            raise SourceError(f"{MODULES}: module {number} is {words(kind, 40)}, which is not supported there")
    if not pools:
        raise SourceError(f"{MODULES} names no Pooling; the folder is damaged")
    found.head = Head(OutputKind.VECTORS, pools, tuple(dense), unit)
    _settings(folder, found)
    return found


def _modules(path: Path) -> list[tuple[str, str]]:
    """Kind and folder of each module, in order."""
    try:
        listed = parse_json(read_bytes(path, 1 << 16))
    except (ValueError, RecursionError) as error:
        raise SourceError(f"{MODULES} is no JSON; the folder is damaged") from error
    if not isinstance(listed, list) or not 0 < len(listed) <= MAX_MODULES:
        raise SourceError(f"{MODULES} is no list of modules; the folder is damaged")
    found = []
    for each in listed:
        kind, where = (each.get("type"), each.get("path")) if isinstance(each, dict) else (None, None)
        if not isinstance(kind, str) or not isinstance(where, str) or where != Path(where).name:
            raise SourceError(f"{MODULES} has {words(each, 60)}, no module; the folder is damaged")
        if where in (".", ".."):
            raise SourceError(f"{MODULES} leads out of the folder; it is made to do harm")
        found.append((kind.rpartition(".")[2], where))
    return found


def _pools(fields: Fields) -> tuple[PoolKind, ...]:
    """The modes that the config of a Pooling turns on."""
    if not fields.flag("include_prompt", True):
        raise SourceError(f"{fields.where}: include_prompt is false: prompts would be pooled as well; not supported")
    named = fields.any("pooling_mode")
    if isinstance(named, str):
        named = [named]
    if isinstance(named, list) and named and all(mode in MODES for mode in named):
        return tuple(sorted(MODES[mode] for mode in set(named)))
    kinds = tuple(kind for key, kind in POOLS.items() if fields.flag(key, False))
    if not kinds:
        raise SourceError(f"{fields.where} turns no known mode of pooling on; the folder is damaged or newer")
    return kinds


def _dense(folder: Path, where: str, tensors: dict[str, StoredTensor]) -> Dense:
    """A Dense module, its tensors under names that begin with its folder's."""
    fields = Fields(read_json(folder / where / "config.json"), f"{where}/config.json")
    name = fields.text("activation_function", "torch.nn.modules.linear.Identity").rpartition(".")[2]
    kind = MODULE_NAMES.get(name, ACTIVATIONS.get(name.lower()))
    if kind is None:
        raise SourceError(f"{fields.where}: the activation {words(name, 40)} is not supported")
    path = folder / where / "model.safetensors"
    if not path.is_file():
        raise SourceError(f"{shown(where)} has no model.safetensors; save the model anew with sentence-transformers")
    for stored, tensor in open_safetensors(path).items():
        tensors[f"{where}.{stored}"] = tensor
    return Dense(f"{where}.linear", fields.integer("out_features"), kind, fields.flag("bias", True))


def _settings(folder: Path, found: Sentence) -> None:
    """The longest text, and prompts."""
    path = folder / "sentence_bert_config.json"
    if path.is_file():
        fields = Fields(read_json(path), path.name)
        found.max_length = fields.integer("max_seq_length") if fields.has("max_seq_length") else None
    path = folder / "config_sentence_transformers.json"
    if not path.is_file():
        return
    fields = Fields(read_json(path), path.name)
    prompts: Any = fields.any("prompts") or {}
    if not isinstance(prompts, dict) or len(prompts) > MAX_PROMPTS:
        raise SourceError(f"{path.name}: prompts is {words(prompts, 60)}, no table of texts; the folder is damaged")
    found.prompts = {str(name): text for name, text in prompts.items() if isinstance(text, str)}
    default = fields.any("default_prompt_name")
    found.default_prompt = default if isinstance(default, str) and default in found.prompts else None
