"""The shape of the services: `python -m tools.rooms` (part of `make check`) names every place that is out of shape.

Every service has the same rooms, so that who knows one knows all. import-linter holds who may import whom; this holds
what stands where. A room that one service alone needs is listed below, with what it is for.
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from services import SERVICES

ROOMS: Mapping[str, str] = {
    "app.py": "the composition root",
    "settings.py": "what it is told from outside",
    "http.py": "routes: parse, call a command or a query, answer",
    "commands.py": "one function per command, on a unit of work, without HTTP",
    "queries.py": "what routes and pages read",
    "handlers.py": "one function per event that it takes in",
    "domain": "the rules: frozen models and pure functions",
    "store": "every SQL statement",
    "migrations": "numbered SQL files",
}

NOT_EVERYWHERE: Mapping[str, str] = {
    "jobs.py": "one function per kind of work that falls due",
    "recompute.py": "what follows from facts, worked out anew: by handlers, commands and jobs in the same way",
    "publishing.py": "from the service's own values to the published language",
}
"""Rooms that a service has where it has the thing; under these names alone."""

OWN: Mapping[str, Mapping[str, str]] = {
    "enrollment": {
        "imports.py": "the feed: what each kind of record does to what is held",
        "erasing.py": "who is forgotten: what stands against it, and what every service is told",
        "policy": "for how long records stay, with sources",
    },
    "planner": {
        "policy": "dated figures of payers and states, with their sources",
        "rules.py": "the policy as read at the start",
        "inputs.py": "the documented input of `medsync plan`",
        "faults.py": "what is wrong with a document, in words",
        "contradictions.py": "what a document says against itself",
        "what_if.py": "plans that are asked for and not kept",
        "forecasts.py": "the demand that follows from plans",
    },
    "console": {
        "pages.py": "how a page is made",
        "live.py": "the stream, as it comes",
        "oidc.py": "people sign in at the identity provider",
        "names.py": "a name, opened for one person for a while",
        "services.py": "the other services, asked how they are",
        "rebuild.py": "the read model, built anew from the topics",
        "templates": "pages",
        "static": "style and script",
    },
}

PACKAGED = {Path(room).stem: room for room in (*ROOMS, *NOT_EVERYWHERE) if room.endswith(".py")}
"""Rooms that may outgrow one file: a package of the same name is the same room."""

LONGEST = 65
"""Lines of a function: about a screen, docstring and all."""

OF_HTTP = ("http.py", "pages.py", "services.py", "live.py", "oidc.py")
"""Rooms that know HTTP."""

SQL = re.compile(r"^\s*(select\b.*\bfrom\b|insert into|update \w+|delete from|with \w+ as)", re.I | re.S)


@dataclass(frozen=True, order=True)
class Fault:
    """One place that is out of shape."""

    path: str
    line: int
    says: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.says}"


def faults(root: Path) -> list[Fault]:
    """Everything that is out of shape in a checkout."""
    return sorted({fault for service in SERVICES for fault in _of_service(root, service)})


def _of_service(root: Path, service: str) -> Iterator[Fault]:
    house = root / "services" / service
    found = {_room(each.name) for each in house.iterdir() if each.name not in ("__init__.py", "__pycache__")}
    known = {*ROOMS, *NOT_EVERYWHERE, *OWN.get(service, {})}
    for name in sorted(set(ROOMS) - found):
        yield Fault(f"services/{service}", 0, f"has no {name} ({ROOMS[name]})")
    for name in sorted(found - known):
        yield Fault(
            f"services/{service}/{name}", 0, f"is no room: {', '.join(sorted(known))} are (tools/rooms.py)"
        )
    for path in sorted(house.rglob("*.py")):
        inside = path.relative_to(house)
        yield from _of_module(ast.parse(path.read_text()), str(path.relative_to(root)), inside)


def _room(name: str) -> str:
    return PACKAGED.get(name, name)


def _of_module(module: ast.Module, path: str, inside: Path) -> Iterator[Fault]:
    room = _room(inside.parts[0])
    for node in ast.walk(module):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            yield from _of_function(node, path, room)
        if room != "store" and isinstance(node, ast.Constant) and _is_sql(node, module):
            yield Fault(path, node.lineno, "SQL belongs into store/")
        if room not in OF_HTTP and isinstance(node, ast.Raise) and _is_problem(node):
            yield Fault(path, node.lineno, "an answer of HTTP: raise what shared.problems names")
    if room in ("commands.py", "handlers.py", "jobs.py"):
        yield from _named_functions(module, path)


def _of_function(node: ast.FunctionDef | ast.AsyncFunctionDef, path: str, room: str) -> Iterator[Fault]:
    length = (node.end_lineno or node.lineno) - node.lineno + 1
    if length > LONGEST and room != "store":  # a statement is read as one
        yield Fault(
            path, node.lineno, f"{node.name} has {length} lines: a function fits a screen ({LONGEST})"
        )
    if room == "http.py":
        for inner in ast.walk(node):
            if inner is not node and isinstance(inner, ast.AsyncFunctionDef):
                for each in ast.walk(inner):
                    if isinstance(each, ast.Raise):
                        yield Fault(
                            path, each.lineno, "a decision inside of a route: it belongs into commands.py"
                        )


def _named_functions(module: ast.Module, path: str) -> Iterator[Fault]:
    """In rooms that are lists of functions, a public one says in its first line what it does."""
    for node in module.body:
        if not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) or node.name.startswith("_"):
            continue
        if not ast.get_docstring(node):
            yield Fault(path, node.lineno, f"{node.name} does not say what it does")


def _is_sql(constant: ast.Constant, module: ast.Module) -> bool:
    if not isinstance(constant.value, str) or not SQL.match(constant.value):
        return False
    return not any(  # a docstring is no SQL
        isinstance(statement, ast.Expr) and statement.value is constant for statement in ast.walk(module)
    )


def _is_problem(node: ast.Raise) -> bool:
    return (
        isinstance(node.exc, ast.Call)
        and isinstance(node.exc.func, ast.Name)
        and node.exc.func.id == "Problem"
    )


def main() -> int:
    """Print what is out of shape; 1 where anything is."""
    found = faults(Path(__file__).parent.parent)
    for fault in found:
        print(fault)
    print(f"{len(found)} places out of shape" if found else f"{len(SERVICES)} services, the same rooms")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
