"""Turns the public sample patients into the import layout: `python -m data.convert SOURCE [TARGET]`.

Run once; its output is checked in under data/sample-patients/. What the source says is kept; what it does not say
follows from a rule below or is drawn with a fixed seed. Both are listed, value by value where it matters, in
basis.csv beside the files, and explained in their README. Nothing is dropped silently.
"""

from __future__ import annotations

import csv
import re
import sys
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path
from random import Random

import holidays
import phonenumbers

from data.drugs import Facts, facts_of, needs_refrigeration, schedule_of

Row = dict[str, str]

AS_OF = date(2009, 10, 1)
"""The day after the last month with fills: the files are what the chain's platform knows on this day, and later."""

SEED = 20091001
LAPSED_AFTER = timedelta(days=60)  # a maintenance drug not filled again for so long has been stopped
MAINTENANCE_DAYS = 28  # the least days' supply of a drug that is taken on and on


# --- what comes out ---


@dataclass
class Basis:
    """Where values come from that the source does not say as they stand."""

    rows: list[Row] = field(default_factory=list)

    def note(self, kind: str, key: str, column: str, basis: str, why: str) -> None:
        self.rows.append({"kind": kind, "key": key, "column": column, "basis": basis, "why": why})


def main(source: Path, target: Path) -> None:
    tables = {name: read_table(source / f"{name}.txt") for name in ("patients", "meds", "refills")}
    basis = Basis()
    patients = convert_patients(tables["patients"], basis)
    fills = merge_fills(tables["refills"], tables["meds"], basis)
    courses = courses_of(tables["meds"], fills, basis)
    target.mkdir(parents=True, exist_ok=True)
    write(target / "stores.csv", stores())
    write(target / "patients.csv", patients)
    write(target / "prescriptions.csv", convert_prescriptions(courses, patients, basis))
    write(target / "fills.csv", [row for course in courses for row in convert_fills(course, basis)])
    write(target / "basis.csv", basis.rows)


def read_table(path: Path) -> list[Row]:
    with path.open(encoding="utf-8", newline="") as lines:
        rows = csv.DictReader(lines, delimiter="\t")
        return [{name: (value or "").strip() for name, value in row.items()} for row in rows]


