"""Room on the disk: what set-up needs of it, and what is left where."""

from __future__ import annotations

import errno
import os
import shutil
from pathlib import Path

from deploy.bootstrap.failures import SetupFailed
from deploy.bootstrap.wanted import MB

INSTALLED_MB = 900
"""About what the whole environment takes when it is installed, `du -sm .venv`."""
KAFKA_MB = 45
"""What the first start puts into the user's cache."""
_UNPACKED = 3.8  # times the size of the wheels


def require(venv: Path, work: Path, *, fetching: float, installing: float) -> None:
    """SetupFailed where the rest of the set-up (wheels of so many MB) cannot fit. One disk may be asked for both."""
    needs: dict[int, float] = {}
    places: dict[int, Path] = {}
    wanted = [(_there(venv), installing * _UNPACKED), (_there(work), fetching)]
    if cache := _cache():
        wanted.append((cache, KAFKA_MB))
    for place, megabytes in wanted:
        device = place.stat().st_dev
        needs[device] = needs.get(device, 0) + megabytes
        places.setdefault(device, place)
    for device, megabytes in needs.items():
        free = shutil.disk_usage(places[device]).free / MB
        if free < megabytes:
            raise SetupFailed(
                f"Too little room: about {megabytes:.0f} MB more are needed on the disk of {places[device]}, "
                f"and {free:.0f} MB are free. Free some space, or clone onto another disk. Nothing was fetched."
            )


def left(place: Path) -> str:
    """The place, and what is free there."""
    there = _there(place)
    return f"{shutil.disk_usage(there).free / MB:.0f} MB are free at {there}"


def is_full(place: Path) -> bool:
    """Whether what failed there may have failed for want of room: pip alone, unpacked, takes 16 MB."""
    return shutil.disk_usage(_there(place)).free < 20 * MB


def full(place: Path) -> str:
    return (
        f"The disk is full: {left(place)}, and a whole set-up needs about {INSTALLED_MB} MB. Free some space, then "
        "run it again: what was fetched is kept."
    )


def explained(error: OSError, venv: Path) -> str:
    """What an error of the system means for the set-up."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return full(venv)
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        place = Path(error.filename or venv)
        return (
            f"{place} may not be written by this user ({error.strerror}). Look at who owns it "
            f"(`ls -ld {place.parent}`), or clone to where you may write."
        )
    return f"{error}."


def _cache() -> Path | None:
    """The user's cache, made if need be; None where there can be none: the first start then finds another place."""
    try:
        cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
        cache.mkdir(parents=True, exist_ok=True)
    except (OSError, RuntimeError):
        return None
    return cache


def _there(place: Path) -> Path:
    """The place itself, or the folder in which it will be made."""
    return next(folder for folder in (place, *place.parents) if folder.exists())
