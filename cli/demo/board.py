"""The live board: the day and its progress, each store's figures, and the last lines worth reading.

`draw` says what stands where, from a `View` alone; `LiveBoard` looks four times a second and puts it on the terminal.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta

from rich.cells import cell_len
from rich.console import Console, Group
from rich.control import Control
from rich.live import Live
from rich.text import Text

from cli.demo.actors import ZONE
from cli.demo.recorder import Line
from cli.demo.screen import Run
from cli.demo.stores import StoreDay, together

SECONDS_A_LOOK = 0.25
SECONDS_A_LINE = 0.5
"""Lines come no faster than they can be read: what happens between two of them is in the counts."""

KEPT_LINES = 60
LAST_LINES = 3
"""What came since the last line, at the end."""

NOTICE = "yellow"
STYLES = {
    "patient-enrolled": "green",
    "package-picked-up": "green",
    "fill-rejected": "red",
    "stock-short": "red",
    "pickup-declined": "red",
    "package-returned": "red",
    "pickup-missed": "red",
    "renewal-requested": "magenta",
    "renewal-answered": "magenta",
    "package-ready": "bright_blue",
}
"""Of the patient's number beside a line, by the kind of what happened."""

COLUMNS = (
    ("enrolled", "enrolled", ""),
    ("expected", "expected", "bold"),
    ("ready", "ready", "bright_blue"),
    ("picked up", "picked_up", "green"),
    ("not picked up", "late", "red"),
    ("to call", "to_call", "yellow"),
)
"""Heading, figure of a store's day, style where it is not 0."""

GIVEN_UP_FIRST = ("enrolled", "not picked up")
"""Columns that a narrow terminal does without."""


@dataclass(frozen=True)
class Notice:
    """A word about the system, said while the board was there."""

    at: datetime  # on the demo's clock, when it was said
    text: str


@dataclass(frozen=True)
class View:
    """All that the board shows at one moment."""

    now: datetime
    first: date
    days: int
    passed: float  # of the run, from 0 to 1
    elapsed: timedelta
    left: timedelta | None  # None until there is something to go by
    console: str
    stores: Sequence[StoreDay] = ()
    lines: Sequence[Line | Notice] = ()
    counts: Counter[str] = field(default_factory=Counter)
    events: int = 0
    enrolled: int = 0
    victim: tuple[str, int] | None = None


# --- what stands where ---


def draw(view: View, width: int, height: int) -> list[Text]:
    """The board for a terminal of this size: at most so many lines, none of them wider."""
    head, stores, foot = _head(view, width), _stores(view, width, height), _foot(view, width)
    room = height - len(head) - len(stores) - len(foot) - 2
    if room < 1:  # of a terminal that small, the top
        lines = [*head, *stores, *foot]
    else:
        lines = [*head, Text(), *stores, *_lines(view.lines, width, room), Text(), *foot]
    for line in lines:
        line.truncate(width, overflow="ellipsis")
    return lines[:height]


def _head(view: View, width: int) -> list[Text]:
    local = view.now.astimezone(ZONE)
    day = min((local.date() - view.first).days + 1, view.days)
    when = f"{local:%a %b} {local.day}, {local:%Y %H:%M}  day {day} of {view.days}  "
    first = Text(when, style="bold") + _bar(view.passed, width - cell_len(when))
    second = Text.assemble("Console: ", (view.console, "cyan underline"))
    took = _took(view.elapsed, view.left)
    if (gap := width - second.cell_len - cell_len(took)) >= 2:
        second.append(" " * gap + took, style="dim")
    return [first, second]


def _bar(passed: float, width: int) -> Text:
    full = min(round(passed * width), width)
    return Text.assemble(("━" * full, "green"), ("─" * (width - full), "dim"))


def _took(elapsed: timedelta, left: timedelta | None) -> str:
    took = f"{str(timedelta(seconds=int(elapsed.total_seconds()))).removeprefix('0:')} so far"
    if not left:  # not known yet, or over
        return took
    minutes = round(left.total_seconds() / 60)
    return f"{took}, about {minutes} min left" if minutes else f"{took}, less than a minute left"