def write(path: Path, rows: Sequence[Row]) -> None:
    with path.open("w", encoding="utf-8", newline="") as lines:
        writer = csv.DictWriter(lines, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    print(f"{path.name}: {len(rows)}")


def known_on(day: date) -> str:
    """The day on which the chain's platform would feed a record: the import passes over this column."""
    return str(max(day, AS_OF))


# --- stores: invented, where the patients live ---

TULSA = ("tulsa-north", "tulsa-south")
STORE_OF_CITY = {
    "Bixby": "bixby",
    "Broken Arrow": "broken-arrow",
    "Mounds": "sapulpa",
    "Sand Springs": "sapulpa",
    "Sapulpa": "sapulpa",
}


CLOSED_ON = {"New Year's Day", "Independence Day", "Labor Day", "Thanksgiving Day", "Christmas Day"}


def stores() -> list[Row]:
    """Five stores; two close on Sundays, all on the holidays on which pharmacies close."""
    calendar = holidays.country_holidays("US", years=range(2009, 2016), observed=False)
    closed = " ".join(str(day) for day, name in sorted(calendar.items()) if name in CLOSED_ON)
    long, short = "08:00-21:00", "10:00-18:00"
    opening = {
        "tulsa-north": ("Tulsa North", long, "09:00-19:00", short, 40, "01"),
        "tulsa-south": ("Tulsa South", long, "09:00-19:00", short, 40, "02"),
        "bixby": ("Bixby", "09:00-20:00", "09:00-18:00", "", 25, "03"),
        "broken-arrow": ("Broken Arrow", "09:00-20:00", "09:00-18:00", short, 30, "04"),
        "sapulpa": ("Sapulpa", "09:00-19:00", "09:00-14:00", "", 20, "05"),
    }
    return [
        {
            "store_id": store_id,
            "revision": "1",
            "name": f"{name} Pharmacy",
            "state": "OK",
            "time_zone": "America/Chicago",
            **dict.fromkeys(("monday", "tuesday", "wednesday", "thursday", "friday"), weekdays),
            "saturday": saturday,
            "sunday": sunday,
            "closed_on": closed,
            "daily_cap": str(cap),
            "phone": f"+191855501{line}",
            "known_on": str(AS_OF),
        }
        for store_id, (name, weekdays, saturday, sunday, cap, line) in opening.items()
    ]


# --- patients ---

ZONE_OF_STATE = {"MA": "America/New_York", "NC": "America/New_York"}


def convert_patients(table: Sequence[Row], basis: Basis) -> list[Row]:
    rows = []
    for row in table:
        number = row["PID"]
        draw = Random(f"{SEED} patient {number}")
        store_id = STORE_OF_CITY.get(row["city"]) or draw.choice(
            TULSA if row["city"] == "Tulsa" else sorted({*TULSA, *STORE_OF_CITY.values()})
        )
        if row["city"] not in STORE_OF_CITY:
            basis.note(
                "patients", number, "store_id", "draw", "no store of the chain in this city, or several"
            )
        line = " ".join(part for part in (row["street"], row["apartment"]) if part)
        place = " ".join(part for part in (row["region"], row["pcode"]) if part)
        rows.append(
            {
                "patient_number": number,
                "revision": "1",
                "store_id": store_id,
                "given_name": row["fname"],
                "family_name": row["lname"],
                "birth_date": row["dob"],
                "mobile_phone": normal_phone(row, "cell", "mobile_phone", basis),
                "home_phone": normal_phone(row, "home", "home_phone", basis),
                "address": ", ".join(part for part in (line, row["city"], place) if part),
                "time_zone": ZONE_OF_STATE.get(row["region"], ""),
                "language": "en",
                "cycle_policy": "",
                "must_weekdays": "",
                "preferred_weekday": "",
                "known_on": known_on(date.fromisoformat(row["dob"])),
            }
        )
    return rows


def normal_phone(row: Row, column: str, becomes: str, basis: Basis) -> str:
    """E.164; empty where no such number can exist."""
    if not row[column]:
        return ""
    number = phonenumbers.parse(row[column], "US")
    if not phonenumbers.is_valid_number(number):
        basis.note("patients", row["PID"], becomes, "rule", "left out: no such number can exist")
        return ""
    return phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)


# --- fills ---


@dataclass(frozen=True)
class Refill:
    """One fill of the source; `number` is its line, or the one kept of two."""

    number: str
    on: date
    days: int
    quantity: Decimal


def merge_fills(
    table: Sequence[Row], meds: Sequence[Row], basis: Basis
) -> dict[tuple[str, str], list[Refill]]:
    """The fills by patient and drug, oldest first; two of one day are one, written down twice.

    Where the two differ in quantity, the one that agrees with the prescription is kept, else the larger.
    """
    prescribed = {(row["PID"], row["RxNorm"]): row["Q"] for row in meds}
    days: dict[tuple[str, str, str], list[Row]] = defaultdict(list)
    for row in table:
        days[row["PID"], row["RXN"], row["DATE"]].append(row)
    fills: dict[tuple[str, str], list[Refill]] = defaultdict(list)
    for (pid, code, day), rows in days.items():
        usual = prescribed.get((pid, code))
        kept = max(rows, key=lambda row: (row["Q"] == usual, Decimal(row["Q"])))
        for row in rows:
            if row is not kept:
                why = f"line {row['ID']} of the source is the same fill (quantity {row['Q']})"
                basis.note("fills", f"F{int(kept['ID']):05}", "quantity", "rule", why)
        on = date.fromisoformat(day)
        fills[pid, code].append(Refill(kept["ID"], on, int(kept["DAYS"]), Decimal(kept["Q"])))
    for found in fills.values():
        found.sort(key=lambda fill: fill.on)
    return fills


# --- prescriptions ---


