"""Every service shows its document on a page, which asks for nothing from elsewhere."""

from __future__ import annotations

import re

import httpx
import pytest
from fastapi import FastAPI

from cli.openapi import app_of
from services import SERVICES
from shared.contract import Documented
from shared.docs import install_docs


def asking(app: FastAPI, host: str = "localhost") -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url=f"http://{host}")


@pytest.mark.slow
@pytest.mark.parametrize("service", SERVICES)
async def test_the_page_has_all_it_asks_for_in_the_service_itself(service: str) -> None:
    async with asking(app_of(service)) as http:
        page = await http.get("/docs")
        assert f"<title>MedSync {service}</title>" in page.text
        asked_for = re.findall(r'(?:src|href)="([^"]+)"', page.text)
        assert len(asked_for) == 5
        for address in asked_for:
            if address != "data:,":
                assert ":" not in address, "it is the service's own"
                assert (await http.get(f"/{address}")).status_code == 200, address


@pytest.mark.parametrize("service", SERVICES)
async def test_no_script_runs_but_the_services_own(service: str) -> None:
    async with asking(app_of(service)) as http:
        for path in ("/docs", "/docs/start.js", "/docs/swagger-ui-bundle.js", "/docs/swagger-ui.css"):
            headers = (await http.get(path)).headers
            policy = headers["content-security-policy"]
            assert "default-src 'none'; script-src 'self'" in policy and "unsafe" not in policy, path
            assert headers["x-content-type-options"] == "nosniff"
            assert headers["cache-control"] in ("no-store", "no-cache")
        assert not re.search(r"<script>|\son\w+=|style=", (await http.get("/docs")).text)


async def test_the_page_too_is_shown_to_no_host_that_is_not_ours() -> None:
    async with asking(app_of("enrollment"), host="elsewhere.example") as http:
        assert (await http.get("/docs")).status_code == 421


async def test_a_title_is_text() -> None:
    app = Documented(title="<b>bold</b>", docs_url=None)
    install_docs(app)
    async with asking(app) as http:
        assert "<b>" not in (await http.get("/docs")).text
