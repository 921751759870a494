# SPDX-License-Identifier: Apache-2.0
"""Atheris targets: what the host reads that somebody else wrote. Only HostError may come out of it.

usage: fuzz_python.py {gguf|safetensors|decoder|tokenizer|config|recipe|manifest} [options of libFuzzer] [corpus...]

``fuzz_python.py seeds DIRECTORY`` writes a start for each target there: files of a model of a few weights.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import shutil
import struct
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import atheris
import numpy as np
from gguf import GGUFWriter

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
with atheris.instrument_imports(
    include=[
        *("host.families", "host.files", "host.foreign", "host.image.bpe", "host.image.device_text"),
        *("host.image.inspect", "host.image.text", "host.link.frames", "host.model", "host.tokens"),
    ]
):
    from host.errors import HostError
    from host.families import decoder_of, family_of
    from host.families.parts.names import canonical_safetensors
    from host.files.recipe import PACK_KEYS, cache_folder, kept_path, models_folder, read_recipe
    from host.files.safetensors import check_dtypes, open_safetensors
    from host.image.device_text import why_no_terminal
    from host.image.inspect import image_facts, summary
    from host.image.reader import Image
    from host.link import frames
    from host.link.frames import Damaged, Decoder, Frame, Text, encode
    from host.model.load import load_source
    from host.tokens.tokenizer import load_tokenizer

from host.compiler.compile import Options, compile_model
from host.files.source import Source
from host.schema.wire.messages import MESSAGES
from host.tokens import splits
from host.tokens.chat_template import encode_prompt
from host.words import shown
from tests.fuzz.mutate_gguf import mutate_gguf
from tests.fuzz.mutators import mutate_frames, mutate_json, mutate_lines, mutate_safetensors
from tests.support.family_rows import rows, tiny_model
from tests.support.model_files import write_folder, write_gguf
from tests.support.tiny import tiny_gpt2, tiny_image, tiny_llama

SCRATCH = Path("/dev/shm") if Path("/dev/shm").is_dir() else Path(tempfile.gettempdir())
MAX_LINE = 700
"""Of console text here, so that an input needs no 4096 bytes to have a longer one."""
SMALL = {"num_hidden_layers": 1, "num_attention_heads": 1, "num_key_value_heads": 1, "vocab_size": 8}
LLAMA_SIZES = SMALL | {"hidden_size": 2, "intermediate_size": 2, "head_dim": 2}
BLOCK_SIZES = SMALL | {"hidden_size": 32, "intermediate_size": 2, "head_dim": 2}
WHOLE_SIZES = SMALL | {"hidden_size": 8, "intermediate_size": 8, "head_dim": 8}
"""The smallest that the compiler takes."""
WHOLE_GPT2 = {"n_embd": 8, "n_inner": 8, "n_layer": 1, "n_head": 1, "n_positions": 8, "vocab_size": 8}
GPT2_SIZES = {"n_embd": 2, "n_inner": 2, "n_layer": 1, "n_head": 1, "n_positions": 2, "vocab_size": 8}


def read_gguf(path: Path) -> None:
    """Everything that packing reads of a GGUF."""
    source = load_source(path)
    for tensor in source.tensors.values():
        tensor.float32()
        tensor.blocks()
    assert source.tokenizer is not None
    for text in (source.name, source.provenance.get("licence"), source.tokenizer.chat_template):
        (text or "").encode()


def safetensors_reader() -> Callable[[Path], None]:
    """Tensors and their values, and what each architecture takes them for."""
    models = [tiny_llama(**LLAMA_SIZES), tiny_gpt2(**GPT2_SIZES)]
    known = [(*family_of(model.architecture, "m"), decoder_of(model)) for model in models]

    def read(path: Path) -> None:
        tensors = open_safetensors(path)
        check_dtypes(tensors, path.name)
        for name, family, decoder in known:
            with contextlib.suppress(HostError):
                for canonical in canonical_safetensors(name, family, decoder, tensors)[0].values():
                    canonical.float32()
        for tensor in tensors.values():
            tensor.float32()

    return read


def tokenizer_target() -> Callable[[bytes], None]:
    """A folder's tokenizer.json: everything that packing and asking do with it; the library runs in the child."""
    folder = SCRATCH / f"fuzz-{os.getpid()}-tokenizer"

    def run(data: bytes) -> None:
        folder.mkdir(exist_ok=True)
        try:
            (folder / "tokenizer.json").write_bytes(data)
            with contextlib.suppress(HostError):
                tokenizer = load_tokenizer(folder, {"bos_token_id": 1})
                assert tokenizer is not None
                why_no_terminal(tokenizer)
                encode_prompt(tokenizer, "he <s>h\u00fc")
        finally:
            shutil.rmtree(folder)

    return run