def _stores(view: View, width: int, height: int) -> list[Text]:
    """A row for each store, the smallest folded into one where there are too many; then all of them together."""
    if not view.stores:
        return [Text("No store is known yet.", style="dim"), Text()]
    rows = list(folded(view.stores, max(2, min(height // 4, 12))))
    columns = [column for column in COLUMNS if column[0] not in GIVEN_UP_FIRST or width >= 76]
    columns = [column for column in columns if column[0] != "enrolled" or width >= 100]
    together_ = [together(view.stores, "all stores")] if len(view.stores) > 1 else []
    longest = max(cell_len(day.name) for day in [*rows, *together_])
    name = max(8, min(longest, width - sum(len(heading) + 3 for heading, _, _ in columns)))
    heading = Text(" " * name, style="dim")
    for title, _, _ in columns:
        heading.append(f"   {title}")
    return [
        heading,
        *(_row(day, name, columns) for day in rows),
        *(_row(day, name, columns, "dim") for day in together_),
        Text(),
    ]


def folded(days: Sequence[StoreDay], rows: int) -> list[StoreDay]:
    """At most so many rows, by name: the stores with the most patients, and the others as one."""
    if len(days) <= rows:
        return list(days)
    by_size = sorted(days, key=lambda day: (-day.enrolled, day.name))
    shown, rest = by_size[: rows - 1], by_size[rows - 1 :]
    return [*sorted(shown, key=lambda day: day.name), together(rest, f"and {len(rest)} more")]


def _row(day: StoreDay, name: int, columns: Sequence[tuple[str, str, str]], style: str = "") -> Text:
    row = Text(day.name, style=style)
    row.truncate(name, overflow="ellipsis", pad=True)
    for heading, figure, color in columns:
        number: int = getattr(day, figure)
        row.append("   " + f"{number:,}".rjust(len(heading)), style=color if number and not style else "dim")
    return row


def _lines(lines: Sequence[Line | Notice], width: int, room: int) -> list[Text]:
    """As many of the last lines as there is room for, each of two at most; with blank ones up to there."""
    shown: deque[Text] = deque()
    for line in reversed(lines):
        parts = _parts(line, width)
        if len(shown) + len(parts) > room:
            break
        shown.extendleft(reversed(parts))
    return [*shown, *(Text() for _ in range(room - len(shown)))]


def _parts(line: Line | Notice, width: int) -> list[Text]:
    local = line.at.astimezone(ZONE)
    when = Text(f"{local:%a} {local.month}/{local.day}".ljust(10) + f"{local:%H:%M}  ", style="dim")
    if isinstance(line, Notice):
        begin, text, style = when, line.text, NOTICE
    else:
        begin = when + Text(f"{line.patient}  ", style=STYLES.get(line.kind, "cyan"))
        text, style = line.sentence, ""
    first, *rest = _wrapped(text, max(width - begin.cell_len, 20))
    return [begin + Text(first, style=style), *(Text(" " * begin.cell_len + each, style) for each in rest)]


def _wrapped(text: str, width: int) -> list[str]:
    """One or two lines; what does not fit on them is left out."""
    if cell_len(text) <= width:
        return [text]
    cut = text.rfind(" ", 0, width + 1)
    first, rest = (text[:cut], text[cut + 1 :]) if cut > 0 else (text[:width], text[width:])
    return [first, rest if cell_len(rest) <= width else f"{rest[: width - 1]}…"]


def _foot(view: View, width: int) -> list[Text]:
    counts = view.counts
    numbers = (
        f"{view.enrolled:,} patients enrolled",
        counted(counts["plan-computed"], "plan"),
        counted(counts["fill-completed"], "fill"),
        counted(counts["demand-forecast"], "forecast"),
        counted(view.events, "event"),
    )
    service, pid = view.victim or ("a service", "…")
    kill = Text(f"kill -9 {pid} ends {service}: it comes back, and nothing changes", style="dim")
    return [Text(" · ".join(numbers), style="dim"), kill]


def counted(number: int, noun: str) -> str:
    """A number of any size with its noun.

    >>> counted(1234, "plan")
    '1,234 plans'
    """
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


# --- on the terminal ---


def has_room_for_a_board(console: Console) -> bool:
    """Whether somebody looks at a terminal that can be drawn on: not a pipe, not a dumb one, not CI."""
    return console.is_interactive and console.file.isatty() and not os.environ.get("CI")


class LiveBoard:
    """Drawn over and over at the bottom of the terminal; what others print scrolls away above it."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._live: Live | None = None
        self._looking: asyncio.Task[None] | None = None
        self._run: Run | None = None
        self._lines: deque[Line | Notice] = deque(maxlen=KEPT_LINES)
        self._started = self._began = self._took_a_line = time.monotonic()
        self._size = console.size
        self._stores: tuple[int, datetime, list[StoreDay]] | None = None

    def say(self, text: str) -> None:
        if self._run and self._live:
            self._lines.append(Notice(self._run.clock.now(), " ".join(text.split())))
        else:
            self._console.print(text, style="dim", markup=False, highlight=False)

    def begin(self, run: Run) -> None:
        """To be called in a running loop, which draws the board from now on."""
        self._run, self._began = run, time.monotonic()
        self._live = Live(
            console=self._console,
            auto_refresh=False,
            vertical_overflow="crop",
            get_renderable=self._drawn,
        )
        self._live.start()
        self._looking = asyncio.create_task(self._look())

    def day_begins(self, day: date) -> None:
        """The clock says so already."""

    def close(self) -> None:
        if self._looking:
            self._looking.cancel()
            self._looking = None
        if self._live and self._run:
            self._lines.extend(self._run.recorder.newest(LAST_LINES))
            self._live.stop()
            self._live = None
            self._console.line()

    async def _look(self) -> None:
        while self._live:
            self._take_a_line()
            self._heed_resize()
            self._live.refresh()
            await asyncio.sleep(SECONDS_A_LOOK)

    def _take_a_line(self) -> None:
        now = time.monotonic()
        if self._run and now - self._took_a_line >= SECONDS_A_LINE:
            self._took_a_line = now
            self._lines.extend(self._run.recorder.newest(1))

    def _heed_resize(self) -> None:
        """A terminal that grows narrower breaks the old lines, so nobody knows how far up the board begins."""
        if self._console.size != self._size:
            self._size = self._console.size
            self._console.control(Control.home(), Control.clear())

    def _drawn(self) -> Group:
        if self._run is None:
            return Group()
        width, height = self._console.size
        return Group(*draw(self._view(self._run), width, height))

    def _view(self, run: Run) -> View:
        now, elapsed = run.clock.now(), time.monotonic() - self._started
        began = datetime.combine(run.first, datetime.min.time(), ZONE)
        passed = min(max((now - began) / timedelta(days=run.days), 0.0), 1.0)
        recorder = run.recorder
        return View(
            now=now,
            first=run.first,
            days=run.days,
            passed=passed,
            elapsed=timedelta(seconds=elapsed),
            left=left(timedelta(seconds=time.monotonic() - self._began), passed * run.days, run.days),
            console=run.console,
            stores=self._days(run, now),
            lines=tuple(self._lines),
            counts=recorder.counts,
            events=len(recorder.known),
            enrolled=recorder.stores.enrolled,
            victim=run.victim(),
        )

    def _days(self, run: Run, now: datetime) -> list[StoreDay]:
        """Worked out only where something came, or the clock moved."""
        if self._stores is None or self._stores[:2] != (run.recorder.records, now):
            self._stores = run.recorder.records, now, run.recorder.stores.days(now)
        return self._stores[2]


def left(took: timedelta, passed: float, days: int) -> timedelta | None:
    """How long the days that are left take at the pace so far; None for the first two, which are no measure."""
    if passed < 2:
        return None
    return took * ((days - passed) / passed)
