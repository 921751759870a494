# SPDX-License-Identifier: Apache-2.0
"""`load_source`: whatever the user named, as one `Source`."""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Mapping
from pathlib import Path, PurePath
from typing import Any

from host.choices import meant
from host.digest import sha256_file
from host.errors import SourceError
from host.families import decoder_of, family_of, gguf_family_of
from host.families.parts.decoder import Decoder
from host.families.parts.encoder import HEAD_KEY, LENGTH_KEY
from host.families.parts.gguf_config import gguf_config
from host.families.parts.keys import check_rest
from host.families.parts.names import canonical_gguf, canonical_safetensors
from host.files.fields import Fields, read_json
from host.files.gguf import GgufFile, open_gguf
from host.files.hub import download, is_hub_name
from host.files.recipe import Recipe, fetch, find_recipe, models_folder
from host.files.safetensors import check_dtypes, open_safetensors, open_sharded
from host.files.source import Source, Tokenizer
from host.files.tensor import StoredTensor
from host.foreign import open_regular, words
from host.model.sentence import Sentence, read_sentence
from host.tokens.gguf_tokenizer import gguf_tokenizer
from host.tokens.tokenizer import check_vocabulary, load_tokenizer, without_tokenizer
from host.tokens.vocabulary import drop_beyond
from host.words import shown

MAX_NAME = 100
ADAPTER = "adapter_config.json"
LORA = (
    "is a LoRA adapter, a change of another model's weights: merge it into that model first (peft: merge_and_unload, "
    "then save_pretrained; llama.cpp: llama-export-lora)"
)
INDEX = "model.safetensors.index.json"
SINGLE = "model.safetensors"
PICKLES = ("*.bin", "*.pt", "*.pth")


def load_source(path_or_recipe: str | Path, require_tokenizer: bool = True) -> Source:
    """Open a model: safetensors, a Hugging Face folder, a GGUF, or a recipe by path or bare name.

    Nothing but headers is read until a tensor is asked for, apart from the source's hash. Raises SourceError with what
    was seen when a file is missing, damaged, of an unknown architecture, or (unless told otherwise) has no tokenizer.
    """
    recipe = find_recipe(path_or_recipe)
    path = fetch(recipe) if recipe else _named_path(str(path_or_recipe))
    source = _load_path(path)
    if source.tokenizer is not None:
        source.notes += _fit(source.tokenizer, decoder_of(source).vocab)
    elif require_tokenizer:
        raise without_tokenizer(path if path.is_dir() else path.parent)
    if recipe is not None:
        _apply(recipe, source)
    return source


def _named_path(text: str) -> Path:
    """A path that a user gave, or the folder of a model of Hugging Face that was named and fetched."""
    path = Path(os.path.expanduser(text))  # noqa: PTH111  Path's own fails for ~nobody
    return download(text) if is_hub_name(text) else path


def _fit(tokenizer: Tokenizer, vocab: int) -> list[str]:
    """Check the tokenizer's ids against the embedding; added tokens beyond it are dropped, and that is said."""
    try:
        check_vocabulary(tokenizer, vocab)
    except SourceError:
        if not (notes := drop_beyond(tokenizer, vocab)):
            raise
        check_vocabulary(tokenizer, vocab)
        return notes
    return []


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


def _meant(text: str) -> str:
    """Ask whether a recipe was meant, where a word is nearly its name."""
    name, at, folder = text.partition("@")
    hint = meant(name, [path.stem for path in models_folder().glob("*.toml")]) if len(text) < 200 else ""
    return f"{hint.removesuffix('?')}{at}{folder}? " if hint else ""


