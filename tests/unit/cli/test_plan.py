"""`medsync plan FILE`: whatever the form of the file, each patient is planned or refused by themselves."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from cli.main import app
from services.planner.domain.model import NO_COMMITMENTS
from services.planner.what_if import document_of
from shared.events.planner import PlanComputed
from shared.words import explain
from tests.unit.planner.cases import EVERY_DAY, taking

SAMPLE = Path(__file__).parents[3] / "data" / "sample-patients"
EXAMPLES = Path(__file__).parents[3] / "examples"


def document(patient_id: str, **changes: Any) -> dict[str, Any]:
    held = document_of(taking({"a": 8, "b": 16}), NO_COMMITMENTS, EVERY_DAY, 1)
    return {**held, "patient_id": patient_id, **changes}


def run(*arguments: str | Path, given: str | None = None) -> Result:
    return CliRunner().invoke(app, ["plan", *map(str, arguments)], input=given)


def planned(result: Result) -> list[dict[str, Any]]:
    return of_lines(result.stdout)


def of_lines(lines: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in lines.splitlines()]


def written(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def forms(patients: Sequence[dict[str, Any]]) -> dict[str, str]:
    lines = "\n".join(json.dumps(each) for each in patients)
    return {
        "array.json": json.dumps(patients, indent=1),
        "lines.ndjson": lines,
        "lines.txt": f"\ufeff\n{lines}\n\n",
    }


@pytest.mark.slow
@pytest.mark.parametrize("form", forms([]))
def test_every_form_of_many_patients_gives_the_same_plans(tmp_path: Path, form: str) -> None:
    patients = [document(f"p{number}") for number in range(4)]
    path = written(tmp_path / form, forms(patients)[form])
    result = run(path, "--today", "2026-03-02", "--json")
    assert result.exit_code == 0, result.output
    assert [each["patient_id"] for each in planned(result)] == ["p0", "p1", "p2", "p3"]
    assert result.stderr == '{"planned": 4}\n'
    piped = run("-", "--today", "2026-03-02", "--json", given=path.read_text())
    assert piped.stdout == result.stdout


@pytest.mark.parametrize("indent", [None, 2])
def test_one_patient_is_an_object(tmp_path: Path, indent: int | None) -> None:
    path = written(tmp_path / "one.json", json.dumps(document("p1"), indent=indent))
    [plan] = planned(run(path, "--today", "2026-03-02", "--json"))
    assert (plan["status"], plan["plan"]["computed_on"]) == ("planned", "2026-03-02")
    assert plan["sentences"][0].startswith("Sync date ")


def test_words_for_people_are_those_of_the_plan(tmp_path: Path) -> None:
    path = written(tmp_path / "one.json", json.dumps(document("p1")))
    [plan] = planned(run(path, "--today", "2026-03-02", "--json"))
    text = " ".join(run("--today", "2026-03-02", path).stdout.split())
    published = PlanComputed.model_validate(plan["plan"])
    assert plan["sentences"] == explain(published)
    for words in plan["sentences"]:
        for sentence in words.removeprefix("Offered: ").split(": ")[-1].split(". "):
            assert sentence.rstrip(".") in text, sentence
    assert "Best days" in text


@pytest.mark.parametrize("form", ["lines.ndjson", "lines.txt"])
def test_a_bad_patient_is_refused_and_the_others_are_planned(tmp_path: Path, form: str) -> None:
    bad = document("p2", must_weekdays=[8], phone="+12125550100")
    lines = [
        '{"patient_id": "p0", ',
        json.dumps(document("p1")),
        json.dumps(bad),
        "",
        "[1]",
        json.dumps(document("p3")),
    ]
    result = run(written(tmp_path / form, "\n".join(lines)), "--today", "2026-03-02", "--json")
    assert result.exit_code == 1
    assert [each["patient_id"] for each in planned(result)] == ["p1", "p3"]
    for said in ("line 1", "line 3", "line 5", "p2", "must_weekdays", "phone"):
        assert said in result.stderr
    assert "5550100" not in result.output
    for said in ("line 1", "p2", "must_weekdays", "2 planned, 3 refused."):
        assert said in run(tmp_path / form, "--today", "2026-03-02").stderr


def test_beside_plans_as_json_what_was_refused_is_json_too(tmp_path: Path) -> None:
    lines = [json.dumps(document("p1")), json.dumps(document("p2", payday=40)), '{"patient_id": "p0", \n']
    result = run(written(tmp_path / "a.ndjson", "\n".join(lines)), "--today", "2026-03-02", "--json")
    first, second, last = of_lines(result.stderr)
    assert first == {
        "where": "line 2",
        "patient_id": "p2",
        "field": "payday",
        "value": "40",
        "problem": "is too much: give 31 or less",
    }
    assert second["where"] == "line 3" and "no JSON at column 21" in second["problem"]
    assert last == {"planned": 1, "refused": 2}


def test_a_patient_who_comes_twice_is_planned_once(tmp_path: Path) -> None:
    twice = [document("p1"), document("p2"), document("p1"), document("p1", today="2026-03-03")]
    result = run(written(tmp_path / "a.json", json.dumps(twice)), "--today", "2026-03-02", "--json")
    assert [each["patient_id"] for each in planned(result)] == ["p1", "p2", "p1"], (
        "another day is another plan"
    )
    refused, _ = of_lines(result.stderr)
    assert (refused["where"], refused["value"]) == ("patient 3", "p1")
    assert "first at patient 1" in refused["problem"]


def test_a_field_that_comes_twice_refuses_its_patient_alone(tmp_path: Path) -> None:
    twice = json.dumps(document("p1")).replace('"rx_id": "rx-a"', '"rx_id": "rx-a", "rx_id": "rx-c"', 1)
    path = written(tmp_path / "a.json", f"[{twice}, {json.dumps(document('p2'))}]")
    result = run(path, "--today", "2026-03-02", "--json")
    assert [each["patient_id"] for each in planned(result)] == ["p2"]
    refused, _ = of_lines(result.stderr)
    assert refused["field"] == "prescriptions.0.rx_id" and "appears twice" in refused["problem"]


@pytest.mark.parametrize("text", ["", "\ufeff", " \n\n"])
def test_an_empty_file_is_said_to_be_empty(tmp_path: Path, text: str) -> None:
    result = run(written(tmp_path / "a.json", text))
    assert result.exit_code == 1 and "is empty" in result.stderr
    assert run(written(tmp_path / "a.ndjson", text)).exit_code == 0, "nobody is no fault"


def test_in_an_array_the_place_of_the_patient_is_named(tmp_path: Path) -> None:
    path = written(tmp_path / "array.json", json.dumps([document("p1"), 3, document("p3")]))
    result = run(path, "--today", "2026-03-02", "--json")
    assert (result.exit_code, len(planned(result))) == (1, 2)
    assert "patient 2" in result.stderr


def test_values_that_no_check_foresaw_refuse_their_patient_alone(tmp_path: Path) -> None:
    ten_years = {
        "rx_id": "rx-a",
        "filled_on": "2026-01-01",
        "handed_over_on": "2026-01-01",
        "days_supply": 3660,
    }
    patients = [document("p1", fills=[ten_years] * 1000), document("p2")]
    result = run(written(tmp_path / "a.json", json.dumps(patients)), "--today", "2026-03-02", "--json")
    assert [each["patient_id"] for each in planned(result)] == ["p2"]
    assert result.exit_code == 1 and "p1" in result.stderr and "extreme number or day" in result.stderr


def test_what_cannot_be_read_at_all_is_said(tmp_path: Path) -> None:
    missing = run(tmp_path / "nobody.json")
    assert missing.exit_code == 1 and "No such file" in missing.stderr
    broken = run(written(tmp_path / "broken.json", "[{"), "--json")
    assert broken.exit_code == 1 and "no JSON" in broken.stderr


def test_only_the_stores_asked_for(tmp_path: Path) -> None:
    patients = [document(f"p{store}", store_id=store) for store in ("s1", "s2", "s3")]
    path = written(tmp_path / "all.json", json.dumps(patients))
    found = planned(run(path, "--today", "2026-03-02", "--json", "--store", "s1", "--store", "s3"))
    assert [each["patient_id"] for each in found] == ["ps1", "ps3"]


@pytest.mark.slow
def test_the_sample_patients_are_planned_and_become_documents(tmp_path: Path) -> None:
    result = run(SAMPLE, "--today", "2009-10-01", "--json")
    assert result.exit_code == 0, result.stderr
    plans = planned(result)
    assert len(plans) == 63, "four are born after the first day"
    assert {each["status"] for each in plans} == {"planned", "blocked"}
    inputs = run(SAMPLE, "--today", "2009-10-01", "--inputs").stdout
    again = run(written(tmp_path / "sample.ndjson", inputs), "--today", "2009-10-01", "--json")
    assert again.stdout == result.stdout


@pytest.mark.slow
def test_a_record_of_the_layout_that_cannot_be_read_refuses_its_patient(tmp_path: Path) -> None:
    folder = tmp_path / "feed"
    shutil.copytree(SAMPLE, folder)
    number = "1137192"
    path = folder / "prescriptions.csv"
    lines = path.read_text().splitlines()
    at = next(index for index, line in enumerate(lines) if f",{number},active" in line)
    lines[at] = lines[at].replace(",active,", ",running,")
    path.write_text("\n".join(lines))
    result = run(folder, "--today", "2009-10-01", "--json")
    assert result.exit_code == 1
    assert number in {each["patient_id"] for each in planned(run(SAMPLE, "--today", "2009-10-01", "--json"))}
    assert number not in {each["patient_id"] for each in planned(result)}
    assert len(planned(result)) == 62
    assert f"prescriptions.csv line {at + 1}, status" in result.stderr


# --- what a newcomer plans first ---


def test_the_examples_show_what_a_plan_is_for() -> None:
    result = run(EXAMPLES, "--json")
    assert result.stderr == '{"planned": 3}\n'
    monthly, on_ninety, urgent = (each["plan"] for each in planned(result))
    for plan, at_most in ((monthly, 15), (on_ninety, 5), (urgent, 13)):
        assert plan["rhythm"]["trips_a_year"] <= at_most < plan["rhythm"]["trips_before"]
        assert plan["uncovered_days"] == 0
    assert monthly["rhythm"]["trips_before"] == 72, "six times a month"
    assert [visit["on"] for visit in urgent["visits"] if visit["urgent"]] == ["2026-03-02"]


@pytest.mark.slow
def test_of_a_folder_who_has_a_plan_comes_first_and_who_has_none_is_a_line() -> None:
    lines = run(SAMPLE, "--today", "2009-10-01").stdout.splitlines()
    patients = [line for line in lines if line.startswith("Patient ")]
    without = [line for line in patients if "no plan" in line]
    assert patients[-len(without) :] == without == lines[-len(without) :]
    assert 0 < len(without) < len(patients)
    assert "Patient 1032702 at sapulpa: no plan. No prescription is on file." in without


@pytest.mark.slow
def test_records_of_another_time_are_not_planned_in_silence() -> None:
    result = run(SAMPLE, "--today", "2031-10-01")
    assert "No patient has a plan as of 2031-10-01" in result.stderr and "--today" in result.stderr


def test_of_a_folder_the_file_of_a_fault_is_named(tmp_path: Path) -> None:
    written(tmp_path / "a.json", json.dumps(document("p1")))
    written(tmp_path / "b.ndjson", json.dumps(document("p2", payday=40)) + "\n")
    result = run(tmp_path, "--today", "2026-03-02", "--json")
    assert [each["patient_id"] for each in planned(result)] == ["p1"]
    refused, _ = of_lines(result.stderr)
    assert refused["where"] == "b.ndjson, line 1"
