# SPDX-License-Identifier: Apache-2.0
"""Flips single bits of a signed image that a guarded firmware must then refuse: ``python -m tools.bitflips``.

The firmware is this machine's build with the key in it. Each flip is one whole load: header, signature, tables, hashes.
Header, program and signature have tests of their own for every bit; here bits are drawn at random from all the rest.
"""

from __future__ import annotations

import argparse
import ctypes
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import numpy.typing as npt

from host.errors import HostError, TargetError
from host.image.reader import Image
from host.places import build_root
from host.schema.image import HEADER_BYTES, SectionId
from host.trust.keys import load_private, make_keys
from host.trust.signing import sign_image

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from tests.support.native import Native  # noqa: E402
from tests.support.tiny import tiny_image, tiny_llama  # noqa: E402

SMALL = {"hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 1}
SMALL |= {"num_key_value_heads": 1, "head_dim": 32}
Bits = npt.NDArray[np.int64]


def build_guarded(key: Path, lowest_version: int) -> Path:
    """The library of a native firmware that accepts only what ``key`` signed. Raises TargetError."""
    build = build_root() / "trust"
    target = build / "native/libfirmware.so"
    command = [sys.executable, "-m", "SCons", "-s", "-j2", "board=native", f"build={build}", str(target)]
    command += [f"key={key}", f"lowest_version={lowest_version}"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        raise TargetError(f"the firmware could not be built:\n{done.stdout}{done.stderr}")
    return target


class Flips:
    """An image in memory that can be written, loaded again and again."""

    def __init__(self, device: Native, image: bytes) -> None:
        device.load(image)
        self.device = device
        buffer = np.zeros(len(image) + 64, np.uint8)
        start = -buffer.ctypes.data % 64
        self.bytes = buffer[start : start + len(image)]
        self.bytes[:] = np.frombuffer(image, np.uint8)
        device.port.memory.image = self.bytes.ctypes.data
        device.port.memory.image_limit = len(image)
        if not self.loads():
            raise AssertionError("the image is refused as it is")

    def loads(self) -> bool:
        """Whether the firmware takes the image."""
        lib, detail = self.device.lib, ctypes.c_uint64()
        good = lib.engine_load(self.device.engine, ctypes.byref(detail)) == 0
        return bool(good and lib.engine_verify(self.device.engine, ctypes.byref(detail)) == 0)

    def accepted(self, bit: int) -> bool:
        """Whether the firmware takes the image with this one bit flipped."""
        self.bytes[bit // 8] ^= 1 << bit % 8
        good = self.loads()
        self.bytes[bit // 8] ^= 1 << bit % 8
        return good


def places(image: Image) -> dict[str, Bits]:
    """Bits of each section, and of the gaps between them, without header, program and signature."""
    end = image.header["file_size"]
    gaps = np.ones(end * 8, bool)
    gaps[: HEADER_BYTES * 8] = False
    found = {}
    for section, (start, size) in image.sections.items():
        gaps[start * 8 : (start + size) * 8] = False
        if section not in (SectionId.PROGRAM, SectionId.SIGNATURE):
            found[section.name.lower()] = np.arange(start * 8, (start + size) * 8)
    return found | {"between sections": np.flatnonzero(gaps)}


def flip(flips: Flips, image: Image, count: int, seed: int = 1) -> tuple[dict[str, int], list[int]]:
    """Flip ``count`` random bits, one at a time, the same number in each section.

    Returns how many in each, and those that were accepted.
    """
    rng, found, accepted = np.random.default_rng(seed), places(image), []
    shares = {name: count // len(found) + (i < count % len(found)) for i, name in enumerate(found)}
    for name, share in shares.items():
        accepted += [bit for bit in rng.choice(found[name], share).tolist() if flips.accepted(bit)]
    return shares, accepted


def main() -> int:
    """Print how many flips there were, and how many the firmware accepted: 0, or the status is 1."""
    parser = argparse.ArgumentParser(description="Flip single bits of a signed image.")
    parser.add_argument("--count", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    try:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            make_keys(folder / "key")
            tiny_image(folder / "plain.hsp", tiny_llama(**SMALL))
            sign_image(Image(folder / "plain.hsp"), load_private(folder / "key"), folder / "signed.hsp", 1)
            image = Image(folder / "signed.hsp")
            flips = Flips(Native(1, build_guarded(folder / "key.pub", 1)), image.path.read_bytes())
            started = time.process_time()
            sections, accepted = flip(flips, image, options.count, options.seed)
            seconds = time.process_time() - started
    except HostError as error:
        sys.stderr.write(f"bitflips: {error}\n")
        return error.exit_code
    for section, count in sorted(sections.items()):
        print(f"{count:>9} {section}")
    print(
        f"{options.count:>9} flips in an image of {len(flips.bytes)} bytes, {len(accepted)} accepted; {seconds:.0f} s"
    )
    return 1 if accepted else 0


if __name__ == "__main__":
    raise SystemExit(main())
