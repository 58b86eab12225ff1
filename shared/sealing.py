"""Sealing of what holds names and numbers: AES-256-GCM, bound to type and subject, with the keys of a ring.

Many keys open and one seals. A new key opens as soon as it is in the ring's file, and seals from a later moment on: a
service that reads the file in between opens whatever another seals, and none has to be started again.
"""

from __future__ import annotations

import hmac
import os
import secrets
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from time import monotonic
from typing import NamedTuple, Self

import structlog
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from pydantic import (
    AwareDatetime,
    BaseModel,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
    field_serializer,
    field_validator,
)

from shared.files import open_to_others, write_private

NONCE_BYTES, KEY_BYTES = 12, 32

LOOK_SECONDS = 5.0
"""How often a service looks whether the ring's file changed."""

SIGNING = b"medsync/signing/v1"
"""What makes of a key the one that signs: a key that encrypts does nothing else."""

EVER = datetime(2000, 1, 1, tzinfo=UTC)

log = structlog.get_logger()


class SealBroken(Exception):
    """A sealed payload cannot be opened; the text says why, without its content."""


class BadRing(Exception):
    """The file is no ring of keys; the text says where, without its content."""


class Sealed(NamedTuple):
    """What was sealed, and the id of the key that opens it."""

    key_id: str
    payload: bytes


class Key(BaseModel):
    """A key of the ring, by 32 bytes in hex; it opens at once, and seals from a moment on."""

    model_config = ConfigDict(frozen=True)

    id: str = Field(pattern=r"^[\w.-]{1,40}$")
    key: SecretStr
    seals_from: AwareDatetime = EVER

    @field_validator("key")
    @classmethod
    def _is_a_key(cls, key: SecretStr) -> SecretStr:
        if len(bytes.fromhex(key.get_secret_value())) != KEY_BYTES:
            raise ValueError(f"a key is {KEY_BYTES} bytes in hex")
        return key

    @field_serializer("key", when_used="json")
    def _in_clear(self, key: SecretStr) -> str:
        return key.get_secret_value()


class Ring(BaseModel):
    """The keys that one installation has."""

    model_config = ConfigDict(frozen=True)

    keys: tuple[Key, ...] = ()

    @classmethod
    def read(cls, file: Path) -> Self:
        """Raises BadRing, and OSError where the file cannot be read."""
        try:
            return cls.model_validate_json(file.read_bytes())
        except ValidationError as error:
            where = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['type']}" for e in error.errors()[:3])
            raise BadRing(f"{file} is no ring of keys ({where})") from None

    def write(self, file: Path) -> None:
        """For its owner's eyes alone, and whole or not at all."""
        write_private(file, self.model_dump_json(indent=2))

    def seals(self, now: datetime) -> Key | None:
        """The key that seals at this moment: the one that began last."""
        begun = [key for key in self.keys if key.seals_from <= now]
        return max(begun, key=lambda key: key.seals_from, default=None)

    def rotated(self, now: datetime, after: timedelta) -> Self:
        """With a new key, which seals from `after` on; the first one at once."""
        number = 1 + max((int(key.id) for key in self.keys if key.id.isdecimal()), default=0)
        begins = now + after if self.keys else EVER
        new = Key(id=str(number), key=SecretStr(secrets.token_hex(KEY_BYTES)), seals_from=begins)
        return self.model_copy(update={"keys": (*self.keys, new)})

    def without(self, key_id: str) -> Self:
        return self.model_copy(update={"keys": tuple(key for key in self.keys if key.id != key_id)})


