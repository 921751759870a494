# SPDX-License-Identifier: Apache-2.0
"""`load_source`: whatever the user named, as one `Source`."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from host.digest import sha256_file
from host.errors import SourceError
from host.importer.family import Config, Family, canonical_gguf, canonical_safetensors
from host.importer.fields import Fields, read_json
from host.importer.gguf_file import GgufFile, open_gguf
from host.importer.gguf_tokenizer import gguf_tokenizer
from host.importer.gpt2 import GPT2
from host.importer.llama import LLAMA
from host.importer.recipe import Recipe, fetch, find_recipe
from host.importer.safetensors_file import check_dtypes, open_safetensors, open_sharded
from host.importer.source import Source, Tokenizer
from host.importer.tensor import StoredTensor
from host.importer.tokenizer import check_vocabulary, load_tokenizer, without_tokenizer

FAMILIES: dict[str, Family] = {family.name: family for family in (LLAMA, GPT2)}
INDEX = "model.safetensors.index.json"
SINGLE = "model.safetensors"
PICKLES = ("*.bin", "*.pt", "*.pth")


def load_source(path_or_recipe: str | Path, require_tokenizer: bool = True) -> Source:
    """Open a model: safetensors, a Hugging Face folder, a GGUF, or a recipe by path or bare name.

    Nothing but headers is read until a tensor is asked for, apart from the source's hash. Raises SourceError with what
    was seen when a file is missing, damaged, of an unknown architecture, or (unless told otherwise) has no tokenizer.
    """
    recipe = find_recipe(path_or_recipe)
    path = fetch(recipe) if recipe else Path(path_or_recipe).expanduser()
    source = _load_path(path)
    if source.tokenizer is not None:
        check_vocabulary(source.tokenizer, source.config["vocab_size"])
    elif require_tokenizer:
        raise without_tokenizer(path if path.is_dir() else path.parent)
    if recipe is not None:
        _apply(recipe, source)
    return source


def _apply(recipe: Recipe, source: Source) -> None:
    """Name, licence and packing as the recipe says. Raises SourceError when the model is of another architecture."""
    if recipe.architecture and recipe.architecture != source.architecture:
        raise SourceError(
            f"recipe {recipe.name} is for {recipe.architecture} models, the folder holds a {source.architecture} "
            "model; give the folder without a recipe"
        )
    source.name = recipe.name
    source.pack = dict(recipe.pack)
    source.provenance.update(recipe=recipe.name, licence=recipe.licence)
    if recipe.package:
        source.provenance["package"] = str(recipe.package)


def _load_path(path: Path) -> Source:
    """A file or folder by what it is."""
    if not path.exists():
        raise SourceError(
            f"{path} does not exist; give a safetensors file, a Hugging Face folder, a GGUF, or a recipe's name"
        )
    if path.is_dir():
        return _load_folder(path)
    if path.name.endswith(".safetensors.index.json"):
        return _load_safetensors(path.parent, *open_sharded(path))
    if path.suffix == ".gguf":
        return _load_gguf(path)
    if path.suffix == ".safetensors":
        return _load_safetensors(path.parent, [path], open_safetensors(path))
    with path.open("rb") as file:
        if file.read(4) == b"GGUF":
            return _load_gguf(path)
    raise SourceError(
        f"{path.name} is no model file: neither .safetensors nor .gguf; convert it to safetensors first"
        if path.suffix[1:] in ("bin", "pt", "pth")
        else f"{path.name} is no model file; give a .safetensors, a .gguf, a Hugging Face folder or a recipe's name"
    )


def _load_folder(folder: Path) -> Source:
    """A Hugging Face folder, or one that holds a single GGUF."""
    if (folder / INDEX).is_file():
        return _load_safetensors(folder, *open_sharded(folder / INDEX))
    if (folder / SINGLE).is_file():
        return _load_safetensors(folder, [folder / SINGLE], open_safetensors(folder / SINGLE))
    ggufs = sorted(folder.glob("*.gguf"))
    if len(ggufs) == 1:
        return _load_gguf(ggufs[0])
    if len(ggufs) > 1:
        raise SourceError(f"{folder} holds {len(ggufs)} GGUF files; name one of them: {ggufs[0].name}, {ggufs[1].name}")
    if any(True for pattern in PICKLES for _ in folder.glob(pattern)):
        raise SourceError(
            f"{folder} has its weights as PyTorch pickles only, which are programs and not read; convert them with "
            "transformers' save_pretrained"
        )
    raise SourceError(f"{folder} holds neither {SINGLE} nor {INDEX} nor a GGUF; it is no model folder")


def _family(name: Any, where: str) -> Family:
    family = FAMILIES.get(name) if isinstance(name, str) else None
    if family is None:
        raise SourceError(
            f"{where}: architecture {str(name)[:60]!r} is not supported; supported are {', '.join(FAMILIES)}"
        )
    return family


def _load_safetensors(folder: Path, paths: list[Path], tensors: dict[str, StoredTensor]) -> Source:
    """A model from safetensors with config.json and tokenizer beside it."""
    if not (folder / "config.json").is_file():
        raise SourceError(f"no config.json beside {paths[0].name} in {folder}; copy it from where the model came from")
    raw = read_json(folder / "config.json")
    family = _family(raw.get("model_type"), "config.json")
    if raw.get("quantization_config"):
        method = raw["quantization_config"].get("quant_method") if isinstance(raw["quantization_config"], dict) else "?"
        raise SourceError(
            f"config.json: the weights are already quantized ({method}); take the original model in bf16, or a GGUF"
        )
    canonical = family.from_config(Fields(raw, "config.json"))
    # Other keys stay visible, so that an architecture can refuse those that change its mathematics.
    config = {key: value for key, value in raw.items() if key != "rope_parameters"} | canonical
    found = canonical_safetensors(family, config, tensors)
    check_dtypes(found, paths[0].name)
    name = raw.get("_name_or_path") or folder.resolve().name
    name = Path(str(name)).name or family.name
    return _source(family, config, found, load_tokenizer(folder, raw), name, _provenance(paths, "safetensors", found))


def _load_gguf(path: Path) -> Source:
    """A model from a GGUF."""
    file: GgufFile = open_gguf(path)
    fields = Fields(file.metadata, path.name)
    family = _family(file.metadata.get("general.architecture"), path.name)
    if fields.integer("split.count", 0, low=0) > 1:
        raise SourceError(f"{path.name} is one part of several; merge them with llama.cpp's gguf-split --merge first")
    config = family.from_gguf(fields, file.tensors)
    found = canonical_gguf(family, config, file.tensors)
    provenance = _provenance([path], "gguf", found)
    if fields.has("general.license"):
        provenance["licence"] = fields.text("general.license")
    name = fields.text("general.name", path.stem)
    return _source(family, config, found, gguf_tokenizer(file.metadata, path.name), name, provenance)


def _source(
    family: Family,
    config: Config,
    tensors: Mapping[str, StoredTensor],
    tokenizer: Tokenizer | None,
    name: str,
    provenance: dict[str, Any],
) -> Source:
    return Source(family.name, config, dict(tensors), tokenizer, name, provenance)


def _provenance(paths: list[Path], kind: str, tensors: Mapping[str, StoredTensor]) -> dict[str, Any]:
    """File names, hash and element types. Several files have the hash of their names and hashes, line by line."""
    digests = {path.name: sha256_file(path) for path in paths}
    if len(digests) == 1:
        total = next(iter(digests.values()))
    else:
        total = hashlib.sha256("".join(f"{name} {digest}\n" for name, digest in digests.items()).encode()).hexdigest()
    kinds = Counter(tensor.kind for tensor in tensors.values())
    found: dict[str, Any] = {
        "path": paths[0].name if len(paths) == 1 else paths[0].parent.resolve().name,
        "sha256": total,
        "format": kind,
        "quantization": {name: kinds[name] for name in sorted(kinds)},
    }
    if len(digests) > 1:
        found["files"] = digests
    return found
