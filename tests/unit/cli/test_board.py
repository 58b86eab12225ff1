"""What the demo shows while it runs: the board at several sizes, and plain lines."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from io import StringIO

import pytest
from rich.console import Console, Group

from cli.demo.board import LiveBoard, Notice, View, draw, folded, has_room_for_a_board, left
from cli.demo.recorder import Line, Recorder
from cli.demo.screen import PlainLines, Run
from cli.demo.stores import StoreDay
from shared.clock import Clock
from shared.events.fulfillment import FillRejected
from shared.events.planner import DemandForecast, PlanComputed
from tests.unit.cli.test_recorder import seen

ADDRESS = "http://127.0.0.1:18645"
NOW = datetime(2009, 10, 17, 21, tzinfo=UTC)
SENTENCE = (
    "Visit on Tue Oct 13, 2009 confirmed by the patient: 5 fills wanted, "
    "1 of them only if what is missing comes."
)
SIZES = [(80, 24), (100, 30), (120, 40), (200, 60)]
TINY = [(40, 10), (20, 5), (80, 8)]


def line(number: int) -> Line:
    return Line(NOW + timedelta(minutes=number), number, "pickup-confirmed", f"{number:08}", SENTENCE)


def stores(number: int) -> list[StoreDay]:
    return [
        StoreDay(f"s{n}", f"Store {n:02}", enrolled=n, expected=1000 + n, to_call=n) for n in range(number)
    ]


VIEW = View(
    now=NOW,
    first=date(2009, 10, 1),
    days=75,
    passed=16.5 / 75,
    elapsed=timedelta(seconds=65),
    left=timedelta(minutes=4),
    console=ADDRESS,
    stores=stores(5),
    lines=[line(n) for n in range(60)],
    counts=Counter({"plan-computed": 1234, "demand-forecast": 1}),
    events=5678,
    enrolled=45,
    victim=("the planner", 4242),
)


def shown(view: View, width: int, height: int) -> list[str]:
    """The board's lines as a terminal of this size gets them."""
    console = Console(width=width, height=height, file=StringIO(), force_terminal=True, color_system=None)
    with console.capture() as capture:
        console.print(Group(*draw(view, width, height)))
    return capture.get().splitlines()


@pytest.mark.parametrize(("width", "height"), SIZES + TINY)
@pytest.mark.parametrize("number", [0, 1, 5, 40])
def test_the_board_fits_its_terminal(width: int, height: int, number: int) -> None:
    lines = shown(replace(VIEW, stores=stores(number)), width, height)
    assert len(lines) <= height
    assert max(map(len, lines)) <= width


@pytest.mark.parametrize(("width", "height"), SIZES)
def test_day_address_figures_and_counts_are_there(width: int, height: int) -> None:
    lines = shown(VIEW, width, height)
    assert "Sat Oct 17, 2009 16:00  day 17 of 75" in lines[0]
    assert ADDRESS in lines[1] and "01:05 so far, about 4 min left" in lines[1]
    text = "\n".join(lines)
    for words in ("expected", "ready", "picked up", "to call", "Store 04", "all stores", "5,010"):
        assert words in text
    assert "45 patients enrolled · 1,234 plans" in lines[-2] and "1 forecast ·" in lines[-2]
    assert "kill -9 4242" in lines[-1]
    assert len(lines) == height, "what is left over goes to lines worth reading"


def test_a_short_terminal_folds_the_smallest_stores() -> None:
    text = "\n".join(shown(replace(VIEW, stores=stores(40)), 80, 24))
    assert "Store 39" in text and "Store 02" not in text
    assert "and 35 more" in text


def test_folded_stores_are_counted_and_the_others_stay_in_order() -> None:
    rows = folded(stores(10), 4)
    assert [row.name for row in rows] == ["Store 07", "Store 08", "Store 09", "and 7 more"]
    assert rows[-1].enrolled == sum(range(7))
    assert folded(stores(4), 4) == stores(4)


