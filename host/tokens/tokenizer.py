# SPDX-License-Identifier: Apache-2.0
"""Tokenizer, stop ids and chat template from the files beside a Hugging Face model."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from host.errors import HostError, SourceError, UsageError
from host.files.fields import is_unicode, read_json, read_text
from host.files.source import Tokenizer
from host.foreign import parse_json
from host.tokens.sandbox import Loaded, SandboxError
from host.tokens.splits import byte_level, qwen2
from host.words import shown

MAX_TOKENIZER_BYTES = 256 << 20
MAX_TEMPLATE_BYTES = 1 << 20
MAX_STOP_IDS = 8
MAX_PREFIX = 16
"""Tokens before every text."""
MAX_TEXT = 4 << 20
"""Characters that are tokenized at once: no context holds as many, and the memory for them is there."""
END_TOKENS = ("<|im_end|>", "<|eot_id|>", "<|eom_id|>", "<|end|>", "<|end_of_text|>", "<|endoftext|>", "<end_of_turn>")
"""Special tokens that end an answer wherever they occur."""
SPECIAL_KEYS = ("bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token")
"""What transformers gives to templates by these names."""


class Codec:
    """A tokenizer in the sandbox (host/tokens/sandbox.py): text to ids and back. Every method may raise the refusal."""

    def __init__(
        self,
        text: str,
        where: str = "the model's tokenizer",
        ranks: Sequence[int] | None = None,
        refusal: type[HostError] = SourceError,
    ) -> None:
        """From a tokenizer.json, see ``Tokenizer`` for ``ranks``; ``refusal`` is the error of one that is damaged."""
        self._where, self._refusal = where, refusal
        try:
            self._loaded = Loaded("tokenizer", json=text, ranks=None if ranks is None else list(ranks))
        except SandboxError as error:
            words = f"{where} is not a tokenizer that can be read: {shown(str(error))}"
            raise refusal(f"{words}; it is damaged, copy or download it again") from error
        facts = self._loaded.facts
        self.special: dict[int, str] = {int(index): token for index, token in facts["special"].items()}
        """Special tokens by id."""
        self.prefix: tuple[int, ...] = tuple(facts["prefix"])
        """What the tokenizer itself puts before a text."""
        self.trained = bool(facts["trained"])
        """Whether the file had what is for training: texts cut or filled up, dropout."""

    def _ask(self, op: str, **values: Any) -> Any:
        try:
            return self._loaded.ask(op, **values)
        except SandboxError as error:
            words = f"{self._where} fails: {shown(str(error))}"
            raise self._refusal(f"{words}; it is damaged or made to do harm, take it from the model's page") from error

    def facts(self) -> dict[str, Any]:
        """Its tokenizer.json as the library writes it: every part in its one form, nothing of training in it."""
        try:
            return dict(parse_json(self._ask("plain", limit=MAX_TOKENIZER_BYTES), MAX_TOKENIZER_BYTES))
        except ValueError as error:
            raise self._refusal(f"{self._where} cannot be read: {error}; copy or download it again") from error

    def encode(self, text: str) -> list[int]:
        """Ids of a text, nothing added. Raises UsageError for a text that is no Unicode or too long."""
        self._check_text(text)
        return list(self._ask("encode", text=text))

    def encode_whole(self, text: str) -> tuple[list[int], list[bool]]:
        """Ids of a text with what the tokenizer puts around it, and which they are. Raises as `encode`."""
        self._check_text(text)
        ids, special = self._ask("encode", text=text, whole=True)
        return list(ids), [bool(each) for each in special]

    @staticmethod
    def _check_text(text: str) -> None:
        if len(text) > MAX_TEXT:
            raise UsageError(
                f"the text has {len(text)} characters, at most {MAX_TEXT} are tokenized at once; give less of it"
            )
        if not is_unicode(text):
            raise UsageError("the text has bytes that are no UTF-8, so it cannot be tokenized; give it as UTF-8")

    def decode(self, ids: Sequence[int], skip_special: bool = True) -> str:
        """The text of ids."""
        return self.decode_all([ids], skip_special)[0]

    def decode_all(self, lists: Sequence[Sequence[int]], skip_special: bool = True) -> list[str]:
        """The text of each list of ids."""
        return list(self._ask("decode", lists=[list(ids) for ids in lists], skip=skip_special))

    def ids(self, tokens: Sequence[str]) -> list[int | None]:
        """The id of each token; None where there is none."""
        return list(self._ask("ids", tokens=[token if is_unicode(token) else "" for token in tokens]))

    def tokens(self, ids: Sequence[int]) -> list[str | None]:
        """The token of each id; None where there is none."""
        return list(self._ask("tokens", ids=list(ids)))

    def beyond(self, size: int) -> tuple[int, dict[str, int]]:
        """How many ids are not below a vocabulary's ``size``, and the first of their tokens, some dozens."""
        found = self._ask("beyond", size=size)
        return int(found["count"]), dict(found["first"])


