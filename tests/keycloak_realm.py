"""The chain at Keycloak, as docs/how-to/secure.md says to set it up: its programs, its people, and who signs in."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
from joserfc.jwk import ECKey

from shared import grants
from shared.tokens import Keys, Tokens
from tests.keycloak import PASSWORD, Keycloak

REALM = "chain"
OTHERS = ("enrollment", "planner", "outreach", "fulfillment")
GRANTS = """
[signed_off]
by = "officer-1"
on = 2026-03-02

[[group]]
name = "rx-s1-pharmacists"
roles = ["pharmacist"]
stores = ["s1"]

[[group]]
name = "rx-patients"
roles = ["patient"]

[[service]]
client = "dialer-1"
roles = ["dialer"]
stores = "all"
"""
PEOPLE = {"ada": "rx-s1-pharmacists", "pat": "rx-patients"}


def _mapper(name: str, kind: str, **config: str) -> dict[str, Any]:
    said = {each.replace("_", "."): value for each, value in config.items()}
    return {"name": name, "protocol": "openid-connect", "protocolMapper": f"oidc-{kind}-mapper"} | {
        "config": {"access.token.claim": "true", "introspection.token.claim": "true"} | said
    }


def _claim(name: str, value: str) -> dict[str, Any]:
    """A claim that says the same in every token of a program."""
    config = {"claim_name": name, "claim_value": value, "jsonType_label": "String"}
    return _mapper(f"claim {name}", "hardcoded-claim", **config)


def _audience(service: str) -> dict[str, Any]:
    return _mapper(f"audience {service}", "audience", included_custom_audience=f"medsync-{service}")


def _program(name: str, key: ECKey, mappers: Sequence[dict[str, Any]], **more: Any) -> dict[str, Any]:
    """A client that proves itself by `private_key_jwt`, with access tokens as RFC 9068 has them."""
    public = {**key.as_dict(private=False), "use": "sig", "alg": "ES256"}
    attributes = {
        "use.jwks.string": "true",
        "jwks.string": json.dumps({"keys": [public]}),
        "token.endpoint.auth.signing.alg": "ES256",
        "access.token.header.type.rfc9068": "true",
    }
    return {
        "clientId": name,
        "clientAuthenticatorType": "client-jwt",
        "standardFlowEnabled": False,
        "directAccessGrantsEnabled": False,
        "fullScopeAllowed": False,
        "defaultClientScopes": [],
        "optionalClientScopes": [],
        "protocolMappers": [_claim("client_id", name), *mappers],
        **more,
        "attributes": attributes | more.get("attributes", {}),
    }


def _console(name: str, key: ECKey, callback: str, **more: Any) -> dict[str, Any]:
    """A client to which people sign in."""
    mappers = [
        _mapper("sub", "sub"),
        _mapper("groups", "group-membership", claim_name="groups", full_path="false"),
        _mapper(
            "signed in at",
            "usersessionmodel-note",
            user_session_note="AUTH_TIME",
            claim_name="auth_time",
            jsonType_label="long",
            id_token_claim="true",
        ),
        _mapper("patients", "usermodel-attribute", user_attribute="patients", claim_name="patients"),
        _audience("console"),
    ]
    attributes = {"pkce.code.challenge.method": "S256", "standard.token.exchange.enabled": "true"}
    return _program(
        name,
        key,
        mappers,
        standardFlowEnabled=True,
        redirectUris=[callback],
        attributes=attributes,
        **more,
    )


def _realm(key: ECKey, callback: str) -> dict[str, Any]:
    scopes = [f"to-{service}" for service in OTHERS]
    named = {"protocol": "openid-connect", "attributes": {"include.in.token.scope": "true"}}
    profile = {
        "attributes": [
            {"name": "username"},
            {"name": "email"},
            {"name": "patients", "permissions": {"view": ["admin"], "edit": ["admin"]}},
        ]
    }
    return {
        "realm": REALM,
        "enabled": True,
        "sslRequired": "none",
        "accessTokenLifespan": 300,
        "components": {
            "org.keycloak.userprofile.UserProfileProvider": [
                {
                    "providerId": "declarative-user-profile",
                    "config": {"kc.user.profile.config": [json.dumps(profile)]},
                }
            ]
        },
        "groups": [{"name": group} for group in PEOPLE.values()],
        "users": [
            {
                "username": name,
                "email": f"{name}@chain.example",
                "enabled": True,
                "groups": [group],
                "credentials": [{"type": "password", "value": PASSWORD}],
                "attributes": {"patients": ["p-1,p-2"]} if name == "pat" else {},
            }
            for name, group in PEOPLE.items()
        ],
        "clientScopes": [
            {"name": scope, **named, "protocolMappers": [_audience(service)]}
            for scope, service in zip(scopes, OTHERS, strict=True)
        ],
        "clients": [
            *({"clientId": f"medsync-{service}", "bearerOnly": True} for service in OTHERS),
            _console("medsync-console", key, callback, optionalClientScopes=scopes),
            _console("medsync-console-of-all", key, callback, defaultClientScopes=scopes),
            _program(
                "dialer-1",
                key,
                [_claim("sub", "dialer-1"), _audience("outreach")],
                serviceAccountsEnabled=True,
            ),
        ],
    }


@dataclass(frozen=True)
class Chain:
    """The chain's realm, and what its programs prove themselves with."""

    server: Keycloak
    folder: Path

    @property
    def issuer(self) -> str:
        return f"{self.server.url}/realms/{REALM}"

    @property
    def key_file(self) -> Path:
        return self.folder / "key.json"

    @property
    def grants_file(self) -> Path:
        return self.folder / "grants.toml"

    def tokens(self, service: str, **keys: Any) -> Tokens:
        """How a service believes it."""
        return Tokens(
            Keys(self.issuer, **keys),
            audience=f"medsync-{service}",
            algorithms=("ES256", "RS256"),
            grants=grants.read(self.grants_file),
        )

    def rotate(self) -> None:
        """Sign with a new key from now on; the old one still counts."""
        kind = {"providerId": "rsa-generated", "providerType": "org.keycloak.keys.KeyProvider"}
        said = {"name": "newer", "config": {"priority": ["1000"]}}
        self.server.admin("POST", f"/{REALM}/components", kind | said)

    async def choose(self, address: str, name: str) -> str:
        """Sign in on its page as a browser does; where it sends the browser back."""
        async with httpx.AsyncClient(timeout=30, trust_env=False) as http:
            page = await http.get(address)
            assert page.status_code == 200, page.text
            # Browsers send Secure cookies to 127.0.0.1; httpx does not.
            cookies = "; ".join(each.partition(";")[0] for each in page.headers.get_list("set-cookie"))
            action = re.findall(r'action="([^"]+)"', page.text)[0]
            said = {"username": name, "password": PASSWORD}
            back = await http.post(html.unescape(action), data=said, headers={"Cookie": cookies})
        assert back.status_code == 302, back.text
        return back.headers["location"]


def chain_at(server: Keycloak, folder: Path, callback: str) -> Chain:
    """Make the realm."""
    key = ECKey.generate_key("P-256", auto_kid=True)
    made = Chain(server, folder)
    made.key_file.write_text(json.dumps(key.as_dict(private=True)))
    made.grants_file.write_text(GRANTS)
    server.admin("POST", "", _realm(key, callback))
    return made
