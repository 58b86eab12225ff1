"""The rules of the chain: how a row is hashed and sealed, and what is wrong with a chain. No input, no output."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Protocol

from shared.audit.model import AuditLink, AuditReason, AuditRow, AuditSeal, AuditStray
from shared.events.audit import AuditHead

LATE = timedelta(minutes=2)
"""A row is committed, and then chained: no transaction of a service takes so long between."""


class Ring(Protocol):
    """Keys that tell whether something was signed with one of them: `shared.sealing.Sealer`."""

    def is_signed(self, said: bytes, *, key_id: str, signature: bytes) -> bool | None: ...


@dataclass(frozen=True, slots=True)
class Wrong:
    """Something that is not as it was written: the first place in the chain where, or the row that is in none."""

    says: str
    position: int | None = None
    up_to: int | None = None  # where no more is known than that it is one of several
    row_id: int | None = None

    def __str__(self) -> str:
        if self.position is None:
            return f"row {self.row_id}: {self.says}"
        until = f" to {self.up_to}" if self.up_to not in (None, self.position) else ""
        return f"position {self.position}{until}: {self.says}"


# ---- hashes and seals -------------------------------------------------------------------------------------------


def first_hash(service: str) -> str:
    """What stands before the first row of a service's chain."""
    return hashlib.sha256(f"medsync audit of {service}".encode()).hexdigest()


def next_hash(before: str, row: AuditRow) -> str:
    """The hash of a row and of all that stands before it."""
    return hashlib.sha256(bytes.fromhex(before) + canonical(row)).hexdigest()


def canonical(row: AuditRow) -> bytes:
    """A row as it is hashed: JSON with its names in order, no blanks, the moment in UTC with microseconds."""
    values = dict(row) | {"at": row.at.astimezone(UTC).isoformat(timespec="microseconds")}
    return _json(values)


def digest_of(text: str, salt: str) -> str:
    """What a row says of a reason: 24 bytes of a hash. The salt keeps it from being guessed."""
    return hashlib.sha256(bytes.fromhex(salt) + text.encode()).hexdigest()[:48]


def sealed(service: str, position: int, hash_: str, seal: AuditSeal, before: str) -> bytes:
    """What a seal signs: nothing of it, nor of the seals before it, can be changed without the key. `before`: the
    `trace_of` the one before; empty for the first."""
    at = seal.sealed_at.astimezone(UTC).isoformat(timespec="microseconds")
    return _json(["seal", service, position, hash_, at, seal.upto, seal.system, seal.floor, before])


def trace_of(seal: AuditSeal) -> str:
    """What the next seal signs of this one: also one whose key is gone is held by those that follow."""
    return hashlib.sha256(_json(seal.model_dump(mode="json"))).hexdigest()


def published(head: AuditHead) -> bytes:
    """What a published head signs."""
    at = head.sealed_at.astimezone(UTC).isoformat(timespec="microseconds")
    return _json(["head", head.service, head.epoch, head.count, head.hash, at])


def _json(value: object) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


# ---- what is wrong ----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Verified:
    """What came of looking through one service's chain."""

    service: str
    count: int
    hash: str
    sealed_at: datetime | None
    wrong: Sequence[Wrong]  # the first one first
    unchecked: Sequence[str]  # what could not be looked at, and why
    remarks: Sequence[str]

    @property
    def whole(self) -> bool:
        return not self.wrong


