"""Whoever gives out access tokens by client credentials, over TLS: each says who asked, and is good for a while."""

from __future__ import annotations

import base64
import json
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from tests.certificates import Certificates
from tests.secure_kafka import AUDIENCE, ISSUER, password_of

KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
NUMBERS = KEY.public_key().public_numbers()


def _text(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


KEYS = {
    "keys": [
        {
            **{"kty": "RSA", "kid": "1", "alg": "RS256", "use": "sig"},
            "n": _text(NUMBERS.n.to_bytes(256, "big")),
            "e": _text(NUMBERS.e.to_bytes(3, "big")),
        }
    ]
}
"""Of whom the brokers believe."""


def token_of(name: str, seconds: int) -> str:
    now = int(time.time())
    claims = {"iss": ISSUER, "aud": AUDIENCE, "sub": name, "iat": now, "exp": now + seconds}
    head = {"alg": "RS256", "kid": "1"}
    said = ".".join(_text(json.dumps(part).encode()) for part in (head, claims))
    return f"{said}.{_text(KEY.sign(said.encode(), padding.PKCS1v15(), hashes.SHA256()))}"


class TokenServer(ThreadingHTTPServer):
    """`given` counts the tokens; `away`: it answers with errors."""

    given = 0
    away = False
    seconds = 3600

    @property
    def url(self) -> str:
        return f"https://127.0.0.1:{self.server_port}/token"


class _Answers(BaseHTTPRequestHandler):
    server: TokenServer

    def do_POST(self) -> None:
        form = parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())
        name, _, secret = base64.b64decode(self.headers["Authorization"].split()[1]).decode().partition(":")
        right = form["grant_type"] == ["client_credentials"] and secret == password_of(name)
        self.send_response(503 if self.server.away else 200 if right else 401)
        self.end_headers()
        if right and not self.server.away:
            self.server.given += 1
            answer = {"access_token": token_of(name, self.server.seconds), "expires_in": self.server.seconds}
            self.wfile.write(json.dumps(answer).encode())

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def token_server(known: Certificates) -> Iterator[TokenServer]:
    server = TokenServer(("127.0.0.1", 0), _Answers)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(known.certificate, known.key)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
