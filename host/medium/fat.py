# SPDX-License-Identifier: Apache-2.0
"""A FAT16 file system with a few files in its root directory, the same bytes every time."""

from __future__ import annotations

import datetime
import tempfile
from collections.abc import Mapping
from pathlib import Path

from pyfatfs.EightDotThree import EightDotThree
from pyfatfs.FATDirectoryEntry import FATDirectoryEntry
from pyfatfs.PyFat import PyFat

MINIMUM = 16 << 20
"""Bytes: below about 5 MiB a FAT with 16 bits is not allowed."""
DATE = 1 << 5 | 1
"""1980-01-01, for a build that is repeated must give the same bytes."""
VOLUME_ID = 0x48535045


def fat_image(files: Mapping[str, bytes], size: int) -> bytes:
    """A file system of ``size`` bytes (``MINIMUM`` or more) with ``files``: name (8.3) to contents.

    Raises ValueError for a name that is none or where the files do not fit.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "fat"
        path.touch()
        fat = PyFat()
        fat.mkfs(str(path), PyFat.FAT_TYPE_FAT16, size=size, label="HSP", volume_id=VOLUME_ID)
        fat.close()
        fat = PyFat()
        fat.open(str(path))
        for entry in fat.root_dir.get_entries()[2]:  # the label
            _set_date(entry)
        try:
            for name, contents in files.items():
                _add(fat, name, contents)
            fat.flush_fat()
        finally:
            fat.close()
        return path.read_bytes()


def _set_date(entry: FATDirectoryEntry) -> None:
    entry.crttime = entry.wrttime = entry.crttimetenth = 0
    entry.crtdate = entry.wrtdate = entry.lstaccessdate = DATE


def _add(fat: PyFat, name: str, contents: bytes) -> None:
    short = EightDotThree()
    if not short.is_8dot3_conform(name.upper()):
        raise ValueError(f"{name!r} is no 8.3 name")
    short.set_str_name(name.upper())
    entry = FATDirectoryEntry.new(name=short, tz=datetime.timezone.utc, encoding="ibm437")
    _set_date(entry)
    entry.filesize = len(contents)
    if contents:
        if len(contents) > fat.bytes_per_cluster * fat.fat.count(0):
            raise ValueError(f"{name} does not fit the file system")
        chain = fat.allocate_bytes(len(contents))
        entry.set_cluster(chain[0])
        fat.write_data_to_cluster(contents, chain[0], extend_cluster=False)
    fat.root_dir.add_subdirectory(entry)
    fat.update_directory_entry(fat.root_dir)
