"""What the console is told from outside."""

from __future__ import annotations

from pathlib import Path
from typing import Self

from pydantic import Field, model_validator

from shared.settings import ServiceSettings


class Settings(ServiceSettings):
    """The services' addresses, for commands and their state; one that is not given is shown as unknown."""

    gather_ms: int = (
        250  # a person reads it: a quarter of a second for many events at a time instead of one by one
    )
    enrollment_url: str = Field(default="", description="base URLs of its processes, comma-separated")
    planner_url: str = ""
    outreach_url: str = ""
    fulfillment_url: str = ""
    sign_in: bool = Field(
        default=True,
        description="let people say who they are by a form; switch it off behind a proxy that authenticates them "
        "and sets Medsync-Actor and Medsync-Role",
    )
    client_id: str = Field(
        default="",
        description="of the console at the identity provider: with it people sign in by OpenID Connect",
    )
    client_key_file: Path | None = Field(
        default=None, description="its private key, as a JWK or PEM; needed with client_id"
    )
    public_url: str = Field(
        default="", description="where browsers reach the console, without a path; needed with client_id"
    )
    sign_in_scope: str = Field(default="openid", description="what is asked for at the sign-in")
    token_exchange: bool = Field(
        default=False,
        description="ask the provider for a token of each service (RFC 8693); else the person's own is passed on",
    )
    exchange_scope: str = Field(
        default="",
        description="what is asked for beside the audience, where the provider wants it: to-{service}",
    )
    max_readers: int = Field(default=1000, ge=1, description="of the live stream at once, in this process")
    reveal_minutes: int = Field(default=15, ge=1, description="how long a revealed name stays visible")

    @model_validator(mode="after")
    def _can_sign_people_in(self) -> Self:
        if self.client_id and not (self.issuer and self.client_key_file and self.public_url):
            raise ValueError(
                "MEDSYNC_CLIENT_ID: needs MEDSYNC_ISSUER, MEDSYNC_CLIENT_KEY_FILE and MEDSYNC_PUBLIC_URL"
            )
        return self

    @property
    def services(self) -> dict[str, tuple[str, ...]]:
        """The known base URLs of each service."""
        given = {
            "enrollment": self.enrollment_url,
            "planner": self.planner_url,
            "outreach": self.outreach_url,
            "fulfillment": self.fulfillment_url,
        }
        return {name: tuple(url for url in urls.split(",") if url) for name, urls in given.items()}