@dataclass(frozen=True)
class Course:
    """One prescription of the source with its fills, and what the rules make of it."""

    rx_id: str
    pid: str
    code: str
    name: str
    directions: str
    facts: Facts
    written_on: date
    ended_on: date | None
    quantity: Decimal
    days: int
    units_per_day: Decimal | None
    as_needed: bool
    fills: Sequence[Refill]

    @property
    def maintenance(self) -> bool:
        """Taken on and on: no short course, as needed or not, of 28 days' supply at least."""
        return not (self.facts.short_course or self.as_needed) and self.days >= MAINTENANCE_DAYS

    @property
    def expires_on(self) -> date:
        """Six months for a controlled drug (21 CFR 1306.22, taken for C-II and C-V too), a year for any other."""
        controlled = schedule_of(self.facts, self.written_on) != "none"
        return self.written_on + timedelta(days=183 if controlled else 365)

    @property
    def last_run_out(self) -> date:
        spans = [(fill.on, fill.days or self.days) for fill in self.fills] or [(self.written_on, self.days)]
        return max(on + timedelta(days=days) for on, days in spans)

    @property
    def stopped(self) -> bool:
        """Ended by the source, or not filled again for long, before the day of the first feed."""
        if self.ended_on and self.ended_on <= AS_OF:
            return True
        return self.last_run_out + (LAPSED_AFTER if self.maintenance else timedelta(0)) < AS_OF


def courses_of(
    table: Sequence[Row], fills: Mapping[tuple[str, str], list[Refill]], basis: Basis
) -> list[Course]:
    courses = [course_of(row, fills.get((row["PID"], row["RxNorm"]), []), basis) for row in table]
    prescribed = {(course.pid, course.code) for course in courses}
    courses += [
        course_of(row, fills[row["PID"], row["RxNorm"]], basis)
        for row in unwritten(fills)
        if (row["PID"], row["RxNorm"]) not in prescribed
    ]
    return sorted(courses, key=lambda course: (course.written_on, course.rx_id))


def unwritten(fills: Mapping[tuple[str, str], list[Refill]]) -> list[Row]:
    """One drug was filled four times and has no prescription in the source: one is made of its first fill."""
    pid, code = "1288992", "308135"
    first = fills[pid, code][0]
    return [
        {
            "ID": "90001",
            "PID": pid,
            "RxNorm": code,
            "Name": "Amlodipine 10 MG Oral Tablet",
            "SIG": "",
            "START_DATE": str(first.on),
            "END_DATE": "",
            "Q": str(first.quantity),
            "DAYS": str(first.days),
            "Q_TO_TAKE_VALUE": "",
            "Q_TO_TAKE_UNIT": "",
            "FREQUENCY_VALUE": "",
            "FREQUENCY_UNIT": "",
        }
    ]


def course_of(row: Row, fills: Sequence[Refill], basis: Basis) -> Course:
    rx_id = f"RX{int(row['ID']):05}"
    if row["ID"] == "90001":
        basis.note(
            "prescriptions", rx_id, "*", "rule", "filled, but not prescribed in the source; name by code"
        )
    facts = facts_of(row["RxNorm"], row["Name"])
    if facts.by_hand:
        basis.note("prescriptions", rx_id, "ingredient", "rule", "the name follows no pattern: read by hand")
    written_on = start_of(row, rx_id, basis)
    ended_on = date.fromisoformat(row["END_DATE"]) if row["END_DATE"] else None
    if ended_on and ended_on < written_on:
        basis.note("prescriptions", rx_id, "status", "rule", f"ends ({ended_on}) before it starts: that day")
        ended_on = written_on
    as_needed = bool(re.search(r"\bprn\b|if needed", row["SIG"], re.IGNORECASE))
    days = usual_days(row, facts, fills, rx_id, basis)
    quantity = usual_quantity(row, facts, days, rx_id, basis)
    return Course(
        rx_id=rx_id,
        pid=row["PID"],
        code=row["RxNorm"],
        name=row["Name"],
        directions=row["SIG"],
        facts=facts,
        written_on=written_on,
        ended_on=ended_on,
        quantity=quantity,
        days=days,
        units_per_day=units_per_day(row, facts, quantity, days),
        as_needed=as_needed,
        fills=fills,
    )


