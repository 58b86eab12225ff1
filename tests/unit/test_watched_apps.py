"""Every service's app is watched, each by itself."""

from __future__ import annotations

from importlib import import_module

import httpx
import pytest
import structlog
from fastapi import FastAPI
from pydantic import SecretStr

from services import SERVICES
from shared import service as services

KEY = SecretStr("5a" * 32)


def app_of(name: str) -> FastAPI:
    settings = import_module(f"services.{name}.settings").Settings(
        database_url="postgres://nowhere", kafka_bootstrap="nowhere:9092", sealing_key=KEY, pseudonym_key=KEY
    )
    app: FastAPI = import_module(f"services.{name}.app").create_app(settings)
    return app


def client_of(app: FastAPI) -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://localhost")


@pytest.mark.slow
@pytest.mark.parametrize("name", SERVICES)
async def test_every_service_counts_its_own_requests_by_the_template_of_their_route(name: str) -> None:
    async with client_of(app_of(name)) as one, client_of(app_of(name)) as other:
        await one.get("/ops/live")
        await one.post(
            "/ops/deadletters/12345/redrive", headers={"Medsync-Actor": "a", "Medsync-Role": "clerk"}
        )
        told, others = (await one.get("/metrics")).text, (await other.get("/metrics")).text
    assert 'medsync_http_requests_total{method="GET",route="/ops/live",status="200"} 1.0' in told
    assert 'refusals_total{code="not_allowed",route="/ops/deadletters/{number}/redrive"} 1.0' in told
    assert "12345" not in told and "/ops/live" not in others


async def test_why_a_service_cannot_start_is_in_its_log(monkeypatch: pytest.MonkeyPatch) -> None:
    async def refuse(*_: object) -> None:
        raise ConnectionRefusedError("Connect call failed ('db', 5432)")

    monkeypatch.setattr(services, "_pool", refuse)
    monkeypatch.setattr(services, "configure_logging", lambda _: None)
    app = app_of("planner")
    with structlog.testing.capture_logs() as logs, pytest.raises(ConnectionRefusedError):
        async with app.router.lifespan_context(app):
            pass
    assert [line["event"] for line in logs] == ["service.starts", "service.cannot_start"]
    assert logs[1]["why"] == "Connect call failed ('db', 5432)"
