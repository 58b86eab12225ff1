"""Every check, one pure function each: what it claims, how much it looked at, what speaks against it."""

from __future__ import annotations

from cli.proof.checks.console import CONSOLE
from cli.proof.checks.delivery import DELIVERY
from cli.proof.checks.enrollment import ENROLLMENT
from cli.proof.checks.fulfillment import FULFILLMENT
from cli.proof.checks.outreach import OUTREACH
from cli.proof.checks.planner import PLANNER
from cli.proof.checks.promises import PROMISES
from cli.proof.checks.state import STATE
from cli.proof.result import Check

CHECKS: tuple[Check, ...] = (
    *PROMISES,
    *DELIVERY,
    *STATE,
    *ENROLLMENT,
    *PLANNER,
    *OUTREACH,
    *FULFILLMENT,
    *CONSOLE,
)

__all__ = ["CHECKS"]
