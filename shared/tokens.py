"""Who calls, as an access token says: RFC 9068, signed by the chain's identity provider for this service alone.

Its keys are fetched, fetched again when a token names a new one, and kept while the provider is away. Who has which
role, and at which stores, is no claim of the token: its groups are looked up in the chain's file (`shared.grants`).
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import httpx
import structlog
from fastapi import Request
from joserfc import jws, jwt
from joserfc.errors import ExpiredTokenError, InvalidClaimError, JoseError, MissingClaimError
from joserfc.jwk import KeySet

from shared.access import Kind, Principal
from shared.grants import Grants, GrantsFile
from shared.identity import ACTOR_ID, Unknown, listed
from shared.problems import Busy

TYPES = frozenset({"at+jwt", "application/at+jwt"})
"""RFC 9068: what signs people in (an ID token) is no access token."""

LEEWAY_SECONDS = 30
KEYS_OLD_SECONDS = 900.0
KEYS_AGAIN_SECONDS = 10.0
"""A token may name a key that nobody has: the provider is not asked more often than this."""

TOKEN_BYTES = 16 * 1024

log = structlog.get_logger()

Fetch = Callable[[str], Awaitable[Mapping[str, Any]]]


async def fetch_json(url: str) -> Mapping[str, Any]:
    """What the provider says at an address. Raises httpx.HTTPError, ValueError."""
    async with httpx.AsyncClient(timeout=5, trust_env=False) as http:
        answer = await http.get(url)
        answer.raise_for_status()
        said: Mapping[str, Any] = answer.json()
        return said


@dataclass(slots=True)
class Keys:
    """The public keys of an issuer."""

    issuer: str
    url: str = ""  # of the keys; empty: as the issuer's discovery document says
    fetch: Fetch = fetch_json
    clock: Callable[[], float] = time.monotonic
    _held: KeySet | None = None
    _fetched_at: float = 0.0
    _asked_at: float = float("-inf")
    _refresh: asyncio.Task[None] | None = None
    _asking: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def holding(self, key_id: str) -> KeySet:
        """The keys, asked for again where none is of this id or they are old.

        Raises Busy where the provider has never answered.
        """
        if not self._has(key_id):
            await self._ask_unless_just_asked()
        elif self.clock() - self._fetched_at > KEYS_OLD_SECONDS and self._refresh is None:
            # Nobody waits for it: what is held is good, and the provider may be away.
            self._refresh = asyncio.create_task(self._ask_unless_just_asked())
            self._refresh.add_done_callback(self._refreshed)
        if self._held is None:
            raise Busy("no_keys", "the identity provider does not answer: no token can be checked yet")
        return self._held

    def _refreshed(self, _: asyncio.Task[None]) -> None:
        self._refresh = None

    async def _ask_unless_just_asked(self) -> None:
        async with self._asking:
            if self.clock() - self._asked_at > KEYS_AGAIN_SECONDS:
                await self._ask()

    def _has(self, key_id: str) -> bool:
        return self._held is not None and any(key.kid == key_id for key in self._held.keys)

    async def _ask(self) -> None:
        self._asked_at = self.clock()
        try:
            url = self.url or str((await self.discovered())["jwks_uri"])
            self._held = KeySet.import_key_set(dict(await self.fetch(url)))  # type: ignore[arg-type]
            self._fetched_at = self.clock()
        except (httpx.HTTPError, JoseError, ValueError, KeyError, TypeError) as error:
            log.warning("identity.keys_not_fetched", error=type(error).__name__, held=self._held is not None)

    async def discovered(self) -> Mapping[str, Any]:
        """The issuer's discovery document. Raises httpx.HTTPError, ValueError, KeyError."""
        said = await self.fetch(f"{self.issuer.rstrip('/')}/.well-known/openid-configuration")
        if said["issuer"] != self.issuer:
            raise ValueError("the discovery document is another issuer's")
        return said


class Tokens:
    """Believes access tokens of one issuer, for one audience, signed with pinned algorithms."""

    def __init__(
        self, keys: Keys, *, audience: str, algorithms: tuple[str, ...], grants: Grants | GrantsFile
    ) -> None:
        self._keys, self._grants, self._algorithms = keys, grants, algorithms
        self._claims = jwt.JWTClaimsRegistry(
            leeway=LEEWAY_SECONDS,
            iss={"essential": True, "value": keys.issuer},
            aud={"essential": True, "value": audience},
            exp={"essential": True},
            iat={"essential": True},
            sub={"essential": True},
            client_id={"essential": True},
        )

    @property
    def grants_unread(self) -> bool:
        """Whether the chain's file says something that cannot be read, and what it said before is in force."""
        return isinstance(self._grants, GrantsFile) and self._grants.unread

    async def principal_of(self, request: Request) -> Principal:
        """Raises Unknown, or Busy where no keys are there yet."""
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not token:
            raise Unknown("send an access token of the chain's identity provider: Authorization: Bearer …")
        return await self.principal_in(token.strip())

    async def principal_in(self, token: str) -> Principal:
        """Whom a token names. Raises Unknown, or Busy where no keys are there yet."""
        claims = await self._believed(token)
        sub = claims["sub"]
        if not re.fullmatch(ACTOR_ID, sub):
            raise Unknown("the token's sub is no id: it has spaces, or too many characters")
        is_service = sub == claims["client_id"]
        groups = claims.get("groups", [])
        granted = self._grants.of(sub, groups if isinstance(groups, list) else [], is_service=is_service)
        return Principal(
            sub=sub,
            kind=Kind.service if is_service else Kind.person,
            grants=granted.roles,
            license=granted.license,
            patients=listed(claims["patients"]) if isinstance(claims.get("patients"), str) else frozenset(),
        )

    async def read(self, token: str) -> jwt.Token:
        """A token that the provider signed; its claims are still to be judged.

        Raises Unknown, JoseError or ValueError, and Busy where no keys are there yet.
        """
        key_id = jws.extract_compact(token.encode()).headers().get("kid")
        if not isinstance(key_id, str):
            raise Unknown("the token does not say with which key it is signed")
        keys = await self._keys.holding(key_id)
        if not any(key.kid == key_id for key in keys.keys):
            raise Unknown("the token is signed with no key of the identity provider")
        return jwt.decode(token, keys, algorithms=list(self._algorithms))

    async def discovered(self) -> Mapping[str, Any]:
        """The provider's discovery document. Raises httpx.HTTPError, ValueError, KeyError."""
        return await self._keys.discovered()

    async def _believed(self, token: str) -> dict[str, Any]:
        try:
            if len(token) > TOKEN_BYTES:
                raise Unknown("the token is too long")
            if str(jws.extract_compact(token.encode()).headers().get("typ", "")).lower() not in TYPES:
                raise Unknown("the token is no access token: its typ is not at+jwt (RFC 9068)")
            read = await self.read(token)
            self._claims.validate(read.claims)
        except ExpiredTokenError:
            raise Unknown("the token has expired: get a new one") from None
        except (InvalidClaimError, MissingClaimError) as error:
            raise Unknown(f"the token is not for this service: {error.claim}") from None
        except (JoseError, ValueError, TypeError, KeyError):
            raise Unknown("the token is not one of the identity provider's, or was changed") from None
        return read.claims
