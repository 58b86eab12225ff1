"""Which of the chain's groups have which roles, and at which stores: one file, signed off like payers' rules.

[signed_off]
by = "the privacy officer's id"
on = 2026-03-02

[[group]]                       # as the identity provider names it in the claim `groups`
name = "rx-0042-pharmacists"
roles = ["pharmacist"]
stores = ["0042"]               # or "all"

[[service]]                     # an account of a program, by its client id
client = "medsync-feed"
roles = ["feed"]
stores = "all"

[[person]]                      # by the claim `sub`
sub = "7f3a"
license = "RPH-20417"
"""

from __future__ import annotations

import tomllib
from collections import defaultdict
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from time import monotonic
from typing import Annotated, Literal

import structlog
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from shared.access import Role

Name = Annotated[str, Field(min_length=1, max_length=200)]
Stores = Literal["all"] | list[Name]

LOOK_SECONDS = 5.0
"""How often a service looks whether the file changed."""

log = structlog.get_logger()

OF_PROGRAMS = frozenset({Role.feed, Role.dialer, Role.dispensing, Role.system})


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class SignedOff(_Part):
    """Who answers for the file, and since when."""

    by: Name
    on: date


class Group(_Part):
    """A group of people."""

    name: Name
    roles: list[Role]
    stores: Stores = []


class Service(_Part):
    """An account of a program."""

    client: Name
    roles: list[Role]
    stores: Stores = []


class Person(_Part):
    """What no group says of a person."""

    sub: Name
    license: Name


class _File(_Part):
    signed_off: SignedOff
    group: list[Group] = []
    service: list[Service] = []
    person: list[Person] = []

    @model_validator(mode="after")
    def _each_once(self) -> _File:
        for kind, names in (
            ("group", [each.name for each in self.group]),
            ("service", [each.client for each in self.service]),
            ("person", [each.sub for each in self.person]),
        ):
            if twice := sorted({name for name in names if names.count(name) > 1}):
                raise ValueError(f"{kind} {', '.join(twice)} stands there twice: keep one")
        for group in self.group:
            if of_programs := OF_PROGRAMS & set(group.roles):
                raise ValueError(
                    f"group {group.name}: {', '.join(of_programs)} is a program's, not a person's"
                )
        return self


@dataclass(frozen=True, slots=True)
class Granted:
    """What somebody may be: each role with its stores; None: every store."""

    roles: Mapping[Role, frozenset[str] | None]
    license: str = ""


class Grants:
    """The file, asked."""

    def __init__(self, file: _File) -> None:
        self._groups = {each.name: each for each in file.group}
        self._services = {each.client: each for each in file.service}
        self._licenses = {each.sub: each.license for each in file.person}

    def of(self, sub: str, groups: Collection[object], *, is_service: bool = False) -> Granted:
        """What a person in these groups, or a program of this client id, may be; what the file lacks is nothing."""
        if is_service:
            found: list[Group | Service] = [self._services[sub]] if sub in self._services else []
        else:
            found = [self._groups[each] for each in groups if isinstance(each, str) and each in self._groups]
        roles: dict[Role, set[str]] = defaultdict(set)
        everywhere: set[Role] = set()
        for part in found:
            for role in part.roles:
                roles[role] |= set() if part.stores == "all" else set(part.stores)
                everywhere |= {role} if part.stores == "all" else set()
        return Granted(
            {role: None if role in everywhere else frozenset(stores) for role, stores in roles.items()},
            self._licenses.get(sub, ""),
        )


class GrantsFile:
    """The file as it is now: read again when it changed. One that cannot be read leaves in force what was before."""

    def __init__(self, path: Path, clock: Callable[[], float] = monotonic) -> None:
        """Raises BadGrants."""
        self._path, self._clock = path, clock
        self._grants = read(path)
        self._seen = _state_of(path)
        self._look_at = clock() + LOOK_SECONDS
        self._unread = False

    def of(self, sub: str, groups: Collection[object], *, is_service: bool = False) -> Granted:
        """As `Grants.of`."""
        self._look()
        return self._grants.of(sub, groups, is_service=is_service)

    @property
    def unread(self) -> bool:
        """Whether what it says now is not in force."""
        self._look()
        return self._unread

    def _look(self) -> None:
        if self._clock() < self._look_at:
            return
        self._look_at = self._clock() + LOOK_SECONDS
        if (state := _state_of(self._path)) == self._seen:
            return
        self._seen = state
        try:
            self._grants = read(self._path)
        except BadGrants as error:
            self._unread = True
            log.error("grants.unread", why=str(error), in_force="what was before")
        else:
            self._unread = False
            log.info("grants.read", file=str(self._path))


def _state_of(path: Path) -> tuple[int, ...] | None:
    """What tells that a file is another; None where there is none."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_ino, found.st_size


class BadGrants(Exception):
    """The file cannot be read; the text says where, and what to do."""


def read(path: Path) -> Grants:
    """Raises BadGrants."""
    try:
        return Grants(_File.model_validate(tomllib.loads(path.read_text(encoding="utf-8"))))
    except OSError as error:
        raise BadGrants(f"{path}: {error.strerror}: name the file of groups and roles") from None
    except tomllib.TOMLDecodeError as error:
        raise BadGrants(f"{path}: {error}") from None
    except ValidationError as error:
        places = "; ".join(f"{'.'.join(map(str, e['loc'])) or 'file'}: {e['msg']}" for e in error.errors())
        raise BadGrants(f"{path}: {places}") from None
