"""The rule book: every citation has its rule, every rule its place, and what a rule names exists.

`docs/rules.md` is read as people read it: a rule is a paragraph that begins with its number in bold and ends with its
source, policy entry and test, or a row of a table that does.
"""

from __future__ import annotations

import importlib
import re
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from services.outreach.domain.schedule import Policy
from services.planner.domain.limits import DispensingLimit, Disuse, HighCost, LargerFill, StateSchedule
from services.planner.domain.model import Rules
from services.planner.domain.payers import PayerRule, SyncLaw
from services.planner.policy import FIELD_NAMES

ROOT = Path(__file__).parents[2]
BOOK = ROOT / "docs" / "rules.md"
POLICY = ROOT / "services" / "planner" / "policy"
CITED_IN = ("services", "shared", "cli", "deploy", "docs", "schemas", "data", "benchmarks", "tests")
SUFFIXES = frozenset({".py", ".toml", ".sql", ".md", ".json", ".html", ".css", ".js", ".yml"})
NOT_OURS = (ROOT / "schemas" / "released", Path(__file__))
"""What was released stays as it was; this file shows what is wrong."""

CITATION = re.compile(r"(?<![\w-])R\d+(?:\.\d+)*")
UNRESOLVABLE = re.compile(
    r"domain[\s#*]+rules?\b|how[\s#*]+the[\s#*]+events[\s#*]+interplay|\b(?:domain|fabric|design|planner-year)\.md",
    re.IGNORECASE,
)
"""Documents that no reader of this repository has."""

ENTRIES = {
    "payer": PayerRule,
    "unknown": PayerRule,
    "law": SyncLaw,
    "limit": DispensingLimit,
    "schedule": StateSchedule,
    "larger_fill": LargerFill,
    "disuse": Disuse,
    "high_cost": HighCost,
}
"""The tables of policy files whose fields may be left out, by name."""


@dataclass(frozen=True)
class Rule:
    number: str
    policy: tuple[str, ...]  # names of settings and entries
    tests: tuple[str, ...]

    @property
    def place(self) -> tuple[int, ...]:
        return tuple(int(part) for part in self.number[1:].split("."))


def rules_of(text: str) -> Iterator[Rule]:
    """The rules of a book, as they stand in it.

    Raises:
        ValueError: a rule lacks its source, policy entry or test.
    """
    for block in re.findall(r"^\*\*R\d.*?(?=^\n|\Z)", text, re.DOTALL | re.MULTILINE):
        flat = " ".join(block.split())
        number = re.match(r"\*\*(R\d+\.\d+) ", flat)
        parts = re.search(
            r"\\ \*Source\* (?P<source>.+?) ?·? \*Policy\* (?P<policy>.+?)[ ·\\]+\*Test\* (?P<test>.+)", flat
        )
        if not number or not parts:
            raise ValueError(f"{flat[:60]}…: give it a number, *Source*, *Policy* and *Test*")
        yield Rule(number[1], _names(parts["policy"]), _names(parts["test"]))
    for row in re.findall(r"^\| \*\*(R\d+\.\d+)\*\* \|.*\| ([^|]+) \|$", text, re.MULTILINE):
        yield Rule(row[0], (), _names(row[1]))


def _names(part: str) -> tuple[str, ...]:
    found = tuple(re.findall(r"`([^`]+)`", part))
    if not found and part.strip(" \\·") not in ("–", "none"):
        raise ValueError(f"{part!r}: name it between backticks, or write – or none")
    return found


def citations_without_a_rule(text: str, known: frozenset[str]) -> list[str]:
    return sorted({cited for cited in CITATION.findall(text) if cited not in known})


def is_there(test: str) -> bool:
    """`unit/planner/test_stock.py::test_short_fills_are_whole_units`, below `tests`."""
    path, _, function = test.partition("::")
    file = ROOT / "tests" / path
    return file.is_file() and bool(re.search(rf"def {function}\(", file.read_text(encoding="utf-8")))


def is_set(name: str) -> bool:
    """`payers.toml: payer.refill_percent`, `Rules.lead_days`, or a name below `services`."""
    if ".toml: " in name:
        file, _, entry = name.partition(": ")
        table, _, field = entry.partition(".")
        tables = tomllib.loads((POLICY / file).read_text(encoding="utf-8")).get(table, [])
        entries = tables if isinstance(tables, list) else [tables]
        default = FIELD_NAMES.get(field, field) in getattr(ENTRIES.get(table), "__dataclass_fields__", ())
        return bool(entries) and (default or any(field in each for each in entries))
    owner, _, field = name.rpartition(".")
    if owner in ("Rules", "Policy"):
        return field in {"Rules": Rules, "Policy": Policy}[owner].__dataclass_fields__
    try:
        return hasattr(importlib.import_module(f"services.{owner}"), field)
    except ModuleNotFoundError:
        return False


