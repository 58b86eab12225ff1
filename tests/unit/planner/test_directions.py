"""Directions read to the most that is taken a day: every form of the sample patients, and what is refused."""

from __future__ import annotations

import csv
from collections import Counter, defaultdict
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.directions import (
    Basis,
    DailyUse,
    Refusal,
    exact,
    read,
    says_as_needed,
    units_a_day,
)
from tests.unit.planner.sample import FILES

EXPLICIT, PRN, AS_DIRECTED = Basis.explicit, Basis.as_needed, Basis.as_directed

READ: dict[str, tuple[str, str, Basis]] = {
    # directions of the sample patients: units a day at most, of what, on what basis
    "1 appful per vagina qhs x 5 days": ("1", "applicator", EXPLICIT),
    "1 bid": ("2", "", EXPLICIT),
    "1 bid prn anxiety": ("2", "", PRN),
    "1 bid prn dizziness": ("2", "", PRN),
    "1 bid prn pain": ("2", "", PRN),
    "1 cap 2x/week": ("2/7", "capsule", EXPLICIT),
    "1 cap bid": ("2", "capsule", EXPLICIT),
    "1 cap daily": ("1", "capsule", EXPLICIT),
    "1 cap once a week": ("1/7", "capsule", EXPLICIT),
    "1 cap po bid": ("2", "capsule", EXPLICIT),
    "1 cap po bid x 10 days": ("2", "capsule", EXPLICIT),
    "1 cap qd": ("1", "capsule", EXPLICIT),
    "1 capsule po qd at bedtime": ("1", "capsule", EXPLICIT),
    "1 capsule po qd, 30 min. before a meal": ("1", "capsule", EXPLICIT),
    "1 capsule po qd-bid for pain": ("2", "capsule", EXPLICIT),
    "1 daily": ("1", "", EXPLICIT),
    "1 daily prn ED": ("1", "", PRN),
    "1 daily prn pain": ("1", "", PRN),
    "1 drop OU bid": ("4", "drop", EXPLICIT),
    "1 gtt daily in OD": ("1", "drop", EXPLICIT),
    "1 gtt in eyes tid x7 days": ("6", "drop", EXPLICIT),
    "1 injection SQ weekly": ("1/7", "injection", EXPLICIT),
    "1 puff bid": ("2", "puff", EXPLICIT),
    "1 puff daily": ("1", "puff", EXPLICIT),
    "1 puff every 12 hours (rinse mouth and throat after use)": ("2", "puff", EXPLICIT),
    "1 puff every 12 hrs": ("2", "puff", EXPLICIT),
    "1 puff every 12 hrs for asthma": ("2", "puff", EXPLICIT),
    "1 puffs per nostril qd": ("2", "puff", EXPLICIT),
    "1 q4h prn pain": ("6", "", PRN),
    "1 q6h": ("4", "", EXPLICIT),
    "1 q6h prn pain": ("4", "", PRN),
    "1 qhs": ("1", "", EXPLICIT),
    "1 qhs prn insomnia": ("1", "", PRN),
    "1 qid": ("4", "", EXPLICIT),
    "1 qid prn nausea": ("4", "", PRN),
    "1 qid prn pruritis": ("4", "", PRN),
    "1 tab bid": ("2", "tablet", EXPLICIT),
    "1 tab bid prn anxiety": ("2", "tablet", PRN),
    "1 tab bid wf": ("2", "tablet", EXPLICIT),
    "1 tab daily": ("1", "tablet", EXPLICIT),
    "1 tab daily at bedtime": ("1", "tablet", EXPLICIT),
    "1 tab daily with meal": ("1", "tablet", EXPLICIT),
    "1 tab po bid for pain": ("2", "tablet", EXPLICIT),
    "1 tab po bid x 10 days": ("2", "tablet", EXPLICIT),
    "1 tab po qd": ("1", "tablet", EXPLICIT),
    "1 tab po qd with evening meal": ("1", "tablet", EXPLICIT),
    "1 tab q4h prn": ("6", "tablet", PRN),
    "1 tab qd": ("1", "tablet", EXPLICIT),
    "1 tab qhs": ("1", "tablet", EXPLICIT),
    "1 tab qhs prn muscle spasm": ("1", "tablet", PRN),
    "1 tab qhs prn sleep": ("1", "tablet", PRN),
    "1 tab tid": ("3", "tablet", EXPLICIT),
    "1 tab tid prn pain": ("3", "tablet", PRN),
    "1 tab twice daily": ("2", "tablet", EXPLICIT),
    "1 tab twice daily with food": ("2", "tablet", EXPLICIT),
    "1 tid": ("3", "", EXPLICIT),
    "1 tid prn": ("3", "", PRN),
    "1 tid x7 days": ("3", "", EXPLICIT),
    "1 tsp. tid": ("15", "mL", EXPLICIT),
    "1 weekly": ("1/7", "", EXPLICIT),
    "10 mL bid": ("20", "mL", EXPLICIT),
    "10 mL bid x 10 days": ("20", "mL", EXPLICIT),
    "15 mL bid x 10 days": ("30", "mL", EXPLICIT),
    "15 mL daily x 3 days": ("15", "mL", EXPLICIT),
    "15 mL swish/spit bid": ("30", "mL", EXPLICIT),
    "2 caps qd": ("2", "capsule", EXPLICIT),
    "2 puffs bid": ("4", "puff", EXPLICIT),
    "2 puffs every 4 hours prn asthma": ("12", "puff", PRN),
    "2 puffs every 4 hrs for asthma": ("12", "puff", EXPLICIT),
    "2 puffs q4-6 hrs prn asthma": ("12", "puff", PRN),
    "2 puffs qid prn SOB": ("8", "puff", PRN),
    "2 tabs bid": ("4", "tablet", EXPLICIT),
    "2 tabs po qd": ("2", "tablet", EXPLICIT),
    "2 tid": ("6", "", EXPLICIT),
    "3 tabs po qd": ("3", "tablet", EXPLICIT),
    "4 gtt in ear bid x7 day": ("8", "drop", EXPLICIT),
    "4 gtt in ear bid x7 days": ("8", "drop", EXPLICIT),
    "4 mL qid": ("16", "mL", EXPLICIT),
    "40 units SQ once daily": ("40", "unit", EXPLICIT),
    "5 mL bid x 10 days": ("10", "mL", EXPLICIT),
    "5 mL q6h prn cough": ("20", "mL", PRN),
    "5 mL q6h prn pruritis": ("20", "mL", PRN),
    "50 units SQ once daily": ("50", "unit", EXPLICIT),
    "6 mL bid": ("12", "mL", EXPLICIT),
    "7 mL bid x 10 days": ("14", "mL", EXPLICIT),
    "7 mL q6h prn": ("28", "mL", PRN),
}
REFUSED: dict[str, Refusal] = {
    "": Refusal.empty,
    "as directed": Refusal.as_directed,
    "apply x1 as directed": Refusal.as_directed,
    "rinse mouth daily as directed": Refusal.as_directed,
    "sliding scale prn": Refusal.as_directed,
    "taper as directed": Refusal.as_directed,
    "100mg po bid x 7 days": Refusal.by_weight,
    "apply bid to affected area": Refusal.no_amount,
    "Apply bid to affected area": Refusal.no_amount,
    "apply bid to face": Refusal.no_amount,
    "Apply bid x7 days": Refusal.no_amount,
    "apply daily": Refusal.no_amount,
    "apply nasally prn": Refusal.no_amount,
    "apply qhs": Refusal.no_amount,
    "apply thin layer to face bid": Refusal.no_amount,
    "bid": Refusal.no_amount,
    "prn": Refusal.no_amount,
    "1 injection if needed for allergic reaction": Refusal.no_frequency,
    "1 nev q4h prn": Refusal.not_understood,
    "1 sl q5min x3 prn angina": Refusal.not_understood,
    "1/2 or 1 tab po qd prn, max 3x/wk": Refusal.not_understood,
    "1/4 inch in eye bid x5 days": Refusal.not_understood,
    "2 bid x1": Refusal.not_understood,
    "IM injection in office x 1": Refusal.not_understood,
}


