# SPDX-License-Identifier: Apache-2.0
"""Atheris targets: what the host reads that somebody else wrote. Only HostError may come out of it.

usage: fuzz_python.py {gguf|safetensors|decoder} [options of libFuzzer] [corpus...]

``fuzz_python.py seeds DIRECTORY`` writes a start for each target there: files of a model of a few weights.
"""

from __future__ import annotations

import contextlib
import json
import random
import struct
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import atheris
import google_crc32c
from cobs import cobs

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
with atheris.instrument_imports(include=["host.importer", "host.link"]):
    from host.errors import HostError
    from host.importer.load import load_source
    from host.importer.safetensors_file import check_dtypes, open_safetensors
    from host.link.frames import Damaged, Decoder, Frame, Text, encode

from host.link.messages import MESSAGES
from tests.support.model_files import write_folder, write_gguf
from tests.support.tiny import tiny_gpt2, tiny_llama

SCRATCH = Path("/dev/shm") if Path("/dev/shm").is_dir() else Path(tempfile.gettempdir())
TINY = {
    "hidden_size": 8,
    "intermediate_size": 8,
    "num_hidden_layers": 1,
    "num_attention_heads": 1,
    "num_key_value_heads": 1,
    "head_dim": 8,
}


def read_gguf(path: Path) -> None:
    """Everything that packing reads of a GGUF."""
    source = load_source(path)
    for tensor in source.tensors.values():
        tensor.float32()


def read_safetensors(path: Path) -> None:
    """Tensors and their values."""
    tensors = open_safetensors(path)
    check_dtypes(tensors, path.name)
    for tensor in tensors.values():
        tensor.float32()


def file_target(suffix: str, read: Callable[[Path], None]) -> Callable[[bytes], None]:
    """A target that reads its input as a file."""
    path = Path(tempfile.mkdtemp(dir=SCRATCH)) / f"model{suffix}"

    def run(data: bytes) -> None:
        path.write_bytes(data)
        with contextlib.suppress(HostError):
            read(path)

    return run


def run_decoder(data: bytes) -> None:
    """Bytes in portions of changing size; with an odd first one as header and payload, given the right checksum."""
    if data[:1] and data[0] & 1:
        data = b"\0" + cobs.encode(data[1:] + google_crc32c.value(data[1:]).to_bytes(4, "little")) + b"\0"
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


def sealed_safetensors(data: bytes, max_size: int, seed: int) -> bytes:
    """Mutate the header and the length that it stands under by itself as often as the whole file."""
    length = int.from_bytes(data[:8], "little")
    room = max_size - (len(data) - length)
    if not 0 < length <= len(data) - 8 or room < length or seed % 4 == 0:
        return bytes(atheris.Mutate(data, max_size))
    header = bytes(atheris.Mutate(data[8 : 8 + length], room))
    return struct.pack("<Q", len(header)) + header + data[8 + length :]


TARGETS: dict[str, tuple[Callable[[bytes], None], Callable[[bytes, int, int], bytes] | None]] = {
    "gguf": (file_target(".gguf", read_gguf), None),
    "safetensors": (file_target(".safetensors", read_safetensors), sealed_safetensors),
    "decoder": (run_decoder, None),
}


def write_seeds(folder: Path) -> None:
    """Whole small files for the readers, frames between text for the decoder."""
    for name in TARGETS:
        (folder / name).mkdir(parents=True, exist_ok=True)
    write_gguf(tiny_llama(**TINY), folder / "gguf" / "llama")
    blocks = TINY | {"hidden_size": 32, "intermediate_size": 32, "head_dim": 32}
    write_gguf(tiny_llama(**blocks), folder / "gguf" / "blocks", "Q4_0")
    write_gguf(tiny_gpt2(n_embd=8, n_inner=8, n_layer=1, n_head=1, n_positions=8), folder / "gguf" / "gpt2")
    model = write_folder(tiny_llama(**TINY), folder / "folder") / "model.safetensors"
    (folder / "safetensors" / "llama").write_bytes(model.read_bytes())
    header = {"x": {"dtype": "BF16", "shape": [2, 2], "data_offsets": [0, 8]}, "__metadata__": {"format": "pt"}}
    text = json.dumps(header).encode()
    (folder / "safetensors" / "small").write_bytes(struct.pack("<Q", len(text)) + text + bytes(8))
    rng = random.Random(1)
    frames = [encode(Frame(kind, rng.randbytes(message.head.sizeof()))) for kind, message in MESSAGES.items()]
    (folder / "decoder" / "frames").write_bytes(b"\nbooting\r\n" + b"login: ".join(frames))


def main(argv: list[str]) -> None:
    """Run one target, or write the seeds of all."""
    if argv[1] == "seeds":
        write_seeds(Path(argv[2]))
        return
    run, mutate = TARGETS[argv[1]]
    extra = {"custom_mutator": mutate} if mutate else {}
    atheris.Setup([argv[0], *argv[2:]], run, **extra)
    atheris.Fuzz()


if __name__ == "__main__":
    main(sys.argv)
