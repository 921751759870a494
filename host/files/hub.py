# SPDX-License-Identifier: Apache-2.0
"""A name such as Org/Model: how to download it, and the download where there is a network."""

from __future__ import annotations

import re
from pathlib import Path

from rich.console import Console

from host.errors import SourceError
from host.words import shown

NAME = re.compile(r"[A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9][\w.-]{0,95}", re.ASCII)
WANTED = (
    "config.json",
    "generation_config.json",
    "model*.safetensors",
    "model.safetensors.index.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "merges.txt",
    "chat_template.jinja",
)
"""What packing reads: data only, in the repository's first folder."""


def is_hub_name(text: str) -> bool:
    """Whether a text names a model of Hugging Face: Org/Model, where here is neither that path nor a folder Org."""
    if not NAME.fullmatch(text) or text.endswith((".gguf", ".safetensors", ".toml", ".hsp", ".json")):
        return False
    return not Path(text).exists() and not Path(text.partition("/")[0]).exists()


def download(name: str) -> Path:
    """The folder of a model of Hugging Face in that library's own cache, fetched after it was said what will be.

    Raises SourceError, with the command that does it by hand, where it cannot be had.
    """
    by_hand = f"hf download {name} --local-dir {name.partition('/')[2]}"
    console = Console(stderr=True, highlight=False, soft_wrap=True)
    console.print(
        f"{name} is no file here: fetching it from huggingface.co (safetensors, config, tokenizer)", markup=False
    )
    try:
        from huggingface_hub import snapshot_download

        return Path(snapshot_download(name, allow_patterns=list(WANTED), ignore_patterns=["*/*"]))
    except Exception as error:  # of the network, of the library's own, of its transports: there is no common family
        said = shown(str(error).strip().partition("\n")[0], 160) or type(error).__name__
        raise SourceError(
            f"{name} does not exist here and cannot be fetched ({said}); where there is a network: {by_hand}"
        ) from error
