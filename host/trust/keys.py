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

KEY_ID_BYTES = 8


def make_keys(path: Path, passphrase: str | None = None) -> Path:
    """Write a new private key to ``path``, readable by its owner alone, and the public one beside it (``.pub``).

    Returns the public key's path. UsageError where one of the files is there already or cannot be written.
    """
    public_path = path.with_name(path.name + ".pub")
    for file in (path, public_path):
        if file.exists():
            raise UsageError(f"{file} is there already: a key is never overwritten; choose another name")
    key = Ed25519PrivateKey.generate()
    lock: serialization.KeySerializationEncryption = serialization.NoEncryption()
    if passphrase:
        lock = serialization.BestAvailableEncryption(passphrase.encode())
    private = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, lock)
    try:
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as stream:
            stream.write(private)
        public_path.write_bytes(_pem(key.public_key()))
    except OSError as error:
        raise UsageError(f"cannot write {error.filename}: {error.strerror}") from None
    return public_path


def _pem(key: Ed25519PublicKey) -> bytes:
    return key.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise UsageError(f"cannot read key {path}: {error.strerror}; `host keygen` makes one") from None


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
    return public_bytes(key)


def public_bytes(key: Ed25519PublicKey) -> bytes:
    """The key's 32 bytes (RFC 8032, 5.1.2)."""
    return key.public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)


def key_id(public: bytes) -> bytes:
    """The name of a key in a signature: the first bytes of its SHA-256."""
    return hashlib.sha256(public).digest()[:KEY_ID_BYTES]