def whole_models() -> dict[str, Source]:
    """A model of a few weights of each family."""
    return {name: tiny_model(name, **(WHOLE_GPT2 if name == "gpt2" else WHOLE_SIZES)) for name in rows()}


def config_target() -> Callable[[bytes], None]:
    """config.json of a model of a few weights, without a tokenizer: what is read of it, and the plan made from it."""
    folder = SCRATCH / f"fuzz-{os.getpid()}-config"
    models = whole_models()

    def run(data: bytes) -> None:
        architecture = next((name for name in models if f'"{name}"'.encode() in data), "llama")
        made = write_folder(models[architecture], folder / architecture)
        try:
            (made / "tokenizer.json").unlink()
            (made / "config.json").write_bytes(data)
            with contextlib.suppress(HostError):
                source = load_source(made, require_tokenizer=False)
                assert source.name == shown(source.name)
                compile_model(source, Options(max_rows=1, max_logit_rows=1))
        finally:
            shutil.rmtree(folder)

    return run


def read_any_recipe(path: Path) -> None:
    """A recipe: whatever of it is accepted is a line, a name of a package, a plain number."""
    recipe = read_recipe(path)
    for line in (recipe.name, recipe.title, recipe.licence, recipe.file, recipe.architecture):
        assert line == shown(line)
    assert recipe.package is None or recipe.package.wrong() is None
    assert set(recipe.pack) <= set(PACK_KEYS)
    json.dumps([recipe.pack.get("context"), str(recipe.path)])
    if recipe.package:
        assert kept_path(recipe).parent.parent == cache_folder()


def manifest_target() -> Callable[[bytes], None]:
    """An image whose manifest is the input: what is shown of it, and as JSON."""
    path = SCRATCH / f"fuzz-{os.getpid()}.hsp"
    tiny_image(path, tiny_llama(**WHOLE_SIZES))
    image = Image(path)
    path.unlink()
    image.section = lambda _section: held[0]  # type: ignore[method-assign]
    held = [b""]

    def run(data: bytes) -> None:
        held[0] = data
        vars(image).pop("manifest", None)
        with contextlib.suppress(HostError):
            for line in summary(image):
                assert line == shown(line, 1 << 16)
            json.dumps(image_facts(image)).encode()

    return run


def file_target(suffix: str, read: Callable[[Path], None]) -> Callable[[bytes], None]:
    """A target that reads its input as a file, which libFuzzer's exit leaves no moment to remove later."""
    path = SCRATCH / f"fuzz-{os.getpid()}{suffix}"

    def run(data: bytes) -> None:
        path.write_bytes(data)
        try:
            with contextlib.suppress(HostError):
                read(path)
        finally:
            path.unlink()

    return run


def decoder_target() -> Callable[[bytes], None]:
    """Bytes in portions of changing size; frames that come out go in again."""
    frames.MAX_LINE = MAX_LINE

    def run(data: bytes) -> None:
        decoder, size = Decoder(), 1
        out: list[Frame | Text | Damaged] = []
        at = 0
        while at < len(data):
            out += decoder.feed(data[at : at + size])
            at += size
            size = size * 3 % 257
        for item in [*out, *decoder.flush()]:
            if isinstance(item, Frame):
                assert Decoder().feed(encode(item)) == [item]

    return run


@dataclass(frozen=True)
class Target:
    """What is run, how inputs are changed, and their greatest size."""

    make: Callable[[], Callable[[bytes], None]]
    mutate: Callable[[bytes, int, int], bytes]
    max_len: int


TARGETS = {
    "gguf": Target(lambda: file_target(".gguf", read_gguf), mutate_gguf, 4096),
    "safetensors": Target(lambda: file_target(".safetensors", safetensors_reader()), mutate_safetensors, 3072),
    "decoder": Target(decoder_target, mutate_frames, 1024),
    "tokenizer": Target(tokenizer_target, mutate_json, 4096),
    "config": Target(config_target, mutate_json, 4096),
    "recipe": Target(lambda: file_target(".toml", read_any_recipe), mutate_lines, 2048),
    "manifest": Target(manifest_target, mutate_json, 4096),
}