def start_of(row: Row, rx_id: str, basis: Basis) -> date:
    if re.fullmatch(r"\d{4}", row["START_DATE"]):
        basis.note("prescriptions", rx_id, "written_on", "rule", "the source gives the year alone: 1 January")
        return date(int(row["START_DATE"]), 1, 1)
    return date.fromisoformat(row["START_DATE"])


def usual_days(row: Row, facts: Facts, fills: Sequence[Refill], rx_id: str, basis: Basis) -> int:
    """As the source says; else as the first fill says; else 10 for a short course and 30 for any other drug."""
    if row["DAYS"] and int(row["DAYS"]) > 0:
        return int(row["DAYS"])
    filled = next((fill.days for fill in fills if fill.days), 0)
    days = filled or (10 if facts.short_course else 30)
    basis.note("prescriptions", rx_id, "usual_days", "rule", "from the first fill" if filled else "not said")
    return days


def usual_quantity(row: Row, facts: Facts, days: int, rx_id: str, basis: Basis) -> Decimal:
    """As the source says; else the days' supply of the directions; else one package."""
    if row["Q"]:
        return Decimal(row["Q"])
    daily = by_directions(row) if facts.counted else None
    basis.note(
        "prescriptions", rx_id, "usual_quantity", "rule", "by the directions" if daily else "not said: 1"
    )
    return daily * days if daily else Decimal(1)


def units_per_day(row: Row, facts: Facts, quantity: Decimal, days: int) -> Decimal | None:
    """Maximum daily use of what is counted in tablets or capsules; none for anything else.

    By the directions; by quantity and days where that is more, and a multiple of one half: "1 daily" filled with 60
    for 30 days is taken twice.
    """
    if not facts.counted:
        return None
    directed, supplied = by_directions(row), quantity / days
    if directed is None:
        return supplied if row["Q"] and not row["SIG"] else None
    return max(directed, supplied) if supplied * 2 % 1 == 0 else directed


TIMES_A_DAY = ((r"\bqid\b", 4), (r"\btid\b", 3), (r"\b(bid|twice daily)\b", 2), (r"\b(qd|daily|qhs)\b", 1))


def by_directions(row: Row) -> Decimal | None:
    """Dose times frequency, where the source has parsed them, or as free text says: `2 tabs po qd`."""
    if row["Q_TO_TAKE_VALUE"] and row["FREQUENCY_VALUE"]:
        daily = Decimal(row["Q_TO_TAKE_VALUE"]) * Decimal(row["FREQUENCY_VALUE"])
        return round(daily / 7, 4) if row["FREQUENCY_UNIT"] == "/wk" else daily
    said = re.match(r"(\d) (tab|cap)", row["SIG"])
    if said and "-bid" not in row["SIG"]:
        for pattern, times in TIMES_A_DAY:
            if re.search(pattern, row["SIG"]):
                return Decimal(said[1]) * times
    return None


