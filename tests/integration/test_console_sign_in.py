"""People sign in to the console by OpenID Connect, at a provider that answers on this machine."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
import pytest_asyncio
from fastapi import FastAPI
from pydantic import SecretStr, ValidationError

from services.console import oidc
from services.console.app import create_app
from services.console.settings import Settings
from shared.messaging import Work
from tests.integration.test_access import more_ids
from tests.integration.test_odd_input import start
from tests.running import SEALING_KEY
from tests.signing_in import Here, provider_here

CONSOLE = "https://localhost"
PAGE = {"Accept": "text/html"}


class Browser:
    """One browser at the console."""

    def __init__(self, app: FastAPI, here: Here, known: dict[str, Any]) -> None:
        self.app, self.here, self.known = app, here, known
        self.work: Work = app.state.work
        transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)
        self.http = httpx.AsyncClient(transport=transport, base_url=CONSOLE, headers=PAGE)

    async def sign_in(self, sub: str = "pharmacist-1", to: str = "/patients") -> httpx.Response:
        begun = await self.http.get("/sign-in", params={"to": to})
        return await self.come_back(begun, sub)

    async def come_back(self, begun: httpx.Response, sub: str) -> httpx.Response:
        return await self.http.get(await choose(begun, sub))

    async def csrf(self) -> str:
        page = await self.http.get(f"/patients/{self.known['patient_id']}")
        return re.findall(r'name="csrf" value="([^"]+)"', page.text)[0]

    async def reveal(self, csrf: str, **headers: str) -> int:
        path = f"/patients/{self.known['patient_id']}/reveal"
        said = {"because": "asked at the counter", "csrf": csrf}
        return (await self.http.post(path, data=said, headers=headers)).status_code

    async def change(self, sql: str) -> None:
        async with self.work.connection() as db:
            await db.execute(sql)


async def choose(begun: httpx.Response, sub: str) -> str:
    """Where the provider sends the browser back, once somebody is chosen on its page."""
    async with httpx.AsyncClient(trust_env=False) as http:
        chosen = await http.get(f"{begun.headers['location']}&sub={sub}")
    assert chosen.status_code == 303, chosen.text
    return chosen.headers["location"]


def settings_of(url: str, here: Here, **more: Any) -> Settings:
    given: dict[str, Any] = {
        "database_url": url,
        "kafka_bootstrap": "unused",
        "sealing_key": SecretStr(SEALING_KEY),
        "issuer": here.issuer,
        "grants_file": here.folder / "grants.toml",
        "client_id": "medsync-console",
        "client_key_file": here.key_of("medsync-console"),
        "public_url": CONSOLE,
    }
    return Settings(**given | more)


@pytest.fixture
def here(tmp_path: Path) -> Iterator[Here]:
    with provider_here(tmp_path) as made:
        yield made


@pytest_asyncio.fixture
async def browser(fresh_database: Callable[[str], str], tmp_path: Path, here: Here) -> AsyncIterator[Browser]:
    here.provider.redirects = (f"{CONSOLE}/signed-in",)
    settings = settings_of(fresh_database("console"), here)
    app = create_app(settings)
    app.state.settings = settings
    work = await start("console", app, tmp_path)
    made = Browser(app, here, await more_ids("console", work, httpx.AsyncClient()))
    yield made
    await made.http.aclose()
    await work.pool.close()


async def test_a_person_signs_in_and_is_back_where_they_wanted_to_go(browser: Browser) -> None:
    stranger = await browser.http.get("/patients")
    assert stranger.headers["location"].startswith("/acting-as?")
    to_sign_in = await browser.http.get(stranger.headers["location"])
    assert to_sign_in.headers["location"] == "/sign-in?to=%2Fpatients"
    back = await browser.sign_in(to="/patients")
    assert (back.status_code, back.headers["location"]) == (303, "/patients")
    page = await browser.http.get("/patients")
    assert (page.status_code, "pharmacist-1" in page.text) == (200, True)


async def test_the_browser_holds_a_name_of_the_session_and_nothing_of_it(browser: Browser) -> None:
    back = await browser.sign_in()
    [cookie] = [each for each in back.headers.get_list("set-cookie") if each.startswith(f"{oidc.COOKIE}=")]
    kind = {part.strip().lower() for part in cookie.split(";")[1:]}
    assert {"secure", "httponly", "path=/", "samesite=lax"} <= kind
    assert not any(part.startswith("domain") for part in kind)
    session_id = cookie.split(";")[0].partition("=")[2]
    async with browser.work.read() as db:
        kept = str([dict(row) for row in await db.fetch("select * from sessions")])
    assert session_id not in kept and "eyJ" not in kept, "neither the id nor a token can be read there"


async def test_signing_in_elsewhere_leads_nowhere_else(browser: Browser) -> None:
    for to in ("https://evil.example/", "//evil.example", "/\\evil.example"):
        assert (await browser.sign_in(to=to)).headers["location"] == "/"


async def test_a_sign_in_ends_in_the_browser_that_began_it_once(browser: Browser) -> None:
    begun = await browser.http.get("/sign-in")
    chosen = await choose(begun, "clerk-1")
    other = Browser(browser.app, browser.here, browser.known)
    assert (await other.http.get(chosen)).headers["location"].startswith("/acting-as"), "a planted sign-in"
    assert (await browser.http.get(f"{chosen}x")).headers["location"].startswith("/acting-as"), "state"
    assert (await browser.http.get(chosen)).headers["location"] == "/"
    again = await browser.http.get(chosen)
    assert again.headers["location"].startswith("/acting-as"), "a code is good once"
    asked = parse_qs(urlsplit(begun.headers["location"]).query)
    assert (asked["code_challenge_method"], len(asked["nonce"][0]) > 30) == (["S256"], True)


@pytest.mark.parametrize(
    ("past", "is_over"),
    [
        ("seen_at = clock_timestamp() - interval '16 minutes'", True),
        ("seen_at = clock_timestamp() - interval '14 minutes'", False),
        ("began_at = clock_timestamp() - interval '12 hours 1 minute'", True),
    ],
)
async def test_a_session_ends_by_itself(past: str, is_over: bool, browser: Browser) -> None:
    await browser.sign_in()
    await browser.change(f"update sessions set {past}")
    assert ((await browser.http.get("/patients")).status_code == 303) == is_over
    if not is_over:
        async with browser.work.read() as db:
            assert await db.fetchval("select seen_at > clock_timestamp() - interval '1 minute' from sessions")


async def test_who_signs_out_is_out(browser: Browser) -> None:
    await browser.sign_in()
    cookies = dict(browser.http.cookies)
    assert (await browser.http.post("/sign-out", data={"csrf": "x"})).status_code == 403
    out = await browser.http.post("/sign-out", data={"csrf": await browser.csrf()})
    assert (out.status_code, "signed out" in out.text, "location" in out.headers) == (200, True, False)
    kept = await browser.http.get("/patients", cookies=cookies)
    assert kept.status_code == 303, "whoever kept the cookie is out too"


async def test_a_form_comes_from_a_page_of_this_session(browser: Browser) -> None:
    await browser.sign_in()
    csrf = await browser.csrf()
    assert await browser.reveal("") == 403
    assert await browser.reveal("x" * 32) == 403
    assert await browser.reveal(csrf, origin="https://evil.example") == 403
    assert await browser.reveal(csrf, **{"sec-fetch-site": "cross-site"}) == 403
    other = Browser(browser.app, browser.here, browser.known)
    await other.sign_in("pharmacist-2")
    assert await other.reveal(csrf) == 403, "another session's"
    assert await browser.reveal(csrf, origin=CONSOLE) == 303


async def test_dropping_an_event_needs_a_fresh_sign_in(browser: Browser) -> None:
    await browser.sign_in("operator-1")
    path = "/health/planner/deadletters/1/"
    said = {"because": "corrected"}
    page = await browser.http.get("/acting-as")
    said["csrf"] = re.findall(r'name="csrf" value="([^"]+)"', page.text)[0]
    assert (await browser.http.post(f"{path}skip", data=said)).status_code == 404, "it has no address here"
    await browser.change("update sessions set signed_in_at = signed_in_at - interval '6 minutes'")
    refused = await browser.http.post(f"{path}skip", data=said)
    assert (refused.status_code, "sign in anew" in refused.text.lower()) == (401, True)
    assert (await browser.http.post(f"{path}redrive", data=said)).status_code == 404
    begun = await browser.http.get("/sign-in?anew=true")
    assert {"prompt=login", "max_age=0"} <= set(urlsplit(begun.headers["location"]).query.split("&"))


async def test_tokens_are_renewed_while_the_session_lasts_and_end_it_when_they_are_not(
    browser: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    await browser.sign_in()
    monkeypatch.setattr(oidc, "REFRESH_SECONDS", 3600)  # each token counts as run out
    for _ in range(2):
        assert (await browser.http.get("/patients")).status_code == 200
    browser.here.provider._refresh.clear()  # the person was blocked there
    assert (await browser.http.get("/patients")).status_code == 303


async def test_the_console_asks_others_as_the_person(browser: Browser) -> None:
    await browser.sign_in("clerk-1")
    provider: oidc.SignIn = browser.app.state.identity
    for exchange in (False, True):
        settings = settings_of("unused", browser.here, token_exchange=exchange)
        asking = oidc.SignIn(settings, provider.tokens)
        cookie = f"{oidc.COOKIE}={browser.http.cookies[oidc.COOKIE]}".encode()
        request = _request(browser.app, cookie)
        assert (await asking.principal_of(request)).sub == "clerk-1"
        token = await asking.token_for(request, "planner")
        assert (await browser.here.tokens("planner").principal_in(token)).sub == "clerk-1"
        others = browser.here.tokens("outreach").principal_in(token)
        if exchange:
            with pytest.raises(oidc.Unknown):
                await others
        else:
            assert (await others).sub == "clerk-1"


def _request(app: FastAPI, cookie: bytes) -> Any:
    return oidc.Request(
        {"type": "http", "app": app, "headers": [(b"cookie", cookie)], "method": "GET", "path": "/"}
    )


async def test_headers_and_forms_that_prove_nothing_are_of_no_effect(browser: Browser) -> None:
    said = {"Medsync-Actor": "ada", "Medsync-Role": "pharmacist"}
    assert (await browser.http.get("/patients", headers=said)).status_code == 303
    browser.http.cookies.update({"medsync-actor": "ada", "medsync-role": "pharmacist"})
    assert (await browser.http.get("/patients")).status_code == 303


def test_a_client_needs_all_that_it_signs_in_with(here: Here) -> None:
    for name in ("client_key_file", "public_url"):
        with pytest.raises(ValidationError, match="MEDSYNC_CLIENT_ID"):
            settings_of("postgres://nowhere", here, **{name: None if name.endswith("file") else ""})


async def test_where_the_provider_is_away_nobody_signs_in_and_is_told(browser: Browser) -> None:
    tokens = browser.here.tokens("console")
    tokens._keys.issuer = "http://127.0.0.1:1"
    browser.app.state.identity = oidc.SignIn(settings_of("unused", browser.here), tokens)
    answer = await browser.http.get("/sign-in", headers={"Accept": "application/json"})
    assert (answer.status_code, answer.json()["detail"]) == (
        503,
        "the identity provider does not answer: try again",
    )
