"""The access rules: each service writes what it owns, and reads what it declares."""

from __future__ import annotations

from collections import defaultdict

from cli.topics import OPERATOR, declared, every_rule
from shared.events import TOPICS, owner_of
from shared.events.audit import AUDIT_TOPIC

RULES = every_rule(declared(), "eu.")


def test_every_topic_has_one_writer_who_owns_it() -> None:
    writers = defaultdict(list)
    for rule in RULES:
        if (rule.operation, rule.resource) == ("WRITE", "TOPIC"):
            writers[rule.name].append(rule.principal)
    assert set(writers.pop(f"eu.{AUDIT_TOPIC}")) == set(declared()), "each says how far its own audit is"
    assert writers == {f"eu.{topic}": [owner_of(topic)] for topic in TOPICS}


def test_a_service_reads_what_it_declares_and_its_own() -> None:
    for service, topics in declared().items():
        read = {rule.name for rule in RULES if rule[:3] == (service, "READ", "TOPIC")}
        own = {topic for topic in TOPICS if owner_of(topic) == service} or {TOPICS[0]}
        assert read == {f"eu.{topic}" for topic in {*topics, *own}}


def test_groups_and_transactions_are_a_services_own() -> None:
    for rule in RULES:
        if rule.resource != "TOPIC":
            assert rule.name.removeprefix(f"eu.medsync-{rule.principal}") in ("", "-relay", "-relay-")


def test_an_operator_only_looks() -> None:
    assert {rule.operation for rule in RULES if rule.principal == OPERATOR} == {"READ"}
