"""What fulfillment is told from outside."""

from __future__ import annotations

from pydantic import Field

from shared.settings import ServiceSettings


class Settings(ServiceSettings):
    """What every service is told, and what counts as proof at the counter."""

    attested_identifiers: bool = Field(
        default=True,
        description="whether a hand-over may name the identifiers that staff checked, in place of what was presented",
    )
