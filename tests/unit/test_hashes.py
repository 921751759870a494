# SPDX-License-Identifier: Apache-2.0
"""The tree of hashes: the firmware's digests are hashlib's, and nothing that does not match them is ever run."""

from __future__ import annotations

import ctypes
import hashlib
from pathlib import Path

import numpy as np
import pytest

from host.compiler.compile import Options
from host.errors import BY_NUMBER, DeviceFailure, ImageError
from host.image.hashing import header_digest, leaf_digest, root_digest
from host.image.inspect import image_facts, summary
from host.image.reader import Image
from host.image.writer import LeafHasher
from host.schema.formats.f32 import F32
from host.schema.image import HASH_BYTES, HEADER_BYTES, HEADER_DIGEST_OFFSET, LEAF_BYTES, HashId, SectionId
from host.trust.keys import load_private, make_keys, public_bytes
from host.trust.signing import check_signature, sign_image
from tests.support.images import ROOT_OFFSET, ImageEditor
from tests.support.native import Native
from tests.support.tiny import tiny_image, tiny_llama
from tools.bench.hashes import run_hashes, text

ARENA = 16 << 20
LEAVES = 4
BOTH = list(HashId)
SIZES = [*range(131), 255, 256, 257, 1000, 65536 + 7]


class Node(ctypes.Structure):
    """struct blake2b_node."""

    names = ("fanout", "depth", "leaf_bytes", "level", "inner_bytes", "last")
    _fields_ = [(name, ctypes.c_uint32) for name in names] + [("index", ctypes.c_uint64)]


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """One of several leaves, the last one shorter."""
    path = tmp_path_factory.mktemp("hashes") / "image.hsp"
    tiny_image(path, tiny_llama(vocab_size=9000), Options(weights=F32, context=64))
    offset, size = ImageEditor(path.read_bytes()).sections[SectionId.HASHES]
    assert size == LEAVES * HASH_BYTES
    assert (offset - HEADER_BYTES) % LEAF_BYTES
    return path.read_bytes()


def with_hash(image: bytes, kind: HashId) -> bytes:
    """The image as a writer of that hash makes it."""
    return ImageEditor(image).header(hash=kind).sealed()