@pytest.mark.parametrize(("directions", "expected"), READ.items())
def test_directions_are_read(directions: str, expected: tuple[str, str, Basis]) -> None:
    use = read(directions)
    assert isinstance(use, DailyUse)
    assert (use.most, use.unit, use.basis) == (Fraction(expected[0]), *expected[1:])


@pytest.mark.parametrize(("directions", "why"), REFUSED.items())
def test_what_is_not_sure_is_refused(directions: str, why: Refusal) -> None:
    assert read(directions) is why


def _sample() -> dict[str, set[str]]:
    """The daily uses that the sample's files give beside each distinct directions."""
    given: dict[str, set[str]] = defaultdict(set)
    with (FILES / "prescriptions.csv").open(newline="") as lines:
        for row in csv.DictReader(lines):
            given[row["directions"]].add(row["units_per_day"])
    return given


def test_every_directions_of_the_sample_is_in_one_of_the_tables() -> None:
    assert READ.keys() | REFUSED.keys() == _sample().keys()
    assert (len(READ), len(REFUSED)) == (86, 24)


def test_what_is_read_is_never_more_than_the_source_parsed() -> None:
    """The source parsed dose and frequency itself; the files raise that to what was filled for the days, where it is
    a multiple of one half ("1 daily" filled with 60 for 30 days). So what is read agrees, or is less in just these."""
    outcome: Counter[str] = Counter()
    filled_more = set()
    for directions, values in _sample().items():
        use = read(directions)
        for value in filter(None, values):
            if isinstance(use, Refusal):
                outcome["refused"] += 1
            elif units_a_day(use.most) == exact(Decimal(value)):
                outcome["agrees"] += 1
            else:
                assert units_a_day(use.most) < Decimal(value)
                filled_more.add(directions)
    assert outcome == {"agrees": 52, "refused": 2}
    assert filled_more == {
        "1 daily",
        "1 tab qd",
        "1 cap once a week",
        "1 bid prn pain",
        "1 q6h prn pain",
        "1 qid prn nausea",
    }


