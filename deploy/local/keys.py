"""The keys of an installation on this machine: made by its first start, each in a file for its owner's eyes alone, and
given only to the services that open something with it."""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path

from pydantic import SecretStr

from shared.files import write_private
from shared.sealing import Key, Ring

SEALING = ("enrollment", "outreach", "fulfillment", "console")
"""The services that hold names, numbers or patients' own words. The planner does not: it has a key of its own for the
answers that it keeps."""


def keys_of(folder: Path) -> dict[str, dict[str, str]]:
    """The settings of each service that name its keys; what is missing in the folder is made."""
    ring, answers, pseudonyms = folder / "sealing.json", folder / "answers.json", folder / "pseudonym"
    if not ring.exists():
        write_keys(folder, **_before(folder.with_suffix(".json")))
    if not answers.exists():
        Ring().rotated(datetime.now(UTC), timedelta()).write(answers)
    of_each = {service: {"MEDSYNC_SEALING_KEYS_FILE": str(ring.absolute())} for service in SEALING}
    of_each["planner"] = {"MEDSYNC_SEALING_KEYS_FILE": str(answers.absolute())}
    of_each["enrollment"]["MEDSYNC_PSEUDONYM_KEY_FILE"] = str(pseudonyms.absolute())
    return of_each


def write_keys(folder: Path, *, sealing: str | None = None, pseudonym: str | None = None) -> None:
    """With these two keys, in hex; new ones where none are given."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    write_private(folder / "pseudonym", pseudonym or secrets.token_hex(32))
    given = Ring(keys=(Key(id="1", key=SecretStr(sealing)),)) if sealing else None
    (given or Ring().rotated(datetime.now(UTC), timedelta())).write(folder / "sealing.json")


def _before(file: Path) -> Mapping[str, str]:
    """The keys of an installation that kept them in one file."""
    if not file.exists():
        return {}
    kept = json.loads(file.read_text(encoding="utf-8"))
    return {"sealing": kept["MEDSYNC_SEALING_KEY"], "pseudonym": kept["MEDSYNC_PSEUDONYM_KEY"]}
