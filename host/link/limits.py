# SPDX-License-Identifier: Apache-2.0
"""What a device may say, and for how long it is believed without a result.

A device is a stranger: it may be broken, or lie. The host holds what a device says against what the host has asked
for, against the image where the host has that, and against limits that no firmware of ours exceeds
(firmware/common/limits.h has the firmware's own). A device that says something else raises DeviceFaulty.

A device may keep talking without a result for a time that follows from its work: patience once, and once more for each
``BYTES_CHECKED`` of an image whose hashes it checks, or for each ``BYTES_COMPUTED`` of weights times rows of a step.
So ``--patience`` moves all of these times. A VisionFive 2 hashes 128 MiB in 2 s and takes 4 GiB of weights times rows
in 4 s. Spike needs one minute and three minutes; its patience is five times a board's.
"""

from __future__ import annotations

from typing import Any

from host.errors import DeviceFaulty
from host.schema.wire.hello import DeviceState
from host.words import shown

BYTES_CHECKED = 128 << 20
BYTES_COMPUTED = 4 << 30
MOST_PATIENCES = 64.0
"""The longest time, also where the work is known by the device's words alone."""
MOST_BYTES = 1 << 40
MOST_WAITING = 1 << 16
"""Frames that a client keeps until somebody asks for them: 32 MiB."""
MOST_OPS = 1 << 16
MOST_RESTARTS = 3
"""Restarts of a device without a token in between. After so many the host gives the device up at the next one."""
MOST_RETURNS = 20
"""Returns of a line that was away, without a token in between, where the device had lost nothing."""

LIMITS = {
    "harts": 4096,
    "vocab": 1 << 24,
    "context": 1 << 24,
    "max_rows": 1 << 16,
    "max_logit_rows": 1 << 16,
    "sessions": 1 << 12,
    "layers": 1 << 16,
    "overflow": 1,
    "pending_limit": 1 << 24,
    "vlen": 1 << 16,
    "baud": 10**8,
    "image_bytes": MOST_BYTES,
    "weight_bytes": MOST_BYTES,
    "arena_bytes": MOST_BYTES,
    "runtime_bytes": MOST_BYTES,
}
"""The largest values that HELLO_REPLY may have."""
WITH_MODEL = ("vocab", "context", "max_rows", "max_logit_rows", "sessions", "pending_limit")
"""Values of HELLO_REPLY that are not 0 while a model is loaded."""
OF_MODEL = ("vocab", "context", "max_rows", "max_logit_rows", "sessions", "layers", "overflow")
"""Values of HELLO_REPLY that are the same for the same image."""
WORDS = ("firmware", "board", "isa", "kernels")


def check_hello(who: str, values: dict[str, Any]) -> None:
    """Raise DeviceFaulty where what a device says of itself cannot be."""
    if values["state"] not in set(DeviceState):
        raise DeviceFaulty(
            f"{who} says that its state is {values['state']}, which there is not; update host or firmware"
        )
    for name, most in LIMITS.items():
        if values[name] > most:
            raise DeviceFaulty(f"{who} says that its {name} is {values[name]}, at most {most} is possible; reset it")
    if values["state"] in (DeviceState.READY, DeviceState.RUNNING):
        for name in WITH_MODEL:
            if not values[name]:
                raise DeviceFaulty(f"{who} says that it has a model whose {name} is 0; reset it")


def words_of(data: bytes) -> str:
    """Text of a fixed field, padded with NUL, as one line that steers no terminal."""
    return shown(data.split(b"\0", 1)[0].decode(errors="replace"))


def check_seconds(patience: float, image_bytes: int) -> float:
    """For how long a device may say that it checks an image of so many bytes."""
    return patience * min(1 + image_bytes / BYTES_CHECKED, MOST_PATIENCES)


def work_seconds(patience: float, weight_bytes: int, rows: int) -> float:
    """For how long a device may answer that it is there while a step of so many rows gives no result."""
    return patience * min(1 + weight_bytes * rows / BYTES_COMPUTED, MOST_PATIENCES)
