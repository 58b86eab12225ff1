"""The audit's rows, links and heads, as they are read, exported and verified."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AwareDatetime, Field

from shared.values import Output

Hex = Annotated[str, Field(pattern=r"^([0-9a-f]{2})*$")]


class AuditRow(Output):
    """One row: who did or saw what. Nothing in it is personal but patients' ids."""

    id: int
    xid: str
    at: AwareDatetime
    actor: str = Field(description="empty: nobody was signed in")
    kind: str = Field(description="person or service")
    role: str
    store_id: str | None = Field(description="that was asked about, else the actor's own where there is one")
    patients: list[str] = Field(description="whom it changed, or whom the answer named")
    route: str
    outcome: str = Field(description="done, repeated, or the code of the refusal")
    reason: Hex | None = Field(description="the digest of the reason that was given")
    trace: str | None
    correlation: str | None
    times: int


class AuditReason(Output):
    """What a person gave as a reason. Its digest is in the row."""

    state: Literal["open", "forgotten", "broken"] = Field(
        description="forgotten: it is not kept any more; broken: no key opens it, or it was changed"
    )
    salt: Hex = ""
    text: str = ""


class AuditSeal(Output):
    """Who holds the ring has seen the chain up to here."""

    sealed_at: AwareDatetime
    key_id: str
    signature: Hex
    upto: str | None
    system: int
    floor: int


class AuditLink(Output):
    """One place of the chain, with its row; none where the row is gone."""

    position: int
    row_id: int
    hash: Hex
    row: AuditRow | None
    reason: AuditReason | None = None
    seal: AuditSeal | None = None


class AuditStray(Output):
    """A row that is not in the chain."""

    row: AuditRow
    settled: bool = Field(description="the chain says that it holds every row of that time")
