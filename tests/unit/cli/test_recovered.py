"""What `medsync recovered` says to people."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from cli.recovered import lines_of, write_ids

LOST = {
    "type": "medsync.enrollment.patient-enrolled.v1",
    "number": 3,
    "first": "2026-10-08T15:00:00Z",
    "last": "2026-10-08T16:00:00Z",
}
REPORT = {
    "service": "enrollment",
    "epoch": 2,
    "taken_again": 1,
    "lost": [LOST],
    "patients": ["p1", "p2"],
    "stores": ["S1"],
}


def test_what_was_lost_is_said_with_what_to_do() -> None:
    told = "\n".join(lines_of(REPORT))
    assert "3  enrollment.patient-enrolled.v1, from 2026-10-08T15:00:00Z to 2026-10-08T16:00:00Z" in told
    assert "took effect again: 1." in told
    assert "What to do: import the feed's files since then again" in told
    assert "p1" not in told


def test_nothing_lost_asks_for_nothing() -> None:
    told = "\n".join(lines_of(REPORT | {"lost": []}))
    assert "Nothing that it published is unknown" in told
    assert "What to do" not in told


def test_the_ids_are_for_whoever_ran_it_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    path = write_ids(REPORT)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert path.read_text() == "p1\np2\nS1\n"
