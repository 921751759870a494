# SPDX-License-Identifier: Apache-2.0
"""Memory between pages that cannot be touched."""

from __future__ import annotations

import ctypes
import mmap

import numpy as np
import numpy.typing as npt

PAGE = mmap.PAGESIZE

_libc = ctypes.CDLL(None, use_errno=True)
_libc.mmap.restype = ctypes.c_void_p
_libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t] + [ctypes.c_int] * 3 + [ctypes.c_long]
_libc.mprotect.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
_libc.munmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t]


class Region:
    """Bytes between two guard pages; they end exactly at the second one. ``size`` is a multiple of 64."""

    def __init__(self, size: int) -> None:
        assert size % 64 == 0
        self.size = size
        self._pages = -(-size // PAGE) * PAGE
        flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS
        self._base = _libc.mmap(None, self._pages + 2 * PAGE, 0, flags, -1, 0)
        assert self._base not in (None, ctypes.c_void_p(-1).value), "no memory"
        _libc.mprotect(self._base + PAGE, self._pages, mmap.PROT_READ | mmap.PROT_WRITE)
        self.address = self._base + PAGE + self._pages - size
        self.view: npt.NDArray[np.uint8] = np.frombuffer(
            (ctypes.c_uint8 * size).from_address(self.address), dtype=np.uint8
        )

    def intact(self) -> bool:
        """Whether the bytes between the first guard page and the region are still as they were: zero."""
        slack = self._pages - self.size
        return not any(ctypes.string_at(self._base + PAGE, slack))

    def protect(self) -> None:
        """Read only from now on."""
        _libc.mprotect(self._base + PAGE, self._pages, mmap.PROT_READ)

    def close(self) -> None:
        self.view = np.empty(0, np.uint8)
        _libc.munmap(self._base, self._pages + 2 * PAGE)
