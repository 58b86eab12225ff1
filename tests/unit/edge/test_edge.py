"""What a request must be before a service looks at it. A small app stands for the service."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from fastapi import Depends, FastAPI
from fastapi.responses import Response
from pydantic import BaseModel

from shared import edge
from shared.access import PUBLIC, STAFF_ALONE
from shared.edge import Edge, deepest, install_edge, is_ours
from shared.http import Commanding, admit, install_problems
from shared.identity import Headed

LOCAL = "http://localhost"
OPEN = (
    "POST /things",
    "POST /imports/things",
    "GET /patients/p-1",
    "GET /static/page.css",
    "GET /ops/ready",
    "GET /slow",
)


class Body(BaseModel):
    numbers: list[int] = []
    anything: Any = None


def app(**given: Any) -> FastAPI:
    made = FastAPI(dependencies=[Depends(admit)])
    made.state.rows = dict.fromkeys(OPEN, PUBLIC) | {"POST /commands": STAFF_ALONE}
    made.state.identity = Headed()
    made.state.go = asyncio.Event()
    install_problems(made)
    install_edge(made, Edge(**{"hosts": ("pharmacy.example",), **given}))

    @made.post("/things")
    @made.post("/imports/things")
    async def take(body: Body) -> int:
        return len(body.numbers)

    @made.post("/commands")
    async def command(caller: Commanding) -> str:
        return caller.actor

    @made.get("/patients/p-1")
    async def read() -> str:
        return "a name"

    @made.get("/static/page.css")
    async def static() -> Response:
        return Response("", headers={"ETag": '"1"'})

    @made.get("/ops/ready")
    async def ready() -> str:
        return "ready"

    @made.get("/slow")
    async def slow() -> str:
        await made.state.go.wait()
        return "done"

    return made


def client(of: FastAPI, base: str = LOCAL) -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=httpx.ASGITransport(app=of, raise_app_exceptions=False), base_url=base)


def is_problem(answer: httpx.Response, status: int) -> bool:
    said = answer.json()
    kind = answer.headers["content-type"]
    return (answer.status_code, said["status"], kind) == (status, status, "application/problem+json")


# ---- whom it names


@pytest.mark.parametrize(
    ("host", "ours"),
    [
        ("localhost", True),
        ("LOCALHOST:8080", True),
        ("localhost.", True),
        ("127.0.0.1:8001", True),
        ("10.1.2.3:8000", True),  # no name of a page leads here: a probe, or a proxy
        ("[::1]:8000", True),
        ("pharmacy.example", True),
        ("evil.example", False),
        ("evil.pharmacy.example", False),
        ("localhost.evil.example", False),
        ("localhost@evil.example", False),
        ("", False),
        ("[::1", False),
    ],
)
def test_a_host_is_named_or_is_an_address(host: str, ours: bool) -> None:
    assert is_ours(host, ("localhost", "pharmacy.example")) is ours


async def test_a_page_that_was_rebound_to_this_address_reads_nothing() -> None:
    async with client(app(), "http://evil.example") as http:
        answer = await http.get("/patients/p-1")
        assert is_problem(answer, 421)
        assert "MEDSYNC_ALLOWED_HOSTS" in answer.json()["detail"]
        assert is_problem(await http.get("/ops/ready"), 421)
    async with client(app()) as http:
        assert (await http.get("/patients/p-1")).status_code == 200


@pytest.mark.parametrize("name", ["Medsync-Actor", "Medsync-Role", "Idempotency-Key", "Host", "Traceparent"])
async def test_who_calls_is_said_once(name: str) -> None:
    said = {"Medsync-Actor": "a-1", "Medsync-Role": "clerk", "Idempotency-Key": "k", "Host": "localhost"}
    twice = [*said.items(), (name, said.get(name, "x")), (name.lower(), "other")]
    async with client(app()) as http:
        answer = await http.post("/commands", headers=twice)
        assert is_problem(answer, 400)
        assert name.lower() in answer.json()["detail"]
        assert (await http.post("/commands", headers=said)).status_code == 200


# ---- how large, how deep, how slow


async def chunks(size: int, number: int) -> AsyncIterator[bytes]:
    for _ in range(number):
        yield b" " * size


@pytest.mark.parametrize("chunked", [False, True])
@pytest.mark.parametrize(("path", "most"), [("/things", 256 * 1024), ("/imports/things", 4 * 1024 * 1024)])
async def test_a_body_is_bounded_before_it_is_read(path: str, most: int, chunked: bool) -> None:
    json_type = {"Content-Type": "application/json"}
    async with client(app(large={"/imports/": 4 * 1024 * 1024})) as http:

        async def send(size: int) -> httpx.Response:
            content: Any = chunks(1024, size // 1024) if chunked else b" " * size
            return await http.post(path, content=content, headers=json_type)

        answer = await send(most + 1024)
        assert is_problem(answer, 413)
        assert answer.headers["connection"] == "close"
        assert str(most) in answer.json()["detail"]
        assert (await send(most)).status_code == 400, "taken, and no JSON"


async def test_a_large_body_is_read_no_further_than_its_bound() -> None:
    read = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal read
        while read < 41_000_000:
            read += 65_536
            yield b"[" * 65_536

    made = app()
    messages = endless()

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": await anext(messages), "more_body": True}

    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    headers = [(b"host", b"localhost"), (b"transfer-encoding", b"chunked")]
    scope = {"type": "http", "method": "POST", "path": "/things", "headers": headers, "query_string": b""}
    await made(scope, receive, send)
    assert sent[0]["status"] == 413
    assert read < 600_000


async def test_bodies_in_receipt_are_bounded_together() -> None:
    async with client(app(held_bytes=100)) as http:
        assert is_problem(await http.post("/things", content=b"x" * 101), 503)
        assert (await http.post("/things", json={})).status_code == 200
        assert (await http.post("/things", json={"numbers": [1] * 25})).status_code == 200, "given back"


@pytest.mark.parametrize(
    ("text", "levels"),
    [
        (b"", 0),
        (b"17", 0),
        (b"[[]]", 2),
        (b'{"a":[{}]}', 3),
        (b'["[[[[", "\\"[[["]', 1),
        (b"[][][]", 1),
        (b"[" * 1000, 65),  # counted no further
        (b'"' + b"\\" * 100_001, 0),
        (b'"unended [[[[[', 0),
    ],
)
def test_the_depth_of_a_document(text: bytes, levels: int) -> None:
    assert deepest(text) == levels


@pytest.mark.parametrize("depth", [65, 900, 100_000])
async def test_a_document_of_lists_in_lists_is_refused(depth: int) -> None:
    content = b'{"anything":' + b"[" * depth + b"]" * depth + b"}"
    async with client(app()) as http:
        answer = await http.post("/things", content=content, headers={"Content-Type": "application/json"})
        assert is_problem(answer, 400)
        assert "64 levels" in answer.json()["detail"]


@pytest.mark.parametrize(
    "constant", [b"1" + b"0" * 400, b"1e309", b"NaN", b'"\\ud800"', b'"\\u0000"', b"\xff"]
)
async def test_what_python_reads_and_json_is_not_gets_an_answer(constant: bytes) -> None:
    async with client(app()) as http:
        for field in (b"numbers", constant if constant.startswith(b'"') else b"more"):
            name = field if field.startswith(b'"') else b'"' + field + b'"'
            content = b"{" + name + b": [" + constant + b"]}"
            answer = await http.post("/things", content=content, headers={"Content-Type": "application/json"})
            assert answer.status_code in (200, 400), answer.text


async def test_faults_that_are_named_are_few_and_the_rest_is_counted() -> None:
    async with client(app()) as http:
        answer = await http.post("/things", json={"numbers": ["no number"] * 10_000})
        assert is_problem(answer, 400)
        said = answer.json()
        assert len(said["errors"]) == 20
        assert "numbers.0" in said["detail"]
        assert len(answer.content) < 4000


async def test_a_body_that_comes_by_drops_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(edge, "BODY_SECONDS", 0.1)

    async def drops() -> AsyncIterator[bytes]:
        yield b"{"
        await asyncio.sleep(5)

    async with client(app()) as http:
        answer = await http.post("/things", content=drops(), headers={"Content-Type": "application/json"})
        assert is_problem(answer, 408)
        assert answer.headers["connection"] == "close"


# ---- how many at once


async def test_beyond_its_bound_a_process_refuses_at_once_and_operations_go_on() -> None:
    made = app(in_flight=2)
    async with client(made) as http:
        slow = [asyncio.create_task(http.get("/slow")) for _ in range(2)]
        await asyncio.sleep(0.05)
        answer = await http.get("/patients/p-1")
        assert is_problem(answer, 503)
        assert answer.headers["retry-after"] == "1"
        assert (await http.get("/ops/ready")).status_code == 200
        made.state.go.set()
        assert [each.status_code for each in await asyncio.gather(*slow)] == [200, 200]
        assert (await http.get("/patients/p-1")).status_code == 200


async def test_a_path_with_a_bound_of_its_own_leaves_room_for_the_others() -> None:
    made = app(in_flight=1, lanes={"/slow": 2})
    async with client(made) as http:
        slow = [asyncio.create_task(http.get("/slow")) for _ in range(2)]
        await asyncio.sleep(0.05)
        assert is_problem(await http.get("/slow"), 503)
        assert (await http.get("/patients/p-1")).status_code == 200
        made.state.go.set()
        await asyncio.gather(*slow)


async def test_a_caller_who_does_not_read_the_answer_is_let_go(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(edge, "SEND_SECONDS", 0.05)
    made = app(in_flight=1)

    async def nothing() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def never(_: Any) -> None:
        await asyncio.sleep(5)

    headers = [(b"host", b"localhost")]
    scope = {
        "type": "http",
        "method": "GET",
        "path": "/patients/p-1",
        "headers": headers,
        "query_string": b"",
    }
    async with asyncio.timeout(2):
        await made(scope, nothing, never)
    async with client(made) as http:
        assert (await http.get("/patients/p-1")).status_code == 200


# ---- what is kept on the way


async def test_no_answer_is_kept_on_the_way_but_files() -> None:
    async with client(app()) as http:
        for path in ("/patients/p-1", "/nowhere", "/ops/ready"):
            assert (await http.get(path)).headers["cache-control"] == "no-store", path
        assert (await http.get("/static/page.css")).headers["cache-control"] == "no-cache"
        assert (await http.get("/patients/p-1", headers={"Host": "evil.example"})).headers[
            "cache-control"
        ] == "no-store"


def test_the_document_of_the_interface_still_reads() -> None:
    assert json.dumps(app().openapi())