@pytest.mark.parametrize(
    ("directions", "most"),
    [
        ("2 tabs po q6h prn", "8"),
        ("Take ONE tablet by mouth every morning", "1"),
        ("take 1 tablet by mouth twice a day with meals", "2"),
        ("1½ tabs b.i.d.", "3"),
        ("1-1/2 tabs daily", "3/2"),
        ("1 1/2 tabs daily", "3/2"),
        ("1/2-1 tab daily", "1"),
        ("1-2 tabs q4-6h prn pain", "12"),
        ("half a tablet every other day", "1/4"),
        ("1 tab 2-3 times a day", "3"),
        ("1 tab every 72 hours", "1/3"),
        ("1 tab q5h", "5"),
        ("1 tab qam qhs", "2"),
        ("one a day", "1"),
        ("1 tab every 3 days", "1/3"),
    ],
)
def test_other_common_forms(directions: str, most: str) -> None:
    use = read(directions)
    assert isinstance(use, DailyUse) and use.most == Fraction(most)


@pytest.mark.parametrize(
    "directions",
    [
        "1 tab daily then 2 daily",
        "1 tab daily, increase to 2",
        "1 tab bid at bedtime",
        "1 tab daily except sunday",
        "1 tab prn pain may repeat",
        "1 tab daily for pain then stop",
        "0 tabs daily",
        "1/0 tab daily",
        "20000 tabs daily",
        "2 tabs 1 tab daily",
        "1 tab monthly",
    ],
)
def test_a_word_that_may_change_everything_refuses_the_whole(directions: str) -> None:
    assert isinstance(read(directions), Refusal)


