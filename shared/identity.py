"""Who calls, as the request says it: in headers, where nobody but this machine is listened to."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Protocol

from fastapi import Request

from shared.access import Kind, Principal, Role
from shared.problems import Refused

ACTOR_ID = r"^[!-~]{1,80}$"
"""The form of an id of who acts: nothing that has a blank, as names have, is recorded as one."""

IDENTITY_HEADERS = ("medsync-actor", "medsync-role", "medsync-stores", "medsync-patients", "medsync-license")

PEOPLE = frozenset(Role) - {Role.feed, Role.dialer, Role.dispensing, Role.system}


class Unknown(Refused):
    """Nobody says who calls, or nothing that can be believed: sign in (401)."""

    def __init__(self, why: str) -> None:
        super().__init__("not_signed_in", why)


class Identity(Protocol):
    """How a service learns who calls."""

    @property
    def grants_unread(self) -> bool:
        """Whether the file of who may do what cannot be read as it is now."""
        ...

    async def principal_of(self, request: Request) -> Principal:
        """Raises Unknown."""
        ...


class Headed:
    """Believes the headers: for tests and for a machine that nobody else reaches. A service that listens further
    refuses to start with it (`shared.settings`).

    `Medsync-Role` may name several roles; `Medsync-Stores` and `Medsync-Patients` bound the reach: left out, every
    store and no patient. Each is separated by commas.
    """

    grants_unread = False  # there is none

    async def principal_of(self, request: Request) -> Principal:
        return headed(request.headers)


def headed(said: Mapping[str, str]) -> Principal:
    """The principal that headers, or cookies of the same names, say. Raises Unknown."""
    actor, roles = said.get("medsync-actor", ""), listed(said.get("medsync-role"))
    if not re.fullmatch(ACTOR_ID, actor) or not roles or not roles <= set(Role):
        raise Unknown(
            "say who acts: Medsync-Actor, an opaque id without spaces that is not a name, and Medsync-Role, a role"
        )
    stores = said.get("medsync-stores")
    return Principal(
        sub=actor,
        kind=Kind.person if roles & PEOPLE else Kind.service,
        grants={Role(role): None if stores is None else listed(stores) for role in roles},
        license=said.get("medsync-license", ""),
        patients=listed(said.get("medsync-patients")),
    )


def listed(text: str | None) -> frozenset[str]:
    """The parts of a list with commas."""
    return frozenset(part for each in (text or "").split(",") if (part := each.strip()))
