"""How the terminal says who acts: by an access token of the identity provider, or by headers where services take them.

`MEDSYNC_TOKEN` is a token as it is. With `MEDSYNC_CLIENT_ID` and `MEDSYNC_CLIENT_KEY_FILE` (a private key, as a JWK or
PEM) the terminal signs in as that program at `MEDSYNC_ISSUER`: client credentials, `private_key_jwt`.
"""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path

import httpx

from shared.proof import BadKey, proof, read_key


def staff_headers(actor: str | None = None, role: str = "operator") -> dict[str, str]:
    """Headers of what is asked from the terminal: who acts is whom the token names, in the roles that the chain's file
    gives them; without a token the actor, the login name unless given, in this role.

    Exits with a clear text where no token is got.
    """
    if token := os.environ.get("MEDSYNC_TOKEN"):
        return {"Authorization": f"Bearer {token}"}
    if client_id := os.environ.get("MEDSYNC_CLIENT_ID"):
        return {"Authorization": f"Bearer {_token_of(client_id)}"}
    return {"Medsync-Actor": actor or os.environ.get("USER", "operator"), "Medsync-Role": role}


def _token_of(client_id: str) -> str:
    issuer, file = os.environ.get("MEDSYNC_ISSUER"), os.environ.get("MEDSYNC_CLIENT_KEY_FILE")
    if not issuer or not file:
        raise SystemExit("MEDSYNC_CLIENT_ID needs MEDSYNC_ISSUER and MEDSYNC_CLIENT_KEY_FILE beside it")
    return signed_in(issuer, client_id, Path(file))


@cache
def signed_in(issuer: str, client_id: str, key_file: Path) -> str:
    """The access token of a program; a command of the terminal ends before it does. SystemExit where there is none."""
    try:
        with httpx.Client(timeout=10, trust_env=False) as http:
            found = http.get(f"{issuer.rstrip('/')}/.well-known/openid-configuration").raise_for_status()
            endpoint = found.json()["token_endpoint"]
            form = {
                "grant_type": "client_credentials",
                **proof(client_id, read_key(key_file), issuer),
            } | ({"scope": scope} if (scope := os.environ.get("MEDSYNC_SCOPE")) else {})
            answer = http.post(endpoint, data=form)
        if answer.is_error:
            raise SystemExit(f"{issuer} signs {client_id} in not: {answer.text[:300]}")
        return str(answer.json()["access_token"])
    except BadKey as error:
        raise SystemExit(str(error)) from None
    except (httpx.HTTPError, ValueError, KeyError) as error:
        raise SystemExit(f"no access token from {issuer}: {type(error).__name__}") from None
