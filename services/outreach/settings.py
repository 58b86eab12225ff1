"""What outreach is told from outside."""

from __future__ import annotations

from shared.settings import ServiceSettings


class Settings(ServiceSettings):
    """What every service is told, and nothing more: the rules of contact are data of the domain."""
