"""The proof: was anything lost, done twice, out of order, or done that nobody asked for?

It shares no code with the system that it judges: it reads every topic from its beginning and every service's tables by
itself, and decides from this data alone. To be run when the system is at rest.

- `contract`: what it knows of the system, written down anew;
- `record`: everything that was read, as values; `topics` and `tables` read it;
- `checks`: one pure function per claim over that record; `brief` says in three lines what they looked at.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta

from cli.proof.checks import GROUPS
from cli.proof.contract import TAKES
from cli.proof.record import Record
from cli.proof.result import Result
from cli.proof.tables import read_tables
from cli.proof.topics import read_topics


async def prove(
    kafka: str,
    databases: Mapping[str, str],
    *,
    prefix: str = "",
    allow_parked: bool = False,
    hearing: timedelta = timedelta(0),
) -> list[Result]:
    """Read everything, and judge it.

    `databases` maps services to URLs; what needs one that is missing is not judged, and says so. `allow_parked`
    accepts parked patients and open dead letters; `hearing` is how long, in business time, a service may take to hear
    of a disenrollment (none on a stepped clock).
    Raises KafkaError, OSError or a PostgresError where something cannot be read, ValueError for an unknown service.
    """
    if unknown := databases.keys() - TAKES.keys():
        raise ValueError(f"no such service: {', '.join(sorted(unknown))}; there are {', '.join(TAKES)}")
    topics = await read_topics(kafka, prefix)
    tables = await read_tables(databases)
    record = Record(**topics._asdict(), **vars(tables), allow_parked=allow_parked, hearing=hearing)
    return [replace(check(record), about=about) for about, checks in GROUPS.items() for check in checks]


__all__ = ["Record", "Result", "prove"]