class Sealer:
    """Seals and opens with a ring's keys: those of its file as it is now, and one that was given beside it.

    >>> sealer = Sealer("00" * 32)
    >>> sealed = sealer.seal(b"Ada", bound_to="t/p1")
    >>> sealer.open(sealed.payload, key_id=sealed.key_id, bound_to="t/p1")
    b'Ada'
    """

    def __init__(self, key_hex: str = "", *, key_id: str = "1", file: Path | None = None) -> None:
        """Raises BadRing or OSError where the file cannot be used. Later it goes on with what it read before."""
        self._given = [Key(id=key_id, key=SecretStr(key_hex))] if key_hex else []
        self._file, self._seen, self._look_at = file, 0, 0.0
        self._use(Ring(keys=tuple(self._given)))
        if file:
            self._take_up(file)

    @property
    def key_ids(self) -> Sequence[str]:
        """Of the keys that open."""
        self._look()
        return [key.id for key in self._ring.keys]

    @property
    def key_id(self) -> str | None:
        """Of the key that seals now; none where there is none."""
        self._look()
        key = self._ring.seals(datetime.now(UTC))
        return key.id if key else None

    def seal(self, plain: bytes, *, bound_to: str) -> Sealed:
        """Nonce and ciphertext; opens only with the same `bound_to`. Raises SealBroken where no key seals."""
        if (key_id := self.key_id) is None:
            raise SealBroken("this service holds no key that seals")
        nonce = os.urandom(NONCE_BYTES)
        return Sealed(key_id, nonce + self._ciphers[key_id].encrypt(nonce, plain, bound_to.encode()))

    def open(self, sealed: bytes, *, key_id: str, bound_to: str) -> bytes:
        """The plain payload.

        Raises:
            SealBroken: a key that is not in the ring, another subject, or a changed payload.
        """
        if key_id not in self._ciphers:
            self._look(at_once=True)
        if (cipher := self._ciphers.get(key_id)) is None:
            held = ", ".join(self._ciphers) or "none"  # the id that came may be anything
            raise SealBroken(f"sealed with a key that this service does not hold: it holds {held}")
        try:
            return cipher.decrypt(sealed[:NONCE_BYTES], sealed[NONCE_BYTES:], bound_to.encode())
        except (InvalidTag, ValueError):
            raise SealBroken("the payload or its subject was changed") from None

    def sign(self, said: bytes) -> Sealed:
        """A proof that who holds the ring said it, with the key that seals now. Raises SealBroken where none does."""
        if (key_id := self.key_id) is None:
            raise SealBroken("this service holds no key that seals")
        return Sealed(key_id, hmac.digest(self._signing[key_id], said, "sha256"))

    def is_signed(self, said: bytes, *, key_id: str, signature: bytes) -> bool | None:
        """Whether it was said by who holds the ring; None where this ring has no such key."""
        if key_id not in self._signing:
            self._look(at_once=True)
        if (key := self._signing.get(key_id)) is None:
            return None
        return hmac.compare_digest(hmac.digest(key, said, "sha256"), signature)

    def _look(self, *, at_once: bool = False) -> None:
        """Take up the file where it changed; what cannot be read now does not take away what was."""
        if self._file is None or (monotonic() < self._look_at and not at_once):
            return
        try:
            self._take_up(self._file)
        except (OSError, BadRing) as error:
            log.warning("keys.unread", error=type(error).__name__)

    def _take_up(self, file: Path) -> None:
        self._look_at = monotonic() + LOOK_SECONDS
        changed = file.stat().st_mtime_ns
        if changed == self._seen:
            return
        ring = Ring.read(file)
        held = {key.id for key in ring.keys}
        self._use(Ring(keys=(*ring.keys, *(key for key in self._given if key.id not in held))))
        self._seen = changed
        if open_to_others(file):
            log.warning("keys.open_to_others", file=str(file))
        log.info("keys.read", opens=[key.id for key in self._ring.keys])

    def _use(self, ring: Ring) -> None:
        self._ring = ring
        keys = {key.id: bytes.fromhex(key.key.get_secret_value()) for key in ring.keys}
        self._ciphers = {key_id: AESGCM(key) for key_id, key in keys.items()}
        self._signing = {key_id: hmac.digest(key, SIGNING, "sha256") for key_id, key in keys.items()}
