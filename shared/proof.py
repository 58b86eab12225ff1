"""How a program proves at the identity provider that it is it: `private_key_jwt` (RFC 7523)."""

from __future__ import annotations

import json
import time
from contextlib import suppress
from pathlib import Path
from uuid import uuid4

from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, RSAKey

ASSERTION = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
ASSERTION_SECONDS = 60

Key = ECKey | RSAKey


class BadKey(Exception):
    """A file that holds no private key; the text says which, and nothing of its content."""


def read_key(file: Path) -> Key:
    """A private key, as a JWK or PEM. Raises BadKey."""
    try:
        text = file.read_text()
        if text.lstrip().startswith("{"):
            said = json.loads(text)
            key: Key = ECKey.import_key(said) if said.get("kty") == "EC" else RSAKey.import_key(said)
        else:
            key = _of_pem(text)
        if not key.is_private:
            raise ValueError
    except (OSError, JoseError, ValueError) as error:
        raise BadKey(f"{file} is no private key that can be read: {type(error).__name__}") from None
    return key


def _of_pem(text: str) -> Key:
    with suppress(JoseError, ValueError):
        return RSAKey.import_key(text)
    return ECKey.import_key(text)


def proof(client_id: str, key: Key, audience: str) -> dict[str, str]:
    """Fields of a form for the token endpoint: an assertion that is good once, for a minute."""
    now = int(time.time())
    claims = {
        "iss": client_id,
        "sub": client_id,
        "aud": audience,
        "iat": now,
        "exp": now + ASSERTION_SECONDS,
        "jti": str(uuid4()),
    }
    algorithm = "ES256" if isinstance(key, ECKey) else "RS256"
    header = {"alg": algorithm, "typ": "JWT"} | ({"kid": key.kid} if key.kid else {})
    signed = jwt.encode(header, claims, key, algorithms=[algorithm])
    return {"client_assertion_type": ASSERTION, "client_assertion": signed}
