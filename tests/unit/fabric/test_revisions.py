"""Every revision that a service publishes is in a column that `medsync recovered` raises."""

from __future__ import annotations

from importlib import import_module
from uuid import uuid4

import pytest

from shared.events import EVENTS, Event
from shared.messaging.recovery import Told, account_of, own_topics


def publishing(service: str) -> set[type[Event]]:
    """The events of this service that carry a revision of its own."""
    return {
        event
        for event in EVENTS.values()
        if event.TYPE.split(".")[1] == service and "revision" in event.model_fields
    }


@pytest.mark.parametrize("service", ["enrollment", "planner", "outreach", "fulfillment"])
def test_every_revision_is_declared(service: str) -> None:
    module = import_module(f"services.{service}.publishing") if publishing(service) else None
    declared = [event for events in getattr(module, "REVISIONS", {}).values() for event in events]
    assert set(declared) == publishing(service)
    assert len(declared) == len(set(declared)), "no event has two"


def test_revisions_are_there() -> None:
    assert len(publishing("enrollment")) == 7
    assert len(publishing("planner")) == 5
    assert own_topics("planner") == ["medsync.planner.demand.v1", "medsync.planner.v1"]


def test_the_account_names_types_and_whose_they_were() -> None:
    lost = [
        Told(1, uuid4(), "medsync.planner.plan-computed.v1", "p1", None, is_state=False, payload=b""),
        Told(2, uuid4(), "medsync.planner.plan-computed.v1", "p2", None, is_state=False, payload=b""),
        Told(3, uuid4(), "medsync.planner.demand-forecast.v1", "S1", None, is_state=False, payload=b""),
    ]
    account = account_of(lost)
    assert [(each["type"], each["number"]) for each in account["lost"]] == [
        ("medsync.planner.demand-forecast.v1", 1),
        ("medsync.planner.plan-computed.v1", 2),
    ]
    assert (account["patients"], account["stores"]) == (["p1", "p2"], ["S1"])