def byte_level(writer: GGUFWriter, _size: int, pre: str = "gpt-2") -> None:
    """Eight tokens of a byte-level BPE."""
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(pre)
    writer.add_token_list(["<s>", "</s>", "<|im_end|>", "h", "e", "he", "\u0120", "\u0120he"])
    writer.add_token_types([3, 3, 3, 1, 1, 1, 1, 4])
    writer.add_token_merges(["h e", "\u0120 he"])
    writer.add_bos_token_id(0)
    writer.add_eos_token_id(1)


def sentence_piece(writer: GGUFWriter, size: int) -> None:
    """Tokens of a SentencePiece BPE with scores, and every key that is optional."""
    words = ["<unk>", "<s>", "</s>", "<0x0A>", "\u2581", "h", "e", "he"]
    writer.add_tokenizer_model("llama")
    writer.add_token_list(words)
    writer.add_token_scores([-float(i) for i in range(len(words))])
    writer.add_token_types([2, 3, 3, 6, 1, 1, 1, 1])
    writer.add_unk_token_id(0)
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_eot_token_id(2)
    writer.add_add_bos_token(True)
    writer.add_add_space_prefix(False)
    writer.add_chat_template("{{ messages }}")
    writer.add_name("small")
    writer.add_license("mit")
    writer.add_vocab_size(size)
    writer.add_rope_dimension_count(2)
    writer.add_custom_alignment(32)


def yarn(writer: GGUFWriter, size: int) -> None:
    """Positions stretched by YaRN, and a key that may stand there only with zero."""
    sentence_piece(writer, size)
    writer.add_uint32("llama.expert_count", 0)
    writer.add_string("llama.rope.scaling.type", "yarn")
    writer.add_float32("llama.rope.scaling.factor", 4.0)
    writer.add_uint32("llama.rope.scaling.original_context_length", 128)
    writer.add_float32("llama.rope.scaling.yarn_beta_fast", 32.0)
    writer.add_float32("llama.rope.scaling.attn_factor", 1.0)


def linear(writer: GGUFWriter, size: int) -> None:
    """Positions stretched evenly, texts normalized."""
    byte_level(writer, size, "qwen2")
    writer.add_string("llama.rope.scaling.type", "linear")
    writer.add_float32("llama.rope.scaling.factor", 2.0)


def write_gguf_seeds(folder: Path) -> None:
    """All families, both tokenizers, the scalings, plain and block formats."""
    folder.mkdir(parents=True, exist_ok=True)
    llama = tiny_llama(**LLAMA_SIZES)
    untied = LLAMA_SIZES | {"tie_word_embeddings": False, "attention_bias": True, "mlp_bias": True}
    write_gguf(llama, folder / "yarn", "F16", vocabulary=yarn)
    write_gguf(tiny_llama(**untied), folder / "untied", "BF16", vocabulary=linear)
    divisors = {"rope_freqs.weight": np.ones(1, np.float32)}
    write_gguf(llama, folder / "factors", vocabulary=sentence_piece, extra=divisors)
    for kind in ("Q4_0", "Q8_0"):
        write_gguf(tiny_llama(**BLOCK_SIZES), folder / kind, kind, vocabulary=sentence_piece)
    for name, made in whole_models().items():
        if rows()[name].gguf is not None:
            write_gguf(made, folder / name, vocabulary=byte_level)


def write_safetensors_seeds(folder: Path, scratch: Path) -> None:
    """Both architectures, and one tensor of each element type."""
    folder.mkdir(parents=True, exist_ok=True)
    for source in (tiny_llama(**LLAMA_SIZES), tiny_gpt2(**GPT2_SIZES)):
        written = write_folder(source, scratch / source.architecture) / "model.safetensors"
        (folder / source.architecture).write_bytes(written.read_bytes())
    for kind, size in (("F64", 8), ("F32", 4), ("F16", 2), ("BF16", 2), ("F8_E4M3", 1), ("F8_E5M2", 1)):
        entry = {"dtype": kind, "shape": [2, 2], "data_offsets": [0, 4 * size]}
        text = json.dumps({"x": entry, "__metadata__": {"format": "pt"}}).encode()
        (folder / kind).write_bytes(struct.pack("<Q", len(text)) + text + bytes(4 * size))


