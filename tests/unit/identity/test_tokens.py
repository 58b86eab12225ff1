"""Access tokens: which are believed, how keys are fetched, rotated, and kept while the provider is away."""

from __future__ import annotations

import asyncio
import base64
import json
import time
from pathlib import Path
from typing import Any

import pytest
from joserfc.jwk import ECKey, OctKey, RSAKey
from pydantic import SecretStr, ValidationError
from structlog.testing import capture_logs

from shared import grants
from shared.access import Kind, Principal, Role
from shared.grants import LOOK_SECONDS, BadGrants, GrantsFile
from shared.identity import Unknown
from shared.problems import Busy
from shared.settings import ServiceSettings
from shared.tokens import KEYS_AGAIN_SECONDS, KEYS_OLD_SECONDS, Tokens
from tests.provider import GRANTS, ISSUER, Provider, grants_of_every_role

ALGORITHMS = ("ES256",)


@pytest.fixture
def provider() -> Provider:
    return Provider()


@pytest.fixture
def tokens(provider: Provider, tmp_path: Path) -> Tokens:
    file = grants.read(grants_of_every_role(tmp_path))
    return Tokens(provider.keys(), audience="medsync-planner", algorithms=ALGORITHMS, grants=file)


async def test_a_token_says_who_calls_and_the_chains_file_what_they_may(
    provider: Provider, tokens: Tokens
) -> None:
    token = provider.token("p-1", groups=["pharmacist-here", "of another system"])
    assert await tokens.principal_in(token) == Principal(
        "p-1", Kind.person, {Role.pharmacist: frozenset({"s1", "S1"})}
    )
    program = provider.token("feed-all", client_id="feed-all")
    assert await tokens.principal_in(program) == Principal("feed-all", Kind.service, {Role.feed: None})
    nobody = await tokens.principal_in(provider.token("p-2", roles=["operator"], stores=["s1"]))
    assert nobody.roles == frozenset(), "what a token says of roles by itself is nothing"
    person = await tokens.principal_in(provider.token("feed-all", groups=["feed-all"]))
    assert person.roles == frozenset(), "a person is no program, whatever their id"


NOW = int(time.time())
BAD: dict[str, dict[str, Any]] = {
    "has expired": {"exp": NOW - 60},
    "not for this service: aud": {"aud": "medsync-outreach"},
    "not for this service: iss": {"iss": "https://id.other.example"},
    "not for this service: exp": {"exp": None},
    "not for this service: sub": {"sub": None},
    "not for this service: client_id": {"client_id": None},
    "not for this service: iat": {"iat": NOW + 600},
    "not for this service: nbf": {"nbf": NOW + 600},
    "its typ is not at": {"header": {"typ": "JWT"}},
    "which key it is signed": {"header": {"kid": None}},
    "no key of the identity provider": {"header": {"kid": "unknown"}},
    "is no id": {"sub": "Ada Lovelace"},
}


@pytest.mark.parametrize("why", BAD)
async def test_a_token_that_is_wrong_in_one_thing_is_not_believed(
    why: str, provider: Provider, tokens: Tokens
) -> None:
    good = {"sub": "p-1", "groups": ["pharmacist-all"]}
    await tokens.principal_in(provider.token(**good))
    with pytest.raises(Unknown, match=why):
        await tokens.principal_in(provider.token(**good | BAD[why]))


async def test_nobody_else_signs(provider: Provider, tokens: Tokens) -> None:
    kid = provider.key.kid
    strangers = ECKey.generate_key("P-256")
    public = json.dumps(provider.key.as_dict(private=False)).encode()
    rsa = RSAKey.generate_key(2048)
    forged = [
        provider.token(key=strangers, header={"kid": kid}),
        provider.token(key=OctKey.import_key(public), header={"kid": kid, "alg": "HS256"}),
        provider.token(key=rsa, header={"kid": kid, "alg": "RS256"}),
        _unsigned(kid),
        provider.token()[:-4] + "AAAA",
        "a.b.c",
        "",
        "x" * 20_000,
    ]
    for token in forged:
        with pytest.raises(Unknown):
            await tokens.principal_in(token)


async def test_an_algorithm_that_is_not_pinned_is_none_whoever_signs(
    provider: Provider, tokens: Tokens
) -> None:
    rsa = RSAKey.generate_key(2048, auto_kid=True)
    provider.published.append(rsa)
    with pytest.raises(Unknown, match="not one of the identity provider's"):
        await tokens.principal_in(provider.token(key=rsa, header={"kid": rsa.kid, "alg": "RS256"}))


def _unsigned(kid: str) -> str:
    parts = ({"alg": "none", "typ": "at+jwt", "kid": kid}, {"sub": "p-1"})
    said = [base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in parts]
    return ".".join((*said, ""))


# ---- keys