def parse(text: str, where: str) -> Codec:
    """A tokenizer.json, ready to use. Raises SourceError when the library refuses it or cannot stand it."""
    return Codec(text, where)


def codec_of(tokenizer: Tokenizer) -> Codec:
    """A model's tokenizer, ready to use. Raises its refusal."""
    return Codec(tokenizer.json, ranks=tokenizer.ranks, refusal=tokenizer.refusal)


def stop_ids(codec: Codec, named: Iterable[Any]) -> tuple[int, ...]:
    """The ids that end an answer: the named ones first, then the vocabulary's special end tokens; at most eight."""
    found = [
        value for value in named if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1 << 32
    ]
    found += [index for index in codec.ids(END_TOKENS) if index is not None and index in codec.special]
    unique = list(dict.fromkeys(found))[:256]
    known = [index for index, token in zip(unique, codec.tokens(unique), strict=True) if token is not None]
    return tuple(known[:MAX_STOP_IDS])


def _as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _token_text(value: Any) -> str | None:
    """A token as tokenizer_config.json writes it: a text, or an object with its content."""
    if isinstance(value, Mapping):
        value = value.get("content")
    return value if isinstance(value, str) else None


def _template(folder: Path, config: Mapping[str, Any]) -> str | None:
    """chat_template.jinja, else tokenizer_config.json's template (its "default" where there are several)."""
    path = folder / "chat_template.jinja"
    if path.is_file():
        return read_text(path, MAX_TEMPLATE_BYTES)
    template = config.get("chat_template")
    if isinstance(template, list):
        named = {each.get("name"): each.get("template") for each in template if isinstance(each, Mapping)}
        template = named.get("default")
    return template if isinstance(template, str) else None


def _from_merges(folder: Path, config: Mapping[str, Any]) -> str:
    """tokenizer.json of a vocab.json and merges.txt: the byte-level BPE that the folder's class has."""
    kind = config.get("tokenizer_class")
    name = kind.removesuffix("Fast") if isinstance(kind, str) else "GPT2Tokenizer"
    if name not in (*GPT2_CLASSES, "Qwen2Tokenizer"):
        raise SourceError(
            f"the tokenizer is a {shown(name, 60)} of vocab.json and merges.txt, whose rules are not known here; "
            "convert it with transformers' AutoTokenizer.save_pretrained, which writes a tokenizer.json"
        )
    vocab = read_json(folder / "vocab.json", MAX_TOKENIZER_BYTES)
    if not all(isinstance(index, int) and not isinstance(index, bool) and index >= 0 for index in vocab.values()):
        raise SourceError("vocab.json does not hold one id for each token; copy it again")
    lines = read_text(folder / "merges.txt", MAX_TOKENIZER_BYTES).split("\n")
    merges = [line.rstrip("\r").split(" ") for line in lines if line.strip() and not line.startswith("#version")]
    facts = (qwen2 if name == "Qwen2Tokenizer" else byte_level)(vocab, merges)
    if END in vocab:
        facts["added_tokens"].append(_added(vocab[END], END, special=True))
    return json.dumps(facts, ensure_ascii=False, separators=(",", ":"))


END = "<|endoftext|>"
DEFAULTS = {
    "GPT2Tokenizer": ("bos_token", "eos_token", "unk_token"),
    "Qwen2Tokenizer": ("eos_token", "unk_token", "pad_token"),
}
"""What a class of an old folder calls END unless its files name another, where the vocabulary has it."""
GPT2_CLASSES = ("GPT2Tokenizer", "CodeGenTokenizer")
"""Classes whose vocab.json and merges.txt are split as GPT-2's. RoBERTa's and its like frame every text."""


