"""Databases, roles, migrations and topics on servers that run already.

`python -m deploy.setup` does it for KAFKA_BOOTSTRAP_SERVERS and MEDSYNC_POSTGRES_URL, the URL of a superuser.
Doing it again changes nothing.
"""

from __future__ import annotations

import asyncio
import os
import sys

from deploy.local.databases import create_databases, install, migrations_of
from deploy.local.process import StackError
from shared.broker import Broker, BrokerSettings
from shared.messaging.topics import PARTITIONS, create_topics


def set_up(kafka: Broker, postgres: str, *, partitions: int = PARTITIONS) -> dict[str, str]:
    """Create what is missing: the URL of each service's database, as its own role. StackError if a step fails."""
    databases = create_databases(postgres)
    for service in databases:
        install(postgres, service, *migrations_of(service))
    try:
        asyncio.run(create_topics(kafka, partitions))
    except RuntimeError as error:  # what every error of the Kafka client derives from
        raise StackError(f"The topics could not be created on Kafka: {error}") from None
    return databases


if __name__ == "__main__":
    servers = [os.environ.get(name, "") for name in ("KAFKA_BOOTSTRAP_SERVERS", "MEDSYNC_POSTGRES_URL")]
    if not all(servers):
        sys.exit("Name the servers to set up: KAFKA_BOOTSTRAP_SERVERS and MEDSYNC_POSTGRES_URL.")
    try:
        kafka, postgres = servers
        print(f"ready: {', '.join(set_up(BrokerSettings().at(kafka), postgres))}")
    except StackError as error:
        sys.exit(str(error))