class Verifier:
    """Looks through a chain, link by link in their order, then at what it should be: its length and its strays."""

    def __init__(self, service: str, rings: Sequence[Ring], heads: Iterable[AuditHead] | None) -> None:
        """`heads`: what the service published; None where that is not known."""
        self._service, self._rings = service, rings
        self._heads = None if heads is None else sorted(heads, key=lambda head: head.count)
        self._compared = {head.count for head in self._heads or ()}
        self._position, self._hash = 0, first_hash(service)
        self._sealed, self._checked = (
            0,
            0,
        )  # positions of the last seal, and of the last one that a key has checked
        self._seal: AuditSeal | None = None
        self._before = ""
        self._at: dict[int, str] = {}  # hashes that heads are compared with
        self._wrong: list[Wrong] = []
        self._forgotten = 0

    def take(self, links: Iterable[AuditLink]) -> None:
        """The next links."""
        for link in links:
            self._take(link)
            if link.position in self._compared:
                self._at[link.position] = link.hash

    def verdict(self, strays: Iterable[AuditStray] = (), epoch: int = 1) -> Verified:
        """`epoch`: which life of its database this is."""
        unchecked: list[str] = []
        remarks: list[str] = []
        if self._sealed < self._position:
            self._say("its seal is gone: whatever is chained has one", self._sealed + 1, self._position + 1)
        if self._seal and not self._rings:
            unchecked.append("no ring of keys is at hand: the seals are not checked")
        elif self._seal and self._checked < self._sealed and not self._wrong:
            says = f"sealed with key {self._seal.key_id}, which no ring at hand has"
            self._say(says, self._checked + 1, self._position)
        if self._heads is None:
            unchecked.append("what was published is not at hand: a tail that was cut off would not be seen")
        for head in self._heads or ():
            self._compare(head, epoch, remarks)
        waiting = sum(not self._is_wrong(stray) for stray in strays)
        if waiting:
            remarks.append(f"{waiting} rows wait to be chained")
        if self._forgotten:
            remarks.append(f"{self._forgotten} reasons are forgotten; their rows stand")
        at = self._seal.sealed_at if self._seal else None
        order = sorted(
            self._wrong, key=lambda each: (each.position is None, each.position or each.row_id or 0)
        )
        return Verified(self._service, self._position, self._hash, at, order, unchecked, remarks)

    def _take(self, link: AuditLink) -> None:
        expected = self._position + 1
        if link.position != expected:
            self._say("missing in the chain", expected, link.position - 1)
        elif link.row is None:
            self._say("its row is gone", expected)
        elif link.row.id != link.row_id or next_hash(self._hash, link.row) != link.hash:
            self._say("the row or its place in the chain was changed", expected)
        elif not self._reason_is_right(link.row, link.reason):
            self._say("its reason was changed, or no key opens it", expected)
        self._position, self._hash = link.position, link.hash
        if link.seal:
            self._check_seal(link, link.seal)

    def _reason_is_right(self, row: AuditRow, reason: AuditReason | None) -> bool:
        if row.reason is None:
            return reason is None
        if reason is None or reason.state == "forgotten":
            self._forgotten += 1
            return True
        return reason.state == "open" and digest_of(reason.text, reason.salt) == row.reason

    def _check_seal(self, link: AuditLink, seal: AuditSeal) -> None:
        said = sealed(self._service, link.position, link.hash, seal, self._before)
        signed = self._signed(said, seal.key_id, seal.signature)
        if signed:
            self._checked = link.position
        elif signed is False and not self._wrong_since(self._checked):
            self._say(
                "not what was sealed: it was chained anew, or the seal changed",
                self._checked + 1,
                link.position,
            )
        self._sealed, self._seal, self._before = link.position, seal, trace_of(seal)

    def _wrong_since(self, position: int) -> bool:
        """Whether something is known to be wrong behind a position: what follows from it is not told again."""
        return any(each.position is not None and each.position > position for each in self._wrong)

    def _signed(self, said: bytes, key_id: str, signature: str) -> bool | None:
        """Two rings may have keys of one id: it is enough that one of them has signed it."""
        answers = {
            ring.is_signed(said, key_id=key_id, signature=bytes.fromhex(signature)) for ring in self._rings
        }
        return True if True in answers else False if False in answers else None

    def _compare(self, head: AuditHead, epoch: int, remarks: list[str]) -> None:
        if self._signed(published(head), head.key_id, head.signature) is False:
            remarks.append(
                f"a head of {head.count} rows was published that is not signed by this ring: passed over"
            )
        elif head.count > self._position or self._at.get(head.count) not in (None, head.hash):
            at = min(head.count, self._position + 1)
            if head.epoch < epoch:
                remarks.append(
                    f"lost when the database was put back: life {head.epoch} had {head.count} rows by {head.sealed_at}"
                )
            elif head.count > self._position:
                self._say(f"cut off: a head of {head.count} rows was published", at, head.count)
            else:
                self._say("another hash was published of it", at)

    def _is_wrong(self, stray: AuditStray) -> bool:
        if not self._seal:
            return False
        before = stray.row.at < self._seal.sealed_at - LATE
        if stray.settled or before:
            self._wrong.append(
                Wrong("is in no place of the chain, though it would be older", row_id=stray.row.id)
            )
        return stray.settled or before

    def _say(self, says: str, position: int, up_to: int | None = None) -> None:
        self._wrong.append(Wrong(says, position, up_to))
