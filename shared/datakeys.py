"""Who a patient is, sealed with a key of that patient's own; and blind indexes, by which what is sealed is found.

The key is kept beside what it seals, sealed itself with the ring's: rotating the ring seals keys anew and no names, and
destroying the key forgets the patient. A batch takes a fixed number of statements, however many patients it has.
"""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import dataclass
from hmac import digest
from typing import Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from pydantic_core import from_json, to_json

from shared.database import Db
from shared.resealing import KeptRows
from shared.sealing import KEY_BYTES, NONCE_BYTES, SealBroken, Sealer

KEPT = (
    KeptRows("fabric.data_keys", row="patient_id", bound_to="'data-key/' || patient_id"),
    KeptRows("fabric.index_key", row="one", type="boolean", bound_to="'index-key'"),
)
"""What a new key of the ring seals anew."""

DATA_KEY = "k.key_id as data_key_id, k.sealed as data_key"
"""What a query selects beside `sealed`, from fabric.data_keys k, so that its rows can be opened."""


IN_CLEAR_A_TURN = 500


@dataclass(frozen=True, slots=True)
class InClear:
    """What a release of before left in clear, or sealed otherwise: how some is found, and sealed once it is locked.

    `find`: ids beyond one, in their order, at most so many. What cannot be sealed stays as it is.
    """

    find: Callable[[Db, str, int], Awaitable[list[str]]]
    seal: Callable[[Db, DataKeys, Collection[str]], Awaitable[None]]
    of: str = "patient"  # whose ids they are


@dataclass(frozen=True, slots=True)
class Index:
    """Makes blind indexes: equal ones for equal values, which say nothing without the key."""

    key: bytes

    def of(self, kind: str, *values: str) -> str:
        """`kind` keeps a number from being found as a name."""
        return digest(self.key, "\0".join((kind, *values)).encode(), "sha256").hex()[:32]


class DataKeys:
    """The data keys of one service, opened with its ring."""

    def __init__(self, sealer: Sealer) -> None:
        self.sealer = sealer

    async def seal(self, db: Db, said: Mapping[str, Any]) -> dict[str, bytes]:
        """What is said of each patient, as JSON, sealed; who has no key yet gets one."""
        keys = await self._keys(db, said)
        return {each: _seal(keys[each], to_json(what), each) for each, what in said.items()}

    def open(self, row: Mapping[str, Any]) -> Any:
        """What a row of `patient_id`, `sealed` and DATA_KEY says. Raises SealBroken."""
        patient_id = row["patient_id"]
        if row["data_key"] is None:
            raise SealBroken("the patient was forgotten")
        key = self.sealer.open(row["data_key"], key_id=row["data_key_id"], bound_to=f"data-key/{patient_id}")
        return from_json(_open(key, row["sealed"], patient_id))

    async def index(self, db: Db) -> Index:
        """What this database makes blind indexes with; made where there is none. One statement; never kept, as the
        transaction may be rolled back, and the database put back."""
        if (held := await self.held_index(db)) is None:
            key_id, sealed = self.sealer.seal(os.urandom(KEY_BYTES), bound_to="index-key")
            await db.execute(
                "insert into fabric.index_key (key_id, sealed) values ($1, $2) on conflict do nothing",
                key_id,
                sealed,
            )
            held = await self.held_index(db)
        assert held is not None
        return held

    async def held_index(self, db: Db) -> Index | None:
        """The same; None where there is none, and nothing to be found by it."""
        row = await db.fetchrow("select key_id, sealed from fabric.index_key")
        if row is None:
            return None
        return Index(self.sealer.open(row["sealed"], key_id=row["key_id"], bound_to="index-key"))

    async def _keys(self, db: Db, patient_ids: Collection[str]) -> dict[str, bytes]:
        """The key of each of these patients. Who keeps something of a patient has locked them."""
        keys = await self._held(db, patient_ids)
        if missing := sorted(set(patient_ids) - keys.keys()):
            made = [self.sealer.seal(os.urandom(KEY_BYTES), bound_to=f"data-key/{each}") for each in missing]
            await db.execute(
                """
                insert into fabric.data_keys (patient_id, key_id, sealed)
                select *
                from unnest($1::text[], $2::text[], $3::bytea[])
                on conflict do nothing
                """,
                missing,
                [each.key_id for each in made],
                [each.payload for each in made],
            )
            keys |= await self._held(db, missing)
        return keys

    async def _held(self, db: Db, patient_ids: Collection[str]) -> dict[str, bytes]:
        rows = await db.fetch(
            "select patient_id, key_id, sealed from fabric.data_keys where patient_id = any($1)",
            list(patient_ids),
        )
        return {
            row["patient_id"]: self.sealer.open(
                row["sealed"], key_id=row["key_id"], bound_to=f"data-key/{row['patient_id']}"
            )
            for row in rows
        }


def hexed(sealed: bytes) -> str:
    """As `upsert` takes bytes."""
    return rf"\x{sealed.hex()}"


def _seal(key: bytes, plain: bytes, patient_id: str) -> bytes:
    nonce = os.urandom(NONCE_BYTES)
    return nonce + AESGCM(key).encrypt(nonce, plain, patient_id.encode())


def _open(key: bytes, sealed: bytes, patient_id: str) -> bytes:
    try:
        return AESGCM(key).decrypt(sealed[:NONCE_BYTES], sealed[NONCE_BYTES:], patient_id.encode())
    except (InvalidTag, ValueError):
        raise SealBroken("what was sealed, or whose it is, was changed") from None
