"""Every line of the log is a JSON object, whoever wrote it, and quotes nobody's values."""

from __future__ import annotations

import asyncio
import gc
import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest
import structlog

from shared.logging import configure_logging

SECRET = "Ada Canary, 918-555-0101"


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    handlers = logging.getLogger().handlers[:]
    yield
    logging.getLogger().handlers[:] = handlers
    structlog.reset_defaults()


def lines(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in capsys.readouterr().err.splitlines()]


def fail() -> None:
    raise ValueError(SECRET)


@pytest.mark.parametrize("name", ["uvicorn.error", "asyncpg.pool", "asyncio", "py.warnings"])
def test_a_library_s_line_is_json_and_names_the_service(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    configure_logging("planner")
    logging.getLogger(name).warning("%s of %s", "one", "two")
    (line,) = lines(capsys)
    assert (line["event"], line["logger"], line["level"]) == ("one of two", name, "warning")
    assert (line["service"], "timestamp" in line) == ("planner", True)


def test_an_exception_is_told_by_its_place_and_type_by_whomever(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging("planner")
    try:
        fail()
    except ValueError as error:
        logging.getLogger("uvicorn.error").error("Exception in ASGI application", exc_info=error)
        structlog.get_logger().exception("own.fault")
    for line in lines(capsys):
        assert line["error"] == "ValueError"
        assert line["trace"][-1].endswith(" fail")
        assert SECRET not in json.dumps(line)


@pytest.mark.slow
def test_a_task_that_nobody_awaited_is_told_without_its_words(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging("planner")

    async def main() -> None:
        async def broken() -> None:
            fail()

        task = asyncio.create_task(broken())
        await asyncio.wait([task])
        del task
        gc.collect()

    asyncio.run(main())
    (line,) = lines(capsys)
    assert (line["event"], line["error"]) == ("Task exception was never retrieved", "ValueError")
    assert SECRET not in json.dumps(line)


def test_configured_twice_it_says_everything_once(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging("planner")
    configure_logging("outreach")
    logging.getLogger("uvicorn.error").warning("once")
    structlog.get_logger().info("twice.configured")
    assert [line["service"] for line in lines(capsys)] == ["outreach", "outreach"]
