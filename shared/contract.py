"""The OpenAPI document of a service as a contract: every answer is in it, so that a client can be made from it.

FastAPI knows what a route takes and answers where all is well. What else may come back is the same in every service and
is added here once: problem details, from the routes and from what stands before them (shared/edge.py).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any

from fastapi import FastAPI
from pydantic.json_schema import models_json_schema

from shared.access import PUBLIC, About, Row, Rows
from shared.http import PROBLEM_JSON, ProblemDetails

Document = dict[str, Any]

METHODS = ("get", "post", "put", "patch", "delete")
REFERENCE = "#/components/schemas/{model}"

OF_FASTAPI = ("HTTPValidationError", "ValidationError")
"""What FastAPI says about requests that are not valid; here they are problem details."""

PROBLEMS: Mapping[int, tuple[str, str]] = {
    400: ("Invalid", "The request is not valid: `errors` names the fields, `detail` the way out."),
    401: ("NotSignedIn", "Nobody says who calls, or nothing that is believed: sign in."),
    403: ("NotAllowed", "Somebody else may do it: `detail` names the roles."),
    404: ("NotFound", "What it names does not exist here."),
    408: ("TooSlow", "The body did not come in time; the connection is closed."),
    409: ("Conflict", "It does not go with how things stand; `code` tells programs what is in the way."),
    413: ("TooLarge", "The body is larger than this route takes; the connection is closed."),
    421: ("Misdirected", "The Host header names no host of this service."),
    422: (
        "Refused",
        "It contradicts itself or what is possible: `code` tells programs what it is. `key_reused`: the "
        "Idempotency-Key came before with another command. `too_large`: more would be published than the broker takes.",
    ),
    503: (
        "Unavailable",
        "Not now: as many requests as are taken at once are running (`busy`), or the database does not answer "
        "(`outage`). Try again after the seconds of Retry-After, with the same Idempotency-Key.",
    ),
}
"""Status to the name of the answer in the document, and what it means."""

TO_ALL = (400, 421, 503)
TO_BODIES = (404, 408, 413)
TO_CALLERS = (401, 403)
"""Where the table of access has somebody to ask for."""

TO_COMMANDS = (409, 422)
"""Where something is changed: it has to go with how things stand."""

OPERATIONS = "operations"
"""The tag of what every service answers to whoever runs it."""

SCHEMES = {
    "token": {
        "type": "http",
        "scheme": "bearer",
        "bearerFormat": "JWT",
        "description": "an access token (RFC 9068) of the chain's identity provider for this service",
    },
}
"""Roles are no scopes of a scheme: they are in `x-roles` of each operation."""

RETRY_AFTER = {"Retry-After": {"description": "seconds", "schema": {"type": "integer"}}}


class Documented(FastAPI):
    """An app whose document has every answer, an id for each operation, and tags."""

    def openapi(self) -> Document:
        if self.openapi_schema is None:
            self.openapi_schema = completed(super().openapi(), getattr(self.state, "rows", {}))
        return self.openapi_schema


def completed(document: Document, rows: Rows = MappingProxyType({})) -> Document:
    """The document that FastAPI made, with what is the same in every service, and who may use which route."""
    parts = document.setdefault("components", {})
    schemas = parts.setdefault("schemas", {})
    for method, path, operation in _operations(document):
        _say_for_whom(operation, rows.get(f"{method.upper()} {path}", PUBLIC))
        _complete(path, operation)
    for name in OF_FASTAPI:
        schemas.pop(name, None)
    schemas |= _of_problems()
    parts["schemas"] = dict(sorted(schemas.items()))
    document["tags"] = _tags(document)
    parts["securitySchemes"] = SCHEMES
    parts["responses"] = {name: _answer(status) for status, (name, _) in PROBLEMS.items()}
    return document


def _operations(document: Document) -> Iterator[tuple[str, str, Document]]:
    for path, item in document["paths"].items():
        for method in METHODS:
            if method in item:
                yield method, path, item[method]


def _say_for_whom(operation: Document, row: Row) -> None:
    if row.about is not About.public:
        operation["security"] = [{name: []} for name in SCHEMES]
        operation["x-roles"] = sorted(row.roles)


def _tags(document: Document) -> list[Document]:
    """In the order in which they are read: what every service has comes last."""
    names = dict.fromkeys(tag for _, _, operation in _operations(document) for tag in operation["tags"])
    return [{"name": name} for name in sorted(names, key=lambda name: name == OPERATIONS)]


def _complete(path: str, operation: Document) -> None:
    for parameter in operation.get("parameters", ()):
        _leave_out_null(parameter)
    operation.setdefault("tags", [path.split("/")[1]])
    answers = operation["responses"]
    if OF_FASTAPI[0] in str(answers.get("422")):
        del answers["422"]
    for status in _problems_of(operation):
        name, _ = PROBLEMS[status]
        if own := answers.get(str(status)):
            own.setdefault("content", {}).setdefault(PROBLEM_JSON, _answer(status)["content"][PROBLEM_JSON])
        else:
            answers[str(status)] = {"$ref": f"#/components/responses/{name}"}
    operation["responses"] = dict(sorted(answers.items()))


def _problems_of(operation: Document) -> list[int]:
    """The statuses that problems of this operation may have."""
    places = {(parameter["in"], parameter["name"]) for parameter in operation.get("parameters", ())}
    found = {*TO_ALL}
    if any(place == "path" for place, _ in places):
        found |= {404}
    if "requestBody" in operation:
        found |= {*TO_BODIES}
    if ("header", "idempotency-key") in places:
        found |= {*TO_COMMANDS}
    if "security" in operation:
        found |= {*TO_CALLERS}
    return sorted(found)


def _leave_out_null(parameter: Document) -> None:
    """An address or a header cannot say null: what is optional is left out."""
    schema = parameter["schema"]
    kinds = [kind for kind in schema.get("anyOf", ()) if kind != {"type": "null"}]
    if len(kinds) == 1:
        parameter["schema"] = {**kinds[0], **{k: v for k, v in schema.items() if k != "anyOf"}}


def _answer(status: int) -> Document:
    _, description = PROBLEMS[status]
    content = {PROBLEM_JSON: {"schema": {"$ref": REFERENCE.format(model=ProblemDetails.__name__)}}}
    headers = {"headers": RETRY_AFTER} if status == 503 else {}
    return {"description": description, **headers, "content": content}


def _of_problems() -> Document:
    _, schemas = models_json_schema([(ProblemDetails, "serialization")], ref_template=REFERENCE)
    found: Document = schemas["$defs"]
    return found
