"""A small identity provider for one machine: what a real one does, for seeded people and programs.

Discovery, keys, the code flow with PKCE (a person is chosen from a list: there are no passwords), client credentials
and token exchange, programs by `private_key_jwt`. It refuses to listen beyond loopback.
`python -m deploy.local.identity DIR` runs it, and leaves in DIR the keys of its programs and the file of grants.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import sys
import time
from base64 import urlsafe_b64encode
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlencode, urlsplit
from uuid import uuid4

import uvicorn
from fastapi import FastAPI, Form, Query
from fastapi.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from joserfc import jws, jwt
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, KeySet

from services import SERVICES
from shared.files import write_private
from shared.settings import is_loopback

AUDIENCES = [f"medsync-{service}" for service in SERVICES]
TOKEN_SECONDS, CODE_SECONDS, ASSERTION_SECONDS = 600, 60, 120
ASSERTION = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
EXCHANGE = "urn:ietf:params:oauth:grant-type:token-exchange"
ACCESS_TOKEN = "urn:ietf:params:oauth:token-type:access_token"  # a name

PEOPLE = {
    "clerk-1": "clerk",
    "technician-1": "technician",
    "pharmacist-1": "pharmacist",
    "pharmacist-2": "pharmacist",
    "manager-1": "manager",
    "operator-1": "operator",
    "auditor-1": "auditor",
}
PROGRAMS = {
    "medsync-cli": ["operator", "feed", "auditor", "privacy"],
    "medsync-console": [],
    "chain-platform": ["feed"],
    "dialer-1": ["dialer"],
    "dispensing-system": ["dispensing"],
    # the demo's people, who are programs too
    "demo": ["manager", "operator"],
    "clerk-1": ["clerk"],
    "technician-1": ["technician"],
    "technician-2": ["technician"],
    "prescriber-line": ["technician"],
    "pharmacist-1": ["pharmacist"],
    "pharmacist-2": ["pharmacist"],
}


class Denied(Exception):
    """A request that gets no token: an error code of OAuth, and why."""

    def __init__(self, code: str, why: str) -> None:
        super().__init__(why)
        self.code, self.why = code, why


@dataclass
class Provider:
    """Its keys, whom it knows, and what it gave out. Times are of the machine."""

    issuer: str
    clients: Mapping[str, ECKey]  # public keys of programs
    redirects: tuple[str, ...] = ()  # addresses to which a code may be sent
    people: Mapping[str, str] = field(default_factory=lambda: PEOPLE)
    key: ECKey = field(default_factory=lambda: ECKey.generate_key("P-256", auto_kid=True))
    clock: Callable[[], float] = time.time
    _refresh: dict[str, tuple[str, str]] = field(default_factory=dict)  # token to person and program
    _codes: dict[str, dict[str, str]] = field(default_factory=dict)
    _used: dict[str, float] = field(default_factory=dict)  # ids of assertions, until they expire

    def access_token(self, sub: str, client_id: str, **more: Any) -> str:
        """An access token (RFC 9068) of a person or a program."""
        groups = [self.people[sub]] if sub in self.people else []
        claims = {"aud": AUDIENCES, "client_id": client_id, "groups": groups, "jti": str(uuid4()), **more}
        return self._signed("at+jwt", sub, claims)

    def _signed(self, kind: str, sub: str, claims: Mapping[str, Any]) -> str:
        now = int(self.clock())
        said = {"iss": self.issuer, "sub": sub, "iat": now, "exp": now + TOKEN_SECONDS, **claims}
        return jwt.encode({"alg": "ES256", "typ": kind, "kid": self.key.kid}, said, self.key)

    def client_of(self, assertion: str) -> str:
        """Which program signed an assertion, once and for here. Raises Denied."""
        try:
            said = json.loads(jws.extract_compact(assertion.encode()).payload)
            claims = jwt.decode(assertion, self.clients[said["sub"]], algorithms=["ES256"]).claims
            jwt.JWTClaimsRegistry(
                now=lambda: int(self.clock()),
                iss={"essential": True, "value": said["sub"]},
                aud={"essential": True, "values": [self.issuer, f"{self.issuer}/token"]},
                exp={"essential": True},
                jti={"essential": True},
            ).validate(claims)
        except (JoseError, ValueError, KeyError, TypeError):
            raise Denied("invalid_client", "the assertion is no known program's, or was changed") from None
        now, name = self.clock(), f"{claims['sub']}/{claims['jti']}"
        self._used = {used: until for used, until in self._used.items() if until > now}
        if claims["exp"] > now + ASSERTION_SECONDS or name in self._used:
            raise Denied("invalid_client", "the assertion is used already, or lives too long")
        self._used[name] = claims["exp"]
        return str(claims["sub"])

    def code_for(self, sub: str, asked: Mapping[str, str]) -> str:
        """A code that the console exchanges for this person's token. Raises Denied."""
        if sub not in self.people:
            raise Denied("access_denied", "nobody has this id")
        code = secrets.token_urlsafe(32)
        self._codes[code] = {**asked, "sub": sub, "until": str(self.clock() + CODE_SECONDS)}
        return code

    def check_asked(self, asked: Mapping[str, str]) -> None:
        """Whether a code may be asked for so. Raises Denied."""
        if asked["client_id"] not in self.clients or asked["redirect_uri"] not in self.redirects:
            raise Denied("invalid_request", "no such program, or not its address")
        if asked["code_challenge_method"] != "S256" or len(asked["code_challenge"]) != 43:
            raise Denied("invalid_request", "PKCE by S256 is needed")

    def granted(self, client_id: str, form: Mapping[str, str]) -> dict[str, Any]:
        """The tokens of a grant. Raises Denied."""
        match form.get("grant_type"):
            case "client_credentials":
                return self._answer(self.access_token(client_id, client_id))
            case "authorization_code":
                return self._of_code(client_id, form)
            case "refresh_token":
                return self._refreshed(client_id, form)
            case kind if kind == EXCHANGE:
                return self._exchanged(client_id, form)
        raise Denied("unsupported_grant_type", "use authorization_code, client_credentials or token-exchange")

    def _of_code(self, client_id: str, form: Mapping[str, str]) -> dict[str, Any]:
        asked = self._codes.pop(form.get("code", ""), None)  # once, whatever comes of it
        verified = hashlib.sha256(form.get("code_verifier", "").encode()).digest()
        if (
            asked is None
            or asked["client_id"] != client_id
            or asked["redirect_uri"] != form.get("redirect_uri")
            or float(asked["until"]) < self.clock()
            or not secrets.compare_digest(_b64(verified), asked["code_challenge"])
        ):
            raise Denied("invalid_grant", "the code is used, too old, or not for this program")
        about = {"aud": client_id, "nonce": asked["nonce"], "auth_time": int(self.clock())}
        tokens = self._answer(self.access_token(asked["sub"], client_id))
        more = {"id_token": self._signed("JWT", asked["sub"], about)}
        return tokens | more | self._refresh_token(asked["sub"], client_id)

    def _refresh_token(self, sub: str, client_id: str) -> dict[str, str]:
        token = secrets.token_urlsafe(32)
        self._refresh[token] = sub, client_id
        return {"refresh_token": token}

    def _refreshed(self, client_id: str, form: Mapping[str, str]) -> dict[str, Any]:
        """The next tokens; each refresh token is good once."""
        sub, of_client = self._refresh.pop(form.get("refresh_token", ""), ("", ""))
        if of_client != client_id:
            raise Denied("invalid_grant", "the refresh token is used, or another program's")
        return self._answer(self.access_token(sub, client_id)) | self._refresh_token(sub, client_id)

    def _exchanged(self, client_id: str, form: Mapping[str, str]) -> dict[str, Any]:
        """A person's token for one service, for the program to act as the person (RFC 8693)."""
        try:
            held = jwt.decode(form.get("subject_token", ""), self.key, algorithms=["ES256"])
            now = jwt.JWTClaimsRegistry(now=lambda: int(self.clock()), exp={"essential": True})
            now.validate(held.claims)
            wanted = form["audience"]
        except (JoseError, ValueError, KeyError):
            raise Denied(
                "invalid_grant", "the token to exchange is not valid, or no audience is named"
            ) from None
        if (
            held.header.get("typ") != "at+jwt"
            or held.claims["client_id"] != client_id
            or wanted not in AUDIENCES
        ):
            raise Denied("invalid_target", "this program may not have this token for that audience")
        token = self.access_token(held.claims["sub"], client_id, aud=wanted, act={"sub": client_id})
        return self._answer(token) | {"issued_token_type": ACCESS_TOKEN}

    def _answer(self, token: str) -> dict[str, Any]:
        return {"access_token": token, "token_type": "Bearer", "expires_in": TOKEN_SECONDS}


