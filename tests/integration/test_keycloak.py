"""Sign-in, tokens, rotation, outage and token exchange at Keycloak, set up as docs/how-to/secure.md says."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
import pytest_asyncio
from fastapi import FastAPI
from pydantic import SecretStr

from cli import sign_in
from services.console import oidc
from services.console.app import create_app
from services.console.settings import Settings
from shared import tokens
from shared.access import Kind, Role
from shared.identity import Unknown
from shared.messaging import Work
from shared.problems import Busy
from tests.integration.test_odd_input import start, unstarted
from tests.keycloak import Keycloak
from tests.keycloak_realm import Chain, chain_at
from tests.provider import bearer
from tests.running import SEALING_KEY

pytestmark = [pytest.mark.needs("keycloak"), pytest.mark.timeout(240)]

CONSOLE = "https://localhost"
PAGE = {"Accept": "text/html"}


@pytest.fixture(scope="module")
def chain(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chain]:
    folder = tmp_path_factory.mktemp("keycloak")
    server = Keycloak(folder / "keycloak.log")
    server.start()
    try:
        yield chain_at(server, folder, f"{CONSOLE}/signed-in")
    finally:
        server.kill()


class Browser:
    """One browser at the console."""

    def __init__(self, app: FastAPI, chain: Chain) -> None:
        self.chain, self.app = chain, app
        self.identity: oidc.SignIn = app.state.identity
        transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)
        self.http = httpx.AsyncClient(transport=transport, base_url=CONSOLE, headers=PAGE)

    async def sign_in(self, name: str = "ada", **asked: str) -> httpx.Response:
        begun = await self.http.get("/sign-in", params={"to": "/patients", **asked})
        return await self.http.get(await self.chain.choose(begun.headers["location"], name))

    async def token_for(self, service: str) -> str:
        """With what the console asks a service as who is signed in."""
        cookie = f"{oidc.COOKIE}={self.http.cookies[oidc.COOKIE]}".encode()
        scope = {"type": "http", "app": self.app, "method": "GET", "path": "/"}
        request = oidc.Request({**scope, "headers": [(b"cookie", cookie)]})
        await self.identity.principal_of(request)
        return await self.identity.token_for(request, service)


@pytest_asyncio.fixture
async def console(
    fresh_database: Callable[[str], str], tmp_path: Path, chain: Chain
) -> AsyncIterator[Callable[..., Any]]:
    """`console(client_id=…)` opens one, and a browser at it."""
    url, opened = fresh_database("console"), []

    async def open_one(**more: Any) -> Browser:
        given: dict[str, Any] = {
            "database_url": url,
            "kafka_bootstrap": "unused",
            "sealing_key": SecretStr(SEALING_KEY),
            "issuer": chain.issuer,
            "grants_file": chain.grants_file,
            "client_id": "medsync-console",
            "client_key_file": chain.key_file,
            "public_url": CONSOLE,
        }
        app = create_app(settings := Settings(**given | more))
        app.state.settings = settings
        opened.append((await start("console", app, tmp_path), browser := Browser(app, chain)))
        return browser

    yield open_one
    for work, browser in opened:
        await browser.http.aclose()
        await work.pool.close()


@asynccontextmanager
async def planner(chain: Chain, url: str, folder: Path) -> AsyncIterator[httpx.AsyncClient]:
    """A planner that knows a pharmacy and believes Keycloak alone."""
    app = unstarted("planner", url)
    work: Work = await start("planner", app, folder)
    app.state.identity = chain.tokens("planner")
    transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as http:
        yield http
    await work.pool.close()


async def test_a_person_signs_in_and_their_session_is_renewed(
    console: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    browser = await console()
    back = await browser.sign_in()
    assert (back.status_code, back.headers["location"]) == (303, "/patients"), back.text
    assert (await browser.http.get("/patients")).status_code == 200
    monkeypatch.setattr(oidc, "REFRESH_SECONDS", 3600)  # each token counts as run out
    assert (await browser.http.get("/patients")).status_code == 200


async def test_who_signs_in_anew_proves_it_again(console: Callable[..., Any]) -> None:
    browser = await console()
    assert (await browser.sign_in(anew="true")).status_code == 303
    async with browser.app.state.work.read() as db:
        assert await db.fetchval(
            "select signed_in_at > clock_timestamp() - interval '1 minute' from sessions"
        )


async def test_a_code_needs_the_verifier_of_who_asked_for_it(console: Callable[..., Any]) -> None:
    first, second = await console(), await console()
    begun = await first.http.get("/sign-in")
    back = await first.chain.choose(begun.headers["location"], "ada")
    other = await second.http.get("/sign-in")
    state = parse_qs(urlsplit(other.headers["location"]).query)["state"][0]
    code = parse_qs(urlsplit(back).query)["code"][0]
    planted = await second.http.get("/signed-in", params={"code": code, "state": state})
    assert planted.headers["location"].startswith("/acting-as"), "another browser's code, with its own state"
    assert oidc.COOKIE not in second.http.cookies


@pytest.mark.parametrize(
    ("settings", "others"),
    [
        ({"token_exchange": True, "exchange_scope": "to-{service}"}, False),
        ({"client_id": "medsync-console-of-all", "token_exchange": True}, False),
        ({"client_id": "medsync-console-of-all"}, True),
    ],
    ids=["exchanged by scope", "exchanged by audience", "passed on"],
)
async def test_the_console_asks_a_service_as_the_person(
    settings: dict[str, Any],
    others: bool,
    console: Callable[..., Any],
    chain: Chain,
    fresh_database: Callable[[str], str],
    tmp_path: Path,
) -> None:
    browser = await console(**settings)
    await browser.sign_in()
    token = await browser.token_for("planner")
    principal = await chain.tokens("planner").principal_in(token)
    assert (principal.kind, principal.grants) == (Kind.person, {Role.pharmacist: frozenset({"s1"})})
    async with planner(chain, fresh_database("planner"), tmp_path) as http:
        plans = (await http.get("/plans", headers=bearer(token))).json()["items"]
        assert plans
        assert (await http.post("/ops/republish", headers=bearer(token))).status_code == 403
    if others:
        assert await chain.tokens("outreach").principal_in(token)
    else:
        with pytest.raises(Unknown, match="not for this service: aud"):
            await chain.tokens("outreach").principal_in(token)


async def test_a_patient_acts_for_whom_their_token_names(console: Callable[..., Any], chain: Chain) -> None:
    browser = await console(client_id="medsync-console-of-all")
    back = await browser.sign_in("pat")
    assert back.status_code == 303
    principal = await chain.tokens("planner").principal_in(await browser.token_for("planner"))
    assert principal.reach(Role.patient).patients == {"p-1", "p-2"}


async def test_a_program_signs_in_by_its_key(chain: Chain, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MEDSYNC_ISSUER", chain.issuer)
    monkeypatch.setenv("MEDSYNC_CLIENT_ID", "dialer-1")
    monkeypatch.setenv("MEDSYNC_CLIENT_KEY_FILE", str(chain.key_file))
    token = sign_in.staff_headers()["Authorization"].partition(" ")[2]
    principal = await chain.tokens("outreach").principal_in(token)
    assert (principal.sub, principal.kind, principal.grants) == (
        "dialer-1",
        Kind.service,
        {Role.dialer: None},
    )
    with pytest.raises(Unknown, match="not for this service: aud"):
        await chain.tokens("enrollment").principal_in(token)
    monkeypatch.setenv("MEDSYNC_CLIENT_ID", "nobody")
    with pytest.raises(SystemExit, match="invalid_client"):
        sign_in.staff_headers()


async def test_its_keys_change_while_people_work(console: Callable[..., Any], chain: Chain) -> None:
    browser = await console(client_id="medsync-console-of-all")
    await browser.sign_in()
    service = chain.tokens("planner", clock=(clock := Clock()))
    before = await browser.token_for("planner")
    await service.principal_in(before)
    chain.rotate()
    newcomer = await console(client_id="medsync-console-of-all")
    await newcomer.sign_in()
    after = await newcomer.token_for("planner")
    assert _key_of(before) != _key_of(after)
    clock.ahead = tokens.KEYS_AGAIN_SECONDS + 1
    for token in (after, before):
        assert (await service.principal_in(token)).roles == {Role.pharmacist}


async def test_while_it_is_away_who_is_signed_in_works_on_and_nobody_else(
    console: Callable[..., Any], chain: Chain
) -> None:
    browser = await console(client_id="medsync-console-of-all")
    await browser.sign_in()
    token, service = await browser.token_for("planner"), chain.tokens("planner")
    await service.principal_in(token)
    chain.server.hang()
    try:
        assert (await browser.http.get("/patients")).status_code == 200
        assert (await service.principal_in(token)).roles == {Role.pharmacist}
        with pytest.raises(Busy, match="does not answer"):
            await chain.tokens("planner").principal_in(token)
        newcomer = await console()
        assert (await newcomer.http.get("/sign-in")).status_code == 503
    finally:
        chain.server.go_on()
    assert (await newcomer.sign_in()).status_code == 303


class Clock:
    """Runs ahead of the machine's."""

    ahead = 0.0

    def __call__(self) -> float:
        return time.monotonic() + self.ahead


def _key_of(token: str) -> str:
    return str(oidc.json.loads(oidc._unb64(token.partition(".")[0]))["kid"])
