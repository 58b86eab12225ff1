"""A small identity provider that answers on this machine, in the hands of a test."""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import uvicorn

from deploy.local.identity import Provider, _b64, create_app, prepare
from deploy.local.ports import free_port
from shared import grants
from shared.proof import proof, read_key
from shared.tokens import Keys, Tokens

CALLBACK = "http://127.0.0.1:1/signed-in"
VERIFIER = "v" * 50


@dataclass
class Here:
    """A provider that answers on this machine, and the keys of its programs."""

    provider: Provider
    folder: Path

    @property
    def issuer(self) -> str:
        return self.provider.issuer

    def key_of(self, client: str) -> Path:
        return self.folder / f"{client}.key.json"

    def tokens(self, service: str) -> Tokens:
        """How a service believes it."""
        return Tokens(
            Keys(self.issuer),
            audience=f"medsync-{service}",
            algorithms=("ES256",),
            grants=grants.read(self.folder / "grants.toml"),
        )

    def ask(self, client: str = "medsync-console", assertion: str = "", **form: str) -> httpx.Response:
        form |= proof(client, read_key(self.key_of(client)), self.issuer)
        form |= {"client_assertion": assertion} if assertion else {}
        return httpx.post(f"{self.issuer}/token", data=form, trust_env=False)

    def code(self, sub: str = "pharmacist-1", **changed: str) -> httpx.Response:
        asked = {
            "client_id": "medsync-console",
            "redirect_uri": CALLBACK,
            "state": "s",
            "nonce": "n",
            "code_challenge": _b64(hashlib.sha256(VERIFIER.encode()).digest()),
            "code_challenge_method": "S256",
            "sub": sub,
        }
        return httpx.get(f"{self.issuer}/authorize", params=asked | changed, trust_env=False)

    def signed_in(self, sub: str = "pharmacist-1") -> dict[str, Any]:
        [code] = parse_qs(urlsplit(self.code(sub).headers["location"]).query)["code"]
        form = {"grant_type": "authorization_code", "code": code, "redirect_uri": CALLBACK}
        answer = self.ask(**form, code_verifier=VERIFIER)
        assert answer.status_code == 200, answer.text
        return dict(answer.json())


@contextmanager
def provider_here(folder: Path) -> Iterator[Here]:
    """It answers while the context lasts."""
    port = free_port()
    provider = Provider(f"http://127.0.0.1:{port}", prepare(folder), redirects=(CALLBACK,))
    server = uvicorn.Server(uvicorn.Config(create_app(provider), port=port, log_config=None))
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    try:
        yield Here(provider, folder)
    finally:
        server.should_exit = True
        thread.join()
