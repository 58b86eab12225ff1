"""How every client of Kafka reaches the brokers, and proves who it is."""

from __future__ import annotations

import ssl
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, Self, TypeAlias

import httpx
from aiokafka.abc import AbstractTokenProvider
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaConnectionError
from pydantic import Field, SecretStr, model_validator

from shared.files import FileSettings

TOKEN_SECONDS = 5.0
EARLY = 0.8
"""The part of its life after which a token is fetched anew."""


class BrokerSettings(FileSettings):
    """What a client is told of the brokers beside their addresses."""

    kafka_protocol: Literal["PLAINTEXT", "SSL", "SASL_SSL"] = Field(
        default="PLAINTEXT", description="as Kafka names them: in the clear, TLS, TLS and a sign-in"
    )
    kafka_ca_file: Path | None = Field(
        default=None, description="certificates of who signs the brokers'; left out: those of the machine"
    )
    kafka_certificate_file: Path | None = Field(default=None, description="this client's own, for mutual TLS")
    kafka_certificate_key_file: Path | None = None
    kafka_mechanism: Literal["SCRAM-SHA-512", "OAUTHBEARER"] = "SCRAM-SHA-512"
    kafka_user: str = Field(default="", description="the name of SCRAM, or the client id of OAUTHBEARER")
    kafka_password: SecretStr = Field(
        default=SecretStr(""), description="the password of SCRAM, or the client secret of OAUTHBEARER"
    )
    kafka_token_url: str = Field(
        default="", description="where OAUTHBEARER gets tokens, by client credentials"
    )
    kafka_token_scope: str = ""

    @model_validator(mode="after")
    def _whole(self) -> Self:
        signs_in = self.kafka_protocol == "SASL_SSL"
        if signs_in and not (self.kafka_user and self.kafka_password.get_secret_value()):
            raise ValueError("SASL_SSL needs MEDSYNC_KAFKA_USER and MEDSYNC_KAFKA_PASSWORD")
        if signs_in and self.kafka_mechanism == "OAUTHBEARER" and not self.kafka_token_url:
            raise ValueError("OAUTHBEARER needs MEDSYNC_KAFKA_TOKEN_URL")
        return self

    def at(self, bootstrap: str) -> Broker:
        """The brokers at these addresses, reached as the settings say."""
        return Secured(bootstrap, self) if bootstrap and self.kafka_protocol != "PLAINTEXT" else bootstrap


@dataclass(frozen=True)
class Secured:
    """Brokers that are reached by TLS, and may want to know who comes."""

    bootstrap: str
    settings: BrokerSettings = field(repr=False)

    @cached_property
    def client(self) -> dict[str, Any]:
        """What aiokafka's clients are told. Raises OSError where a certificate cannot be read."""
        told = self.settings
        context = ssl.create_default_context(cafile=told.kafka_ca_file)
        if told.kafka_certificate_file:
            context.load_cert_chain(told.kafka_certificate_file, told.kafka_certificate_key_file)
        client: dict[str, Any] = {"security_protocol": told.kafka_protocol, "ssl_context": context}
        if told.kafka_protocol != "SASL_SSL":
            return client
        client["sasl_mechanism"] = told.kafka_mechanism
        if told.kafka_mechanism == "OAUTHBEARER":
            return client | {"sasl_oauth_token_provider": Tokens(told)}
        return client | {
            "sasl_plain_username": told.kafka_user,
            "sasl_plain_password": told.kafka_password.get_secret_value(),
        }


Broker: TypeAlias = str | Secured
"""The brokers' addresses, host:port and comma-separated, where they ask nobody anything; else how they are reached."""


METADATA_MS = 10_000
"""How old a client's knowledge of topics and partitions may be. Partitions that were added are shared out only once the
leader of the group knows of them, whatever the other members know; by default that may take five minutes."""


def client_of(broker: Broker) -> dict[str, Any]:
    """What every client of aiokafka is told: where the brokers are, how it proves who it is, when it looks again."""
    if isinstance(broker, str):
        return {"bootstrap_servers": broker, "metadata_max_age_ms": METADATA_MS}
    return {"bootstrap_servers": broker.bootstrap, "metadata_max_age_ms": METADATA_MS, **broker.client}


@asynccontextmanager
async def asking(broker: Broker, **told: Any) -> AsyncIterator[AIOKafkaAdminClient]:
    """A client that asks the brokers, or has them keep something. Raises KafkaError where none answers."""
    admin = AIOKafkaAdminClient(**client_of(broker), **told)
    try:
        await admin.start()
        yield admin
    finally:
        await admin.close()


class Tokens(AbstractTokenProvider):  # type: ignore[misc]
    """Access tokens by client credentials, each used until shortly before its end."""

    def __init__(self, settings: BrokerSettings) -> None:
        self._settings = settings
        self._token, self._good_until, self._fetch_at = "", 0.0, 0.0

    async def token(self) -> str:
        """Raises KafkaConnectionError where there is none to be had. One that is good outlives an outage of whoever
        gives them. Two that ask at once, be it from two event loops, may both fetch one."""
        if time.monotonic() >= self._fetch_at:
            try:
                await self._fetch()
            except (httpx.HTTPError, ValueError, KeyError) as error:
                if time.monotonic() >= self._good_until:
                    raise KafkaConnectionError(f"no token for Kafka: {type(error).__name__}") from None
        return self._token

    async def _fetch(self) -> None:
        told, asked_at = self._settings, time.monotonic()
        form = {"grant_type": "client_credentials"}
        if told.kafka_token_scope:
            form["scope"] = told.kafka_token_scope
        trusted = ssl.create_default_context()
        if told.kafka_ca_file:
            trusted.load_verify_locations(told.kafka_ca_file)
        async with httpx.AsyncClient(verify=trusted, timeout=TOKEN_SECONDS) as http:
            answer = await http.post(
                told.kafka_token_url,
                data=form,
                auth=(told.kafka_user, told.kafka_password.get_secret_value()),
            )
        answer.raise_for_status()
        said = answer.json()
        seconds = float(said.get("expires_in", 60))
        self._token = str(said["access_token"])
        self._good_until, self._fetch_at = asked_at + seconds, asked_at + EARLY * seconds
