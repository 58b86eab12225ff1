"""The chain's policy as the rules take it; a file is planned by it without any server."""

from __future__ import annotations

from services.planner.domain.model import Rules
from services.planner.policy import (
    dispensing_limits,
    disuse,
    high_cost,
    larger_fills,
    payer_rules,
    state_schedules,
    sync_laws,
)

PAYERS, UNKNOWN_PAYER = payer_rules()
RULES = Rules(
    payers=PAYERS,
    unknown_payer=UNKNOWN_PAYER,
    laws=sync_laws(),
    limits=dispensing_limits(),
    schedules=state_schedules(),
    larger_fills=larger_fills(),
    disuse=disuse(),
    high_cost=high_cost(),
)
"""The chain's policy. What payers and states demand and grant are data files beside (`services.planner.policy`)."""