def _load_path(path: Path) -> Source:
    """A file or folder by what it is."""
    if not _exists(path):
        raise SourceError(
            f"{shown(str(path))} does not exist; {_meant(str(path))}give a safetensors file, a Hugging Face folder, a "
            "GGUF, or a recipe's name"
        )
    if path.is_dir():
        return _load_folder(path)
    if path.name.endswith(".safetensors.index.json"):
        return _load_safetensors(path.parent, *open_sharded(path))
    if path.suffix == ".gguf":
        return _load_gguf(path)
    if path.suffix == ".safetensors":
        return _load_safetensors(path.parent, [path], open_safetensors(path))
    with open_regular(path) as file:
        start = file.read(4)
    if start == b"GGUF":
        return _load_gguf(path)
    raise SourceError(
        f"{shown(path.name)} is no model file: neither .safetensors nor .gguf; convert it to safetensors first"
        if path.suffix[1:] in ("bin", "pt", "pth")
        else f"{shown(path.name)} is no model file; give a .safetensors, a .gguf, a folder or a recipe's name"
    )


def _load_folder(folder: Path) -> Source:
    """A Hugging Face folder, or one that holds a single GGUF."""
    if (folder / SINGLE).exists():  # before an index, which may be left over: as transformers does
        return _load_safetensors(folder, [folder / SINGLE], open_safetensors(folder / SINGLE))
    if (folder / INDEX).exists():
        return _load_safetensors(folder, *open_sharded(folder / INDEX))
    if (folder / ADAPTER).exists():
        raise SourceError(f"{shown(str(folder))} {LORA}")
    ggufs = sorted(folder.glob("*.gguf"))
    if len(ggufs) == 1:
        return _load_gguf(ggufs[0])
    if len(ggufs) > 1:
        raise SourceError(
            f"{shown(str(folder))} holds {len(ggufs)} GGUF files; name one of them: "
            + ", ".join(shown(path.name) for path in ggufs[:2])
        )
    if any(True for pattern in PICKLES for _ in folder.glob(pattern)):
        raise SourceError(
            f"{shown(str(folder))} has its weights as PyTorch pickles only, which are programs and not read; convert "
            "them with transformers' save_pretrained"
        )
    raise SourceError(f"{shown(str(folder))} holds neither {SINGLE} nor {INDEX} nor a GGUF; it is no model folder")


def _exists(path: Path) -> bool:
    """Whether a path is there. Raises SourceError where it can be none, such as a name that is too long."""
    try:
        return path.exists()
    except (OSError, ValueError) as error:
        raise SourceError(f"{shown(str(path))}: {getattr(error, 'strerror', None) or error}") from error


def _refuse_parts(metadata: Mapping[str, Any], where: str) -> None:
    """Raises SourceError for GGUFs that are no whole language model, calling them what they are."""
    kind, architecture = metadata.get("general.type"), metadata.get("general.architecture")
    if kind == "adapter" or "adapter.type" in metadata:
        raise SourceError(f"{where} {LORA}")
    if kind == "mmproj" or architecture == "clip":
        raise SourceError(
            f"{where} is a projector (mmproj): the part of a model that reads pictures or sound, without the language "
            "model; take the GGUF of the language model itself"
        )
    if kind == "imatrix" or architecture == "controlvector":
        raise SourceError(f"{where} is no model (its type is {words(kind or architecture)}); take the model's own GGUF")


def _load_safetensors(folder: Path, paths: list[Path], tensors: dict[str, StoredTensor]) -> Source:
    """A model from safetensors with config.json and tokenizer beside it."""
    if not (folder / "config.json").is_file():
        raise SourceError(
            f"no config.json beside {shown(paths[0].name)} in {shown(str(folder))}; copy it from where the model came "
            "from"
        )
    raw = read_json(folder / "config.json")
    architecture, family = family_of(raw.get("model_type"), "config.json")
    if raw.get("quantization_config"):
        method = raw["quantization_config"].get("quant_method") if isinstance(raw["quantization_config"], dict) else "?"
        raise SourceError(
            f"config.json: the weights are already quantized ({shown(str(method), 40)}); take the original model in "
            "bf16, or a GGUF"
        )
    sentence = read_sentence(folder)
    if sentence is not None:
        raw, tensors = raw | {HEAD_KEY: sentence.head, LENGTH_KEY: sentence.max_length}, tensors | sentence.tensors
    fields = Fields(raw, "config.json")
    said = family.read(fields)
    notes = check_rest(fields, architecture)
    found, decoder = canonical_safetensors(architecture, family, said, tensors)
    check_dtypes(found, paths[0].name)
    if said.tied and not decoder.tied:
        notes.append("config.json ties embedding and output, but the file has another output matrix: that is used")
    name = raw.get("_name_or_path")
    name = PurePath(name if isinstance(name, str) and name else folder.resolve().name).name
    tokenizer, provenance = load_tokenizer(folder, raw), _provenance(paths, "safetensors", found)
    config = raw | {"tie_word_embeddings": decoder.tied}
    source = Source(architecture, config, {**found}, tokenizer, _shown_name(name, architecture), provenance)
    source.notes += notes
    source.about = _about(raw, decoder, sentence)
    return _note_window(source, decoder)


