"""Each service answers as its OpenAPI document says, whatever it is asked: Schemathesis makes requests from it, such as
it allows and such as it does not, and judges the answers.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager, suppress
from datetime import date
from itertools import count
from pathlib import Path
from typing import Any

import httpx
import pytest
import requests
import schemathesis
from fastapi import FastAPI
from hypothesis import HealthCheck, Phase, assume, given, seed, settings
from hypothesis import strategies as st
from hypothesis.errors import Unsatisfiable
from schemathesis import Case, GenerationMode
from schemathesis.checks import CHECKS
from schemathesis.config import SchemathesisConfig
from schemathesis.core.failures import FailureGroup
from schemathesis.python import asgi
from schemathesis.schemas import APIOperation

from tests.integration.test_odd_input import SERVICES, known_ids, start, unstarted
from tests.running import EVERYBODY

SEED = 20_26
EXAMPLES = 50
"""Of each route, half of them such as its document allows."""

ADDRESS = "http://localhost"
THE_SAME_EVERYWHERE = ("/ops/", "/metrics")
"""What the fabric answers in every service: asked of one."""

NEEDS_A_BROKER = ("/ops/ready", "/ops/consuming", "/ops/status", "/metrics", "/rebuild")
"""They take nothing in, and are asked on the real thing in tests/integration/fabric and test_console."""

SWITCHED_OFF: Mapping[str, str] = {
    "use_after_free": "nothing is deleted here",
    "ensure_resource_availability": "nothing is created under an id that its answer names",
    "ignored_auth": "in these tests who calls is said by headers (tests/integration/test_access.py asks without)",
    "object_level_authorization": "the same",
}

REFUSED = ("2xx", "401", "403", "404", "409", "422")
"""What a request may be answered with that its document allows: never that it is not valid."""

CONFIG = SchemathesisConfig.from_dict(
    {"checks": {"positive_data_acceptance": {"expected-statuses": REFUSED}}}
)


MORE_IN_WORDS: Mapping[str, str] = {
    "POST /patients/{patient_id}/circumstances": "a span ends after it begins",
    "POST /patients/{patient_id}/rhythm": "a day of the month goes with the policy of that name",
    "POST /plans/what-if": "what a plan is asked for with has rules of its own (docs/reference/plan-input.md)",
    "POST /plans/{patient_id}/rulings": "each kind has its fields, and a quantity has 12 digits",
    "POST /fill-orders/{order_id}/result": "each result has its fields",
    "POST /fill-orders/{order_id}/resolution": "each way to resolve has its fields",
    "POST /packages/{package_id}/hand-over": "somebody else has a name, and what was drawn is one picture",
    "POST /hand-overs": "the same",
}
"""What is refused as not valid (400) though the schema allows it: JSON Schema does not say such things well."""

ONE_BY_ONE: Mapping[str, str] = {
    "POST /imports/{kind}": "a record that is not valid is refused in the answer, and the others are taken",
}
"""Where what the schema forbids is not refused as a whole."""

schemathesis.openapi.format("date", st.dates(date(1900, 1, 1), date(2199, 12, 31)).map(str))


@pytest.mark.timeout(300)
@pytest.mark.parametrize("name", SERVICES)
def test_every_answer_is_in_the_document(
    name: str, fresh_database: Callable[[str], str], tmp_path: Path
) -> None:
    faults: dict[str, str] = {}
    with served(name, fresh_database(name), tmp_path) as (app, session, known):
        for item in app.openapi()["paths"].values():
            for operation in item.values():
                operation.pop("security", None)  # who calls is said by headers here
        document = schemathesis.openapi.from_asgi(
            "/openapi.json", app, headers={"Host": "localhost"}, config=CONFIG
        )
        for each in document.get_all_operations():
            operation = each.ok()
            if is_asked(name, operation.path):
                for group in asked(operation, session, known):
                    for fault in group.exceptions:
                        faults.setdefault(f"{operation.label}: {fault.title}", str(group))
    print(*faults.values(), sep="\n")
    assert not sorted(faults)


def is_asked(name: str, path: str) -> bool:
    return path not in NEEDS_A_BROKER and (name == "enrollment" or not path.startswith(THE_SAME_EVERYWHERE))


def asked(operation: APIOperation, session: requests.Session, known: Mapping[str, Any]) -> list[FailureGroup]:
    """Ask a route; what is wrong with its answers."""
    return [fault for mode in GenerationMode for fault in asked_in(mode, operation, session, known)]


def asked_in(
    mode: GenerationMode, operation: APIOperation, session: requests.Session, known: Mapping[str, Any]
) -> list[FailureGroup]:
    found: list[FailureGroup] = []
    turn = count()
    off = [
        *SWITCHED_OFF,
        *(["positive_data_acceptance"] if operation.label in MORE_IN_WORDS else []),
        *(["negative_data_rejection"] if operation.label in ONE_BY_ONE else []),
    ]

    @seed(SEED)
    @settings(
        max_examples=EXAMPLES // 2,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=operation.as_strategy(generation_mode=mode))
    def ask(case: Case) -> None:
        if mode is GenerationMode.POSITIVE:
            assume(
                not any("%" in str(value) for value in case.path_parameters.values())
            )  # sent as it is, decoded
            if next(turn) % 2:
                about_what_is_there(case, known)
        try:
            case.call_and_validate(ADDRESS, session, excluded_checks=CHECKS.get_by_names(off))
        except FailureGroup as group:
            found.append(group)

    with suppress(Unsatisfiable):  # where it takes nothing, nothing can be wrong
        ask()
    return found


def about_what_is_there(case: Case, known: Mapping[str, Any]) -> None:
    """Let it name what the service knows, and be sent by somebody who may."""
    for name in case.path_parameters.keys() & known.keys():
        case.path_parameters[name] = known[name]
    case.headers.update(EVERYBODY)


@contextmanager
def served(
    name: str, url: str, folder: Path
) -> Iterator[tuple[FastAPI, requests.Session, Mapping[str, Any]]]:
    """A service that knows a pharmacy, without a broker, in a loop beside this thread; and ids that it knows."""
    app = unstarted(name, url)
    known: dict[str, Any] = {}

    @asynccontextmanager
    async def running(_: FastAPI) -> AsyncIterator[None]:
        work = await start(name, app, folder)
        transport = httpx.ASGITransport(app=app)
        async with httpx.AsyncClient(transport=transport, base_url=ADDRESS, headers=EVERYBODY) as http:
            known.update(await known_ids(name, work, http))
        yield
        await work.pool.close()

    app.router.lifespan_context = running
    try:
        with asgi.get_client(app) as session:
            session.headers.update(EVERYBODY)
            yield app, session, known
    finally:
        asgi.shutdown_lifespans()
