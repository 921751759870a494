# SPDX-License-Identifier: Apache-2.0
"""Keys in the formats that OpenSSL reads and writes: PKCS #8 and SubjectPublicKeyInfo, PEM."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from host.errors import UsageError
from host.foreign import open_regular

KEY_ID_BYTES = 8
MAX_KEY_BYTES = 1 << 16
"""More is read of no file: it is no key then."""
PRIME = (1 << 255) - 19
CURVE_D = -121665 * pow(121666, -1, PRIME) % PRIME
"""Of edwards25519: -x^2 + y^2 = 1 + d x^2 y^2 (RFC 8032, 5.1)."""


def make_keys(path: Path, passphrase: str | None = None) -> Path:
    """Write a new private key to ``path``, readable by its owner alone, and the public one beside it (``.pub``).

    Returns the public key's path. UsageError where one of the files is there already or cannot be written.
    """
    public_path = path.with_name(path.name + ".pub")
    for file in (path, public_path):
        if os.path.lexists(file):
            raise UsageError(f"{file} is there already: a key is never overwritten; choose another name")
    key = Ed25519PrivateKey.generate()
    lock: serialization.KeySerializationEncryption = serialization.NoEncryption()
    if passphrase:
        lock = serialization.BestAvailableEncryption(passphrase.encode())
    private = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, lock)
    made: list[Path] = []
    try:
        for file, mode, data in ((path, 0o600, private), (public_path, 0o644, _pem(key.public_key()))):
            _write_new(file, mode, data, made)
    except BaseException as error:
        for file in made:
            file.unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise UsageError(f"cannot write {error.filename or path}: {error.strerror}") from None
        raise
    return public_path


def _write_new(path: Path, mode: int, data: bytes, made: list[Path]) -> None:
    """A file that was not there, with this mode whatever the umask is: others may read a public key, not write it."""
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as stream:
        made.append(path)
        os.fchmod(stream.fileno(), mode)
        stream.write(data)


def _pem(key: Ed25519PublicKey) -> bytes:
    return key.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)


def _read(path: Path) -> bytes:
    try:
        with open_regular(path, UsageError, "key") as file:
            return file.read(MAX_KEY_BYTES)
    except UsageError as error:
        raise UsageError(f"{error}; `host keygen` makes one") from None
    except OSError as error:
        raise UsageError(f"cannot read key {path}: {error.strerror}") from None


def is_locked(path: Path) -> bool:
    """Whether the private key needs a passphrase. Raises UsageError."""
    return b"ENCRYPTED" in _read(path)


def load_private(path: Path, passphrase: str | None = None) -> Ed25519PrivateKey:
    """A private key. Raises UsageError for a wrong passphrase, another kind of key, or what is no key."""
    data = _read(path)
    try:
        key = serialization.load_pem_private_key(data, passphrase.encode() if passphrase else None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        hint = "this is a public key: signing needs the private one" if b"PUBLIC" in data else str(error)
        raise UsageError(f"{path} gives no private key: {hint}") from None
    if not isinstance(key, Ed25519PrivateKey):
        raise UsageError(f"{path} holds another kind of key than Ed25519; `host keygen` makes one")
    return key


def load_public(path: Path) -> bytes:
    """The 32 bytes of a public key. Raises UsageError; a private key is refused, for it has no business here."""
    data = _read(path)
    if b"PRIVATE" in data:
        raise UsageError(f"{path} is a private key: give the public one ({path.name}.pub), and keep this one away")
    try:
        key = serialization.load_pem_public_key(data)
    except (ValueError, UnsupportedAlgorithm) as error:
        raise UsageError(f"{path} is no public key: {error}") from None
    if not isinstance(key, Ed25519PublicKey):
        raise UsageError(f"{path} holds another kind of key than Ed25519; `host keygen` makes one")
    public = public_bytes(key)
    if not is_sound(public):
        raise UsageError(
            f"{path} is a key that anybody can sign for (a point of small order, or none of the curve); nobody who "
            "means well has made it: `host keygen` makes a good one"
        )
    return public


def is_sound(public: bytes) -> bool:
    """Whether 32 bytes are a point of edwards25519 (RFC 8032, 5.1.3) whose order is not small.

    For a key of order 8 or less, which the zero key is, too, a signature can be made without any secret.
    """
    sign, y = public[31] >> 7, int.from_bytes(public, "little") & ((1 << 255) - 1)
    if y >= PRIME:
        return False
    square = (y * y - 1) * pow(CURVE_D * y * y + 1, -1, PRIME) % PRIME
    x = pow(square, (PRIME + 3) // 8, PRIME)
    if x * x % PRIME != square:
        x = x * pow(2, (PRIME - 1) // 4, PRIME) % PRIME
    if x * x % PRIME != square or (not x and sign):
        return False
    for _ in range(3):
        product = CURVE_D * x * x * y * y
        both = 2 * x * y, y * y + x * x
        x, y = both[0] * pow(1 + product, -1, PRIME) % PRIME, both[1] * pow(1 - product, -1, PRIME) % PRIME
    return (x, y) != (0, 1)


def public_bytes(key: Ed25519PublicKey) -> bytes:
    """The key's 32 bytes (RFC 8032, 5.1.2)."""
    return key.public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)


def key_id(public: bytes) -> bytes:
    """The name of a key in a signature: the first bytes of its SHA-256."""
    return hashlib.sha256(public).digest()[:KEY_ID_BYTES]
