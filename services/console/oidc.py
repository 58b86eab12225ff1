"""People sign in by OpenID Connect: the code flow with PKCE, and a session that is kept on the server.

The browser holds a random id alone, in a `__Host-` cookie; the tokens are in the database, sealed. A client library is
not used: what it would check is one signed token, which joserfc does here as for access tokens, and it would keep the
session in the cookie.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import secrets
import time
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlencode

import httpx
from fastapi import Request
from joserfc import jwt
from joserfc.errors import JoseError
from starlette.responses import Response

from services.console.settings import Settings
from services.console.store import sessions
from services.console.store.sessions import Session
from shared.access import Principal
from shared.http import Problem
from shared.identity import Unknown
from shared.messaging import Work
from shared.proof import proof, read_key
from shared.sealing import SealBroken, Sealed, Sealer
from shared.tokens import LEEWAY_SECONDS, Tokens

COOKIE, BEGUN = "__Host-medsync", "__Host-medsync-sign-in"
BEGUN_SECONDS = 600
FRESH_MINUTES = 5
"""How long ago somebody may have proved who they are who drops an event for good."""

REFRESH_SECONDS = 30
EXCHANGE = "urn:ietf:params:oauth:grant-type:token-exchange"
ACCESS_TOKEN = "urn:ietf:params:oauth:token-type:access_token"  # a name


@dataclass(frozen=True, slots=True)
class Begun:
    """A sign-in on its way: in a sealed cookie of the browser that began it, so that no other can end it."""

    state: str
    nonce: str
    verifier: str
    to: str
    at: float


class SignIn:
    """The console at the identity provider."""

    def __init__(self, settings: Settings, tokens: Tokens) -> None:
        assert settings.client_key_file is not None
        self.settings, self.tokens = settings, tokens
        self._key = read_key(settings.client_key_file)
        self._found: Mapping[str, Any] = {}
        self._refreshing = asyncio.Lock()
        self._exchanged: dict[tuple[str, str], tuple[str, float]] = {}

    # ---- who looks

    @property
    def grants_unread(self) -> bool:
        return self.tokens.grants_unread

    async def principal_of(self, request: Request) -> Principal:
        """Whose session, or whose token, a request comes with. Raises Unknown."""
        if "authorization" in request.headers:
            return await self.tokens.principal_of(request)
        session, held = await self._session_of(request)
        request.state.session, request.state.access_token = session, held["access_token"]
        return await self.tokens.principal_in(held["access_token"])

    async def _session_of(self, request: Request) -> tuple[Session, dict[str, Any]]:
        work: Work = request.app.state.work
        session_hash = _session_hash(request)
        async with work.connection() as db:
            session = await sessions.find(db, session_hash, fresh_minutes=FRESH_MINUTES)
        if session is None:
            raise Unknown("sign in: nobody is signed in here, or was away too long")
        held = _opened(work.sealer, session)
        if held["until"] - time.time() < REFRESH_SECONDS:
            held = await self._refreshed(work, session_hash)
        return session, held

    async def _refreshed(self, work: Work, session_hash: bytes) -> dict[str, Any]:
        """Newer tokens, asked for once however many pages ask. Raises Unknown where the provider gives none."""
        async with self._refreshing, work.connection() as db:
            session = await sessions.find(db, session_hash, fresh_minutes=FRESH_MINUTES)
            held = _opened(work.sealer, session) if session else {}
            if held.get("until", 0) - time.time() < REFRESH_SECONDS:
                if not held.get("refresh_token"):
                    raise Unknown("sign in again: what the identity provider gave has run out")
                got = await self._token(
                    {"grant_type": "refresh_token", "refresh_token": held["refresh_token"]}
                )
                held = _held(got, held["refresh_token"])
                await sessions.keep_tokens(db, session_hash, _sealed(work.sealer, session_hash, held))
        return held

    async def token_for(self, request: Request, service: str) -> str:
        """The token with which another service is asked as the person: exchanged for one of that service alone.

        Where the provider exchanges none, the person's own, which is for several.
        """
        held: str = request.state.access_token
        if not self.settings.token_exchange:
            return held
        now, key = time.time(), (hashlib.sha256(held.encode()).hexdigest(), service)
        self._exchanged = {each: got for each, got in self._exchanged.items() if got[1] > now}
        if key not in self._exchanged:
            form = {
                "grant_type": EXCHANGE,
                "subject_token": held,
                "subject_token_type": ACCESS_TOKEN,
                "audience": f"medsync-{service}",
            }
            if self.settings.exchange_scope:
                form["scope"] = self.settings.exchange_scope.replace("{service}", service)
            got = await self._token(form)
            self._exchanged[key] = got["access_token"], now + got.get("expires_in", 60) - REFRESH_SECONDS
        return self._exchanged[key][0]

    # ---- signing in

    async def begin(self, answer: Response, sealer: Sealer, to: str, *, anew: bool) -> str:
        """Where to send the browser; it is given a cookie to come back with. `anew`: the person proves it again."""
        state, nonce, verifier = (secrets.token_urlsafe(32) for _ in range(3))
        begun = Begun(state, nonce, verifier, to, time.time())
        asked = {
            "response_type": "code",
            "client_id": self.settings.client_id,
            "redirect_uri": self._back,
            "scope": self.settings.sign_in_scope,
            "state": begun.state,
            "nonce": begun.nonce,
            "code_challenge": _b64(hashlib.sha256(begun.verifier.encode()).digest()),
            "code_challenge_method": "S256",
        } | ({"prompt": "login", "max_age": "0"} if anew else {})
        said = {each: getattr(begun, each) for each in Begun.__slots__}
        key_id, sealed = sealer.seal(json.dumps(said).encode(), bound_to=BEGUN)
        _set(answer, BEGUN, f"{key_id}.{_b64(sealed)}", BEGUN_SECONDS)
        return f"{(await self._discovered())['authorization_endpoint']}?{urlencode(asked)}"

    async def finish(self, request: Request, answer: Response, code: str, state: str) -> str:
        """Begin the session of who comes back with a code; answers where they wanted to go. Raises Unknown."""
        work: Work = request.app.state.work
        begun = _begun(request, work.sealer)
        if not secrets.compare_digest(begun.state, state) or time.time() - begun.at > BEGUN_SECONDS:
            raise Unknown("sign in again: this was begun in another window, or too long ago")
        form = {"grant_type": "authorization_code", "code": code, "redirect_uri": self._back}
        got = await self._token(form | {"code_verifier": begun.verifier})
        about = await self._who(got.get("id_token", ""), begun.nonce)
        principal = await self.tokens.principal_in(got["access_token"])
        if principal.sub != about["sub"]:
            raise Unknown("the identity provider names two people: sign in again")
        session_id = secrets.token_urlsafe(32)
        proved = datetime.fromtimestamp(about.get("auth_time", about["iat"]), UTC)
        sealed = _sealed(work.sealer, hash_of(session_id), _held(got, ""))
        async with work.connection() as db, db.transaction():
            await sessions.end(db, _session_hash(request))
            await sessions.begin(db, hash_of(session_id), secrets.token_urlsafe(24), sealed, proved)
        _set(answer, COOKIE, session_id, sessions.WHOLE_HOURS * 3600)
        answer.delete_cookie(BEGUN, path="/", secure=True, httponly=True)
        return begun.to

    async def end(self, request: Request, answer: Response) -> None:
        work: Work = request.app.state.work
        async with work.connection() as db:
            await sessions.end(db, _session_hash(request))
        answer.delete_cookie(COOKIE, path="/", secure=True, httponly=True)

    async def _who(self, id_token: str, nonce: str) -> dict[str, Any]:
        """Whom an ID token names: for this console, of this sign-in. Raises Unknown."""
        try:
            claims = (await self.tokens.read(id_token)).claims
            jwt.JWTClaimsRegistry(
                leeway=LEEWAY_SECONDS,
                iss={"essential": True, "value": self.settings.issuer},
                aud={"essential": True, "value": self.settings.client_id},
                sub={"essential": True},
                exp={"essential": True},
                iat={"essential": True},
                nonce={"essential": True, "value": nonce},
            ).validate(claims)
        except (JoseError, ValueError):
            raise Unknown("what the identity provider said of who signed in is not believed") from None
        return claims

    # ---- the provider

    async def _discovered(self) -> Mapping[str, Any]:
        """Its discovery document. Raises a 503 problem where it has never answered."""
        if not self._found:
            try:
                self._found = await self.tokens.discovered()
            except (httpx.HTTPError, ValueError, KeyError):
                raise _no_answer() from None
        return self._found

    async def _token(self, form: Mapping[str, str]) -> dict[str, Any]:
        """What the token endpoint gives. Raises Unknown where it refuses, a 503 problem where it does not answer."""
        try:
            endpoint = (await self._discovered())["token_endpoint"]
            proved = proof(self.settings.client_id, self._key, self.settings.issuer)
            async with httpx.AsyncClient(timeout=10, trust_env=False) as http:
                answer = await http.post(endpoint, data={**form, **proved})
            said: dict[str, Any] = answer.json()
        except (httpx.HTTPError, ValueError, KeyError):
            raise _no_answer() from None
        if answer.is_error or "access_token" not in said:
            raise Unknown("the identity provider gave no token: sign in again")
        return said

    @property
    def _back(self) -> str:
        return f"{self.settings.public_url.rstrip('/')}/signed-in"


def _no_answer() -> Problem:
    return Problem(503, "Unavailable", "the identity provider does not answer: try again")


def hash_of(session_id: str) -> bytes:
    """What is kept of the id that a browser holds: who reads the table cannot be anybody."""
    return hashlib.sha256(session_id.encode()).digest()


def _session_hash(request: Request) -> bytes:
    return hash_of(request.cookies.get(COOKIE, ""))


def check_form(request: Request, csrf: str, settings: Settings) -> None:
    """A form that a browser sends with its cookie comes from a page of ours. Raises a 403 problem."""
    session: Session | None = getattr(request.state, "session", None)
    if session is None:
        return
    origin = request.headers.get("origin")
    if origin is not None and origin != settings.public_url.rstrip("/"):
        raise Problem(403, "Not allowed", "this form was sent from another site")
    if not secrets.compare_digest(session.csrf, csrf):
        raise Problem(403, "Not allowed", "this form is not of this session: load the page again")


def require_fresh(request: Request) -> None:
    """Raises a 401 problem where who is signed in proved it too long ago for this."""
    session: Session | None = getattr(request.state, "session", None)
    if session is not None and not session.is_fresh:
        detail = "this is for good: sign in anew (/sign-in?anew=true), then do it within five minutes"
        raise Problem(401, "Sign in anew", detail, code="not_fresh")


def _begun(request: Request, sealer: Sealer) -> Begun:
    key_id, _, sealed = request.cookies.get(BEGUN, "").partition(".")
    try:
        plain = sealer.open(_unb64(sealed), key_id=key_id, bound_to=BEGUN)
    except (SealBroken, ValueError):
        raise Unknown("sign in again: this was begun in another window, or too long ago") from None
    return Begun(**json.loads(plain))


def _held(got: Mapping[str, Any], refresh_token: str) -> dict[str, Any]:
    return {
        "access_token": got["access_token"],
        "refresh_token": got.get("refresh_token", refresh_token),
        "until": time.time() + got.get("expires_in", 60),
    }


def _sealed(sealer: Sealer, session_hash: bytes, held: Mapping[str, Any]) -> Sealed:
    return sealer.seal(json.dumps(held).encode(), bound_to=f"session/{session_hash.hex()}")


def _opened(sealer: Sealer, session: Session) -> dict[str, Any]:
    try:
        bound_to = f"session/{session.session_hash.hex()}"
        held: dict[str, Any] = json.loads(
            sealer.open(session.tokens, key_id=session.key_id, bound_to=bound_to)
        )
    except SealBroken:
        raise Unknown("sign in again: the session was sealed with a key that is not held any more") from None
    return held


def _set(answer: Response, name: str, value: str, seconds: int) -> None:
    # Lax: the browser comes back from the provider's site. Browsers take Secure on http://127.0.0.1 too.
    answer.set_cookie(name, value, max_age=seconds, path="/", secure=True, httponly=True, samesite="lax")


def _b64(data: bytes) -> str:
    return urlsafe_b64encode(data).decode().rstrip("=")


def _unb64(text: str) -> bytes:
    return urlsafe_b64decode(text + "=" * (-len(text) % 4))