def _added(index: int, content: str, special: bool, **more: bool) -> dict[str, Any]:
    """An entry of tokenizer.json's added_tokens."""
    flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": not special}
    return {"id": index, "content": content, **flags, **more, "special": special}


def _named(config: Mapping[str, Any]) -> list[str]:
    """The special tokens that a config names, each by its own key or in a list."""
    found = [config.get(key) for key in SPECIAL_KEYS]
    for key in EXTRA_KEYS:
        value = config.get(key)
        found += value.values() if isinstance(value, Mapping) else _as_list(value)
    return [token for each in found if (token := _token_text(each))]


def _config_tokens(folder: Path, config: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """The tokens that tokenizer_config.json, or else added_tokens.json, adds, by content. Raises SourceError."""
    found: dict[str, dict[str, Any]] = {}
    named = _named(config)
    decoder = config.get("added_tokens_decoder")
    if isinstance(decoder, Mapping):
        for key, token in decoder.items():
            content = _token_text(token)
            if not content or not isinstance(token, Mapping) or not str(key).isdecimal():
                raise SourceError("tokenizer_config.json: added_tokens_decoder does not map ids to tokens; damaged")
            flags = {name: token[name] for name in ADDED_FLAGS if isinstance(token.get(name), bool)}
            special = token.get("special") is True or content in named
            found[content] = _added(int(key), content, special) | flags
    elif (folder / "added_tokens.json").is_file():
        for content, index in read_json(folder / "added_tokens.json").items():
            if isinstance(index, bool) or not isinstance(index, int) or index < 0 or not content:
                raise SourceError("added_tokens.json does not map tokens to ids; copy it again")
            found[content] = _added(index, content, content in named)
    return found


EXTRA_KEYS = ("additional_special_tokens", "extra_special_tokens")
ADDED_FLAGS = ("single_word", "lstrip", "rstrip", "normalized")


def _completed(facts: dict[str, Any], tokens: Mapping[str, dict[str, Any]], named: Iterable[str]) -> bool:
    """Add the tokens that tokenizer.json lacks, at their ids, and those named special. Returns whether any.

    Not added are END, which classes name by default, where the vocabulary does not have it, and tokens that are only
    named where the others' ids leave gaps.
    """
    vocab = facts["model"].get("vocab")
    if not isinstance(vocab, dict):
        return False  # a Unigram's: a list of scored pieces, with nothing to add to
    have = {token["content"]: token for token in facts["added_tokens"]}
    taken = {*vocab.values(), *(token["id"] for token in have.values())}
    changed = False
    missing = [token for content, token in tokens.items() if content not in vocab and content not in have]
    # The library numbers added tokens on from the vocabulary; ids of another order must stand in the vocabulary.
    behind = [token["id"] for token in [*have.values(), *missing] if token["content"] not in vocab]
    in_order = sorted(behind) == list(range(len(vocab), len(vocab) + len(behind)))
    for content, token in tokens.items():
        if content in have:
            continue
        if content not in vocab and token["id"] in taken:
            raise SourceError(
                f"the folder gives token {shown(content, 60)} the id {token['id']}, which another token has; "
                "its files are of different models"
            )
        if not in_order:
            vocab.setdefault(content, token["id"])
        have[content] = token | {"id": vocab.get(content, token["id"])}
        changed = True
    for content in named:
        if content in have or (content not in vocab and (content == END or not in_order)):
            continue
        # Where nothing says its id it is the next one, in this order, as in transformers.
        behind_all = max(len(vocab), 1 + max((token["id"] for token in have.values()), default=-1))
        index = vocab.get(content, behind_all)
        have[content] = _added(index, content, special=True)
        changed = True
    facts["added_tokens"] = sorted(have.values(), key=lambda token: int(token["id"]))
    return changed


def _prefixed(facts: dict[str, Any], config: Mapping[str, Any]) -> bool:
    """Apply tokenizer_config.json's add_prefix_space. Returns whether it changes anything."""
    wanted, pre = config.get("add_prefix_space"), facts["pre_tokenizer"]
    if not isinstance(wanted, bool) or not isinstance(pre, dict) or pre.get("add_prefix_space", wanted) == wanted:
        return False
    pre["add_prefix_space"] = wanted
    return True


def _json_in(folder: Path, config: Mapping[str, Any]) -> str | None:
    """The folder's tokenizer as JSON text; None where it has none that can be read without its own program."""
    if (folder / "tokenizer.json").is_file():
        text = read_text(folder / "tokenizer.json", MAX_TOKENIZER_BYTES)
        where = "tokenizer.json"
    elif (folder / "vocab.json").is_file() and (folder / "merges.txt").is_file():
        text, where = _from_merges(folder, config), "vocab.json with merges.txt"
    else:
        return None
    codec = parse(text, where)
    facts = codec.facts()
    added = _completed(facts, _config_tokens(folder, config), _named(config))
    changed = _prefixed(facts, config) or added or codec.trained
    return json.dumps(facts, ensure_ascii=False, separators=(",", ":")) if changed else text


def _config_of(folder: Path) -> dict[str, Any]:
    """tokenizer_config.json with special_tokens_map.json, whose word counts where the former lists no added tokens."""
    found = [
        read_json(folder / name) if (folder / name).is_file() else {}
        for name in ("tokenizer_config.json", "special_tokens_map.json")
    ]
    return found[1] | found[0] if "added_tokens_decoder" in found[0] else found[0] | found[1]


def load_tokenizer(folder: Path, model_config: Mapping[str, Any]) -> Tokenizer | None:
    """Tokenizer from the files in a folder; None when there is none. Raises SourceError when one is damaged."""
    config = _config_of(folder)
    if not (folder / "tokenizer.json").is_file():
        config = dict.fromkeys(DEFAULTS.get(str(config.get("tokenizer_class", "GPT2Tokenizer")), ()), END) | config
    text = _json_in(folder, config)
    if text is None:
        return None
    codec = parse(text, "tokenizer.json")
    generation = folder / "generation_config.json"
    named = _as_list(read_json(generation).get("eos_token_id") if generation.is_file() else None)
    special = {key: token for key in SPECIAL_KEYS if (token := _token_text(config.get(key))) is not None}
    if END in special.values() and codec.ids([END]) == [None]:
        special = {key: token for key, token in special.items() if token != END}
    first, last = codec.ids([special.get("bos_token", ""), special.get("eos_token", "")])
    named += [last, *_as_list(model_config.get("eos_token_id"))]
    bos = _bos(codec, first if "bos_token" in special else model_config.get("bos_token_id"))
    start = _start(codec, bos, config, (folder / "tokenizer.json").is_file())
    if bos is None or (start and bos not in start):
        bos = start[0] if start else bos
    return Tokenizer(
        json=text,
        bos=bos,
        stop_ids=stop_ids(codec, named),
        chat_template=_template(folder, config),
        special=special,
        add_bos=bos is not None and bos in start,
        prefix=() if start == (bos,) else start,
    )


def _bos(codec: Codec, named: Any) -> int | None:
    """The id that texts start with by its name in a config, if it is one."""
    good = isinstance(named, int) and not isinstance(named, bool) and 0 <= named < 1 << 32
    return named if good and codec.tokens([named])[0] is not None else None


def _start(codec: Codec, bos: int | None, config: Mapping[str, Any], whole: bool) -> tuple[int, ...]:
    """What plain texts start with: what the post-processor puts there; add_bos_token counts without tokenizer.json.

    So has it transformers 5, which ignores the key beside a ``whole`` tokenizer.
    """
    start = codec.prefix
    if len(start) > MAX_PREFIX:
        raise SourceError(f"the tokenizer puts {len(start)} tokens before every text; no known model wants that")
    return (bos,) if not whole and config.get("add_bos_token") is True and bos is not None else start


def without_tokenizer(folder: Path) -> SourceError:
    """The error for a model folder that has no tokenizer, with what was looked for."""
    hint = "put tokenizer.json (from the model's page) beside the weights"
    if (folder / "tokenizer.model").is_file():
        hint = "there is a SentencePiece tokenizer.model: convert it with transformers' AutoTokenizer.save_pretrained"
    return SourceError(f"no tokenizer beside the model in {folder}: neither tokenizer.json nor vocab.json; {hint}")


def check_vocabulary(tokenizer: Tokenizer, vocab: int) -> None:
    """Raises SourceError when the tokenizer makes ids that the model has no embedding for."""
    beyond, _ = codec_of(tokenizer).beyond(vocab)
    if beyond:
        raise SourceError(
            f"the tokenizer has {beyond} ids beyond the model's vocabulary of {vocab}; tokenizer and model are of "
            "different models"
        )
