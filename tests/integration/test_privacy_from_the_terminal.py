"""`medsync privacy` against enrollment and outreach as they run: what an officer types, and what they are told."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn
from typer.testing import CliRunner, Result

from cli.main import app as cli
from tests import feed
from tests.integration import test_forgetting as forgetting
from tests.integration.test_forgetting import CANARIES, P1, P2, WHO, Chain, import_
from tests.running import until

chain = forgetting.chain
Run = Callable[..., Awaitable[Result]]
REASON = ("--reason", "request 2026-118")


@asynccontextmanager
async def on_a_port(client: httpx.AsyncClient) -> AsyncIterator[str]:
    app: Any = client._transport.app  # type: ignore[attr-defined]
    server = uvicorn.Server(uvicorn.Config(app, port=0, lifespan="off", log_config=None))
    serving = asyncio.create_task(server.serve())

    async def started() -> bool:
        return server.started

    await until(started, "the server starts")
    yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    server.should_exit = True
    await serving


@pytest.fixture
async def terminal(chain: Chain, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Run]:
    monkeypatch.chdir(tmp_path)
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(chain.running("enrollment", "outreach"))
        for name in ("enrollment", "outreach"):
            url = await stack.enter_async_context(on_a_port(chain.http[name]))
            monkeypatch.setenv(f"MEDSYNC_{name.upper()}_URL", url)

        async def run(*arguments: str) -> Result:
            return await asyncio.to_thread(CliRunner().invoke, cli, ["privacy", *arguments])

        await import_(chain, "stores", feed.store())
        await import_(chain, "patients", feed.patient(**WHO), feed.patient(patient_number="P2"))
        await chain.post("enrollment", f"/patients/{P1}/consent", {})
        await chain.rest()
        yield run


async def test_a_patient_is_exported_and_forgotten(chain: Chain, terminal: Run, tmp_path: Path) -> None:
    refused = await terminal("erase", P1, *REASON, "--dry-run")
    assert (refused.exit_code, refused.output) == (1, "Refused: the patient is enrolled: disenroll them first.\n"
        "Stays until 2015-10-01, without a name: consent (45 CFR 164.530(j)(2): six years from when it was last in "
        "effect).\n")  # fmt: skip
    await chain.post("enrollment", f"/patients/{P1}/disenrolment", {"reason": "revoked"})
    await chain.rest()

    exported = await terminal("export", P1, "--to", "patient.json")
    assert exported.exit_code == 0, exported.output
    file = tmp_path / "patient.json"
    assert file.stat().st_mode & 0o777 == 0o600
    held = json.loads(file.read_text())["held"][P1]
    assert held["enrollment"]["people"][0]["said"]["family_name"] == WHO["family_name"]
    assert held["outreach"]["details"][0]["said"]["address"] == WHO["address"]
    assert (await terminal("export", P1, "--to", "patient.json")).exit_code == 1, "nothing is written over"

    dry = await terminal("erase", P1, *REASON, "--dry-run")
    assert dry.exit_code == 0
    assert (await chain.ask("enrollment", f"/ops/privacy/{P1}"))["erased_at"] is None
    for _ in range(2):  # done twice, it is done
        done = await terminal("erase", P1, *REASON)
        assert done.exit_code == 0, done.output
        assert "Every service has forgotten the patient: enrollment, outreach." in done.output
        assert not any(canary in done.output for canary in CANARIES)
    after = await terminal("export", P1)
    assert not any(canary in after.output for canary in CANARIES)


async def test_a_hold_and_a_service_that_was_put_back(chain: Chain, terminal: Run) -> None:
    assert (await terminal("hold", P2, *REASON)).exit_code == 0
    refused = await terminal("erase", P2, *REASON)
    assert refused.exit_code == 1
    assert "legal hold" in refused.output
    assert (await terminal("lift", P2, *REASON)).exit_code == 0
    assert (await terminal("erase", P2, *REASON)).exit_code == 0
    again = await terminal("again", "outreach")
    assert (again.exit_code, again.output) == (0, "Forgotten again: 0.\n"), "outreach holds nothing of them"
