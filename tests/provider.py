"""An identity provider in the hands of a test: its keys, its tokens, and the chain's file of grants."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
from joserfc import jwt
from joserfc.jwk import ECKey, KeySet

from shared.access import Role
from shared.tokens import Keys

ISSUER = "https://id.chain.example"

GRANTS = """
[signed_off]
by = "officer-1"
on = 2026-03-02
"""


class Provider:
    """Signs what it is told to. `away` makes it not answer."""

    def __init__(self) -> None:
        self.key = ECKey.generate_key("P-256", auto_kid=True)
        self.published = [self.key]
        self.away = False
        self.asked: list[str] = []

    def keys(self, **more: Any) -> Keys:
        return Keys(ISSUER, fetch=self.fetch, **more)

    async def fetch(self, url: str) -> Mapping[str, Any]:
        """What it says at one of its addresses."""
        self.asked.append(url)
        if self.away:
            raise httpx.ConnectError("away")
        if url.endswith("openid-configuration"):
            return {"issuer": ISSUER, "jwks_uri": f"{ISSUER}/keys"}
        return KeySet(self.published).as_dict(private=False)

    def rotate(self, *, forget: bool = False) -> None:
        """Sign with a new key from now on."""
        self.key = ECKey.generate_key("P-256", auto_kid=True)
        self.published = [self.key] if forget else [*self.published, self.key]

    def token(
        self, sub: str = "p-1", *, header: Mapping[str, Any] | None = None, key: Any = None, **claims: Any
    ) -> str:
        """An access token for the planner, unless told otherwise; a claim that is None is left out."""
        now, signed_with = int(time.time()), key or self.key
        said = {
            "iss": ISSUER,
            "aud": "medsync-planner",
            "sub": sub,
            "client_id": "medsync-console",
            "iat": now,
            "exp": now + 300,
            "jti": str(uuid4()),
        } | claims
        head = {"alg": "ES256", "typ": "at+jwt", "kid": self.key.kid} | (header or {})
        head, said = (
            {name: value for name, value in part.items() if value is not None} for part in (head, said)
        )
        return jwt.encode(head, said, signed_with, algorithms=[head["alg"]])


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def grants_of_every_role(folder: Path) -> Path:
    """A file that has, for each role, a group of every store, of s1 and S1, and of one elsewhere."""
    parts = [GRANTS]
    for role in Role:
        for where, stores in (("all", '"all"'), ("here", '["s1", "S1"]'), ("elsewhere", '["elsewhere"]')):
            if role not in ("feed", "dialer", "dispensing", "system"):
                parts.append(f'[[group]]\nname = "{role}-{where}"\nroles = ["{role}"]\nstores = {stores}\n')
            else:
                parts.append(
                    f'[[service]]\nclient = "{role}-{where}"\nroles = ["{role}"]\nstores = {stores}\n'
                )
    file = folder / "grants.toml"
    file.write_text("\n".join(parts))
    return file