def _about(config: Mapping[str, Any], decoder: Decoder, sentence: Sentence | None) -> dict[str, Any]:
    """What the manifest of an encoder says: names of labels and how they exclude each other, prompts."""
    found: dict[str, Any] = {}
    if decoder.head and decoder.head.labels:
        found["labels"] = list(decoder.head.labels)
        found["problem_type"] = str(config.get("problem_type"))
    if sentence and sentence.prompts:
        found["prompts"], found["default_prompt"] = sentence.prompts, sentence.default_prompt
    return found


def _load_gguf(path: Path) -> Source:
    """A model from a GGUF."""
    file: GgufFile = open_gguf(path)
    fields = Fields(file.metadata, shown(path.name))
    _refuse_parts(file.metadata, shown(path.name))
    architecture, family = gguf_family_of(file.metadata.get("general.architecture"), shown(path.name))
    if fields.integer("split.count", 0, low=0) > 1:
        raise SourceError(
            f"{fields.where} is one part of several; merge them with llama.cpp's gguf-split --merge first"
        )
    config = gguf_config(family, fields, file.tensors)
    decoder = family.read(config)
    notes = check_rest(config, architecture)
    found = canonical_gguf(architecture, family, decoder, file.tensors)
    provenance = _provenance([path], "gguf", found)
    if fields.has("general.license"):
        provenance["licence"] = shown(fields.text("general.license"))
    name = _shown_name(fields.text("general.name", "") or path.stem, architecture)
    tokenizer = gguf_tokenizer(file.metadata, fields.where)
    source = Source(architecture, dict(config.values), {**found}, tokenizer, name, provenance)
    source.notes += notes
    return _note_window(source, decoder)


def _note_window(source: Source, decoder: Decoder) -> Source:
    """Say where a sliding window is what bounds the context."""
    window = source.config.get("sliding_window")
    if window and decoder.context == window and not any(layer.window for layer in decoder.layers):
        source.notes.append(f"the model's sliding window is {window}: contexts up to that are the same without it")
    return source


def _shown_name(name: str, architecture: str) -> str:
    """The model's name in one short line."""
    return shown(name.strip(), MAX_NAME) or architecture


def _provenance(paths: list[Path], kind: str, tensors: Mapping[str, StoredTensor]) -> dict[str, Any]:
    """File names, hash and element types. Several files have the hash of their names and hashes, line by line."""
    digests = {shown(path.name): sha256_file(path) for path in paths}
    if len(digests) == 1:
        total = next(iter(digests.values()))
    else:
        total = hashlib.sha256("".join(f"{name} {digest}\n" for name, digest in digests.items()).encode()).hexdigest()
    kinds = Counter(tensor.kind for tensor in tensors.values())
    found: dict[str, Any] = {
        "path": shown(paths[0].name if len(paths) == 1 else paths[0].parent.resolve().name),
        "sha256": total,
        "format": kind,
        "quantization": {name: kinds[name] for name in sorted(kinds)},
    }
    if len(digests) > 1:
        found["files"] = digests
    return found
