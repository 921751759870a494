# SPDX-License-Identifier: Apache-2.0
"""Small images to be broken: between them they have all ops, formats, layouts and sections that the loader knows."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from pathlib import Path

from tokenizers import Tokenizer as Library

from host.compiler.compile import Options
from host.compiler.passes import PASSES
from host.image import writer
from host.schema.formats.q4 import Q4
from host.schema.formats.q4m import Q4M
from host.schema.formats.q8 import Q8
from host.schema.image import Format, Layout, Overflow, SectionId
from host.schema.tokens import TokenModel
from tests.fuzz.token_tables import section
from tests.support.texts import described
from tests.support.tiny import tiny_gpt2, tiny_image, tiny_llama

SMALL = {
    "hidden_size": 32,
    "intermediate_size": 32,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "head_dim": 16,
}


def write_llama(path: Path) -> Path:
    """The fused program of a Llama whose context slides."""
    slide = Options(
        weights=Q4M, context=48, sessions=2, max_rows=8, overflow=Overflow.SLIDE, sinks=4, layout=Layout.SWAR
    )
    tiny_image(path, tiny_llama(**SMALL), slide)
    return path


def write_gpt2(path: Path) -> Path:
    """The unfused program of a GPT-2."""
    plain = Options(weights=Q8, context=40, sessions=2, max_rows=8, kv=Format.F32, without=tuple(PASSES))
    tiny_image(path, tiny_gpt2(n_embd=32, n_inner=32, n_layer=1, n_head=2), plain)
    return path


def write_bpe(path: Path) -> Path:
    """A Llama with tables to tokenize with."""
    tokenizer = described("gpt2")
    ids = Library.from_str(tokenizer.json).get_vocab().values()
    source = tiny_llama(**SMALL, vocab_size=max(ids) + 1)
    source.tokenizer = tokenizer
    tiny_image(path, source, Options(weights=Q4, context=40, sessions=1, max_rows=8, layout=Layout.RVV))
    return path


def write_tokens(path: Path, kind: TokenModel) -> Path:
    """A Llama with small tables of steps and a model."""
    source = tiny_llama(**SMALL, vocab_size=512)
    source.tokenizer = described("gpt2")
    ordinary, writer.text_section = writer.text_section, lambda _: (SectionId.TOKENS, section(kind))
    writer._made.clear()
    try:
        tiny_image(path, source, Options(weights=Q4, context=40, sessions=1, max_rows=8, layout=Layout.RVV))
    finally:
        writer.text_section = ordinary
        writer._made.clear()
    return path


WRITERS: dict[str, Callable[[Path], Path]] = {
    "llama": write_llama,
    "gpt2": write_gpt2,
    "bpe": write_bpe,
    **{f"tokens_{kind.name.lower()}": functools.partial(write_tokens, kind=kind) for kind in TokenModel},
}


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    for name, write in WRITERS.items():
        write(folder / f"{name}.hsp")
