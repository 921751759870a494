# SPDX-License-Identifier: Apache-2.0
"""Small images to be broken: between them they have all ops, formats, layouts and sections that the loader knows."""

from __future__ import annotations

import sys
from pathlib import Path

from tokenizers import Tokenizer as Library

from host.compiler.compile import Options
from host.compiler.passes import PASSES
from host.schema.formats.q4 import Q4
from host.schema.formats.q4m import Q4M
from host.schema.formats.q8 import Q8
from host.schema.image import Format, Layout, Overflow
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


WRITERS = {"llama": write_llama, "gpt2": write_gpt2, "bpe": write_bpe}


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    for name, write in WRITERS.items():
        write(folder / f"{name}.hsp")
