# SPDX-License-Identifier: Apache-2.0
"""NaN whose bits differ between targets: they decide nothing, and digests see one NaN.

x86 makes a NaN with its sign set and passes on those it is given; RISC-V makes one without and drops what it is given.
"""

from __future__ import annotations

import ctypes
import math
from pathlib import Path

import google_crc32c
import numpy as np
import numpy.typing as npt
import pytest

from host.compiler.compile import Options
from host.link.client import Client
from host.ops import OpId
from host.schema.formats.f32 import F32
from host.schema.image import Format, SectionId
from host.targets import open_target
from tests.support.images import ImageEditor
from tests.support.native import Native
from tests.support.tiny import tiny_image, tiny_llama
from tests.unit.test_firmware_parts import compile_c

CANONICAL = 0x7FC00000
KINDS = (0x7FC00000, 0xFFC00000, 0xFFC12345, 0x7FFFFFFF)
VOCAB = 64


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("nan") / "image.hsp"
    source = tiny_llama(vocab_size=VOCAB, num_hidden_layers=1, tie_word_embeddings=False)
    tiny_image(path, source, Options(weights=F32, kv=Format.F32, context=40, max_rows=8))
    return path.read_bytes()


@pytest.fixture(scope="module")
def functions(tmp_path_factory: pytest.TempPathFactory) -> ctypes.CDLL:
    folder = tmp_path_factory.mktemp("functions")
    lines = [f"float f_{name}(float x) {{ return math_{name}(x); }}" for name in ("tanh", "erf")]
    (folder / "functions.c").write_text("\n".join(['#include "common/math.h"', *lines, ""]))
    flags = ["-ffp-contract=off", "-fno-math-errno", "-fPIC", "-shared"]
    return ctypes.CDLL(str(compile_c(folder / "functions.so", [str(folder / "functions.c")], *flags)))


def column(editor: ImageEditor, linear: int, row: int, bits: int) -> ImageEditor:
    """A row of a product's f32 weight made NaN of these bits in its first column."""
    tensor = editor.read_op(editor.find(OpId.LINEAR, linear)).weight
    start, _ = editor.sections[SectionId.TENSORS]
    offset = int.from_bytes(editor.data[start + 64 * tensor + 16 :][:8], "little")
    at = editor.sections[SectionId.WEIGHTS][0] + offset + 4 * row
    editor.data[at : at + 4] = bits.to_bytes(4, "little")
    return editor


def digest(native: Native, logits: npt.NDArray[np.float32]) -> int:
    native.lib.run_digest.restype = ctypes.c_uint32
    data = np.ascontiguousarray(logits, np.float32)
    return int(native.lib.run_digest(data.ctypes.data_as(ctypes.c_void_p), ctypes.c_uint32(len(data))))


@pytest.mark.parametrize("bits", KINDS)
def test_a_digest_sees_one_not_a_number(native: Native, bits: int) -> None:
    words = np.array([0x3F800000, bits, 0x80000000, 0x7F800000, 0xFF800000], np.uint32)
    canonical = words.copy()
    canonical[1] = CANONICAL
    assert digest(native, words.view(np.float32)) == google_crc32c.value(canonical.tobytes())


def test_its_sign_decides_nothing(native: Native, image: bytes) -> None:
    """A key of which every score is NaN."""
    found = set()
    for bits in KINDS:
        editor = column(ImageEditor(image), 0, 100, bits)  # 96 rows of q, then those of k
        native.load(editor.op(OpId.ATTENTION, softcap=30.0).sealed())
        found.add(digest(native, native.feed([3, 1, 4, 1, 5])[0]))
    assert len(found) == 1


@pytest.mark.parametrize("bits", KINDS)
def test_no_function_makes_a_number_of_it(functions: ctypes.CDLL, bits: int) -> None:
    """A soft cap made +cap or -cap of a score that is NaN, by its sign."""
    x = np.array([bits], np.uint32).view(np.float32)[0]
    for name in ("tanh", "erf"):
        function = getattr(functions, f"f_{name}")
        function.restype, function.argtypes = ctypes.c_float, [ctypes.c_float]
        assert math.isnan(function(x))
        assert function(100.0) == 1.0
        assert function(-100.0) == -1.0


def test_scores_pass_it_over(tmp_path: Path, image: bytes) -> None:
    """The first logit is NaN, and so is the log probability of all; both leave the device in one form."""
    rows = {}
    for bits in KINDS[:2]:
        editor = ImageEditor(image)
        last = editor.op_ids().count(OpId.LINEAR) - 1
        path = tmp_path / f"{bits:08x}.hsp"
        path.write_bytes(column(editor, last, 0, bits).sealed())
        stream = open_target("native:harts=1", path)
        try:
            client = Client(stream, patience=60)
            client.connect(60)
            client.prompt([5, 6, 7])
            rows[bits] = list(client.score(digest=True, logits=True))
        finally:
            stream.close()
    for one, other in zip(*rows.values(), strict=True):
        assert one.argmax == other.argmax != 0
        assert one.digest == other.digest
        assert one.logits is not None
        assert math.isnan(one.logits[0])
        assert one.logits.view(np.uint32)[0] == CANONICAL
        assert one.argmax == int(np.nanargmax(one.logits))
