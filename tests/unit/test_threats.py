"""The table of threats: each names what would fail if it were not held off any more, and that is there."""

from __future__ import annotations

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
TABLE = ROOT / "docs" / "explanation" / "threats.md"


def faults(text: str) -> list[str]:
    """What is wrong with a table: rows that name no test, and tests that are not there."""
    found = []
    for line in text.splitlines():
        if not line.startswith("| ") or line.startswith(("| threat |", "| --- |")):
            continue
        threat, *_, tests = (cell.strip() for cell in line.strip("|").split(" | "))
        named = re.findall(r"`([^`]+)`", tests)
        found += [] if named else [f"{threat}: names no test"]
        found += [f"{threat}: there is no {test}" for test in named if not _is_there(test)]
    return found


def _is_there(test: str) -> bool:
    path, _, name = test.partition("::")
    file = ROOT / "tests" / path
    if not file.is_file():
        return False
    functions = (ast.FunctionDef, ast.AsyncFunctionDef)
    tree = ast.parse(file.read_text(encoding="utf-8"))
    return any(isinstance(each, functions) and each.name == name for each in tree.body)


def test_every_threat_names_tests_that_are_there() -> None:
    text = TABLE.read_text(encoding="utf-8")
    assert text.count("\n| ") > 40
    assert faults(text) == []


def test_a_threat_without_its_test_is_found() -> None:
    here = "unit/test_threats.py::test_a_threat_without_its_test_is_found"
    assert faults(f"| threat | what | test |\n| --- | --- | --- |\n| a | b | `{here}` |") == []
    assert faults(f"| a | b | `{here}x` `{here}` |") == [f"a: there is no {here}x"]
    assert faults("| a | b | `unit/test_none.py::test_a` |") == ["a: there is no unit/test_none.py::test_a"]
    assert faults("| a | `b` | – |") == ["a: names no test"]
