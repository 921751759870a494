# SPDX-License-Identifier: Apache-2.0
"""Models as users have them: safetensors, Hugging Face folders, GGUF, recipes. All become one `Source`."""

from host.importer.load import load_source
from host.importer.source import Blocks, RawTensor, Source, Tokenizer

__all__ = ["Blocks", "RawTensor", "Source", "Tokenizer", "load_source"]
