# SPDX-License-Identifier: Apache-2.0
"""Models as users have them: safetensors, Hugging Face folders, GGUF, recipes. All become one `Source`."""

from host.files.source import Blocks, RawTensor, Source, Tokenizer
from host.model.load import load_source

__all__ = ["Blocks", "RawTensor", "Source", "Tokenizer", "load_source"]
