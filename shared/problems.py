"""Why something that was asked for is not done, said the same way to whoever asks: a code for programs, words for
people. Commands and rules raise these and know no HTTP; `shared.http` answers them, a handler's become dead letters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

ERRORS_IN_WORDS = 5
"""Of what is wrong with a request, in the sentence for people; the rest is counted."""


class Refused(Exception):
    """What was asked cannot be done, whoever asks and however often.

    In a handler it makes the event a dead letter; a command answers it as problem details. `code` is a word that
    programs may rely on (`unknown_patient`); `message` says what is wrong and what to do, and holds no personal data.
    """

    named: Mapping[str, Sequence[str]] = {}  # ids that it is about, by what they are; the sentence has none

    def __init__(self, code: str, message: str) -> None:
        super().__init__(f"{code}: {message}")
        self.code, self.message = code, message


class Invalid(Refused):
    """The request contradicts itself or what is possible: another request may do (422)."""


class NotFound(Refused):
    """What it names does not exist here (404)."""


class Malformed(Refused):
    """It cannot be read (400). Each error says in which `field` it is, and what the `problem` is, in words."""

    def __init__(self, errors: Sequence[Mapping[str, Any]]) -> None:
        said = [f"{error['field'] or 'body'}: {error['problem']}" for error in errors[:ERRORS_IN_WORDS]]
        rest = len(errors) - len(said)
        super().__init__("invalid_request", "; ".join(said) + (f"; and {rest} more" if rest else ""))
        self.errors = errors


class Busy(Refused):
    """As much is asked already as can be answered: the same may do a little later (503)."""


class Conflict(Refused):
    """It does not go with how things stand (409). `named`: the ids of what stands against it, beside the sentence."""

    def __init__(self, code: str, message: str, **named: Sequence[str]) -> None:
        super().__init__(code, message)
        self.named = named


class NotAllowed(Refused):
    """Somebody else may do it (403)."""


STAFF = ("clerk", "technician", "pharmacist")
"""The roles of those who work in a pharmacy."""


def require_role(role: str, *allowed: str) -> None:
    """Let only these roles pass. Raises NotAllowed, which names them."""
    if role not in allowed:
        raise NotAllowed("not_allowed", f"only {' or '.join(allowed)} may do this; you act as {role}")
