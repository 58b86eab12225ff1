"""Which lost connections count against the records that were in hand."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from shared.messaging.outages import Loss
from shared.messaging.suspects import is_its_own_fault
from shared.messaging.tables import ServerLife

SINCE = datetime(2026, 3, 2, tzinfo=UTC)
LATER = SINCE + timedelta(hours=1)
BEFORE = ServerLife(started=SINCE, counts_from=SINCE)


@pytest.mark.parametrize(
    ("what", "loss", "now", "own_fault"),
    [
        ("its backend was ended", "told", BEFORE, True),
        ("its backend died, and the server recovered", "silent", ServerLife(SINCE, LATER), True),
        ("the network cut it", "silent", BEFORE, False),
        ("the server was restarted", "told", ServerLife(LATER, SINCE), False),
        ("the server was killed", "silent", ServerLife(LATER, LATER), False),
    ],
)
def test_only_what_ran_on_a_connection_is_blamed_for_its_end(
    what: str, loss: Loss, now: ServerLife, own_fault: bool
) -> None:
    assert is_its_own_fault(loss, BEFORE, now) is own_fault, what
