"""What a service answers is in its OpenAPI document, which is kept beside the code that makes it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import cache
from importlib import import_module
from itertools import chain
from typing import Any

import httpx
import jsonschema
import pytest
from fastapi import APIRouter, Depends, FastAPI
from fastapi.routing import APIRoute
from pydantic import BaseModel, ValidationError
from starlette.exceptions import HTTPException

from cli.openapi import OPENAPI, documents
from cli.schemas import read
from services import SERVICES
from shared import operations as fabric
from shared.access import STAFF_ALONE
from shared.contract import PROBLEMS, Documented
from shared.http import PROBLEM_JSON, Commanding, Problem, admit, install_problems
from shared.identity import Headed

Operation = dict[str, Any]


documents_now = cache(documents)


def operations(service: str) -> Iterator[tuple[str, Operation]]:
    for path, item in documents_now()[service]["paths"].items():
        for method, operation in item.items():
            yield f"{method.upper()} {path}", operation


def resolved(part: dict[str, Any], document: dict[str, Any]) -> dict[str, Any]:
    while "$ref" in part:
        found: Any = document
        for name in part["$ref"].removeprefix("#/").split("/"):
            found = found[name]
        part = found
    return part


def test_the_documents_kept_are_those_of_the_code() -> None:
    assert read(OPENAPI) == json.loads(json.dumps(documents_now())), (
        "run `make schemas` and look at what changed"
    )


@pytest.mark.parametrize("service", SERVICES)
def test_a_document_says_whose_it_is(service: str) -> None:
    info = documents_now()[service]["info"]
    assert info["title"] == f"MedSync {service}"
    assert info["description"] and info["version"]


@pytest.mark.parametrize("service", SERVICES)
def test_each_operation_has_an_id_that_reads_a_tag_and_words(service: str) -> None:
    for where, operation in operations(service):
        assert operation["operationId"].startswith(f"{service}_"), where
        assert "__" not in operation["operationId"], where
        assert operation["tags"], where
        assert operation["description"], where


@pytest.mark.parametrize("service", SERVICES)
def test_no_two_operations_have_one_id(service: str) -> None:
    ids = [operation["operationId"] for _, operation in operations(service)]
    assert len(ids) == len(set(ids))


@pytest.mark.parametrize("service", SERVICES)
def test_each_operation_says_its_problems_as_problem_details(service: str) -> None:
    document = documents_now()[service]
    for where, operation in operations(service):
        assert {"400", "421", "503"} <= operation["responses"].keys(), where
        for status, answer in operation["responses"].items():
            if int(status) in PROBLEMS:
                content = resolved(answer, document)["content"]
                assert content[PROBLEM_JSON]["schema"] == {"$ref": "#/components/schemas/ProblemDetails"}, (
                    where
                )
    assert "HTTPValidationError" not in json.dumps(document)


@pytest.mark.parametrize("service", SERVICES)
def test_a_command_says_for_whom_it_is_and_may_be_sent_twice(service: str) -> None:
    commands = 0
    for where, operation in operations(service):
        headers = {p["name"]: p for p in operation.get("parameters", ()) if p["in"] == "header"}
        if "idempotency-key" in headers:
            commands += 1
            assert operation["security"] and operation["x-roles"], where
            assert "first answer" in headers["idempotency-key"]["description"], where
            assert {"401", "403", "409", "422"} <= operation["responses"].keys(), where
    assert commands


@pytest.mark.parametrize("service", SERVICES)
def test_no_address_and_no_header_is_null(service: str) -> None:
    for where, operation in operations(service):
        for parameter in operation.get("parameters", ()):
            assert "null" not in json.dumps(parameter), f"{where} {parameter['name']}"


@pytest.mark.parametrize("service", SERVICES)
def test_the_schemas_of_a_document_are_schemas(service: str) -> None:
    for schema in documents_now()[service]["components"]["schemas"].values():
        jsonschema.Draft202012Validator.check_schema(schema)


# --- what is said to a command ---


def bodies(service: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """The schema of each body, by its route."""
    for where, operation in operations(service):
        for content in operation.get("requestBody", {}).get("content", {}).values():
            yield where, resolved(content["schema"], documents_now()[service])


@pytest.mark.parametrize("service", SERVICES)
def test_each_body_has_an_example(service: str) -> None:
    for where, schema in bodies(service):
        assert schema.get("examples"), where


@pytest.mark.parametrize("service", SERVICES)
def test_each_example_is_as_its_schema_says(service: str) -> None:
    components = documents_now()[service]["components"]
    for name, schema in components["schemas"].items():
        for example in schema.get("examples", ()):
            judge = jsonschema.Draft202012Validator(
                {**schema, "components": components}, format_checker=jsonschema.FormatChecker()
            )
            assert not list(judge.iter_errors(example)), name


def models(service: str) -> Iterator[type[BaseModel]]:
    """What the bodies of its routes are read as."""
    routers = [
        each for each in vars(import_module(f"services.{service}.http")).values() if type(each) is APIRouter
    ]
    for route in chain.from_iterable(router.routes for router in (*routers, fabric.router)):
        if isinstance(route, APIRoute) and route.body_field and route.include_in_schema:
            yield route.body_field.field_info.annotation


Where = tuple[str | int, ...]

NEARLY: dict[str, tuple[Any, ...]] = {
    "integer": ("1", True, 1.5),
    "boolean": ("true", "yes", 1, 1.0),
    "date": (0, "0", 1772409600, "2026-03-02T00:00:00"),
    "string": (1, 1.0, True),
    "decimal": (True, False),
}


def kinds_of(schema: dict[str, Any], document: dict[str, Any]) -> list[dict[str, Any]]:
    """The kinds of value that a schema takes, null aside."""
    schema = resolved(schema, document)
    if "anyOf" in schema:
        return [kind for each in schema["anyOf"] for kind in kinds_of(each, document)]
    return [] if schema.get("type") == "null" else [schema]


def nearly(schema: dict[str, Any], document: dict[str, Any]) -> Iterator[tuple[Where, Any]]:
    """Values that only look like those of a schema, each with where in it the value of another kind is."""
    kinds = kinds_of(schema, document)
    types = {kind.get("type") for kind in kinds}
    if types == {"number", "string"}:
        yield from (((), value) for value in NEARLY["decimal"])
    elif len(types) == 1:
        for kind in kinds:
            yield from (((), value) for value in NEARLY.get(kind.get("format", kind.get("type")), ()))
            for where, value in nearly(kind["items"], document) if "items" in kind else ():
                yield (0, *where), [value]
            for name, part in kind.get("properties", {}).items():
                for where, value in nearly(part, document):
                    yield (name, *where), {name: value}


@pytest.mark.parametrize("service", SERVICES)
def test_a_command_takes_no_value_for_one_of_another_kind(service: str) -> None:
    tried = 0
    for model in models(service):
        document = model.model_json_schema()
        for where, value in nearly(document, document):
            with pytest.raises(ValidationError) as refused:
                model.model_validate(value)
            assert where in [error["loc"][: len(where)] for error in refused.value.errors()], (model, value)
            tried += 1
    assert tried > 2


# --- what comes back ---


def asked(app: FastAPI) -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://localhost")


@pytest.fixture
def small() -> FastAPI:
    """An app with one command, which has an answer of its own for 409."""
    router = APIRouter()

    @router.post("/things/{thing}", responses={409: {"model": dict[str, str], "description": "taken"}})
    async def take(thing: str, size: int, caller: Commanding, near: str | None = None) -> dict[str, str]:
        if thing == "lost":
            raise Problem(404, "Lost", "it is not here", code="lost")
        if thing == "gone":
            raise HTTPException(410)
        return {}

    app = Documented(title="small", dependencies=[Depends(admit)])
    app.state.rows, app.state.identity = {"POST /things/{thing}": STAFF_ALONE}, Headed()
    install_problems(app)
    app.include_router(router)
    return app


HEADERS = {"Medsync-Actor": "a-1", "Medsync-Role": "clerk"}


def test_a_route_keeps_an_answer_of_its_own_beside_the_problem(small: FastAPI) -> None:
    answers = small.openapi()["paths"]["/things/{thing}"]["post"]["responses"]
    assert answers["409"]["description"] == "taken"
    assert answers["409"]["content"].keys() == {"application/json", PROBLEM_JSON}
    assert "422" in answers and "413" not in answers, "it has no body"


async def test_problems_are_as_the_document_says(small: FastAPI) -> None:
    document = small.openapi()
    problem = {"$ref": "#/components/schemas/ProblemDetails", "components": document["components"]}
    async with asked(small) as http:
        answers = [
            await http.post("/things/lost?size=1", headers=HEADERS),
            await http.post("/things/lost?size=much", headers=HEADERS),
            await http.post("/things/gone?size=1", headers=HEADERS),
            await http.get("/nowhere"),
        ]
    assert [answer.status_code for answer in answers] == [404, 400, 410, 404]
    for answer in answers:
        assert answer.headers["content-type"] == PROBLEM_JSON
        jsonschema.validate(answer.json(), problem)
    assert answers[0].json()["code"] == "lost"
    assert answers[1].json()["errors"][0]["field"] == "size"
    assert answers[2].json()["title"] == "Gone"


async def test_a_method_that_is_not_taken_is_told_which_are(small: FastAPI) -> None:
    async with asked(small) as http:
        answer = await http.delete("/things/x")
    assert (answer.status_code, answer.headers["allow"]) == (405, "POST")
