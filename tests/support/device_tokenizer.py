# SPDX-License-Identifier: Apache-2.0
"""The device's tokenizer, called as a library, and small models around a tokenizer."""

from __future__ import annotations

import ctypes
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer as Library

from host.errors import DeviceFailure
from host.files.source import Tokenizer
from tests.support.native import Native
from tests.support.tiny import tiny_llama

CAPACITY = 5000


class Text(ctypes.Structure):
    """struct tokenizer_text."""

    _fields_ = (("at", ctypes.c_void_p), ("size", ctypes.c_uint32))


class Device:
    """The tokenizer of a loaded image."""

    def __init__(self, native: Native, image: bytes | Path) -> None:
        native.load(image, verify=False)
        self.lib = native.lib
        if error := self.lib.engine_tokenizer_error(native.engine):
            assert self.lib.engine_tokenizer(native.engine) is None
            raise DeviceFailure(-error)
        self.lib.tokenizer_decode.restype = Text
        self.lib.tokenizer_decode.argtypes = [ctypes.c_void_p, ctypes.c_uint32]
        self.lib.tokenizer_encode.argtypes = [
            *(ctypes.c_void_p, ctypes.c_char_p, ctypes.c_uint32, ctypes.c_void_p, ctypes.c_uint32)
        ]
        self.it = self.lib.engine_tokenizer(native.engine)

    def encode(self, text: str | bytes, capacity: int = CAPACITY) -> list[int]:
        data = text if isinstance(text, bytes) else text.encode()
        ids = (ctypes.c_uint32 * CAPACITY)()
        count = self.lib.tokenizer_encode(self.it, data, len(data), ids, capacity)
        if count < 0:
            raise DeviceFailure(-count)
        return list(ids[:count])

    def decode(self, ids: list[int]) -> bytes:
        texts = [self.lib.tokenizer_decode(self.it, index) for index in ids]
        return b"".join(ctypes.string_at(text.at, text.size) for text in texts)


def image_source(tokenizer: Tokenizer) -> Any:
    """A model of a few weights with this tokenizer."""
    made = tiny_llama(vocab_size=max(Library.from_str(tokenizer.json).get_vocab().values()) + 1, hidden_size=32)
    made.tokenizer = tokenizer
    return made
