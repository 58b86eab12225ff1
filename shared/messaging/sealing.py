"""Sealing of payloads that hold names and numbers: AES-256-GCM, bound to type and subject."""

from __future__ import annotations

import os

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

NONCE_BYTES = 12


class SealBroken(Exception):
    """A sealed payload cannot be opened; the text says why, without its content."""


class Sealer:
    """Seals and opens payloads with one key.

    >>> sealer = Sealer("00" * 32, key_id="1")
    >>> sealer.open(sealer.seal(b"Ada", bound_to="t/p1"), key_id="1", bound_to="t/p1")
    b'Ada'
    """

    def __init__(self, key_hex: str, *, key_id: str) -> None:
        self.key_id = key_id
        self._cipher = AESGCM(bytes.fromhex(key_hex))

    def seal(self, plain: bytes, *, bound_to: str) -> bytes:
        """Nonce and ciphertext; opens only with the same `bound_to`."""
        nonce = os.urandom(NONCE_BYTES)
        return nonce + self._cipher.encrypt(nonce, plain, bound_to.encode())

    def open(self, sealed: bytes, *, key_id: str, bound_to: str) -> bytes:
        """The plain payload.

        Raises:
            SealBroken: another key, another subject, or a changed payload.
        """
        if key_id != self.key_id:
            raise SealBroken(f"not sealed with key {self.key_id!r}, which this service holds")
        try:
            return self._cipher.decrypt(sealed[:NONCE_BYTES], sealed[NONCE_BYTES:], bound_to.encode())
        except (InvalidTag, ValueError):
            raise SealBroken("the payload or its subject was changed") from None