def files() -> Iterator[Path]:
    for directory in CITED_IN:
        for path in sorted((ROOT / directory).rglob("*")):
            if path.suffix in SUFFIXES and not any(path.is_relative_to(other) for other in NOT_OURS):
                yield path
    yield from (*sorted(ROOT.glob("*.toml")), *sorted(ROOT.glob("*.md")), *sorted(ROOT.glob("*.yml")))


TEXT = BOOK.read_text(encoding="utf-8")
RULES = tuple(rules_of(TEXT))
SECTIONS = tuple(re.findall(r"^## (R\d+) ", TEXT, re.MULTILINE))
KNOWN = frozenset(rule.number for rule in RULES) | frozenset(SECTIONS)


def test_every_citation_has_its_rule() -> None:
    astray = {
        str(path.relative_to(ROOT)): unknown
        for path in files()
        if (unknown := citations_without_a_rule(path.read_text(encoding="utf-8"), KNOWN))
    }
    assert not astray, "there is no such rule in docs/rules.md: correct the number, or write the rule"


def test_no_document_is_cited_that_no_reader_has() -> None:
    citing = {
        str(path.relative_to(ROOT))
        for path in files()
        if UNRESOLVABLE.search(path.read_text(encoding="utf-8"))
    }
    assert citing == set(), "cite the rule's number in docs/rules.md, as in (R7.2)"


def test_rules_are_numbered_once_and_in_order() -> None:
    places = [rule.place for rule in RULES]
    assert places == sorted(set(places)), "each rule once, in the order of numbers"
    assert list(SECTIONS) == [f"R{number}" for number in range(1, len(SECTIONS) + 1)]
    headed = re.findall(r"^(?:## |\| |)\**(R\d+(?:\.\d+)?)(?:\*\* \|| )", TEXT, re.MULTILINE)
    section = ""
    for number in headed:
        section = number if "." not in number else section
        assert number.partition(".")[0] == section, f"{number} stands in {section}"


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.number)
def test_what_a_rule_names_exists(rule: Rule) -> None:
    assert [test for test in rule.tests if not is_there(test)] == [], (
        "no such test: name the one that holds it"
    )
    assert [name for name in rule.policy if not is_set(name)] == [], "no such setting"


# --- what is wrong is found ---


def test_a_citation_of_no_rule_is_found() -> None:
    known = frozenset({"R7", "R7.2"})
    assert citations_without_a_rule("(R7.2), R7, and `rx-R1` of FHIR", known) == []
    assert citations_without_a_rule("(R7.20), (R7.2.1), R70 and R7.", known) == ["R7.2.1", "R7.20", "R70"]


@pytest.mark.parametrize(
    "text",
    ["(domain rules: two ledgers)", "# domain\n# rules 2.10", "see domain.md", "how the events interplay"],
)
def test_a_document_that_no_reader_has_is_found(text: str) -> None:
    assert UNRESOLVABLE.search(text)


@pytest.mark.parametrize(
    ("name", "there"),
    [
        ("unit/test_rules.py::test_what_is_named_is_looked_for", True),
        ("unit/test_rules.py::test_what_is_named", False),
        ("unit/test_no_rules.py::test_what_is_named_is_looked_for", False),
        ("payers.toml: payer.refill_percent", True),
        ("payers.toml: payer.short_fill_codes", True),  # left out in the file: its default holds
        ("payers.toml: payer.refill_percents", False),
        ("payers.toml: payers.refill_percent", False),
        ("Rules.lead_days", True),
        ("Rules.lead_day", False),
        ("outreach.domain.phrases.STOP_WORDS", True),
        ("outreach.domain.phrases.STOP", False),
        ("outreach.domain.phrase.STOP_WORDS", False),
    ],
)
def test_what_is_named_is_looked_for(name: str, there: bool) -> None:
    assert (is_there if "::" in name else is_set)(name) is there


@pytest.mark.parametrize(
    "text", ["**R1.1 A rule.** Without anything.\n", "**R1.1 A.** B.\\\n*Source* c · *Policy* x · *Test* –\n"]
)
def test_a_rule_that_says_too_little_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"give it|name it"):
        list(rules_of(text))
