"""Instants as clocks show them at a place."""

from __future__ import annotations

from datetime import UTC, datetime
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError


def in_zone(value: datetime, zone: str) -> datetime:
    """The instant there; in UTC where the zone is not known. `zone` is an IANA name."""
    try:
        return value.astimezone(ZoneInfo(zone))
    except (ZoneInfoNotFoundError, ValueError):
        return value.astimezone(UTC)
