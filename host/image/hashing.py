# SPDX-License-Identifier: Apache-2.0
"""The tree of an image's hashes, by the hash that its header names; firmware/image/hash.c computes the same."""

from __future__ import annotations

import hashlib
from typing import Protocol

from host.schema.image import HASH_BYTES, LEAF_BYTES, HashId


class Running(Protocol):
    """A digest that is fed piece by piece."""

    def update(self, data: bytes | memoryview, /) -> None:
        """The next bytes."""

    def digest(self) -> bytes:
        """HASH_BYTES, of all bytes so far."""


def leaf_count(payload: int) -> int:
    """Leaves of so many bytes of payload."""
    return -(-payload // LEAF_BYTES)


def leaf_hash(kind: HashId, index: int, last: bool) -> Running:
    """Of the leaf ``index``; ``last``: it is the payload's last one."""
    return _node(kind, 0, index, last)


def leaf_digest(kind: HashId, index: int, last: bool, data: bytes) -> bytes:
    """Of a whole leaf."""
    running = leaf_hash(kind, index, last)
    running.update(data)
    return running.digest()


def root_digest(kind: HashId, table: bytes) -> bytes:
    """Of the leaves' digests one after the other."""
    running = _node(kind, 1, 0, True)
    running.update(table)
    return running.digest()


def header_digest(kind: HashId, page: bytes) -> bytes:
    """Of the header page up to its own digest."""
    if kind == HashId.SHA256:
        return hashlib.sha256(page).digest()
    return hashlib.blake2b(page, digest_size=HASH_BYTES).digest()


def payload_digests(kind: HashId, payload: bytes) -> list[bytes]:
    """Of each leaf of a whole payload."""
    count = leaf_count(len(payload))
    leaves = (payload[i * LEAF_BYTES : (i + 1) * LEAF_BYTES] for i in range(count))
    return [leaf_digest(kind, index, index + 1 == count, leaf) for index, leaf in enumerate(leaves)]


def _node(kind: HashId, level: int, index: int, last: bool) -> Running:
    """SHA-256 does not ask where the bytes stand."""
    if kind == HashId.SHA256:
        return hashlib.sha256()
    return hashlib.blake2b(
        digest_size=HASH_BYTES,
        fanout=0,
        depth=2,
        leaf_size=LEAF_BYTES,
        inner_size=HASH_BYTES,
        node_offset=index,
        node_depth=level,
        last_node=last,
    )
