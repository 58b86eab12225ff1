"""What every service is told from outside: addresses, keys, its slot. Environment variables `MEDSYNC_…`, or the file
that holds one: `MEDSYNC_DATABASE_URL_FILE`."""

from __future__ import annotations

import re
from functools import cached_property
from ipaddress import ip_address
from pathlib import Path
from socket import gethostname
from typing import Self
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, model_validator

from shared.broker import Broker, BrokerSettings
from shared.database import DatabaseSettings
from shared.sealing import Sealer

ORDINAL = re.compile(r"-(\d{1,4})$")


ASYMMETRIC = frozenset({"ES256", "ES384", "RS256", "RS384", "RS512", "PS256", "PS384", "PS512"})
"""Of tokens: a shared secret would let every service make them."""


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches what listens on a host.

    >>> is_loopback("127.0.0.1"), is_loopback("::1"), is_loopback("0.0.0.0")
    (True, True, False)
    """
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def ordinal_of(host: str) -> int:
    """The N of a host whose name ends in -N, as those of a StatefulSet do; else 0.

    >>> ordinal_of("outreach-2"), ordinal_of("laptop")
    (2, 0)
    """
    found = ORDINAL.search(host)
    return int(found[1]) if found else 0


class ServiceSettings(BrokerSettings, DatabaseSettings):
    """One frozen set of settings per process; each service derives its own, small class."""

    kafka_bootstrap: str = Field(description="host:port, comma-separated")
    host: str = "127.0.0.1"
    port: int = 0
    slot: int = Field(
        default_factory=lambda: ordinal_of(gethostname()),
        ge=0,
        description="which of the service's processes this is; left out: the N of a host named …-N, else 0",
    )
    clock_file: Path | None = Field(default=None, description="a stepped clock; never in production")
    sealing_keys_file: Path | None = Field(
        default=None,
        description="the ring of keys that names and numbers are sealed with; see `medsync keys`",
    )
    sealing_key: SecretStr = Field(
        default=SecretStr(""), description="in place of a ring, or beside it: one key, 32 bytes in hex"
    )
    sealing_key_id: str = "1"
    issuer: str = Field(
        default="",
        description="of access tokens: the URL of the chain's identity provider, as its tokens say it. Left out, who "
        "calls is believed by headers, and the service listens to this machine alone",
    )
    audience: str = Field(
        default="", description="that tokens for this service name; left out: medsync-<service>"
    )
    jwks_url: str = Field(
        default="", description="of the issuer's keys; left out: as its discovery document says"
    )
    token_algorithms: str = Field(
        default="ES256,RS256",
        description="with which tokens may be signed, comma-separated; asymmetric ones alone",
    )
    grants_file: Path | None = Field(
        default=None, description="which groups have which roles at which stores; needed with issuer"
    )
    retention_file: Path | None = Field(
        default=None,
        description="how long records are kept, as the chain signed it off; left out: nothing is removed",
    )
    topic_prefix: str = Field(default="", description="lets several installations share one cluster")
    allowed_hosts: str = Field(
        default="",
        description="names, comma-separated, by which callers reach this service beside localhost; addresses "
        "are always taken",
    )
    max_in_flight: int = Field(default=128, ge=1, description="requests at once; beyond it they are refused")
    pool_size: int = Field(default=8, ge=2, description="connections of what consumes, and of operations")
    http_pool_size: int = Field(default=8, ge=1, description="connections of commands and queries")
    batch_size: int = Field(default=500, ge=1, le=500, description="events a transaction, about")
    gather_ms: int = Field(
        default=0,
        ge=0,
        le=2000,
        description="how long the broker may hold records back so that more come at once; 0: not at all",
    )
    session_timeout_ms: int = 10_000
    max_poll_interval_ms: int = 300_000
    relay_lease_seconds: float = 5.0
    relays: int = Field(
        default=1, ge=1, description="relays side by side: best a divisor of the topics' number of partitions"
    )
    stuck_after_seconds: float = Field(
        default=60.0, description="a consumer that stands still ends its process"
    )

    @model_validator(mode="after")
    def _knows_who_calls(self) -> Self:
        """Headers are no proof: who listens beyond this machine takes tokens."""
        if not self.issuer and not is_loopback(self.host):
            raise ValueError(
                f"MEDSYNC_ISSUER: is missing, and MEDSYNC_HOST ({self.host}) is reached from other machines, where "
                "headers prove nothing: name the identity provider (docs/how-to/secure.md), or listen on 127.0.0.1"
            )
        if self.issuer and self.grants_file is None:
            raise ValueError("MEDSYNC_GRANTS_FILE: is missing; it says which groups have which roles")
        for url in (self.issuer, self.jwks_url):
            if url and not url.startswith("https://") and not is_loopback(urlsplit(url).hostname or ""):
                raise ValueError("MEDSYNC_ISSUER, MEDSYNC_JWKS_URL: use https beyond this machine")
        if not self.algorithms or not set(self.algorithms) <= ASYMMETRIC:
            raise ValueError(f"MEDSYNC_TOKEN_ALGORITHMS: use some of {', '.join(sorted(ASYMMETRIC))}")
        return self

    @property
    def algorithms(self) -> tuple[str, ...]:
        return tuple(name for each in self.token_algorithms.split(",") if (name := each.strip()))

    @property
    def broker(self) -> Broker:
        """The brokers, as every client here reaches them."""
        return self.at(self.kafka_bootstrap)

    @cached_property
    def sealer(self) -> Sealer:
        """Raises BadRing or OSError where the ring cannot be read."""
        return Sealer(
            self.sealing_key.get_secret_value(), key_id=self.sealing_key_id, file=self.sealing_keys_file
        )

    @property
    def hosts(self) -> list[str]:
        """The names of `allowed_hosts`, and the one that is listened on."""
        return [name for each in (*self.allowed_hosts.split(","), self.host) if (name := each.strip())]
