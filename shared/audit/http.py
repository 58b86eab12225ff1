"""What auditors ask of each service: who did and saw what, and the chain whole."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request
from pydantic import Field

from shared.access import Role
from shared.audit import store
from shared.audit.model import AuditLink, AuditRow, AuditStray
from shared.contract import OPERATIONS
from shared.http import Working
from shared.problems import NotAllowed
from shared.values import Id, Instant, Output, RowNumber, Text

STRAYS = 1000
"""Of rows that are in no place of the chain: as many are told."""


async def whole_chain(request: Request) -> None:
    """Rows name patients of every store. Raises NotAllowed to an auditor of some."""
    if request.state.principal.reach(Role.auditor).bounded:
        raise NotAllowed("not_allowed", "the audit is for auditors of every store")


router = APIRouter(prefix="/ops/audit", tags=[OPERATIONS], dependencies=[Depends(whole_chain)])

Some = Annotated[int, Query(ge=1, le=500)]


class AuditEntry(AuditRow):
    """One row, with its place in the chain and the reason that was given."""

    position: int | None = Field(description="none: it is not chained yet")
    because: str | None


class AuditPage(Output):
    """Rows, the newest first; `next` is where to go on, as `before`."""

    service: str
    items: list[AuditEntry]
    next: int | None


@router.get("")
async def audit(
    work: Working,
    patient: Id | None = None,
    actor: Annotated[Text, Query(max_length=80)] | None = None,
    since: Instant | None = None,
    until: Instant | None = None,
    before: RowNumber | None = None,
    limit: Some = 100,
) -> AuditPage:
    """Who did what, who was refused, and who saw whom; of one patient, by one actor, in a time."""
    which = store.Filter(patient, actor, since, until)
    async with work.read() as db:
        found = await store.found(db, work.sealer, which, before, limit + 1)
    items = [AuditEntry(**each) for each in found[:limit]]
    return AuditPage(service=work.service, items=items, next=items[-1].id if len(found) > limit else None)


class Chain(Output):
    """A part of the chain. `next`: behind which position to go on; none at the end, where the strays are told."""

    service: str
    epoch: int = Field(description="which life of its database this is")
    items: list[AuditLink]
    strays: list[AuditStray]
    next: int | None


@router.get("/chain")
async def chain(work: Working, after: RowNumber = 0, limit: Some = 500) -> Chain:
    """The rows in the order of the chain, with hashes and seals: `medsync audit verify` looks through them."""
    async with work.read_at_once() as db:
        links = await store.links(db, work.sealer, after, limit)
        strays = await store.strays(db, STRAYS) if len(links) < limit else []
        epoch = (await store.chain_end(db)).epoch
    return Chain(
        service=work.service,
        epoch=epoch,
        items=links,
        strays=strays,
        next=links[-1].position if len(links) == limit else None,
    )
