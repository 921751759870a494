# SPDX-License-Identifier: Apache-2.0
"""Signed images: keys and signatures of the host, and a firmware that accepts no others."""

from __future__ import annotations

import ctypes
import os
from pathlib import Path

import pytest
from typer.testing import CliRunner

from host.cli import create_app
from host.errors import BY_NUMBER, DeviceFailure, ImageError, TargetError, UsageError
from host.image.reader import Image
from host.schema.image import HEADER_BYTES, OP_BYTES, Header, SectionId, Signature
from host.trust.keys import key_id, load_private, load_public, make_keys
from host.trust.signing import check_signature, sign_image
from tests.support.images import ImageEditor
from tests.support.native import Native
from tests.support.tiny import tiny_image, tiny_llama
from tools import bitflips

LOWEST = 7
# RFC 8032, 7.1: public key, message, signature.
VECTORS = [
    (
        "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
        "",
        "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24"
        "655141438e7a100b",
    ),
    (
        "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
        "72",
        "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aee"
        "b00d291612bb0c00",
    ),
    (
        "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025",
        "af82",
        "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28d"
        "c027beceea1ec40a",
    ),
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A key pair, ``key`` and ``key.pub``, and a signed image of version LOWEST."""
    path = tmp_path_factory.mktemp("trust")
    make_keys(path / "key")
    make_keys(path / "other")
    tiny_image(path / "plain.hsp", tiny_llama())
    sign_image(Image(path / "plain.hsp"), load_private(path / "key"), path / "signed.hsp", LOWEST)
    return path


@pytest.fixture(scope="module")
def guarded(folder: Path) -> Native:
    """The native firmware with the key built in."""
    try:
        return Native(1, bitflips.build_guarded(folder / "key.pub", LOWEST))
    except TargetError as error:
        if "cannot fetch" in str(error):
            pytest.skip(str(error).splitlines()[-1])
        raise


def test_signing_keeps_the_contents(folder: Path) -> None:
    plain, signed = Image(folder / "plain.hsp"), Image(folder / "signed.hsp")
    check_signature(signed, load_public(folder / "key.pub"))
    signed.verify()
    assert signed.header["root"] == plain.header["root"]
    assert signed.header["image_version"] == LOWEST
    again = folder / "again.hsp"
    sign_image(signed, load_private(folder / "key"), again)
    assert again.read_bytes() == (folder / "signed.hsp").read_bytes()


def test_signature_of_another_key_or_none(folder: Path) -> None:
    with pytest.raises(ImageError, match="not signed"):
        check_signature(Image(folder / "plain.hsp"), load_public(folder / "key.pub"))
    other = load_public(folder / "other.pub")
    with pytest.raises(ImageError, match=key_id(other).hex()):
        check_signature(Image(folder / "signed.hsp"), other)


@pytest.mark.parametrize("field", ["algorithm", "reserved"])
def test_a_signature_of_a_later_kind_is_not_checked_as_ours(folder: Path, field: str) -> None:
    editor = ImageEditor((folder / "signed.hsp").read_bytes())
    path = folder / f"{field}.hsp"
    path.write_bytes(editor.set(Signature, editor.sections[SectionId.SIGNATURE][0], **{field: 2}).data)
    with pytest.raises(ImageError, match="algorithm"):
        check_signature(Image(path), load_public(folder / "key.pub"))


def test_a_signed_image_is_read_by_whom_the_image_was(folder: Path) -> None:
    image = folder / "mode.hsp"
    image.write_bytes((folder / "plain.hsp").read_bytes())
    image.chmod(0o640)
    sign_image(Image(image), load_private(folder / "key"), folder / "mode-signed.hsp")
    assert (folder / "mode-signed.hsp").stat().st_mode & 0o777 == 0o640


def test_altered_header_is_noticed_by_the_host(folder: Path) -> None:
    edited = ImageEditor((folder / "signed.hsp").read_bytes()).header(image_version=LOWEST + 1).sealed()
    path = folder / "edited.hsp"
    path.write_bytes(edited)
    with pytest.raises(ImageError, match="signature"):
        check_signature(Image(path), load_public(folder / "key.pub"))


@pytest.mark.parametrize("umask", [0o000, 0o077])
def test_keys_have_their_modes_whatever_the_umask_is(tmp_path: Path, umask: int) -> None:
    before = os.umask(umask)
    try:
        public = make_keys(tmp_path / "key")
    finally:
        os.umask(before)
    assert ((tmp_path / "key").stat().st_mode & 0o777, public.stat().st_mode & 0o777) == (0o600, 0o644)


def test_keys_are_kept_apart(folder: Path) -> None:
    assert (folder / "key").stat().st_mode & 0o77 == 0
    with pytest.raises(UsageError, match="already"):
        make_keys(folder / "key")
    with pytest.raises(UsageError, match="private key"):
        load_public(folder / "key")
    with pytest.raises(UsageError, match="public key"):
        load_private(folder / "key.pub")
    with pytest.raises(UsageError, match="no private key"):
        load_private(folder / "plain.hsp")
    make_keys(folder / "locked", "secret")
    load_private(folder / "locked", "secret")
    with pytest.raises(UsageError, match="no private key"):
        load_private(folder / "locked", "wrong")


def test_commands(folder: Path) -> None:
    runner, app = CliRunner(), create_app()
    key, image = str(folder / "c"), str(folder / "c.hsp")
    assert runner.invoke(app, ["keygen", key]).exit_code == 0
    done = runner.invoke(app, ["sign", str(folder / "plain.hsp"), "--key", key, "-o", image, "--image-version", "9"])
    assert done.exit_code == 0, done.output
    done = runner.invoke(app, ["verify", image, "--key", key + ".pub"])
    assert done.exit_code == 0, done.output
    assert "version 9" in done.output
    assert isinstance(runner.invoke(app, ["verify", image, "--key", str(folder / "key.pub")]).exception, ImageError)


@pytest.mark.parametrize(("key", "message", "signature"), VECTORS)
def test_ed25519_of_the_firmware(guarded: Native, key: str, message: str, signature: str) -> None:
    check = guarded.lib.crypto_sign_ed25519_verify_detached
    check.argtypes = [ctypes.c_char_p, ctypes.c_char_p, ctypes.c_ulonglong, ctypes.c_char_p]
    data, sig = bytes.fromhex(message), bytes.fromhex(signature)
    assert check(sig, data, len(data), bytes.fromhex(key)) == 0
    assert check(sig, data + b"\0", len(data) + 1, bytes.fromhex(key)) != 0
    assert check(sig[:-1] + bytes([sig[-1] ^ 1]), data, len(data), bytes.fromhex(key)) != 0


def test_firmware_accepts_what_its_key_signed(guarded: Native, folder: Path) -> None:
    guarded.load(folder / "signed.hsp")


@pytest.mark.parametrize("what", ["IMAGE_UNSIGNED", "IMAGE_KEY", "IMAGE_OLD", "IMAGE_SIGNATURE"])
def test_firmware_refuses(guarded: Native, folder: Path, what: str) -> None:
    path = folder / "refused.hsp"
    if what == "IMAGE_UNSIGNED":
        path = folder / "plain.hsp"
    elif what == "IMAGE_SIGNATURE":
        sealed = ImageEditor((folder / "signed.hsp").read_bytes()).header(image_version=LOWEST + 1).sealed()
        path.write_bytes(sealed)
    else:
        key, version = ("other", LOWEST) if what == "IMAGE_KEY" else ("key", LOWEST - 1)
        sign_image(Image(folder / "plain.hsp"), load_private(folder / key), path, version)
    with pytest.raises(DeviceFailure) as failure:
        guarded.load(path)
    assert BY_NUMBER[failure.value.number].name == what


def test_single_bits(guarded: Native, folder: Path, request: pytest.FixtureRequest) -> None:
    """Header and signature: every bit; program: every bit with --slow, each 13th else."""
    image = Image(folder / "signed.hsp")
    flips = bitflips.Flips(guarded, image.path.read_bytes())
    start, size = image.sections[SectionId.SIGNATURE]
    assert size == Signature.sizeof()
    bits = [*range(HEADER_BYTES * 8), *range(start * 8, (start + size) * 8)]
    start, size = image.sections[SectionId.PROGRAM]
    assert size >= OP_BYTES
    bits += range(start * 8, (start + size) * 8, 1 if request.config.getoption("--slow") else 13)
    assert [bit for bit in bits if flips.accepted(bit)] == []
    assert Header.parse(flips.bytes.tobytes()).image_version == LOWEST


def test_random_bits(guarded: Native, folder: Path) -> None:
    """A few of what ``python -m tools.bitflips`` flips."""
    image = Image(folder / "signed.hsp")
    sections, accepted = bitflips.flip(bitflips.Flips(guarded, image.path.read_bytes()), image, 300)
    assert {"weights", "tokenizer", "manifest", "hashes"} < sections.keys()
    assert sum(sections.values()) == 300
    assert accepted == []
