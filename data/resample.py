"""More patients out of the sample patients: drawn with replacement, copies with ids, names and dates of their own.

    originals = read_directory(Path("data/sample-patients"))
    sample = resample(originals, patients=1000, seed=7)

The same arguments give the same records. Histories stay whole: a copy has the prescriptions and fills of its
original, each prescription with its fills moved by a few days of its own, so that every copy is a new puzzle for
the planner. Numbers of copies are of the range kept for fiction (555-0100 to 555-0199 of each area code).
"""

from __future__ import annotations

import csv
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from random import Random

import phonenumbers

from services.enrollment.domain.records import LAYOUTS

Row = dict[str, str]

JITTER_DAYS = 4
KINDS = tuple(layout.kind for layout in LAYOUTS)
COLUMNS = {layout.kind: [*(column.name for column in layout.columns), "known_on"] for layout in LAYOUTS}


@dataclass(frozen=True)
class Records:
    """The four kinds of records in the import layout, with the extra column `known_on`."""

    stores: list[Row]
    patients: list[Row]
    prescriptions: list[Row]
    fills: list[Row]
    originals: int = 0  # how many of the patients are those of the source, unchanged

    def known_by(self, day: date) -> Records:
        """What the chain's platform has fed up to and including that day."""
        return self._where(lambda known_on: known_on <= str(day))

    def known_between(self, after: date, until: date) -> Records:
        """What it feeds after one day, up to and including another."""
        return self._where(lambda known_on: str(after) < known_on <= str(until))

    def _where(self, keep: Callable[[str], bool]) -> Records:
        stores, patients, prescriptions, fills = (
            [row for row in self.of(kind) if keep(row["known_on"])] for kind in KINDS
        )
        return Records(stores, patients, prescriptions, fills, self.originals)

    def of(self, kind: str) -> list[Row]:
        """The records of one kind."""
        return {
            "stores": self.stores,
            "patients": self.patients,
            "prescriptions": self.prescriptions,
            "fills": self.fills,
        }[kind]

    def write(self, directory: Path) -> None:
        """Write the four files, for `medsync import`. An empty kind has a header alone."""
        directory.mkdir(parents=True, exist_ok=True)
        for kind in KINDS:
            with (directory / f"{kind}.csv").open("w", encoding="utf-8", newline="") as lines:
                writer = csv.DictWriter(lines, COLUMNS[kind], lineterminator="\n")
                writer.writeheader()
                writer.writerows(self.of(kind))


def read_directory(directory: Path) -> Records:
    """The records of the four files."""
    stores, patients, prescriptions, fills = (read_file(directory / f"{kind}.csv") for kind in KINDS)
    return Records(stores, patients, prescriptions, fills, originals=len(patients))


def read_file(path: Path) -> list[Row]:
    with path.open(encoding="utf-8", newline="") as lines:
        return list(csv.DictReader(lines))


def resample(originals: Records, patients: int, seed: int) -> Records:
    """So many patients, drawn among those with an active maintenance prescription on the first day.

    Who takes more drugs is drawn more often: as often as there are drugs. The first draw of a patient is the
    original; `originals` of the answer says how many there are. Stores stay as they are.
    """
    first_day = min(row["known_on"] for row in originals.patients)
    drugs = Counter(
        row["patient_number"]
        for row in originals.prescriptions
        if row["status"] == "active" and row["maintenance"] == "yes" and row["known_on"] == first_day
    )
    draw = Random(seed)
    pool = sorted(drugs)
    drawn = draw.choices(pool, weights=[drugs[number] for number in pool], k=patients)

    by_number = {row["patient_number"]: row for row in originals.patients}
    names = Names(originals.patients)
    prescriptions_of = grouped(originals.prescriptions, "patient_number")
    fills_of = grouped(originals.fills, "rx_id")
    numbers = fictional_numbers(patients)

    sample = Records(list(originals.stores), [], [], [], originals=len(set(drawn)))
    copies: Counter[str] = Counter()
    for number, phone in zip(drawn, numbers, strict=True):
        copy, person = copies[number], by_number[number]
        copies[number] += 1
        if copy:
            person = names.stranger(person, f"{number}-{copy}", phone, draw)
        sample.patients.append(person)
        for rows in grouped(prescriptions_of[number], "rx_id").values():
            fills = fills_of[rows[0]["rx_id"]]
            if copy:
                shift = timedelta(days=draw.randint(-JITTER_DAYS, JITTER_DAYS))
                rows, fills = moved(rows, fills, copy, person["patient_number"], shift, first_day)
            sample.prescriptions.extend(rows)
            sample.fills.extend(fills)
    return sample


def grouped(rows: Iterable[Row], column: str) -> Mapping[str, list[Row]]:
    groups: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        groups[row[column]].append(row)
    return groups


class Names:
    """Names and streets as they occur, to be put together anew."""

    def __init__(self, patients: Sequence[Row]) -> None:
        self.given = sorted({row["given_name"] for row in patients})
        self.family = sorted({row["family_name"] for row in patients})

    def stranger(self, person: Row, number: str, phone: str, draw: Random) -> Row:
        """Somebody else with the same city, store and age, but for some days."""
        born = date.fromisoformat(person["birth_date"]) + timedelta(days=draw.randint(-300, 300))
        return person | {
            "patient_number": number,
            "given_name": draw.choice(self.given),
            "family_name": draw.choice(self.family),
            "birth_date": str(born),
            "mobile_phone": phone,
            "home_phone": "",
        }


def moved(
    rows: Sequence[Row], fills: Sequence[Row], copy: int, number: str, shift: timedelta, first_day: str
) -> tuple[list[Row], list[Row]]:
    """One prescription (all its revisions) and its fills under ids of the copy, some days earlier or later.

    What was known on the first day stays so: nothing is moved past the day before it.
    """
    newest = max([row["handed_over_on"] for row in fills] + [rows[0]["written_on"]])
    if newest < first_day:
        shift = min(shift, date.fromisoformat(first_day) - timedelta(days=1) - date.fromisoformat(newest))

    def later(day: str) -> str:
        return str(date.fromisoformat(day) + shift)

    def known(day: str) -> str:
        return day if day == first_day else max(later(day), first_day)

    copied = [
        row
        | {
            "rx_id": f"{row['rx_id']}-{number}",
            "patient_number": number,
            "renews": row["renews"] and f"{row['renews']}-{number}",
            "written_on": later(row["written_on"]),
            "expires_on": later(row["expires_on"]),
            "known_on": known(row["known_on"]),
        }
        for row in rows
    ]
    copied_fills = [
        row
        | {
            "fill_id": f"{row['fill_id']}-{copy}",
            "rx_id": f"{row['rx_id']}-{number}",
            "patient_number": number,
            "filled_on": later(row["filled_on"]),
            "handed_over_on": later(row["handed_over_on"]),
            "known_on": known(row["known_on"]),
        }
        for row in fills
    ]
    return copied, copied_fills


def fictional_numbers(count: int) -> list[str]:
    """Numbers kept for fiction, in E.164: there are some 35,000, then they come again."""
    codes = [code for code in range(201, 990) if is_area_code(code)]
    return [f"+1{codes[n // 100 % len(codes)]}55501{n % 100:02}" for n in range(count)]


def is_area_code(code: int) -> bool:
    number = phonenumbers.PhoneNumber(country_code=1, national_number=code * 10**7 + 5550100)
    return (
        phonenumbers.region_code_for_number(number) == "US"
        and phonenumbers.number_type(number) == phonenumbers.PhoneNumberType.FIXED_LINE_OR_MOBILE
    )
