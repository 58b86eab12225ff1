"""What fulfillment is told from outside: nothing beyond what every service is."""

from __future__ import annotations

from shared.settings import ServiceSettings


class Settings(ServiceSettings):
    pass
