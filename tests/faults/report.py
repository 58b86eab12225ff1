"""Tables of what rounds found: each zero with the number it was looked for in, and what that bounds."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from statistics import median

from rich.console import Console
from rich.table import Table

from shared.messaging.crashpoints import POINTS
from tests.faults.mistakes import Caught
from tests.faults.round import Outcome

Row = tuple[str, ...]


def verdicts(outcomes: Sequence[Outcome]) -> list[Row]:
    """Invariant, items checked, violations, and where there were none, the 95 % bound on their share: 3/n."""
    looked_at: Counter[str] = Counter()
    violations: Counter[str] = Counter()
    for outcome in outcomes:
        for result in outcome.results:
            looked_at[result["name"]] += result["looked_at"]
            violations[result["name"]] += result["violations"]
    return [
        (name, f"{n:,}", str(violations[name]), f"< {3 / n:.1e}" if n and not violations[name] else "–")
        for name, n in looked_at.items()
    ]


def met(outcomes: Sequence[Outcome]) -> list[Row]:
    """Every fault, and how often it truly happened."""
    total: Counter[str] = Counter()
    for outcome in outcomes:
        total.update(outcome.met)
    return [(what, f"{n:,}") for what, n in sorted(total.items())]


def points(outcomes: Sequence[Outcome]) -> list[Row]:
    """Every crash point, and how many processes died there."""
    total: Counter[str] = Counter()
    for outcome in outcomes:
        total.update(outcome.points)
    return [(point, str(total[point])) for point in POINTS]


def recoveries(outcomes: Sequence[Outcome]) -> list[Row]:
    """Seconds: how many times measured, the median and the longest."""
    seconds: dict[str, list[float]] = defaultdict(list)
    for outcome in outcomes:
        for what, measured in outcome.recovery.items():
            seconds[what] += measured
    return [(what, str(len(s)), f"{median(s):.1f}", f"{max(s):.1f}") for what, s in seconds.items()]


def unmet(outcomes: Sequence[Outcome]) -> list[str]:
    """What these rounds never met: a suite that did not meet the fault proves nothing about it."""
    total: Counter[str] = Counter()
    for outcome in outcomes:
        total.update(outcome.met)
        total.update(outcome.points)
    needed = (*POINTS, "deliveries of an event that was there already", "relay leases taken over")
    return [what for what in needed if not total[what]]


TABLES = (
    ("Invariants", ("invariant", "checked", "violations", "95 % bound"), verdicts),
    ("Crash points", ("point", "processes killed there"), points),
    ("Faults met", ("fault", "times"), met),
    ("Recovery, seconds", ("from … to …", "times", "median", "longest"), recoveries),
)


def show(outcomes: Sequence[Outcome], console: Console) -> None:
    """Everything on a screen, and the first violations in full."""
    for title, head, rows in TABLES:
        table = Table(*head, title=title)
        for row in rows(outcomes):
            table.add_row(*row)
        console.print(table)
    for outcome in outcomes:
        for result in outcome.results:
            for violation in result["first"]:
                console.print(f"{outcome.seed}: {result['name']}: {violation}", markup=False, highlight=False)
        for line in outcome.unexpected:
            console.print(f"{outcome.seed}: {line}", markup=False, highlight=False)
    console.print(summary(outcomes), markup=False, highlight=False)


def markdown(outcomes: Sequence[Outcome]) -> str:
    """The same for a document."""
    parts = [summary(outcomes)]
    for title, head, rows in TABLES:
        lines = [head, ("---",) * len(head), *rows(outcomes)]
        parts.append(f"### {title}\n\n" + "\n".join(f"| {' | '.join(line)} |" for line in lines))
    return "\n\n".join(parts) + "\n"


MISTAKES_HEAD = ("mistake put back", "caught by", "its first violation")


def mistakes(caught: Sequence[Caught]) -> list[Row]:
    """Every mistake, and the invariant that caught it."""
    return [
        (one.mistake, one.expected if one.caught else "NOT CAUGHT", one.first.replace("|", "/"))
        for one in caught
    ]


def show_mistakes(caught: Sequence[Caught], console: Console) -> None:
    table = Table(*MISTAKES_HEAD, title="The suite can fail")
    for row in mistakes(caught):
        table.add_row(*row)
    console.print(table)


def mistakes_markdown(caught: Sequence[Caught]) -> str:
    lines = [MISTAKES_HEAD, ("---",) * len(MISTAKES_HEAD), *mistakes(caught)]
    return "\n### The suite can fail\n\n" + "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


def summary(outcomes: Sequence[Outcome]) -> str:
    kills, events = sum(o.kills for o in outcomes), sum(o.events for o in outcomes)
    seconds = sum(o.seconds for o in outcomes)
    broken = sum(not o.holds for o in outcomes)
    return (
        f"{kills:,} kills over {events:,} events in {len(outcomes)} rounds, {seconds / 60:.0f} min; "
        + (f"{broken} rounds with violations" if broken else "no violation")
        + (f"; never met: {', '.join(missing)}" if (missing := unmet(outcomes)) else "; every fault met")
    )
