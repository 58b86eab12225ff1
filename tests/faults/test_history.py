"""The checker is not blind: an honest history passes, and each way to doctor it is caught by its own invariant."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from tests.faults.history import (
    TAKES,
    Command,
    Copied,
    Effect,
    History,
    Letter,
    Published,
    decide,
    number_in,
)

Doctor = Callable[[History], History]


def payload(patient: str, number: int) -> bytes:
    return f'{{"patient_id":"{patient}","number":{number},"note":""}}'.encode()


def honest() -> History:
    """Two patients, two commands each, one piece of due work; every event delivered, the last one published twice."""
    said = [("a", 1), ("b", 1), ("a", 2), ("b", 2), ("a", 3)]
    causes = ["command:c1", "command:c1", "command:c2", "command:c2", "thing:1"]
    counted = [Copied(n, f"counted-{p}{k}", p, payload(p, k)) for n, (p, k) in enumerate(said, 1)]
    applied = [Copied(n, f"applied-{p}{k}", p, payload(p, k)) for n, (p, k) in enumerate(said, 1)]
    published = [
        Published(
            f"{kind}s",
            ord(row.key) % 2,
            row.sequence,
            row.key,
            row.event_id,
            row.sequence,
            kind,
            k,
            row.payload,
        )
        for kind, rows in (("counted", counted), ("applied", applied))
        for row, (_, k) in zip(rows, said, strict=True)
    ]
    return History(
        commands=[Command("c1", ("a", "b"), {"a": 1, "b": 1}), Command("c2", ("a", "b"), {"a": 2, "b": 2})],
        effects={
            "sender": [Effect(p, "sent", k, cause) for (p, k), cause in zip(said, causes, strict=True)]
            + [Effect(p, "applied", k) for p, k in said],
            "ledger": [Effect(p, "counted", k) for p, k in said],
            "reader": [Effect(p, kind, k) for kind in TAKES["reader"] for p, k in said],
        },
        copies={"sender": counted, "ledger": applied},
        published=[*published, published[-1]._replace(offset=9)],
        rebuilt=[Effect(p, kind, k) for p, k in said for kind in TAKES["reader"]],
        things=1,
        waiting={"outbox of sender": 0},
        attempts={"ledger-0": 5},
        searched=100,
    )


def effects(service: str, change: Callable[[list[Effect]], list[Effect]]) -> Doctor:
    return lambda history: replace(
        history, effects={**history.effects, service: change(list(history.effects[service]))}
    )


def published(change: Callable[[list[Published]], list[Published]]) -> Doctor:
    return lambda history: replace(history, published=change(list(history.published)))


def swapped(items: list[Effect], one: int, other: int) -> list[Effect]:
    items[one], items[other] = items[other], items[one]
    return items


DOCTORED: dict[str, tuple[str, Doctor]] = {
    "a command's row is gone": ("I1", effects("sender", lambda rows: rows[1:])),
    "a command was carried out twice": (
        "I1",
        effects("sender", lambda rows: [*rows, Effect("a", "sent", 4, "command:c2")]),
    ),
    "a row follows from a command that nobody sent": (
        "I1",
        effects("sender", lambda rows: [*rows, Effect("a", "sent", 4, "command:ghost")]),
    ),
    "a state without its event": ("I2", effects("ledger", lambda rows: [*rows, Effect("b", "counted", 3)])),
    "an event without its state": ("I2", effects("ledger", lambda rows: rows[:-1])),
    "an outbox row never reached its topic": (
        "I3",
        published(lambda records: [r for r in records if r.event_id != "applied-b2"]),
    ),
    "an event changed on its way to the topic": (
        "I3",
        published(lambda records: [r._replace(payload=b'{"number":7}') for r in records]),
    ),
    "a record lost its key": ("I3", published(lambda records: [r._replace(key="") for r in records])),
    "a record that nobody wrote": (
        "I4",
        published(lambda records: [*records, records[0]._replace(event_id="ghost", offset=10)]),
    ),
    "an event without effect": ("I5 per", effects("reader", lambda rows: rows[:-1])),
    "an event with two effects": ("I5 per", effects("reader", lambda rows: [*rows, rows[-1]])),
    "an effect and a dead letter": (
        "I5 per",
        lambda history: replace(
            history, letters={"reader": [Letter("patient:a", "counted-a1", "skipped", "schema")]}
        ),
    ),
    "an effect, and stored behind a letter": (
        "I5 per",
        lambda history: replace(history, stored={"ledger": frozenset({"counted-a1"})}),
    ),
    "an effect of no event": (
        "I5 per",
        effects("reader", lambda rows: [*rows, Effect("c", "counted", 1)]),
    ),
    "due work done twice": (
        "I5 due",
        effects("sender", lambda rows: [*rows, Effect("a", "sent", 4, "thing:1")]),
    ),
    "due work forgotten": ("I5 due", lambda history: replace(history, things=2)),
    "two effects changed places": (
        "I6 per patient, effects",
        effects("ledger", lambda rows: swapped(rows, 0, 2)),
    ),
    "a gap among the effects": ("I6 per patient, effects", effects("ledger", lambda rows: rows[1:])),
    "a patient on two partitions": (
        "I6 per patient, topics",
        published(lambda records: [*records[:-2], records[-2]._replace(partition=7), *records[-1:]]),
    ),
    "two records changed places": (
        "I6 per patient, topics",
        published(lambda records: [records[2], records[1], records[0], *records[3:]]),
    ),
    "one id, two payloads": (
        "I7",
        published(lambda records: [*records[:-1], records[-1]._replace(payload=payload("a", 9))]),
    ),
    "one id, two sets of headers": (
        "I7",
        published(lambda records: [*records[:-1], records[-1]._replace(headers=(("ce_id", b"x"),))]),
    ),
    "the rebuilt model knows less": (
        "I8",
        lambda history: replace(history, rebuilt=list(history.rebuilt or ())[1:]),
    ),
    "an outbox that never empties": (
        "I10",
        lambda history: replace(history, waiting={"outbox of sender": 1}),
    ),
    "a name in a log": ("I11", lambda history: replace(history, canaries=["ledger-0.log:7"])),
    "an outage hammered at": ("I12", lambda history: replace(history, attempts={"ledger-0": 900})),
}


def test_an_honest_history_holds() -> None:
    results = decide(honest())
    assert [result.violations for result in results if result.violations] == []
    assert all(result.looked_at for result in results)


@pytest.mark.parametrize("how", DOCTORED)
def test_a_doctored_history_is_caught(how: str) -> None:
    invariant, doctor = DOCTORED[how]
    broken = [result.name for result in decide(doctor(honest())) if result.violations]
    assert any(name.startswith(invariant) for name in broken), broken


def test_a_letter_that_waits_for_a_person_accounts_for_its_event() -> None:
    without = effects("reader", lambda rows: [row for row in rows if row[:3] != ("a", "applied", 3)])(
        honest()
    )
    told = replace(without, letters={"reader": [Letter("patient:a", "applied-a3", "open", "failed")]})
    assert "I5 per" not in " ".join(result.name for result in decide(told) if result.violations)


def test_the_number_is_read_wherever_it_stands() -> None:
    assert number_in(b'{"number":12}') == number_in(b'{"patient_id":"a","number":12,"note":"7"}') == 12
