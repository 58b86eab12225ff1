"""Every check, one pure function each: what it claims, how much it looked at, what speaks against it."""

from __future__ import annotations

from collections.abc import Mapping

from cli.proof.checks.console import CONSOLE
from cli.proof.checks.delivery import DELIVERY
from cli.proof.checks.enrollment import ENROLLMENT
from cli.proof.checks.fulfillment import FULFILLMENT
from cli.proof.checks.outreach import OUTREACH
from cli.proof.checks.planner import PLANNER
from cli.proof.checks.promises import PROMISES
from cli.proof.checks.state import STATE
from cli.proof.result import Check

GROUPS: Mapping[str, tuple[Check, ...]] = {
    "promises": PROMISES,
    "delivery": DELIVERY,
    "records": (*STATE, *ENROLLMENT, *PLANNER, *OUTREACH, *FULFILLMENT, *CONSOLE),
}
"""By what they are about: what patients were promised, the way of the events, what services keep of them."""

CHECKS: tuple[Check, ...] = tuple(check for group in GROUPS.values() for check in group)

__all__ = ["CHECKS", "GROUPS"]
