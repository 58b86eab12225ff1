"""The embedded Kafka as a chain runs it: TLS, SCRAM and OAUTHBEARER, and nothing is allowed that no rule allows."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError

from deploy.local.kafka import Kafka
from shared.broker import Broker, BrokerSettings, client_of
from tests.certificates import Certificates, certificates

ADMIN = "admin"
AUDIENCE, ISSUER = "kafka", "https://tokens.test"


class SecureKafka(Kafka):
    """`principals` may sign in by SCRAM, each by a password that follows from its name; `keys` are whose tokens it
    takes, as a JSON Web Key Set."""

    def __init__(
        self, directory: Path, port: int, *, principals: tuple[str, ...], keys: Mapping[str, object]
    ) -> None:
        super().__init__(directory, port, session_timeout=6)
        self.certificates: Certificates = certificates(directory / "certificates")
        self._principals = (ADMIN, *principals)
        self._keys = directory / "keys.json"
        self._keys.write_text(json.dumps(keys))

    def settings(self, principal: str, **overrides: object) -> dict[str, object]:
        """What a client is told that comes as this principal."""
        return {
            "kafka_protocol": "SASL_SSL",
            "kafka_ca_file": self.certificates.authority,
            "kafka_user": principal,
            "kafka_password": password_of(principal),
        } | overrides

    def broker(self, principal: str, **overrides: object) -> Broker:
        return BrokerSettings(**self.settings(principal, **overrides)).at(self.bootstrap)  # type: ignore[arg-type]

    def _answers(self) -> bool:
        """By a client that signs in: the probe of a broker in the clear is hung up on."""
        with suppress(OSError), socket.create_connection(("127.0.0.1", self.port), timeout=2):
            return asyncio.run(self._signs_in())
        return False

    async def _signs_in(self) -> bool:
        admin = AIOKafkaAdminClient(**client_of(self.broker(ADMIN)))
        try:
            await admin.start()
        except KafkaError:
            return False
        finally:
            await admin.close()
        return True

    def _settings(self) -> dict[str, object]:
        listener = "listener.name.sasl_ssl"
        modules = "org.apache.kafka.common.security"
        own = f'username="{ADMIN}" password="{password_of(ADMIN)}"'
        return (
            super()._settings()
            | {
                "listeners": f"SASL_SSL://{self.bootstrap},CONTROLLER://127.0.0.1:{self._controller_port}",
                "advertised.listeners": f"SASL_SSL://{self.bootstrap}",
                "listener.security.protocol.map": "SASL_SSL:SASL_SSL,CONTROLLER:PLAINTEXT",
                "inter.broker.listener.name": "SASL_SSL",
                "sasl.mechanism.inter.broker.protocol": "SCRAM-SHA-512",
                "sasl.enabled.mechanisms": "SCRAM-SHA-512,OAUTHBEARER",
                "ssl.keystore.type": "PEM",
                "ssl.keystore.location": self.certificates.both,
                "ssl.truststore.type": "PEM",
                "ssl.truststore.location": self.certificates.authority,
                f"{listener}.scram-sha-512.sasl.jaas.config": f"{modules}.scram.ScramLoginModule required {own};",
                f"{listener}.oauthbearer.sasl.jaas.config": f"{modules}.oauthbearer.OAuthBearerLoginModule required;",
                f"{listener}.oauthbearer.sasl.server.callback.handler.class": (
                    f"{modules}.oauthbearer.OAuthBearerValidatorCallbackHandler"
                ),
                f"{listener}.oauthbearer.sasl.oauthbearer.jwks.endpoint.url": self._keys.as_uri(),
                f"{listener}.oauthbearer.sasl.oauthbearer.expected.audience": AUDIENCE,
                f"{listener}.oauthbearer.sasl.oauthbearer.expected.issuer": ISSUER,
                "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
                "super.users": f"User:{ADMIN};User:ANONYMOUS",  # ANONYMOUS: its own controller, on a port of loopback
            }
        )

    def _java_options(self) -> list[str]:
        allowed = f"-Dorg.apache.kafka.sasl.oauthbearer.allowed.urls={self._keys.as_uri()}"
        files = f"-Dorg.apache.kafka.sasl.oauthbearer.allowed.files={self._keys}"
        return [*super()._java_options(), allowed, files]

    def _format_options(self) -> list[str]:
        options = []
        for name in self._principals:
            options += ["--add-scram", f"SCRAM-SHA-512=[name={name},password={password_of(name)}]"]
        return options


def password_of(principal: str) -> str:
    return f"the-password-of-{principal}"