def firmwares(native: Native, data: bytes, node: Node | None) -> bytes:
    """The firmware's digest, SHA-256 without a node."""
    words, out = np.zeros(len(data) // 8 + 1, np.uint64), ctypes.create_string_buffer(HASH_BYTES)
    words.view(np.uint8)[: len(data)] = np.frombuffer(data, np.uint8)
    pointer, size = ctypes.c_void_p(words.ctypes.data), ctypes.c_uint64(len(data))
    if node is None:
        native.lib.sha256_digest(pointer, size, out)
    else:
        native.lib.blake2b_digest(ctypes.byref(node), pointer, size, out)
    return out.raw


def refused(native: Native, image: bytes, folder: Path) -> tuple[str, int]:
    """The error with which the device refuses the image and its detail; the host refuses it, too."""
    path = folder / "refused.hsp"
    path.write_bytes(image)
    with pytest.raises(ImageError):
        Image(path).verify()
    with pytest.raises(DeviceFailure) as failure:
        native.load(image, ARENA)
    with pytest.raises(DeviceFailure):
        native.step([(0, 0, 1, 1)])
    return BY_NUMBER[failure.value.number].name, failure.value.detail


# ---- digests ----


def test_sha256_is_hashlibs(native: Native) -> None:
    rng = np.random.default_rng(1)
    for size in SIZES:
        data = rng.bytes(size)
        assert firmwares(native, data, None) == hashlib.sha256(data).digest()


def test_sha256_of_the_standards_examples(native: Native) -> None:
    """FIPS 180-4's examples of one block and of two."""
    assert firmwares(native, b"abc", None).hex() == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    two = b"abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq"
    assert firmwares(native, two, None).hex() == "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1"


def test_blake2b_is_hashlibs(native: Native) -> None:
    rng = np.random.default_rng(2)
    for size in [*SIZES, *rng.integers(0, 5000, 50)]:
        data = rng.bytes(size)
        assert firmwares(native, data, Node(fanout=1, depth=1)) == header_digest(HashId.BLAKE2B, data)


def test_blake2b_as_a_node_is_hashlibs(native: Native) -> None:
    """Every parameter anywhere in its range."""
    rng = np.random.default_rng(3)
    for _ in range(200):
        data, last = rng.bytes(rng.integers(0, 400)), bool(rng.integers(2))
        leaf, index = int(rng.integers(1 << 32)), int(rng.integers(1 << 63))
        fanout, depth, level, inner = (
            int(rng.integers(low, high)) for low, high in ((0, 256), (1, 256), (0, 256), (0, 65))
        )
        theirs = hashlib.blake2b(
            data,
            digest_size=32,
            fanout=fanout,
            depth=depth,
            leaf_size=leaf,
            node_offset=index,
            node_depth=level,
            inner_size=inner,
            last_node=last,
        )
        node = Node(fanout, depth, leaf, level, inner, int(last), index)
        assert firmwares(native, data, node) == theirs.digest()


def on_spike(folder: Path, extensions: str) -> None:
    found = run_hashes(folder, extensions)
    assert {each.size for each in found} > {0, 1, 128, 129, 65536}
    for each in found:
        data, kind = text(each.size), HashId[each.hash.upper()]
        assert each.digest == leaf_digest(kind, 2, True, data).hex(), each


def test_digests_on_a_core_without_rotation(tmp_path: Path) -> None:
    on_spike(tmp_path, "")


@pytest.mark.slow
def test_digests_on_a_core_with_rotation(tmp_path: Path) -> None:
    on_spike(tmp_path, "_zba_zbb")


# ---- the tree ----


def test_the_tree_is_what_the_document_says(image: bytes) -> None:
    offset, size = ImageEditor(image).sections[SectionId.HASHES]
    payload, digests = image[HEADER_BYTES:offset], []
    tree = {"digest_size": 32, "fanout": 0, "depth": 2, "leaf_size": 1 << 20, "inner_size": 32}
    for index in range(LEAVES):
        leaf = payload[index << 20 : (index + 1) << 20]
        digests.append(hashlib.blake2b(leaf, **tree, node_offset=index, last_node=index == LEAVES - 1).digest())  # type: ignore[arg-type]
    assert image[offset : offset + size] == b"".join(digests)
    root = hashlib.blake2b(b"".join(digests), **tree, node_depth=1, last_node=True).digest()  # type: ignore[arg-type]
    assert image[ROOT_OFFSET : ROOT_OFFSET + HASH_BYTES] == root
    page = image[:HEADER_DIGEST_OFFSET]
    assert image[HEADER_DIGEST_OFFSET:HEADER_BYTES] == hashlib.blake2b(page, digest_size=32).digest()


@pytest.mark.parametrize("kind", BOTH)
@pytest.mark.parametrize("size", [2 * LEAF_BYTES + 77, 2 * LEAF_BYTES, 1])
def test_leaf_hasher_does_not_mind_the_pieces(kind: HashId, size: int) -> None:
    data = np.random.default_rng(0).bytes(size)
    hasher = LeafHasher(kind, size)
    for start in range(0, size, 300_000):
        hasher.update(data[start : start + 300_000])
    leaves = [data[start : start + LEAF_BYTES] for start in range(0, size, LEAF_BYTES)]
    wanted = [leaf_digest(kind, index, leaf is leaves[-1], leaf) for index, leaf in enumerate(leaves)]
    assert hasher.finish() == wanted


def test_leaf_hasher_is_fed_what_was_planned() -> None:
    hasher = LeafHasher(HashId.BLAKE2B, 100)
    hasher.update(bytes(99))
    with pytest.raises(AssertionError):
        hasher.finish()
    with pytest.raises(AssertionError):
        hasher.update(bytes(2))


@pytest.mark.parametrize("kind", BOTH)
def test_images_of_either_hash_are_read(native: Native, tmp_path: Path, image: bytes, kind: HashId) -> None:
    path = tmp_path / "image.hsp"
    path.write_bytes(with_hash(image, kind))
    opened = Image(path)
    opened.verify()
    assert image_facts(opened)["hash"] == kind.name
    assert any(f"({kind.name})" in line for line in summary(opened))
    native.load(path.read_bytes(), ARENA)
    native.step([(0, 0, 1, 1)])
    make_keys(tmp_path / "key")
    key = load_private(tmp_path / "key")
    sign_image(opened, key, tmp_path / "signed.hsp", 1)
    check_signature(Image(tmp_path / "signed.hsp"), public_bytes(key.public_key()))
    native.load((tmp_path / "signed.hsp").read_bytes(), ARENA)


@pytest.mark.parametrize("kind", BOTH)
def test_a_flipped_bit_in_any_leaf_is_found(native: Native, tmp_path: Path, image: bytes, kind: HashId) -> None:
    """As the leaf that it is in; only what is read at once is refused before the leaves are hashed."""
    good = with_hash(image, kind)
    weights, size = ImageEditor(good).sections[SectionId.WEIGHTS]
    end, _ = ImageEditor(good).sections[SectionId.HASHES]
    rng = np.random.default_rng(4)
    for leaf in range(LEAVES):
        first, last = (
            max(weights, HEADER_BYTES + leaf * LEAF_BYTES),
            min(end, HEADER_BYTES + (leaf + 1) * LEAF_BYTES) - 1,
        )
        for at in (first, last):
            broken = bytearray(good)
            broken[at] ^= 1 << int(rng.integers(8))
            assert refused(native, bytes(broken), tmp_path) == ("IMAGE_HASH", leaf)
    assert first < weights + size


def copy_table(mixed: bytearray, other: bytes) -> None:
    at, size = ImageEditor(other).sections[SectionId.HASHES]
    mixed[at : at + size] = other[at : at + size]


def copy_root(mixed: bytearray, other: bytes) -> None:
    mixed[ROOT_OFFSET : ROOT_OFFSET + HASH_BYTES] = other[ROOT_OFFSET : ROOT_OFFSET + HASH_BYTES]


@pytest.mark.parametrize("kind", BOTH)
def test_no_digest_of_the_other_hash_is_taken(native: Native, tmp_path: Path, image: bytes, kind: HashId) -> None:
    good = {each: with_hash(image, each) for each in BOTH}
    other = good[next(each for each in BOTH if each != kind)]
    for change in (copy_table, copy_root):
        mixed = bytearray(good[kind])
        change(mixed, other)
        assert refused(native, ImageEditor(bytes(mixed)).resealed_header(), tmp_path)[0] == "IMAGE_HASH"
    renamed = ImageEditor(other).header(hash=kind)
    assert refused(native, bytes(renamed.data), tmp_path)[0] == "IMAGE_HEADER"
    assert refused(native, renamed.resealed_header(), tmp_path)[0] == "IMAGE_HASH"


def test_the_leaves_of_the_other_hash_are_refused_below_a_root_that_is_right(
    native: Native, tmp_path: Path, image: bytes
) -> None:
    mixed = bytearray(image)
    copy_table(mixed, with_hash(image, HashId.SHA256))
    at, size = ImageEditor(image).sections[SectionId.HASHES]
    mixed[ROOT_OFFSET : ROOT_OFFSET + HASH_BYTES] = root_digest(HashId.BLAKE2B, bytes(mixed[at : at + size]))
    assert refused(native, ImageEditor(bytes(mixed)).resealed_header(), tmp_path) == ("IMAGE_HASH", 0)


@pytest.mark.parametrize("number", [0, 3, 255, 0xFFFFFFFF])
def test_a_hash_that_nobody_knows_is_newer(native: Native, tmp_path: Path, image: bytes, number: int) -> None:
    unknown = ImageEditor(image).header(hash=number)
    assert refused(native, bytes(unknown.data), tmp_path)[0] == "IMAGE_NEW"
    assert refused(native, unknown.sealed(), tmp_path)[0] == "IMAGE_NEW"


def test_a_leafs_digest_is_of_its_place(native: Native, tmp_path: Path, image: bytes) -> None:
    """Two leaves and their digests exchanged, root and header made right; and a last leaf that says it is not."""
    editor = ImageEditor(image)
    at, size = editor.sections[SectionId.HASHES]
    for digests in (
        [leaf_digest(HashId.BLAKE2B, index ^ 1, False, leaf_of(image, index)) for index in range(LEAVES)],
        [leaf_digest(HashId.BLAKE2B, index, False, leaf_of(image, index)) for index in range(LEAVES)],
    ):
        table = b"".join(digests)
        assert len(table) == size
        editor.data[at : at + size] = table
        editor.data[ROOT_OFFSET : ROOT_OFFSET + HASH_BYTES] = root_digest(HashId.BLAKE2B, table)
        wrong = refused(native, editor.resealed_header(), tmp_path)
        assert wrong == ("IMAGE_HASH", 0 if digests[0] != image[at : at + HASH_BYTES] else LEAVES - 1)


def leaf_of(image: bytes, index: int) -> bytes:
    end, _ = ImageEditor(image).sections[SectionId.HASHES]
    return image[HEADER_BYTES:end][index * LEAF_BYTES : (index + 1) * LEAF_BYTES]


def test_truncated_images_of_several_leaves_are_refused(native: Native, tmp_path: Path, image: bytes) -> None:
    for size in (HEADER_BYTES, LEAF_BYTES, len(image) - 4096, len(image) - 1):
        assert refused(native, image[:size], tmp_path)[0] == "IMAGE_TRUNCATED"


def test_the_step_waits_for_the_leaves(native: Native, image: bytes) -> None:
    broken = bytearray(image)
    weights, size = ImageEditor(image).sections[SectionId.WEIGHTS]
    broken[weights + size - 1] ^= 1
    native.load(bytes(broken), ARENA, verify=False)
    with pytest.raises(DeviceFailure) as failure:
        native.step([(0, 0, 1, 1)])
    assert BY_NUMBER[failure.value.number].name == "NOT_READY"
    with pytest.raises(DeviceFailure) as failure:
        native.verify()
    assert BY_NUMBER[failure.value.number].name == "IMAGE_HASH"
    assert failure.value.detail == (weights + size - 1 - HEADER_BYTES) >> 20
    with pytest.raises(DeviceFailure):
        native.step([(0, 0, 1, 1)])