SIGS: dict[str, str] = {
    # directions as American pharmacies and prescribers write them: units a day at most
    "Take 1 tablet (10 mg total) by mouth daily.": "1",
    "Take 2 tablets (1,000 mg total) by mouth 2 (two) times daily with meals.": "4",
    "take 1 tablet (20 mg) by oral route once daily in the evening": "1",
    "Take 10 mg (1 tablet) by mouth every morning": "1",
    "Take one 20mg tablet by mouth daily": "1",
    "Take 1 tablet by mouth daily (5 mg)": "1",
    "Take 1 capsule (30 mg total) by mouth 2 times a day for 30 days": "2",
    "TAKE 1 TABLET(S) BY MOUTH ONCE DAILY": "1",
    "Take 1 (one) tablet by mouth twice a day": "2",
    "Take one (1) tablet by mouth every day": "1",
    "1T PO QD": "1",
    "T1T PO BID": "2",
    "TK 1 TAB PO QHS": "1",
    "TK 1 T PO QD": "1",
    "TK 2 CAPS PO TID": "6",
    "1C PO BID": "2",
    "1 PO QAM": "1",
    "1 tab PO Q AM & Q PM": "2",
    "ii tabs po qd": "2",
    "1 tab p.o. q.d.": "1",
    "1 TAB PO QDAY": "1",
    "1 TAB PO Q12H": "2",
    "1 TAB PO Q 8 HRS": "3",
    "1 TAB PO QOD": "1/2",
    "1/2 T PO QD": "1/2",
    "TAKE ONE-HALF TABLET BY MOUTH TWICE DAILY": "1",
    "take .5 tab daily": "1/2",
    "take one and one-half tablets by mouth daily": "3/2",
    "Take 1 and 1/2 tablets by mouth at bedtime": "3/2",
    "take 1 tablet each day": "1",
    "take 1 tablet every evening": "1",
    "Take 1 tablet by mouth every night at bedtime": "1",
    "take 1 tablet nightly at bedtime for cholesterol": "1",
    "Take 1 tablet by mouth once nightly": "1",
    "1 in the morning and 2 at bedtime": "3",
    "1 tab in the morning and 2 at bedtime": "3",
    "Take 1 tablet by mouth every morning and 2 at bedtime": "3",
    "take 2 tablets in the morning and 1 tablet in the evening": "3",
    "1 cap in the morning, 1 at noon, and 2 at bedtime": "4",
    "Take 1 capsule twice daily and 2 capsules at bedtime": "4",
    "1 tab TID and HS": "4",
    "take 1 tablet in the morning and evening": "2",
    "take 1 tablet every twelve hours": "2",
    "Take 1 tablet once daily in the morning and 1/2 tablet in the afternoon": "3/2",
    "1 tab q am, 1 tab q pm": "2",
    "take 1 tablet morning and night": "2",
    "take 1 tablet twice daily (morning and bedtime)": "2",
    "take 1 tablet by mouth twice daily with breakfast and dinner": "2",
    "take 1 tablet with breakfast and 2 with supper": "3",
    "take 1 tablet 30 minutes before breakfast": "1",
    "Take 1 tablet by mouth four times daily before meals and at bedtime": "4",
    "1 tab TID AC": "3",
    "1 tab tid w/ meals": "3",
    "1 tab on Monday, Wednesday and Friday": "3/7",
    "take 1 tablet by mouth every Mon, Wed, Fri": "3/7",
    "1 tab MWF": "3/7",
    "Take 2 tablets by mouth on Tuesdays and Thursdays": "4/7",
    "take 1 tablet twice daily on Monday, Wednesday, and Friday": "6/7",
    "take 1 tablet Monday through Friday": "5/7",
    "take 1 capsule weekly on Sunday": "1/7",
    "Take 1 tablet by mouth once every week on the same day each week": "1/7",
    "Take 1 tablet once a week in the morning 30 minutes before breakfast with a full glass of water": "1/7",
    "take 1 tablet twice weekly": "2/7",
    "take 1 tablet every other week": "1/14",
    "Take 1-2 tablets by mouth every 4 to 6 hours as needed for pain": "12",
    "take 1 to 2 tablets at bedtime": "2",
    "take 1 tablet by mouth two to three times daily": "3",
    "Take 1 tablet by mouth daily at the same time each day": "1",
    "take 1 tablet by mouth daily on an empty stomach": "1",
    "take 1 tablet by mouth daily with or without food": "1",
    "Take 1 tablet ER by mouth daily. Do not crush or chew.": "1",
    "Take 1 delayed-release capsule by mouth daily. Swallow whole.": "1",
    "take 1 softgel by mouth per day": "1",
    "take 1 tablet by mouth daily for blood pressure and heart": "1",
    "take 1 tablet by mouth five times daily": "5",
}


