"""The sample patients fit the import layout, say what their README says, and can be multiplied."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path

import pytest

from data.drugs import facts_of, schedule_of
from data.resample import JITTER_DAYS, KINDS, Records, read_directory, resample
from services.enrollment.domain.records import LAYOUTS, Layout, read_records

FIRST_DAY = date(2009, 10, 1)
ORIGINALS = read_directory(Path("data/sample-patients"))
SAMPLE = resample(ORIGINALS, patients=200, seed=7)


@pytest.mark.slow
@pytest.mark.parametrize("layout", LAYOUTS, ids=lambda layout: layout.kind)
@pytest.mark.parametrize("records", [ORIGINALS, SAMPLE], ids=["originals", "sample"])
def test_every_record_is_good_on_the_day_on_which_it_is_fed(layout: Layout, records: Records) -> None:
    for known_on in {row["known_on"] for row in records.of(layout.kind)}:
        day = date.fromisoformat(known_on)
        rows = [row for row in records.of(layout.kind) if row["known_on"] == known_on]
        assert read_records(layout, rows, today=day, pseudonym=str).bad == {}


@pytest.mark.parametrize("records", [ORIGINALS, SAMPLE], ids=["originals", "sample"])
def test_keys_are_unique_and_what_they_name_exists(records: Records) -> None:
    for kind, key in zip(KINDS, ("store_id", "patient_number", "rx_id", "fill_id"), strict=True):
        counted = Counter((row[key], row["revision"]) for row in records.of(kind))
        assert max(counted.values()) == 1
    stores = {row["store_id"] for row in records.stores}
    patients = {row["patient_number"]: row for row in records.patients}
    owners = {row["rx_id"]: row["patient_number"] for row in records.prescriptions}
    assert {row["store_id"] for row in records.patients} <= stores
    assert set(owners.values()) <= set(patients)
    assert all(owners[row["rx_id"]] == row["patient_number"] for row in records.fills)
    assert {row["renews"] for row in records.prescriptions} <= {"", *owners}


def test_the_files_say_what_their_readme_says() -> None:
    assert [len(ORIGINALS.of(kind)) for kind in KINDS] == [5, 67, 392, 1151]
    assert len({row["rx_id"] for row in ORIGINALS.prescriptions}) == 364
    known = ORIGINALS.known_by(FIRST_DAY)
    active = [row for row in known.prescriptions if row["status"] == "active" and row["maintenance"] == "yes"]
    of_patient = Counter(row["patient_number"] for row in active)
    assert (len(active), sum(drugs >= 2 for drugs in of_patient.values())) == (63, 12)
    over_a_year = sum(row["written_on"] < str(FIRST_DAY - timedelta(days=365)) for row in active)
    assert over_a_year == 32
    assert len(ORIGINALS.known_between(FIRST_DAY, date.max).patients) == 4


@pytest.mark.slow
def test_the_same_seed_draws_the_same_patients() -> None:
    assert resample(ORIGINALS, patients=50, seed=3) == resample(ORIGINALS, patients=50, seed=3)
    assert resample(ORIGINALS, patients=50, seed=3) != resample(ORIGINALS, patients=50, seed=4)


def test_it_says_how_many_are_originals_and_leaves_them_as_they_are() -> None:
    originals = {row["patient_number"]: row for row in ORIGINALS.patients}
    kept = [row for row in SAMPLE.patients if row["patient_number"] in originals]
    assert len(SAMPLE.patients) == 200
    assert SAMPLE.originals == len(kept) == 16
    assert all(row == originals[row["patient_number"]] for row in kept)


def test_copies_have_numbers_kept_for_fiction_alone() -> None:
    copies = [row for row in SAMPLE.patients if "-" in row["patient_number"]]
    assert {row["mobile_phone"][5:10] for row in copies} == {"55501"}
    assert len({row["mobile_phone"] for row in copies}) == len(copies)
    assert {row["home_phone"] for row in copies} == {""}


def test_a_prescription_and_its_fills_move_together_by_a_few_days() -> None:
    was = {row["fill_id"]: date.fromisoformat(row["filled_on"]) for row in ORIGINALS.fills}
    moves: dict[str, set[int]] = {}
    for row in SAMPLE.fills:
        moved = date.fromisoformat(row["filled_on"]) - was[row["fill_id"].split("-")[0]]
        moves.setdefault(row["rx_id"], set()).add(moved.days)
    assert all(len(days) == 1 for days in moves.values())
    assert {min(days) for days in moves.values()} <= set(range(-JITTER_DAYS - 1, JITTER_DAYS + 1))


def test_feeding_day_by_day_is_feeding_everything() -> None:
    day, end = FIRST_DAY, date(2016, 12, 31)
    fed = ORIGINALS.known_by(day)
    rows = Counter(row["rx_id"] for row in fed.prescriptions)
    while day < end:
        later = min(day + timedelta(days=90), end)
        rows.update(row["rx_id"] for row in ORIGINALS.known_between(day, later).prescriptions)
        day = later
    assert rows == Counter(row["rx_id"] for row in ORIGINALS.prescriptions)


def test_what_is_written_is_read_again(tmp_path: Path) -> None:
    few = replace(SAMPLE, fills=[])
    few.write(tmp_path)
    read = read_directory(tmp_path)
    for kind in KINDS:
        given = [{name: value for name, value in row.items() if value} for row in read.of(kind)]
        assert given == [{name: value for name, value in row.items() if value} for row in few.of(kind)]


@pytest.mark.parametrize(
    ("name", "ingredient", "strength", "form"),
    [
        ("Lisinopril 20 MG Oral Tablet", "lisinopril", "20 mg", "tablet"),
        ("Thyroxine 0.088 MG Oral Tablet [Synthroid]", "levothyroxine", "0.088 mg", "tablet"),
        ("24 HR Metoprolol 25 MG Extended Release Tablet [Toprol-XL]", "metoprolol", "25 mg ER", "tablet"),
        (
            "Hydrochlorothiazide 12.5 MG / Lisinopril 20 MG Oral Tablet",
            "hydrochlorothiazide / lisinopril",
            "12.5 mg / 20 mg",
            "tablet",
        ),
        (
            "120 ACTUAT Budesonide 0.08 MG/ACTUAT / formoterol 0.0045 MG/ACTUAT Metered Dose Inhaler [Symbicort]",
            "budesonide / formoterol",
            "0.08 mg/actuat / 0.0045 mg/actuat",
            "inhaler",
        ),
    ],
)
def test_the_name_of_a_drug_is_read(name: str, ingredient: str, strength: str, form: str) -> None:
    facts = facts_of("", name)
    assert (facts.ingredient, facts.strength, facts.form) == (ingredient, strength, form)


def test_a_name_that_follows_no_pattern_is_not_guessed() -> None:
    with pytest.raises(ValueError, match="drugs-by-hand"):
        facts_of("0", "Yasmin")


def test_hydrocodone_was_rescheduled_in_2014() -> None:
    facts = facts_of("856903", "Acetaminophen 500 MG / Hydrocodone 5 MG Oral Tablet")
    assert [schedule_of(facts, day) for day in (date(2014, 10, 5), date(2014, 10, 6))] == ["c3", "c2"]


def test_what_is_left_is_never_more_than_a_year_of_fills() -> None:
    for row in ORIGINALS.prescriptions:
        left, usual = Decimal(row["quantity_left"]), Decimal(row["usual_quantity"])
        assert 0 <= left <= usual * (1 + 365 // int(row["usual_days"]))
        assert int(row["refills_left"]) == left // usual
