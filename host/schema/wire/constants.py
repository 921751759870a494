# SPDX-License-Identifier: Apache-2.0
"""The numbers that host and firmware are built with."""

from __future__ import annotations

from host import __version__

RELEASE = f"hartspeak {__version__}"
"""What firmware made from this source calls itself."""
VERSION_MIN = 2
VERSION_MAX = 2
MAX_PAYLOAD = 512
CRC_BYTES = 4
MAX_RAW = 14 + MAX_PAYLOAD + CRC_BYTES
"""Header, payload and CRC before stuffing."""
MAX_ENCODED = MAX_RAW + (MAX_RAW + 253) // 254
"""After stuffing, without the two delimiters."""
MAX_STOP_IDS = 16
ANNOUNCE_US = 800_000
"""A device announces itself this often until a host has said HELLO."""
NO_TOKEN = 0xFFFFFFFF
RECEIVE_BYTES = 3 * (MAX_ENCODED + 2)
"""What the device grants as credit: three whole frames, 143 ms of a line at 115200."""
WINDOW_FRAMES = 16
"""Frames that a device keeps until they are acknowledged."""
WINDOW_CONTROL = 4
"""How many of these frames are for answers alone, so that a stream cannot keep CANCEL from being answered."""
REPEAT_US = 150_000
"""An unacknowledged frame is repeated after this time, then after twice as long again and again, REPEAT_TRIES times."""
REPEAT_MAX_US = 2_000_000
REPEAT_TRIES = 12
ASK_US = 60_000
"""A receiver asks for the same frame at most this often."""
STRANGER_US = 200_000
"""When frames of another epoch come, a device announces itself, at most this often."""
BAUD_TRY_US = 500_000
"""After SET_BAUD both ends go back to the old rate unless a frame came at the new one within this time."""
BAUD_LOST_US = 1_000_000
"""A device that hears only damaged frames for so long goes back to the rate that it started with."""
BAUD_RATES = 8
SUM_BYTES = 1 << 16
"""Most bytes that one SUM is about."""
TOKEN_LOG = 4096
"""Tokens of a run that a device keeps for a host that is slow, away or new."""
