"""The proof in three lines."""

from __future__ import annotations

from dataclasses import replace

from rich.console import Console

from cli.proof.__main__ import show_broken
from cli.proof.brief import COUNTED, brief
from cli.proof.checks import CHECKS, GROUPS
from cli.proof.result import Result
from tests.unit.proof.given import history


def judged() -> list[Result]:
    record = history()
    return [replace(check(record), about=about) for about, checks in GROUPS.items() for check in checks]


def test_three_lines_say_what_was_checked_and_how_much_was_looked_at() -> None:
    results = judged()
    recorded = sum(result.recorded for result in results)
    verdict, *lines = brief(results, seconds=0.61)
    assert verdict == f"Proof: all {recorded} checks hold, from topics and tables alone (0.6 s)"
    assert [int(line.split()[-2]) for line in lines] == [
        sum(result.about == about and result.recorded for result in results)
        for about in ("delivery", "promises", "records")
    ]
    assert sum(int(line.split()[-2]) for line in lines) == recorded
    assert f"{len(history().events)} events" in lines[0]
    assert all(len(line) <= 80 for line in [verdict, *lines])


def test_what_is_counted_is_a_check() -> None:
    record = history()
    assert set(COUNTED) <= {check(record).name for check in CHECKS}


def test_where_a_check_does_not_hold_nothing_else_is_claimed() -> None:
    first, *rest = judged()
    lines = brief([replace(first, violations=("a fill",)), *rest], seconds=0)
    assert len(lines) == 1 and "1 of " in lines[0] and "do not hold" in lines[0]


def test_what_does_not_hold_is_shown_with_what_speaks_against_it() -> None:
    first, second, *rest = judged()
    broken = [replace(first, violations=("fill 7",)), replace(second, violations=tuple("abcde")), *rest]
    console = Console(width=80)
    with console.capture() as captured:
        assert len(show_broken(broken, console)) == 2
    lines = captured.get().splitlines()
    assert lines[:2] == [first.name, "  fill 7"]
    assert lines[-1] == "  … and 2 more"
