"""What somebody should look at although requests are answered and events taken in. No restart cures it: so a probe is
told, and not refused.
"""

from __future__ import annotations

from pydantic import BaseModel, Field

from shared.messaging.tables import Lasting

UNPUBLISHED_SECONDS = 60.0
UNCHAINED_SECONDS = 60.0
SNAPSHOT_SECONDS = 3600.0
TRANSACTION_SECONDS = 600.0
"""No transaction of ours takes half a minute."""


class Warned(BaseModel):
    """One thing to look at."""

    code: str = Field(description="for programs: a word that stays")
    says: str = Field(description="for people; no personal data")


def warnings_of(
    found: Lasting, relay_waits: str | None, *, unchained: float, head_unpublished: float, grants_unread: bool
) -> list[Warned]:
    """What lasts longer than it should, and what waits for a person."""
    told = {
        "grants_unread": grants_unread
        and "the file of grants cannot be read as it is now, and what it said before is in force: the log says where",
        "relay_waits": relay_waits and f"publishing fails {relay_waits}",
        "unpublished_events": found.unpublished_seconds > UNPUBLISHED_SECONDS
        and f"the oldest event that is not published waits for {_span(found.unpublished_seconds)}",
        "audit_unchained": unchained > UNCHAINED_SECONDS
        and f"the oldest row of the audit that is not chained waits for {_span(unchained)}: the log of the service "
        "says why (audit.not_chained)",
        "audit_head_unpublished": head_unpublished > UNCHAINED_SECONDS
        and f"how far the audit is chained has not been published for {_span(head_unpublished)}: the broker is away, "
        "or the topic medsync.audit.v1 is missing or may not be written (medsync topics acl)",
        "held_events": found.held
        and f"{found.held} events are held that the broker refused: medsync deadletters list",
        "parked": found.parked
        and f"{found.parked} patients or stores are parked and wait for a person: medsync deadletters list",
        "old_snapshot": found.snapshot_seconds > SNAPSHOT_SECONDS
        and f"a transaction holds a snapshot for {_span(found.snapshot_seconds)}: until it ends, no dead row of any "
        "table is cleared away; end it (pg_stat_activity, pg_prepared_xacts)",
        "open_transaction": found.transaction_seconds > TRANSACTION_SECONDS
        and f"a transaction is open for {_span(found.transaction_seconds)}: it may hold locks that others wait for; "
        "end it (pg_stat_activity, pg_prepared_xacts)",
    }
    return [Warned(code=code, says=says) for code, says in told.items() if says]


def _span(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"
