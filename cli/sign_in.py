"""How the terminal says who acts: by an access token of the identity provider, and by headers where services take them.

`MEDSYNC_TOKEN` is a token as it is. With `MEDSYNC_CLIENT_ID` and `MEDSYNC_CLIENT_KEY_FILE` (a private key, as a JWK or
PEM) the terminal signs in as that program at `MEDSYNC_ISSUER`: client credentials, `private_key_jwt`. Without them it
signs in at the provider of the system that runs here.
"""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import httpx

from cli.system import described
from shared.proof import BadKey, proof, read_key

RENEW_SECONDS = 60.0

_held: dict[tuple[str, str], tuple[str, float]] = {}


def staff_headers(actor: str | None = None, role: str = "operator") -> dict[str, str]:
    """Headers of what is asked from the terminal: who acts is whom the token names, in the roles that the chain's file
    gives them; where services take headers, the actor, the login name unless given, in this role.

    Exits with a clear text where no token is got.
    """
    said = {"Medsync-Actor": actor or os.environ.get("USER", "operator"), "Medsync-Role": role}
    token = os.environ.get("MEDSYNC_TOKEN") or _token()
    return said | {"Authorization": f"Bearer {token}"} if token else said


def _token() -> str | None:
    if client_id := os.environ.get("MEDSYNC_CLIENT_ID"):
        issuer, file = os.environ.get("MEDSYNC_ISSUER"), os.environ.get("MEDSYNC_CLIENT_KEY_FILE")
        if not issuer or not file:
            raise SystemExit("MEDSYNC_CLIENT_ID needs MEDSYNC_ISSUER and MEDSYNC_CLIENT_KEY_FILE beside it")
        return signed_in(issuer, client_id, Path(file))
    path = described()
    here = json.loads(path.read_text(encoding="utf-8")).get("identity") if path.exists() else None
    return signed_in(here["issuer"], here["client_id"], Path(here["key_file"])) if here else None


def signed_in(issuer: str, client_id: str, key_file: Path) -> str:
    """The access token of a program, a new one before it expires. SystemExit where there is none."""
    token, until = _held.get((issuer, client_id), ("", 0.0))
    if until < time.monotonic():
        token, seconds = _asked(issuer, client_id, key_file)
        _held[issuer, client_id] = token, time.monotonic() + seconds - RENEW_SECONDS
    return token


def _asked(issuer: str, client_id: str, key_file: Path) -> tuple[str, float]:
    try:
        with httpx.Client(timeout=10, trust_env=False) as http:
            found = http.get(f"{issuer.rstrip('/')}/.well-known/openid-configuration").raise_for_status()
            form = {"grant_type": "client_credentials", **proof(client_id, read_key(key_file), issuer)}
            if scope := os.environ.get("MEDSYNC_SCOPE"):
                form["scope"] = scope
            answer = http.post(found.json()["token_endpoint"], data=form)
        if answer.is_error:
            raise SystemExit(f"{issuer} does not sign {client_id} in: {answer.text[:300]}")
        said = answer.json()
        return str(said["access_token"]), float(said.get("expires_in", 60))
    except BadKey as error:
        raise SystemExit(str(error)) from None
    except (httpx.HTTPError, ValueError, KeyError) as error:
        raise SystemExit(f"no access token from {issuer}: {type(error).__name__}") from None
