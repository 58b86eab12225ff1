"""Files that hold secrets: for their owner's eyes alone, and whole or not at all."""

from __future__ import annotations

import os
from pathlib import Path

OWNER_ONLY = 0o600
OTHERS = 0o007


def write_private(file: Path, text: str) -> None:
    """Write it under another name first: who reads meanwhile reads the old one."""
    new = file.with_name(f"{file.name}.new")
    new.unlink(missing_ok=True)
    with open(new, "x", opener=lambda path, flags: os.open(path, flags, OWNER_ONLY)) as output:
        output.write(text)
    new.replace(file)


def open_to_others(file: Path) -> bool:
    """Whether anybody on the machine may read or write it."""
    return bool(file.stat().st_mode & OTHERS)
