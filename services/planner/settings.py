"""What the planner is told from outside."""

from __future__ import annotations

from shared.settings import ServiceSettings


class Settings(ServiceSettings):
    """No more than every service is told: the rules of planning are data (`services.planner.rules.RULES`)."""
