"""One patient's events as a story: what caused what, chain by chain."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from services.console.domain.lines import Line

NEVER = datetime.min.replace(tzinfo=UTC)


@dataclass(slots=True)
class Link:
    """One event and those that followed from it."""

    line: Line
    effects: list[Link] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Chain:
    """What began it, and everything that followed, cause before effect."""

    because: str
    at: datetime | None
    service: str
    links: tuple[tuple[int, Line], ...]  # how deep, and the event

    def begins_like(self, other: Chain) -> bool:
        """Whether both began at one instant, in one way: then they are told as one."""
        return (self.because, self.at, self.service) == (other.because, other.at, other.service)


def chains_of(lines: Sequence[Line]) -> list[Chain]:
    """The patient's events cut into chains, oldest first.

    Events are put in order by business time and, within one instant, by their ids, which carry the time of the
    machine that published them; an effect stands below its cause whatever they say.
    """
    links = {str(line.event_id): Link(line) for line in lines}
    roots = []
    for line in sorted(lines, key=_when):
        link = links[str(line.event_id)]
        cause = links.get(line.causation_id or "")
        if cause is None or cause is link:
            roots.append(link)
        else:
            cause.effects.append(link)
    chains: list[Chain] = []
    for root in roots:
        chain = Chain(because(root.line), root.line.at, root.line.service, tuple(_told(root)))
        if chains and chains[-1].begins_like(chain):
            chain = replace(chain, links=chains.pop().links + chain.links)
        chains.append(chain)
    told = {line.event_id for chain in chains for _, line in chain.links}
    # No honest sender makes one; shown all the same.
    circular = [line for line in lines if line.event_id not in told]
    return chains + [
        Chain("It names itself as its cause", line.at, line.service, ((0, line),)) for line in circular
    ]


def because(line: Line) -> str:
    """What an event followed from that is no event of this patient, in words."""
    cause = line.causation_id or ""
    kind, _, what = cause.partition(":")
    if kind == "command":
        return _COMMANDED.get(line.service, "On a command")
    if kind == "due":
        return "It was due"
    if kind == "redrive":
        return f"A dead letter was redriven by {what}" if what else "A dead letter was redriven"
    return "It followed from an event elsewhere" if cause else "No cause on record"


_COMMANDED = {
    "enrollment": "The chain's feed or staff, through enrollment",
    "planner": "Staff, through the planner",
    "outreach": "A contact was reported, or the patient called",
    "fulfillment": "The pharmacy bench or the pickup counter reported",
}


def _when(line: Line) -> tuple[datetime, str]:
    return line.at or NEVER, str(line.event_id)


def _told(root: Link) -> list[tuple[int, Line]]:
    """The chain from the top down; without recursion: a patient's life may hang on one event."""
    told, waiting = [], [(0, root)]
    while waiting:
        depth, link = waiting.pop()
        told.append((depth, link.line))
        waiting += [(depth + 1, effect) for effect in reversed(link.effects)]
    return told
