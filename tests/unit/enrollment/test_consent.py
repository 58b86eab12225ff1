"""How a new word of the patient amends what was agreed."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from services.enrollment.domain.consent import Terms, amend
from shared.events.enrollment import Channel

BOTH = ("synchronize", "contact")
HELD = Terms(BOTH, (Channel.phone,), "en", True, False, None, (), 4)
WITHOUT_CONTACT = replace(HELD, scope=("synchronize",))


@pytest.mark.parametrize(
    ("held", "said", "stopped", "changes", "contact_agreed"),
    [
        (HELD, {}, True, (), False),
        (HELD, {"language": "en", "scope": BOTH[::-1]}, True, (), False),
        (HELD, {"channels": (Channel.phone,)}, False, (), False),
        (HELD, {"channels": (Channel.phone,)}, True, ("channels",), True),
        (HELD, {"channels": (Channel.phone, Channel.text)}, False, ("channels",), True),
        (HELD, {"channels": ()}, True, ("channels",), False),
        (HELD, {"language": "es", "caregiver": False}, True, ("language", "caregiver"), False),
        (HELD, {"scope": ("synchronize",)}, False, ("scope",), False),
        (WITHOUT_CONTACT, {"channels": (Channel.text,)}, True, ("channels",), False),
        (WITHOUT_CONTACT, {"scope": BOTH}, True, ("scope", "channels"), True),
        (
            HELD,
            {"preferred_weekday": None, "must_weekdays": (1,)},
            False,
            ("must_weekdays", "preferred_weekday"),
            False,
        ),
    ],
)
def test_an_amendment_changes_what_it_names_and_only_agreement_to_contact_lifts_a_stop(
    held: Terms, said: dict[str, Any], stopped: bool, changes: tuple[str, ...], contact_agreed: bool
) -> None:
    amendment = amend(held, said, stopped=stopped)
    assert (amendment.changes, amendment.contact_agreed) == (changes, contact_agreed)
    assert amendment.terms == replace(held, **said)
