"""The demo: feed, enroll, plan, call, fill, hand over, and again, on the stepped clock; then the end and the proof."""

from __future__ import annotations

import asyncio
import gc
import os
import shutil
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any, Protocol

import uvloop
from rich.console import Console

from cli.demo.actors import (
    ZONE,
    Bench,
    ChainPlatform,
    Dialer,
    DispensingSystem,
    EnrollmentDesk,
    PickupDesk,
    Piece,
    Prescribers,
    RejectsDesk,
    in_turn,
    local,
)
from cli.demo.behavior import Behavior
from cli.demo.board import LiveBoard, has_room_for_a_board
from cli.demo.history import History
from cli.demo.http import Actor, Services
from cli.demo.outcome import Outcome, count
from cli.demo.recorder import Recorder
from cli.demo.screen import PlainLines, Run, Screen
from cli.demo.stories import Chosen, choose, story, tales_of
from cli.demo.tables import BOOK, book, details, lead
from cli.demo.telling import attempts
from cli.importing import import_directory
from cli.proof import prove
from cli.proof.__main__ import show, show_broken
from cli.proof.brief import brief
from cli.rest import Observer
from cli.sign_in import signed_in
from data.resample import Records, read_directory, resample
from deploy.local.keys import write_keys
from deploy.local.lock import Held, locked
from deploy.local.signing_in import LocalIdentity
from deploy.local.supervisor import LOCK, AlreadyRunning
from deploy.local.up import Installation, installation
from shared.clock import SteppedClock
from shared.words.plans import the_year

START = date(2009, 10, 1)
"""The sample's fills end in September 2009."""

SAMPLE = Path(__file__).parents[2] / "data" / "sample-patients"

DEMO_KEYS = {"sealing": "de" * 32, "pseudonym": "0d" * 32}
"""Known to everyone, so that each run gives patients the same pseudonyms. A chain makes its own."""


class Part(Protocol):
    """Someone around MedSync."""

    async def look(self, now: datetime) -> list[Piece]: ...

    def next_at(self, now: datetime) -> datetime | None: ...


@dataclass(frozen=True)
class Options:
    """What was asked for on the command line."""

    patients: int
    days: int
    seed: int
    directory: Path
    keep: bool
    outreach: int = 2


def demo(options: Options, console: Console) -> int:
    """Run it; answers the exit code: 0 only if the proof holds."""
    _empty(options.directory)
    write_keys(options.directory / "keys", **DEMO_KEYS)
    clock = SteppedClock(options.directory / "clock")
    clock.set(local(START, 8))
    began = time.monotonic()
    screen: Screen = LiveBoard(console) if has_room_for_a_board(console) else PlainLines(console)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with installation(
        options.directory,
        processes={
            "enrollment": 1,
            "planner": 1,
            "outreach": options.outreach,
            "fulfillment": 1,
            "console": 1,
        },
        clock_file=clock.path,
        stores=[row["store_id"] for row in read_directory(SAMPLE).stores],
        say=screen.say,
    ) as system:
        _sign_the_terminal_in(system.identity)
        console.print(f"Console, from now on: {system.services.urls['console'][0]}", highlight=False)
        try:
            held = uvloop.run(_live_through(options, system, clock, console, screen))
            took = timedelta(seconds=round(time.monotonic() - began))
            console.print(f"{options.days} days of {options.patients} patients took {took}", highlight=False)
            if options.keep:
                _stay(system, console)
        except KeyboardInterrupt:
            console.print("stopped")
            return 130
    return 0 if held else 1


async def _live_through(
    options: Options, system: Installation, clock: SteppedClock, console: Console, screen: Screen
) -> bool:
    """Says whether the proof held."""
    return await Demo(options, system, clock, console, screen).run()


def _empty(directory: Path) -> None:
    """Forget the run before, unless it still runs. Raises AlreadyRunning."""
    try:
        with locked(directory / LOCK):
            shutil.rmtree(directory)
    except Held as held:
        raise AlreadyRunning(directory, held.pid) from None
    directory.mkdir(parents=True)


def _stay(system: Installation, console: Console) -> None:
    console.print(
        "The system keeps running. Try `medsync events tail --from beginning`, `medsync clock run --days 7`."
    )
    console.print(f"The console: {system.services.urls['console'][0]}   Ctrl-C stops everything.")
    while True:
        system.tend()
        time.sleep(0.5)


