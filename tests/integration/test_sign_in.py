"""The small provider of one machine: it signs in people and programs as a real one does, and a service believes it."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from joserfc import jwt
from joserfc.jwk import ECKey

from cli import sign_in
from deploy.local.identity import EXCHANGE, PEOPLE, PROGRAMS, Provider, create_app
from shared import grants
from shared.access import Kind, Role
from shared.identity import Unknown
from shared.proof import proof, read_key
from tests.signing_in import CALLBACK, VERIFIER, Here, provider_here


@pytest.fixture
def here(tmp_path: Path) -> Iterator[Here]:
    with provider_here(tmp_path) as made:
        yield made


async def test_a_person_signs_in_by_a_code_and_a_service_believes_it(here: Here) -> None:
    tokens = here.signed_in("pharmacist-1")
    principal = await here.tokens("planner").principal_in(tokens["access_token"])
    assert (principal.sub, principal.kind, principal.grants) == (
        "pharmacist-1",
        Kind.person,
        {Role.pharmacist: None},
    )
    assert jwt.decode(tokens["id_token"], here.provider.key).claims["nonce"] == "n"
    with pytest.raises(Unknown, match="typ is not at"):
        await here.tokens("planner").principal_in(tokens["id_token"])


def test_its_first_page_offers_everybody_whom_it_knows(here: Here) -> None:
    page = here.code(sub="").text
    assert all(sub in page for sub in PEOPLE)


async def test_the_terminal_signs_in_as_a_program(here: Here, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MEDSYNC_ISSUER", here.issuer)
    monkeypatch.setenv("MEDSYNC_CLIENT_ID", "medsync-cli")
    monkeypatch.setenv("MEDSYNC_CLIENT_KEY_FILE", str(here.key_of("medsync-cli")))
    scheme, _, token = sign_in.staff_headers()["Authorization"].partition(" ")
    principal = await here.tokens("enrollment").principal_in(token)
    assert (scheme, principal.kind, principal.roles) == (
        "Bearer",
        Kind.service,
        {Role.operator, Role.feed, Role.privacy, Role.auditor},
    )
    assert here.key_of("medsync-cli").stat().st_mode & 0o777 == 0o600
    monkeypatch.setenv("MEDSYNC_CLIENT_ID", "dialer-1")
    with pytest.raises(SystemExit, match="invalid_client"):
        sign_in.staff_headers()
    monkeypatch.setenv("MEDSYNC_TOKEN", "as it is")
    assert sign_in.staff_headers()["Authorization"] == "Bearer as it is"


async def test_a_persons_token_is_exchanged_for_one_of_one_service(here: Here) -> None:
    held = here.signed_in("clerk-1")["access_token"]
    exchange = {"grant_type": EXCHANGE, "subject_token": held}
    got = here.ask(**exchange, audience="medsync-planner").json()["access_token"]
    assert (await here.tokens("planner").principal_in(got)).sub == "clerk-1"
    with pytest.raises(Unknown, match="not for this service: aud"):
        await here.tokens("outreach").principal_in(got)
    assert here.ask("chain-platform", **exchange, audience="medsync-planner").status_code == 400
    assert here.ask(**exchange, audience="another").status_code == 400
    assert here.ask(**exchange | {"subject_token": f"{held}x"}, audience="medsync-planner").status_code == 400


def test_a_code_is_good_once_for_who_asked_with_what_proves_it(here: Here) -> None:
    form = {"grant_type": "authorization_code", "redirect_uri": CALLBACK, "code_verifier": VERIFIER}

    def code() -> str:
        return parse_qs(urlsplit(here.code().headers["location"]).query)["code"][0]

    once = code()
    assert here.ask(**form, code=once).status_code == 200
    assert here.ask(**form, code=once).json()["error"] == "invalid_grant"
    assert here.ask(**form | {"code_verifier": "w" * 50}, code=code()).status_code == 400
    assert here.ask(**form | {"redirect_uri": "http://127.0.0.1:2/"}, code=code()).status_code == 400
    assert here.ask("dialer-1", **form, code=code()).status_code == 400
    late = code()
    here.provider.clock = lambda: time.time() + 61
    assert here.provider._codes[late] and here.code().status_code == 303
    with pytest.raises(Exception, match="too old"):
        here.provider.granted("medsync-console", form | {"code": late})


@pytest.mark.parametrize(
    "changed",
    [
        {"redirect_uri": "https://evil.example/"},
        {"client_id": "unknown"},
        {"code_challenge_method": "plain"},
        {"code_challenge": "short"},
        {"sub": "nobody"},
    ],
)
def test_no_code_goes_elsewhere_or_to_who_cannot_prove_it(here: Here, changed: dict[str, str]) -> None:
    assert here.code(**changed).status_code == 400


def test_a_program_proves_itself_once_and_in_time(here: Here) -> None:
    credentials = {"grant_type": "client_credentials"}
    signed = proof("dialer-1", read_key(here.key_of("dialer-1")), here.issuer)["client_assertion"]
    assert here.ask(assertion=signed, **credentials).status_code == 200
    assert here.ask(assertion=signed, **credentials).json()["error"] == "invalid_client"

    def refused(key: Path, **claims: Any) -> bool:
        now = int(time.time())
        said = {"iss": "dialer-1", "sub": "dialer-1", "aud": here.issuer, "exp": now + 60, "jti": str(claims)}
        made = ECKey.import_key(json.loads(key.read_text()))
        return here.ask(assertion=jwt.encode({"alg": "ES256"}, said | claims, made), **credentials).is_error

    own = here.key_of("dialer-1")
    assert not refused(own)
    assert refused(here.key_of("chain-platform")), "another's key"
    assert refused(own, aud="https://elsewhere.example")
    assert refused(own, exp=int(time.time()) + 3600), "it would have to be remembered for long"
    assert refused(own, exp=int(time.time()) - 60)
    assert refused(own, sub="unknown")
    assert here.ask(assertion="a.b.c", **credentials).is_error


@pytest.mark.parametrize("issuer", ["http://0.0.0.0:1", "http://id.chain.example", "http://10.0.0.4:80"])
def test_it_serves_no_other_machine(issuer: str) -> None:
    with pytest.raises(ValueError, match="its own machine alone"):
        create_app(Provider(issuer, {}))


def test_its_programs_are_those_of_the_file_of_grants(here: Here) -> None:
    file = grants.read(here.folder / "grants.toml")
    for client, roles in PROGRAMS.items():
        assert set(file.of(client, [], is_service=True).roles) == set(roles)
