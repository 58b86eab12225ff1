"""The brokers of the running system, as the command line reaches them."""

from __future__ import annotations

from cli.system import find
from shared.broker import Broker, BrokerSettings


def broker() -> Broker:
    """By whatever name `MEDSYNC_KAFKA_…` gives: the settings that a service has."""
    return BrokerSettings().at(find().kafka)