def _sign_the_terminal_in(identity: LocalIdentity) -> None:
    """For the imports and the looks of this process: wherever its directory is."""
    os.environ["MEDSYNC_ISSUER"], os.environ["MEDSYNC_CLIENT_ID"] = identity.issuer, "medsync-cli"
    os.environ["MEDSYNC_CLIENT_KEY_FILE"] = str(identity.key_file("medsync-cli"))


def _sign_in(identity: LocalIdentity) -> Callable[[str], str]:
    """The access token of an actor, each of whom is a program at the provider."""
    return lambda name: signed_in(identity.issuer, name, identity.key_file(name))


class Demo:
    """One run over a running installation; to be made in the event loop that it runs in."""

    def __init__(
        self, options: Options, system: Installation, clock: SteppedClock, console: Console, screen: Screen
    ) -> None:
        self.options, self.system, self.clock, self.console = options, system, clock, console
        self.screen = screen
        self.services = Services(system.services.urls, _sign_in(system.identity))
        self.behavior = Behavior(options.seed)
        self.recorder = Recorder(system.stack.addresses.kafka)
        # Nobody acts on what the console shows: it may take its time.
        self.observer = self._observer(set(self.services.urls) - {"console"})
        self.stirred_at_rest: Counter[str] = Counter()
        self.staff = Actor("demo", "manager,operator", self.services)

    async def run(self) -> bool:
        """Everything in order; says whether the proof held."""
        helpers = [asyncio.create_task(self.recorder.listen()), asyncio.create_task(self._tend())]
        try:
            return await self._run()
        finally:
            self.screen.close()
            for helper in helpers:
                helper.cancel()
            await asyncio.gather(*helpers, return_exceptions=True)
            await self.observer.close()
            await self.services.http.close()

    async def _run(self) -> bool:
        records = resample(read_directory(SAMPLE), self.options.patients, self.options.seed)
        self.console.print(
            f"{len(records.patients)} sample patients: {records.originals} of them originals, the others drawn from "
            "those with dates, names and numbers of their own"
        )
        await self._import(records)
        self._show()
        gc.collect()
        gc.freeze()  # the records stay to the end: else the collector walks through them again and again
        platform = ChainPlatform(self.services, records, START)
        desk = EnrollmentDesk(self.services, self.behavior, START)
        dispensing = DispensingSystem(self.services, self.behavior)
        bench = Bench(self.services, dispensing)
        callers = [
            Dialer("dialer-1", "dialer", self.services, self.behavior),
            Dialer("technician-2", "technician", self.services, self.behavior),
        ]
        await self._live(
            platform,
            [
                desk,
                *callers,
                Prescribers(self.services, self.behavior, platform),
                dispensing,
                bench,
                RejectsDesk(self.services, self.behavior, dispensing),
                PickupDesk(self.services, self.behavior, bench),
            ],
        )
        outcome = Outcome(
            self.options.days,
            candidates=desk.found,
            asked=desk.asked,
            calls=sum(caller.calls for caller in callers),
            reached=sum(caller.reached for caller in callers),
        )
        await self._until_all_is_told()
        self.screen.close()
        await self._conclude(outcome)
        return await self._prove()

    def _observer(self, services: Collection[str]) -> Observer:
        return Observer(
            {name: self.services.urls[name][0] for name in services}, self.system.stack.addresses.kafka
        )

    async def _tend(self) -> None:
        """Start again what died: someone may be killing services to see what happens."""
        while True:
            self.system.tend()
            await asyncio.sleep(0.25)

    async def _import(self, records: Records) -> None:
        """The chain's files as they stand on the first morning; what is dated later comes when its day comes."""
        feed = self.options.directory / "feed"
        records.known_by(START).write(feed)
        await asyncio.to_thread(import_directory, feed, self.services.urls["enrollment"][0], source="chain")

    async def _live(self, platform: Part, staff: Sequence[Part]) -> None:
        """From one due moment to the next until the last day is over."""
        end = local(START + timedelta(days=self.options.days), 8)
        day = self.clock.now().astimezone(ZONE).date()
        while (now := self.clock.now()) < end:
            due = await self._settle(platform, staff, now)
            if (today := now.astimezone(ZONE).date()) != day:
                day = today
                self.screen.day_begins(day)
            moments = [due, *(part.next_at(now) for part in (platform, *staff))]
            self.clock.set(min((at for at in moments if at and now < at < end), default=end))
        await self._settle(platform, staff, end)

    async def _settle(self, platform: Part, staff: Sequence[Part], now: datetime) -> datetime | None:
        """Let everyone act until nobody has anything left to do at this moment.

        What the platform feeds is planned before staff look: beside it, which of both the planner heard first of a
        patient would be chance.
        """
        while True:
            due = await self._until_rest(now)
            work = await platform.look(now) or [piece for part in staff for piece in await part.look(now)]
            if not work:
                return due
            await in_turn(work)

    async def _until_rest(self, now: datetime) -> datetime | None:
        """Wait until no service has anything to do; answers when one will have."""
        stirred = {name for name in self.observer.services if self._may_be_stirred(name, now)}
        for name in await self.observer.until_rest(stirred):
            self.services.stirred[name] += 1
        self.stirred_at_rest = Counter(self.services.stirred)
        moments = map(self.observer.next_due, self.observer.services)
        return min((moment for moment in moments if moment), default=None)

    def _may_be_stirred(self, service: str, now: datetime) -> bool:
        """Whether a command or the clock may have given it work since it was at rest."""
        if self.services.stirred[service] != self.stirred_at_rest[service]:
            return True
        due = self.observer.next_due(service)
        return due is not None and due <= now

    def _show(self) -> None:
        """From now on the screen follows the run."""

        def victim() -> tuple[str, int] | None:
            pid = self.system.services.pid("planner")
            return ("the planner", pid) if pid else None

        console = self.services.urls["console"][0]
        self.screen.begin(Run(START, self.options.days, self.clock, self.recorder, console, victim))

    async def _conclude(self, outcome: Outcome) -> None:
        listed = await self.staff.every("enrollment", "/patients")
        ever = [row["patient_id"] for row in listed if row["status"] in ("enrolled", "disenrolled")]
        patients = await in_turn([self.staff.get("enrollment", f"/patients/{patient}") for patient in ever])
        outcome.enrolled = len(ever)
        outcome.blocked = await self._blocked()
        histories = count(outcome, self.recorder, patients, START + timedelta(days=self.options.days))
        self.console.print(lead(outcome))
        with book(self.options.directory) as full:
            full.print(details(outcome))
        await self._stories(histories, patients)

    async def _until_all_is_told(self) -> None:
        """Until the console, which takes every topic in, is at the end of the stream, and the recorder as well."""
        console = self._observer(["console"])
        await console.until_rest()
        await console.close()
        await self.recorder.caught_up((await self.staff.get("console", "/ops/status"))["end"])

    async def _blocked(self) -> Counter[str]:
        rows = await self.staff.every("planner", "/plans", status="blocked")
        return Counter(row["why"] for row in rows)

    async def _stories(self, histories: Sequence[History], patients: Sequence[dict[str, Any]]) -> None:
        """An ordinary patient's, and one with trouble, shortly; in the file all that they hold."""
        chosen = choose(tales_of(histories, self.recorder.stories, patients))
        with book(self.options.directory) as full:
            for one in chosen:
                year = the_year(self.recorder.plans[one.tale.patient_id])
                calls = attempts(await self._contacts(one), ZONE)
                title, *lines = story(one, year, calls)
                self.console.print(f"\n{title}", style="bold", highlight=False, soft_wrap=True)
                _print_lines(self.console, lines)
                _print_lines(full, ["", *story(one, year, calls, lines=sys.maxsize)])
        if not chosen:
            self.console.print("No patient is in sync yet, so there is no story to tell.")

    async def _contacts(self, chosen: Chosen) -> list[dict[str, Any]]:
        """How staff and dialer tried to reach the patient of a story."""
        answer = await self.staff.get("outreach", f"/patients/{chosen.tale.patient_id}/contacts")
        items: list[dict[str, Any]] = answer["items"]
        return items

    async def _prove(self) -> bool:
        """Judged by a reader that shares no code with the services; what does not hold is shown in full, and first."""
        began = time.monotonic()
        results = await prove(self.system.stack.addresses.kafka, self.system.databases)
        seconds = time.monotonic() - began
        with book(self.options.directory) as full:
            show(results, full, seconds=seconds)
        self.console.print()
        show_broken(results, self.console)
        held = all(result.holds for result in results)
        verdict, *lines = brief(results, seconds=seconds)
        self.console.print(verdict, style="bold green" if held else "bold red", highlight=False)
        _print_lines(self.console, lines)
        where = self.options.directory / BOOK
        self.console.print(f"  All figures, stories and checks: {where}", highlight=False, soft_wrap=True)
        return held


def _print_lines(console: Console, lines: Iterable[str]) -> None:
    """As they are; they fit any terminal."""
    for line in lines:
        console.print(line, markup=False, highlight=False, soft_wrap=True)
