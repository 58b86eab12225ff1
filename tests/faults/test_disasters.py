"""Disasters and their cures, as the how-to has them. The others, and all of them by `make faults`."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
import typer
from rich.console import Console

from cli.main import app
from tests.faults import report
from tests.faults.aftermath import (
    STRICT,
    Claims,
    Lost,
    effects_are_events,
    judge,
    newest_is_last,
    numbers_are_given_once,
    once_for_readers,
)
from tests.faults.disasters import BY_NAME
from tests.faults.history import Copied
from tests.faults.scene import BOOK, book, run_disaster
from tests.faults.test_history import honest, payload

SHORT = (
    "zombie",
    "restored-reader",
    "restored-ledger",
    "failover",
    "retention",
    "partitions",
    "deadly-statement",
)


@pytest.mark.slow
@pytest.mark.timeout(400)
@pytest.mark.parametrize("name", SHORT)
async def test_what_a_disaster_takes_its_cure_brings_back_or_names(name: str) -> None:
    outcome = await run_disaster(BY_NAME[name], f"20/{name}")
    report.show([outcome], Console(width=150))
    assert [result for result in outcome.results if result["violations"]] == []
    assert outcome.events >= 500


def test_every_command_of_the_how_to_is_one_of_medsync() -> None:
    headings = re.findall(r"^## (.+)$", BOOK.read_text(), re.MULTILINE)
    lines = [line for heading in headings for block in book(heading) for line in block.splitlines()]
    said = [re.findall(r"\bmedsync (\w+(?: accept| list)?)", line) for line in lines]
    known = _commands()
    assert {command for of_line in said for command in of_line} <= known
    assert sum(map(len, said)) >= 5


def _commands() -> set[str]:
    group = typer.main.get_command(app)
    found = set(group.commands)  # type: ignore[attr-defined]
    for name, command in group.commands.items():  # type: ignore[attr-defined]
        found |= {f"{name} {under}" for under in getattr(command, "commands", ())}
    return found


# ---- what is claimed afterward is not blind ---------------------------------------------------------------------


def test_where_nothing_was_lost_all_is_claimed() -> None:
    names = [result.name for result in judge(honest(), Lost(), STRICT)]
    assert len(names) >= 13
    assert not [result for result in judge(honest(), Lost(), STRICT) if result.violations]


def test_a_second_copy_is_seen_where_readers_are_to_see_one() -> None:
    found = judge(honest(), Lost(), Claims(once=True))
    assert [result.name[:3] for result in found if result.violations] == ["I13"]


def test_a_copy_that_was_sent_again_on_purpose_is_none() -> None:
    history = honest()
    again = [*history.published[:-1], history.published[-1]._replace(replayed=True)]
    assert not once_for_readers(replace(history, published=again)).violations


def test_an_old_record_behind_a_newer_one_of_its_key_is_seen() -> None:
    published = honest().published
    first = next(record for record in published if record.key == "a")
    late = [*published, first._replace(offset=99)]
    assert not newest_is_last(published).violations
    assert newest_is_last(late).violations


def test_an_effect_that_is_missing_after_a_restore_is_seen() -> None:
    history = honest()
    short = {**history.effects, "reader": history.effects["reader"][1:]}
    assert not effects_are_events(history).violations
    assert effects_are_events(replace(history, effects=short)).violations


def test_a_revision_that_a_restored_database_gives_again_is_seen() -> None:
    history = honest()
    other = history.published[0]._replace(event_id="another", offset=77)
    assert not numbers_are_given_once(history).violations
    assert numbers_are_given_once(replace(history, published=[*history.published, other])).violations


def test_what_was_lost_is_claimed_of_nobody_else() -> None:
    """An event that was lost at home has its effects elsewhere, and no row: that alone is allowed."""
    history = honest()
    gone = history.copies["sender"][-1]
    kept = replace(history, copies={**history.copies, "sender": history.copies["sender"][:-1]})
    assert _breaks(kept, Lost({gone.event_id})) <= {
        "I2"
    }  # its change is there still in this doctored history
    assert "I4" in _breaks(kept, Lost({"some other"}))
    assert "I3" in _breaks(
        replace(
            history,
            copies={
                **history.copies,
                "sender": [*history.copies["sender"], Copied(99, "x", "a", payload("a", 9))],
            },
        ),
        Lost({"some other"}),
    )


def _breaks(history: object, lost: Lost) -> set[str]:
    return {result.name.split()[0] for result in judge(history, lost, STRICT) if result.violations}  # type: ignore[arg-type]