@pytest.mark.parametrize(("directions", "most"), SIGS.items())
def test_what_american_pharmacies_write_is_read(directions: str, most: str) -> None:
    use = read(directions)
    assert isinstance(use, DailyUse), use
    assert use.most == Fraction(most)
    assert use.unit in ("tablet", "capsule", "")


@pytest.mark.parametrize(
    "directions",
    [
        "take 10 mg by mouth daily",
        "take 1 tablet (10 mg/kg) daily",
        "take 1 (2) tablets daily",
        "1 tablet every evening at bedtime",  # once, or twice?
        "1 tablet before meals and at bedtime",  # how many meals?
        "1 tablet with meals, at bedtime",
        "1 tab bid and 1 daily",
        "1 tab daily and 2 tabs daily",
        "1 tab daily, 2 tabs daily",
        "1 tab daily and at bedtime",  # one more, or when it is taken?
        "1 tab tid, 2 at bedtime",
        "take one 10 mg tablet in the morning and one 20 mg tablet at bedtime",
        "1 tab twice daily with food and at bedtime",
        "1 tab three times daily with meals and at bedtime",
        "1 tab in the morning 2 at bedtime",
        "1 tab in the morning and 2 in the morning",
        "1 tablet in the morning and 2 capsules at bedtime",
        "1 tab at bedtime, 9 pm",
        "1 tab at 8 am",
        "1 tab daily with breakfast and dinner",
        "1 tab Mon-Fri",  # two days, or five?
        "1 tab Monday and 2 tabs Tuesday",
        "1 tab twice weekly on Sunday",
        "1 tab every other Monday",
        "1 tab on Monday and 1/2 tab on all other days",
        "1 tab in the morning or evening",
        "1 in the morning and 1 as needed",
        "2 tablets on day 1, then 1 tablet daily",
        "1 tab daily and 1 tab every other day",
        "take 1 tablet daily, max 2 per day",
        "take 1 tablet by mouth daily do not take with milk",
        "1 tablet for sleep nightly",
    ],
)
def test_what_could_mean_two_things_is_refused(directions: str) -> None:
    assert isinstance(read(directions), Refusal), read(directions)


WORDS = sorted({word for directions in (*READ, *REFUSED) for word in directions.split()})


@pytest.mark.slow
@given(st.one_of(st.text(max_size=60), st.lists(st.sampled_from(WORDS), max_size=8).map(" ".join)))
def test_reading_never_fails_nor_answers_nothing_or_less(directions: str) -> None:
    use = read(directions)
    assert isinstance(use, Refusal) or (use.most > 0 and use.times > 0 and units_a_day(use.most) > 0)


@pytest.mark.slow
@given(st.sampled_from(sorted({*READ, *REFUSED})), st.randoms())
def test_blanks_and_capitals_make_no_difference(directions: str, rng: object) -> None:
    choice = rng.choice  # type: ignore[attr-defined]
    written = "".join(choice((each.upper(), each.lower())) for each in directions)
    written = "".join(choice((" ", "  ", "\t")) if each == " " else each for each in f" {written} ")
    assert read(written) == read(directions)


@pytest.mark.parametrize(
    ("directions", "as_needed"),
    [("1 tab q4h PRN", True), ("p.r.n.", True), ("1 if needed", True), ("1 daily", False), ("", False)],
)
def test_what_is_left_to_the_patient(directions: str, as_needed: bool) -> None:
    assert says_as_needed(directions) is as_needed


@pytest.mark.parametrize(
    ("given", "units", "days"),
    [
        ("0.1429", 4, 28),
        ("0.2857", 8, 28),
        ("0.4286", 12, 28),
        ("0.5", 14, 28),
        ("1", 28, 28),
        ("1.5", 42, 28),
    ],
)
def test_so_many_a_week_last_whole_weeks_although_they_were_rounded(
    given: str, units: int, days: int
) -> None:
    assert units // exact(Decimal(given)) == days
    assert days * exact(Decimal(given)) <= units
