"""`medsync topics`: who may write and read what on Kafka, from the events that each service owns and declares."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from importlib import import_module
from typing import Annotated

import typer

from cli.brokers import broker
from services import SERVICES
from shared.broker_access import Rule, allow
from shared.events import TOPICS, topics_of
from shared.events.audit import AUDIT_TOPIC
from shared.messaging.topics import group_of, relay_group_of

OPERATOR = "operator"

app = typer.Typer(no_args_is_help=True, help="The topics, and who may do what with them.")


@app.callback()
def topics() -> None:
    """The topics, and who may do what with them."""


@app.command()
def acl(
    apply: Annotated[
        bool, typer.Option("--apply", help="have the brokers keep them; else they are shown")
    ] = False,
    principal: Annotated[
        str, typer.Option(help="how each service is called there; {service} stands for its name")
    ] = "User:medsync-{service}",
    prefix: Annotated[str, typer.Option(help="MEDSYNC_TOPIC_PREFIX of the services")] = "",
) -> None:
    """The access rules of every service, and of an operator who only looks. Applying them again changes nothing; what
    else is allowed there stays."""
    rules = [
        rule._replace(principal=principal.format(service=rule.principal))
        for rule in every_rule(declared(), prefix)
    ]
    for rule in rules:
        typer.echo(rule.said)
    if apply:
        asyncio.run(allow(broker(), rules))
        typer.echo(f"{len(rules)} rules are kept by the brokers.")


def declared() -> dict[str, Sequence[str]]:
    """The topics that each service declares to read."""
    return {service: import_module(f"services.{service}.handlers").on.topics for service in SERVICES}


def every_rule(reads: Mapping[str, Sequence[str]], prefix: str) -> list[Rule]:
    """Write only what one owns, read only what one declares. Principals are the services' own names."""
    rules = [rule for service, topics in reads.items() for rule in rules_of(service, topics, prefix)]
    looked_at = (*TOPICS, AUDIT_TOPIC)
    return rules + [Rule(OPERATOR, "READ", "TOPIC", prefix + topic) for topic in looked_at]


def rules_of(service: str, reads: Sequence[str], prefix: str) -> Iterator[Rule]:
    own = topics_of(service)
    for topic in own:
        yield Rule(service, "WRITE", "TOPIC", prefix + topic)
    # Each says how far its own audit is, and signs it.
    yield Rule(service, "WRITE", "TOPIC", prefix + AUDIT_TOPIC)
    # The relay marks how far it is as an offset of a topic of its own, and a recovery reads them: where a service
    # owns none, the first of all carries the marks.
    for topic in sorted({*reads, *(own or TOPICS[:1])}):
        yield Rule(service, "READ", "TOPIC", prefix + topic)
    for topic in reads:
        yield Rule(service, "DESCRIBE_CONFIGS", "TOPIC", prefix + topic)
    for group in (group_of(service, prefix), relay_group_of(service, prefix)):
        yield Rule(service, "READ", "GROUP", group)
    yield Rule(service, "WRITE", "TRANSACTIONAL_ID", f"{relay_group_of(service, prefix)}-", "PREFIXED")
