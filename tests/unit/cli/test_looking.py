"""The commands that look: a name that nothing has is refused, and finding nothing is said."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator
from typing import Any

import pytest
from typer.testing import CliRunner

from cli import events
from cli.deadletters import readable
from cli.main import app
from shared.messaging.envelope import Record
from shared.messaging.tail import Seen

TYPE = "medsync.planner.plan-computed.v1"


def encoded(value: bytes | None) -> str | None:
    return None if value is None else base64.b64encode(value).decode()


@pytest.mark.parametrize(
    ("payload", "shown"),
    [
        (b'{"revision": 1}', {"revision": 1}),
        (b'{"revision": ', '{"revision": '),
        ("Grüße\n".encode(), "Grüße\n"),
        (b"", ""),
        (None, None),
        (b"\xff\xfe", {"base64": encoded(b"\xff\xfe")}),
        (b"a\0b", {"base64": encoded(b"a\0b")}),
        (b"[" * 100_000, "[" * 100_000),
    ],
    ids=str,
)
def test_a_letter_is_shown_as_what_it_is(payload: bytes | None, shown: Any) -> None:
    headers = [["ce_type", encoded(TYPE.encode())], ["twice", encoded(b"1")], ["twice", None]]
    letter = {"id": 1, "headers": headers, "record_key": encoded(b"p"), "payload": encoded(payload)}
    assert readable(letter) == {
        "id": 1,
        "headers": {"ce_type": TYPE, "twice": ["1", None]},
        "record_key": "p",
        "payload": shown,
    }


@pytest.mark.parametrize(
    ("wanted", "meant"),
    [
        ("plan-computd", "plan-computed"),
        ("medsync.planner.plan-computd.v1", "plan-computed"),
        ("PatientEnrolled", "patient-enrolled"),
    ],
)
def test_an_unknown_type_is_refused_with_the_nearest_known_one(wanted: str, meant: str) -> None:
    ran = CliRunner().invoke(app, ["events", "tail", "--no-follow", "--type", wanted], env={"COLUMNS": "200"})
    assert ran.exit_code == 2
    assert f"did you mean {meant}?" in ran.stderr


def test_an_unknown_status_of_letters_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    ran = CliRunner().invoke(app, ["deadletters", "list", "--status", "opened"], env={"COLUMNS": "200"})
    assert (ran.exit_code, "did you mean open?" in ran.stderr) == (2, True)


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        ([], 0, ""),
        (["--patient", "p"], 0, ""),
        (["--patient", "x"], 1, "no event of a patient x… among the 1 on the topics"),
        (["--type", "package-ready"], 1, "no event of a type with package-ready among the 1"),
    ],
)
def test_finding_nothing_is_said(
    monkeypatch: pytest.MonkeyPatch, arguments: list[str], code: int, said: str
) -> None:
    async def one(*_: Any, **__: Any) -> AsyncIterator[Seen]:
        yield Seen(Record("medsync.planner.v1", 0, 0, b"p1", (), b""), None, "", TYPE, "", "", None)

    monkeypatch.setattr(events, "tail", one)
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", "unused:9092")
    ran = CliRunner().invoke(app, ["events", "tail", "--no-follow", *arguments])
    assert ran.exit_code == code
    assert said in ran.stderr
    assert bool(ran.stdout) == (code == 0)