def _b64(data: bytes) -> str:
    return urlsafe_b64encode(data).decode().rstrip("=")


Text = Annotated[str, Query(max_length=500)]


def create_app(provider: Provider) -> FastAPI:
    """Its addresses. Raises ValueError where its issuer is reached from other machines."""
    if not is_loopback(urlsplit(provider.issuer).hostname or ""):
        raise ValueError("this provider asks nobody for a password: it serves its own machine alone")
    app = FastAPI(title="A small identity provider", docs_url=None, redoc_url=None)

    @app.exception_handler(Denied)
    async def denied(_: object, error: Denied) -> JSONResponse:
        status = 401 if error.code == "invalid_client" else 400
        return JSONResponse({"error": error.code, "error_description": error.why}, status)

    @app.get("/.well-known/openid-configuration")
    async def discovery() -> dict[str, Any]:
        return {
            "issuer": provider.issuer,
            "authorization_endpoint": f"{provider.issuer}/authorize",
            "token_endpoint": f"{provider.issuer}/token",
            "jwks_uri": f"{provider.issuer}/keys",
            "response_types_supported": ["code"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": ["ES256"],
            "code_challenge_methods_supported": ["S256"],
            "token_endpoint_auth_methods_supported": ["private_key_jwt"],
            "grant_types_supported": ["authorization_code", "refresh_token", "client_credentials", EXCHANGE],
        }

    @app.get("/keys")
    async def keys() -> Any:
        return KeySet([provider.key]).as_dict(private=False)

    @app.get("/authorize")
    async def authorize(
        client_id: Text,
        redirect_uri: Text,
        state: Text,
        code_challenge: Text,
        code_challenge_method: Text,
        nonce: Text = "",
        sub: Text = "",
    ) -> Response:
        asked = {
            "client_id": client_id,
            "redirect_uri": redirect_uri,
            "state": state,
            "nonce": nonce,
            "code_challenge": code_challenge,
            "code_challenge_method": code_challenge_method,
        }
        provider.check_asked(asked)
        if sub:
            answer = urlencode({"code": provider.code_for(sub, asked), "state": state})
            return RedirectResponse(f"{redirect_uri}?{answer}", status_code=303)
        return HTMLResponse(_choice(provider.people, asked))

    @app.post("/token")
    async def token(
        client_assertion: Annotated[str, Form()] = "",
        client_assertion_type: Annotated[str, Form()] = "",
        grant_type: Annotated[str, Form()] = "",
        code: Annotated[str, Form()] = "",
        code_verifier: Annotated[str, Form()] = "",
        redirect_uri: Annotated[str, Form()] = "",
        refresh_token: Annotated[str, Form()] = "",
        subject_token: Annotated[str, Form()] = "",
        audience: Annotated[str, Form()] = "",
    ) -> JSONResponse:
        if client_assertion_type != ASSERTION:
            raise Denied("invalid_client", "programs sign in by private_key_jwt")
        form = {
            "grant_type": grant_type,
            "code": code,
            "code_verifier": code_verifier,
            "redirect_uri": redirect_uri,
            "refresh_token": refresh_token,
            "subject_token": subject_token,
            "audience": audience,
        }
        granted = provider.granted(provider.client_of(client_assertion), form)
        return JSONResponse(granted, headers={"Cache-Control": "no-store"})

    return app


def _choice(people: Mapping[str, str], asked: Mapping[str, str]) -> str:
    lines = "".join(
        f'<li><a href="/authorize?{escape(urlencode({**asked, "sub": sub}))}">{escape(sub)}</a> {escape(role)}</li>'
        for sub, role in people.items()
    )
    return f"<!doctype html><title>Sign in</title><h1>Who are you?</h1><ul>{lines}</ul>"


# ---- on a machine -----------------------------------------------------------------------------------------------


class Staff(Mapping[str, str]):
    """Whom it knows, with their groups, by the stores that the file names now."""

    def __init__(self, file: Path) -> None:
        self._file, self._read, self._people = file, "", people_of(())

    def _now(self) -> Mapping[str, str]:
        text = self._file.read_text() if self._file.exists() else "[]"
        if text != self._read:
            self._read, self._people = text, people_of(json.loads(text))
        return self._people

    def __getitem__(self, sub: str) -> str:
        return self._now()[sub]

    def __iter__(self) -> Iterator[str]:
        return iter(self._now())

    def __len__(self) -> int:
        return len(self._now())


def people_of(stores: Sequence[str]) -> dict[str, str]:
    """Whom it knows, with their groups: some of every store, and a pharmacist of each."""
    return PEOPLE | {f"pharmacist-of-{store}": f"pharmacist-{store}" for store in stores}


def grants_of(stores: Sequence[str]) -> str:
    """The file of grants for whom it knows."""
    parts = ['[signed_off]\nby = "this-machine"\non = 2026-01-01\n']
    parts += [
        f'[[group]]\nname = "{role}"\nroles = ["{role}"]\nstores = "all"\n'
        for role in sorted(set(PEOPLE.values()))
    ]
    for store in stores:
        name, only = json.dumps(f"pharmacist-{store}"), json.dumps([store])
        parts.append(f'[[group]]\nname = {name}\nroles = ["pharmacist"]\nstores = {only}\n')
    parts += [
        f'[[service]]\nclient = "{client}"\nroles = {json.dumps(roles)}\nstores = "all"\n'
        for client, roles in PROGRAMS.items()
    ]
    return "\n".join(parts)


def prepare(folder: Path, stores: Sequence[str] = ()) -> dict[str, ECKey]:
    """Make the programs' keys where they are not there yet, for their owner alone, and write the file of grants."""
    folder.mkdir(parents=True, exist_ok=True)
    know(folder, stores)
    return {client: _kept_key(key_file(folder, client)) for client in PROGRAMS}


def know(folder: Path, stores: Sequence[str]) -> None:
    """Have a pharmacist of each of these stores, at once: who reads a file meanwhile reads the old one."""
    write_private(folder / "grants.toml", grants_of(stores))
    write_private(folder / "stores.json", json.dumps(list(stores)))


def key_file(folder: Path, client: str) -> Path:
    """Where the private key of a program is."""
    return folder / f"{client}.key.json"


def _kept_key(file: Path) -> ECKey:
    if not file.exists():
        made = ECKey.generate_key("P-256", auto_kid=True)
        with open(file, "x", opener=lambda path, flags: os.open(path, flags, 0o600)) as out:
            json.dump(made.as_dict(private=True), out)
    return ECKey.import_key(json.loads(file.read_text()))


def main() -> None:
    if not 2 <= len(sys.argv) <= 4:
        raise SystemExit("usage: python -m deploy.local.identity DIRECTORY [PORT [ADDRESS OF THE CONSOLE]]")
    port = int(sys.argv[2]) if len(sys.argv) > 2 else 8090
    console = sys.argv[3] if len(sys.argv) > 3 else "http://127.0.0.1:8005"
    folder = Path(sys.argv[1])
    known = folder / "stores.json"
    stores = json.loads(known.read_text()) if known.exists() else []
    provider = Provider(
        f"http://127.0.0.1:{port}",
        prepare(folder, stores),
        redirects=(f"{console}/signed-in",),
        people=Staff(known),
        key=_kept_key(folder / "provider.key.json"),  # so that tokens outlive a restart
    )
    uvicorn.run(create_app(provider), host="127.0.0.1", port=port, log_level="warning")


if __name__ == "__main__":
    main()
