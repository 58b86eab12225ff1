"""What enrollment is told from outside."""

from __future__ import annotations

from pydantic import Field, SecretStr

from shared.settings import ServiceSettings


class Settings(ServiceSettings):
    pseudonym_key: SecretStr = Field(
        min_length=32,
        description="turns patient numbers into patient ids; changing it makes every patient new",
    )