@pytest.mark.parametrize(("width", "height"), SIZES)
def test_the_newest_lines_are_shown_in_order_and_in_the_stores_time(width: int, height: int) -> None:
    text = "\n".join(shown(VIEW, width, height))
    assert "Sat 10/17 16:59  00000059" in text and "00000000" not in text
    numbers = [n for n in range(60) if f"{n:08}" in text]
    assert numbers == list(range(numbers[0], 60)) and len(numbers) >= 3


def test_a_word_about_the_system_stands_among_the_lines() -> None:
    notice = Notice(NOW, "planner-0 ended with code -9: again in 1.0 s ([x]/logs/planner-0.log)")
    text = " ".join("\n".join(shown(replace(VIEW, lines=[line(1), notice]), 80, 24)).split())
    assert "planner-0 ended with code -9: again in 1.0 s ([x]/logs/planner-0.log)" in text


def test_the_time_that_is_left_follows_the_pace() -> None:
    assert left(timedelta(seconds=30), 1.5, 75) is None
    assert left(timedelta(seconds=30), 15, 75) == timedelta(seconds=120)
    assert left(timedelta(seconds=30), 75, 75) == timedelta(0)


# --- on a terminal, and elsewhere ---


class Terminal(StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("file", "environment", "board"),
    [
        (Terminal(), {"TERM": "xterm"}, True),
        (Terminal(), {"TERM": "xterm", "NO_COLOR": "1"}, True),
        (Terminal(), {"TERM": "dumb"}, False),
        (Terminal(), {"TERM": "xterm", "CI": "true"}, False),
        (StringIO(), {"TERM": "xterm"}, False),
        (StringIO(), {"TERM": "xterm", "FORCE_COLOR": "1"}, False),
    ],
)
def test_the_board_is_for_terminals(
    monkeypatch: pytest.MonkeyPatch, file: StringIO, environment: dict[str, str], board: bool
) -> None:
    for name in ("TERM", "CI", "NO_COLOR", "FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert has_room_for_a_board(Console(file=file)) is board


class Standing:
    """A clock that stands."""

    def now(self) -> datetime:
        return NOW


def run_of(recorder: Recorder) -> Run:
    clock: Clock = Standing()
    return Run(date(2009, 10, 1), 75, clock, recorder, ADDRESS)


async def test_the_board_leaves_the_terminal_clean_and_its_last_state_above(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("TERM", "xterm")
    terminal = Terminal()
    board = LiveBoard(Console(file=terminal, force_terminal=True, width=80, height=24, color_system=None))
    board.say("starting the services …")
    assert terminal.getvalue() == "starting the services …\n"
    board.begin(run_of(Recorder("nowhere")))
    board.say("planner-0 ended\nwith code -9")
    board.close()
    board.close()

    hidden, shown_again = "\x1b[?25l", "\x1b[?25h"
    text = terminal.getvalue()
    assert text.count(hidden) == text.count(shown_again) == 1
    assert text.index(ADDRESS) < text.index("planner-0 ended with code -9") < text.index(shown_again)
    assert "\x1b[?1049h" not in text, "no alternate screen: what was shown stays"


def test_elsewhere_a_day_is_a_plain_line_with_what_is_worth_reading() -> None:
    file, recorder = StringIO(), Recorder("nowhere")
    screen = PlainLines(Console(file=file, width=60))
    screen.say("starting in [tmp] …")
    screen.day_begins(date(2026, 3, 2))  # before anything lives
    screen.begin(run_of(recorder))
    for kind, minute in ((FillRejected, 1), (PlanComputed, 2), (DemandForecast, 3)):
        recorder.note(seen(kind, minute))
    screen.day_begins(date(2026, 3, 3))
    screen.close()

    said, day, reject = file.getvalue().splitlines()
    assert said == "starting in [tmp] …"
    assert day.startswith("Mon Mar  2, 2026  plans   1  confirmed   0")
    assert reject.startswith("    09:01  7d5c1a90  Insurance rejected a fill")
    assert "\x1b" not in file.getvalue()