class Clock:
    """Seconds of a machine, set by hand."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


async def test_keys_are_rotated_without_a_restart_and_the_provider_is_not_flooded(provider: Provider) -> None:
    clock = Clock()
    keys = provider.keys(clock=clock)
    await keys.holding(provider.key.kid)
    provider.rotate()
    clock.now += KEYS_AGAIN_SECONDS + 1
    assert any(key.kid == provider.key.kid for key in (await keys.holding(provider.key.kid)).keys)
    asked = len(provider.asked)
    await asyncio.gather(*(keys.holding(f"unknown-{number}") for number in range(50)))
    assert len(provider.asked) == asked


async def test_keys_are_kept_while_the_provider_is_away_and_a_withdrawn_one_goes(provider: Provider) -> None:
    clock, first = Clock(), provider.key.kid
    keys = provider.keys(clock=clock)
    await keys.holding(first)
    provider.away = True
    clock.now += KEYS_OLD_SECONDS + 1
    assert (await keys.holding(first)).keys
    await _refreshed(keys)
    assert any(key.kid == first for key in (await keys.holding(first)).keys), "through an outage"
    provider.away = False
    provider.rotate(forget=True)
    clock.now += KEYS_OLD_SECONDS + 1
    await keys.holding(first)
    await _refreshed(keys)
    assert not any(key.kid == first for key in (await keys.holding(provider.key.kid)).keys)


async def _refreshed(keys: Any) -> None:
    if keys._refresh:
        await keys._refresh


async def test_without_keys_nobody_is_believed_and_the_caller_is_told_to_come_again(
    provider: Provider, tokens: Tokens
) -> None:
    provider.away = True
    with pytest.raises(Busy, match="the identity provider does not answer"):
        await tokens.principal_in(provider.token())


async def test_a_discovery_document_of_another_issuer_is_not_believed(provider: Provider) -> None:
    keys = provider.keys()
    keys.issuer = f"{ISSUER}/"
    with pytest.raises(Busy):
        await keys.holding(provider.key.kid)


# ---- the chain's file


async def test_each_role_has_the_stores_of_its_own_groups(tmp_path: Path) -> None:
    granted = grants.read(grants_of_every_role(tmp_path)).of("p-1", ["pharmacist-here", "clerk-all"])
    assert granted.roles == {Role.pharmacist: {"s1", "S1"}, Role.clerk: None}


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "signed_off"),
        ("[signed_off", "Expected"),
        (GRANTS + '[[group]]\nname = "g"\nroles = ["king"]\n', r"group.0.roles.0"),
        (GRANTS + '[[group]]\nname = "g"\nroles = ["system"]\n', "a program's, not a person's"),
        (GRANTS + '[[group]]\nname = "g"\nroles = []\n' * 2, "group g stands there twice"),
        (GRANTS + '[[group]]\nname = "g"\nroles = []\nstore = "all"\n', r"group.0.store: Extra"),
    ],
)
def test_a_file_that_cannot_be_read_says_where(text: str, why: str, tmp_path: Path) -> None:
    file = tmp_path / "grants.toml"
    file.write_text(text)
    with pytest.raises(BadGrants, match=why):
        grants.read(file)


async def test_a_changed_file_counts_without_a_restart_and_one_that_cannot_be_read_does_not(
    provider: Provider, tmp_path: Path
) -> None:
    clock = Clock()
    file = tmp_path / "grants.toml"

    def say(text: str) -> None:
        file.write_text(GRANTS + text)
        clock.now += LOOK_SECONDS + 1

    say('[[group]]\nname = "g"\nroles = ["clerk"]\nstores = ["s1"]\n')
    tokens = Tokens(
        provider.keys(), audience="medsync-planner", algorithms=ALGORITHMS, grants=GrantsFile(file, clock)
    )
    token = provider.token(groups=["g"])

    async def roles() -> dict[Role, Any]:
        return dict((await tokens.principal_in(token)).grants)

    assert (await roles(), tokens.grants_unread) == ({Role.clerk: {"s1"}}, False)
    say('[[group]]\nname = "g"\nroles = ["manager"]\nstores = ["s2"]\n')
    assert await roles() == {Role.manager: {"s2"}}
    with capture_logs() as said:
        for bad in ('[[group]]\nname = "g"\nroles = ["king"]\n', "[[group"):
            say(bad)
            assert (await roles(), tokens.grants_unread) == ({Role.manager: {"s2"}}, True)
        clock.now += LOOK_SECONDS + 1
        assert tokens.grants_unread
        file.unlink()
        clock.now += LOOK_SECONDS + 1
        assert (await roles(), tokens.grants_unread) == ({Role.manager: {"s2"}}, True)
    assert [(each["event"], each["log_level"]) for each in said] == [("grants.unread", "error")] * 3
    assert "group.0.roles.0" in said[0]["why"]
    say("")
    assert (await roles(), tokens.grants_unread) == ({}, False), "who lost the role has it no longer"


# ---- settings


SETTINGS: dict[str, Any] = {
    "database_url": "postgres://nowhere",
    "kafka_bootstrap": "nowhere:1",
    "sealing_key": SecretStr("5a" * 32),
}


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.1.2.3", "pharmacy.example"])
def test_a_service_that_others_reach_does_not_start_with_headers(host: str) -> None:
    with pytest.raises(ValidationError, match="headers prove nothing"):
        ServiceSettings(host=host, **SETTINGS)
    ServiceSettings(host=host, issuer=ISSUER, grants_file=Path("grants.toml"), **SETTINGS)


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "localhost"])
def test_on_this_machine_alone_headers_do(host: str) -> None:
    assert ServiceSettings(host=host, **SETTINGS).issuer == ""


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ({"issuer": ISSUER}, "GRANTS_FILE"),
        ({"issuer": "http://id.chain.example", "grants_file": "g"}, "https"),
        ({"issuer": ISSUER, "grants_file": "g", "token_algorithms": "HS256"}, "TOKEN_ALGORITHMS"),
        ({"issuer": ISSUER, "grants_file": "g", "token_algorithms": ""}, "TOKEN_ALGORITHMS"),
    ],
)
def test_a_setting_that_would_weaken_tokens_is_refused(given: dict[str, Any], why: str) -> None:
    with pytest.raises(ValidationError, match=why):
        ServiceSettings(**given, **SETTINGS)