def write_decoder_seeds(folder: Path) -> None:
    """A frame of each kind, text, and all of it in turn as far as it fits."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = random.Random(1)
    each = [encode(Frame(kind, rng.randbytes(message.head.sizeof()))) for kind, message in MESSAGES.items()]
    for number, frame in enumerate(each):
        (folder / f"frame{number}").write_bytes(frame)
    (folder / "frames").write_bytes(b"\nbooting\r\n" + b"login: ".join(each[::2])[:1000])
    (folder / "longest").write_bytes(encode(Frame(1, rng.randbytes(512))))
    (folder / "text").write_bytes("ready \u2713\r\n\u001b[1mx".encode() * 8 + b"x" * MAX_LINE)


def write_tokenizer_seeds(folder: Path) -> None:
    """Byte-level, with whole words, by scores, and one that starts with two tokens."""
    folder.mkdir(parents=True, exist_ok=True)
    vocab, merges = {"<s>": 0, "</s>": 1, "h": 2, "e": 3, "he": 4, "\u0120": 5, "\u2581": 6}, [("h", "e")]
    for name in ("gpt-2", "llama-bpe", "deepseek-coder"):
        (folder / name).write_text(json.dumps(splits.byte_level(vocab, merges, splits.BY_NAME[name])))
    (folder / "pieces").write_text(json.dumps(splits.sentence_piece(vocab, merges, "<s>", True)))
    start = [{"SpecialToken": {"id": "<s>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}]
    special = {"<s>": {"id": "<s>", "ids": [0, 1], "tokens": ["<s>", "</s>"]}}
    post = {"type": "TemplateProcessing", "single": start, "pair": start, "special_tokens": special}
    cut = {"direction": "Right", "max_length": 4, "strategy": "LongestFirst", "stride": 0}
    facts = splits.byte_level(vocab, merges) | {"post_processor": post, "truncation": cut}
    (folder / "starting").write_text(json.dumps(facts))


def write_text_seeds(folder: Path) -> None:
    """Configs with every key that is read, the project's recipes, a manifest."""
    for name in ("config", "recipe", "manifest"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    llama = tiny_llama(**WHOLE_SIZES)
    scalings: dict[str, dict[str, object]] = {
        "linear": {"factor": 2.0},
        "llama3": {"factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0},
        "yarn": {"factor": 4.0, "beta_fast": 32.0, "beta_slow": 1.0, "mscale": 1.0, "mscale_all_dim": 1.0},
        "dynamic": {"factor": 2.0},
    }
    for kind, values in scalings.items():
        rope = {"rope_type": kind, "original_max_position_embeddings": 64, **values}
        config = {**llama.config, "model_type": "llama", "rope_scaling": rope}
        (folder / "config" / kind).write_text(json.dumps(config))
    extra = {"sliding_window": 8, "use_sliding_window": True, "_name_or_path": "a/b", "eos_token_id": [1, 2]}
    (folder / "config" / "window").write_text(json.dumps({**llama.config, "model_type": "mistral", **extra}))
    for name, made in whole_models().items():
        (folder / "config" / name).write_text(json.dumps({**made.config, "model_type": name}))
    for path in models_folder().glob("*.toml"):
        (folder / "recipe" / path.stem).write_bytes(path.read_bytes())
    with tempfile.TemporaryDirectory() as scratch:
        tiny_image(Path(scratch) / "m.hsp", llama)
        manifest = Image(Path(scratch) / "m.hsp").manifest
    more = {"board": "native", "options": {"context": 8, "sessions": 1}, "source": {"sha256": "0" * 64, "path": "m"}}
    for number, each in enumerate((manifest, manifest | more)):
        (folder / "manifest" / str(number)).write_text(json.dumps(each))


def write_seeds(folder: Path) -> None:
    """Whole small files for the readers, frames between text for the decoder."""
    write_gguf_seeds(folder / "gguf")
    with tempfile.TemporaryDirectory() as scratch:
        write_safetensors_seeds(folder / "safetensors", Path(scratch))
    write_decoder_seeds(folder / "decoder")
    write_tokenizer_seeds(folder / "tokenizer")
    write_text_seeds(folder)


def main(argv: list[str]) -> None:
    """Run one target, or write the seeds of all."""
    if argv[1] == "seeds":
        write_seeds(Path(argv[2]))
        return
    target = TARGETS[argv[1]]
    options = [argv[0], f"-max_len={target.max_len}", *argv[2:]]
    atheris.Setup(options, target.make(), custom_mutator=target.mutate)
    atheris.Fuzz()


if __name__ == "__main__":
    main(sys.argv)