def convert_prescriptions(courses: Sequence[Course], patients: Sequence[Row], basis: Basis) -> list[Row]:
    renewed = renewals(courses)
    payers = {patient["patient_number"]: draw_payer(patient) for patient in patients}
    rows = []
    for course in courses:
        schedule = schedule_of(course.facts, course.written_on)
        authorised = course.quantity * (1 + draw_refills(course, schedule))
        left = max(Decimal(0), authorised - sum(fill.quantity or course.quantity for fill in course.fills))
        status = "discontinued" if course.stopped else "active"
        if course.stopped and not course.ended_on:
            basis.note("prescriptions", course.rx_id, "status", "rule", f"ran out on {course.last_run_out}")
        first = {
            "rx_id": course.rx_id,
            "revision": "1",
            "patient_number": course.pid,
            "status": status,
            "drug_code": course.code,
            "drug_name": course.name,
            "ingredient": course.facts.ingredient,
            "strength": course.facts.strength,
            "form": course.facts.form,
            "schedule": schedule,
            "maintenance": yes(course.maintenance),
            "unbreakable": yes(not course.facts.counted),
            "refrigerated": yes(needs_refrigeration(course.facts)),
            "antibiotic": yes(course.facts.antibiotic),
            "critical": yes(course.facts.critical),
            "directions": course.directions,
            "as_needed": yes(course.as_needed),
            "units_per_day": plain(course.units_per_day),
            "usual_quantity": plain(course.quantity),
            "usual_days": str(course.days),
            "quantity_left": plain(left),
            "refills_left": str(int(left // course.quantity)),
            "written_on": str(course.written_on),
            "expires_on": str(course.expires_on),
            "prescriber_id": draw_prescriber(course),
            "payer": payers[course.pid],
            "renews": renewed.get(course.rx_id, ""),
            "known_on": known_on(course.written_on),
        }
        rows.append(first)
        if course.ended_on and course.ended_on > AS_OF:
            ended = {"revision": "2", "status": "discontinued", "known_on": str(course.ended_on)}
            rows.append(first | ended)
    return rows


def renewals(courses: Iterable[Course]) -> dict[str, str]:
    """A later prescription for the same patient, ingredient, strength, form and use renews the one before."""
    newest: dict[tuple[object, ...], Course] = {}
    renewed: dict[str, str] = {}
    for course in courses:
        facts = course.facts
        use = course.pid, facts.ingredient, facts.strength, facts.form, course.units_per_day, course.as_needed
        if facts.counted and course.maintenance:
            if use in newest:
                renewed[course.rx_id] = newest[use].rx_id
            newest[use] = course
    return renewed


def convert_fills(course: Course, basis: Basis) -> list[Row]:
    """The source has one date per fill: it is taken for the day of service and of the hand-over."""
    rows = []
    for fill in course.fills:
        fill_id = f"F{int(fill.number):05}"
        if not fill.quantity:
            basis.note("fills", fill_id, "quantity", "rule", "0 in the source: the usual quantity")
        if not fill.days:
            basis.note("fills", fill_id, "days_supply", "rule", "0 in the source: the usual days' supply")
        rows.append(
            {
                "fill_id": fill_id,
                "revision": "1",
                "patient_number": course.pid,
                "rx_id": course.rx_id,
                "filled_on": str(fill.on),
                "handed_over_on": str(fill.on),
                "quantity": plain(fill.quantity or course.quantity),
                "days_supply": str(fill.days or course.days),
                "reversed": "no",
                "known_on": known_on(fill.on),
            }
        )
    return rows


# --- drawn with the seed: the source is silent ---


def draw_refills(course: Course, schedule: str) -> int:
    """The source says 0 or nothing everywhere. A maintenance drug is mostly authorised for a year.

    None for C-II (21 CFR 1306.12), at most five for the other controlled drugs (1306.22).
    """
    draw = Random(f"{SEED} refills {course.rx_id}")
    if schedule == "c2" or not (course.maintenance or course.as_needed):
        return 0
    if course.as_needed or schedule != "none":
        return draw.randint(0, 3)
    fills_a_year = 365 // course.days
    return draw.choices((fills_a_year - 1, fills_a_year // 2, 0), weights=(75, 20, 5))[0]


def draw_payer(patient: Row) -> str:
    years = (AS_OF - date.fromisoformat(patient["birth_date"])).days / 365.25
    weights = (10, 85, 5) if years >= 65 else (55, 0, 45) if years < 18 else (80, 5, 15)
    draw = Random(f"{SEED} payer {patient['patient_number']}")
    return draw.choices(("commercial", "part_d", "medicaid"), weights)[0]


def draw_prescriber(course: Course) -> str:
    """Every patient has a family doctor, and a specialist who writes every fourth prescription."""
    doctor, specialist = Random(f"{SEED} doctors {course.pid}").sample(range(100, 140), 2)
    every_fourth = Random(f"{SEED} prescriber {course.rx_id}").random() < 0.25
    return f"PR-{specialist if every_fourth else doctor}"


def yes(flag: bool) -> str:
    return "yes" if flag else "no"


def plain(number: Decimal | None) -> str:
    """`30`, `0.1429`; empty for none."""
    return "" if number is None else f"{number.normalize():f}"


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2] if len(sys.argv) > 2 else "data/sample-patients"))
