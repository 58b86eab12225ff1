"""Who stands at the counter: what they say is compared with what is held of the patient (R15.3)."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Collection, Mapping
from datetime import date
from typing import Any, Literal, NamedTuple

from services.fulfillment.domain.facts import Contact, Patient
from shared.problems import Invalid

IDENTIFIERS = frozenset({"name", "birth_date", "address", "phone", "photo_id"})
"""By what a person at the pickup desk is identified; two are needed (R15.3)."""

MOST_TRIES = 5
"""Wrong tries in a row after which a clerk's word does not release a package any more."""

PHONE_DIGITS = 10
"""Of a North American number without its country."""

SHORT_FORMS: Mapping[str, str] = {
    "street": "st",
    "road": "rd",
    "avenue": "ave",
    "av": "ave",
    "drive": "dr",
    "lane": "ln",
    "boulevard": "blvd",
    "court": "ct",
    "place": "pl",
    "highway": "hwy",
    "apartment": "apt",
    "suite": "ste",
    "north": "n",
    "south": "s",
    "east": "e",
    "west": "w",
}
"""As the postal service shortens the words of an address."""


class Compared(NamedTuple):
    """The identifiers that were presented, by what came of comparing them."""

    agree: tuple[str, ...] = ()
    differ: tuple[str, ...] = ()
    not_held: tuple[str, ...] = ()  # there is nothing to compare them with


class Proof(NamedTuple):
    """By what a package may be released."""

    how: Literal["compared", "attested", "released"]
    """`compared` by the server, `attested` by staff who named what they had checked, or `released` with a reason."""
    identifiers: tuple[str, ...] = ()  # that agree, or were named
    differ: tuple[str, ...] = ()  # though it is released


class WrongTry(NamedTuple):
    """What was presented is not what is held: written down, and counted."""

    differ: tuple[str, ...]
    why: str


def compare(presented: Mapping[str, Any], held: Contact | None) -> Compared:
    """Hold each value against the patient's own."""
    said = {name: _agrees(name, value, held) for name, value in presented.items()}

    def those(agrees: bool | None) -> tuple[str, ...]:
        return tuple(name for name in said if said[name] is agrees)

    return Compared(those(True), those(False), those(None))


def judge(compared: Compared, *, tries: int, released: bool) -> Proof | WrongTry:
    """What a comparison leads to, after so many wrong tries; `released`: by who may, with a reason.

    Raises:
        Invalid: too many tries were wrong, or fewer than two identifiers could be compared.
    """
    proven = len(compared.agree) >= 2 and not compared.differ
    if proven and tries < MOST_TRIES:
        return Proof("compared", compared.agree)
    if released:
        return Proof("released", compared.agree, compared.differ)
    check_tries(tries)
    if compared.differ:
        left = _tries_left(MOST_TRIES - tries - 1)
        return WrongTry(compared.differ, f"{', '.join(compared.differ)}: not as held here; {left}")
    nothing = f"; nothing is held here of: {', '.join(compared.not_held)}" if compared.not_held else ""
    raise Invalid("not_released", f"two identifiers are needed that agree with what is held{nothing}")


def attest(identifiers: Collection[str], *, accepted: bool, tries: int, released: bool) -> Proof:
    """Believe staff who name what they checked.

    Raises:
        Invalid: too many tries were wrong, fewer than two are named, or values are asked for here.
    """
    named = tuple(sorted(IDENTIFIERS & set(identifiers)))
    if accepted and len(named) >= 2 and tries < MOST_TRIES:
        return Proof("attested", named)
    if released:
        return Proof("released")
    check_tries(tries)
    if not accepted:
        raise Invalid("not_released", "say what was presented (`presented`): naming identifiers does not do")
    raise Invalid("not_released", f"two identifiers are needed, of {', '.join(sorted(IDENTIFIERS))}")


def check_tries(tries: int) -> None:
    """Raises Invalid where too many were wrong."""
    if tries >= MOST_TRIES:
        raise Invalid("not_released", _tries_left(0))


def check_collector(
    collected_by: str, patient: Patient | None, *, overruled: bool, recorded: bool = False
) -> None:
    """A caregiver collects where the patient's consent says so, and whoever is recorded as one; others where a
    pharmacist overrules that with a reason.

    Raises:
        Invalid: neither is the case.
    """
    consented = collected_by == "caregiver" and patient is not None and patient.caregiver_may_collect
    if collected_by != "patient" and not (consented or recorded or overruled):
        whom = "no caregiver" if collected_by == "caregiver" else "nobody else"
        raise Invalid(
            "not_released",
            f"the patient consented to {whom}; a pharmacist may overrule that, with a reason",
        )


def _tries_left(left: int) -> str:
    if left > 0:
        return f"{left} {'tries are' if left > 1 else 'try is'} left"
    return f"{MOST_TRIES} tries were wrong: a pharmacist or a manager may release it, with a `release_reason`"


# ---- one value and another --------------------------------------------------------------------------------------


def _agrees(name: str, said: Any, held: Contact | None) -> bool | None:
    """Whether they agree; None where nothing is held."""
    return SAME[name](said, held) if held and name in SAME else None


def _same_name(said: str, held: Contact) -> bool | None:
    given, family = folded(held.given_name), folded(held.family_name)
    if not given and not family:
        return None
    words = folded(said)
    joined = {"".join([*given, *family]), "".join([*family, *given])}
    return sorted(words) == sorted([*given, *family]) or "".join(words) in joined


def _same_birth_date(said: date, held: Contact) -> bool | None:
    return said == held.birth_date if held.birth_date else None


def _same_address(said: str, held: Contact) -> bool | None:
    """The house and its street, and nothing that is not in the address: people leave out the town."""
    words, own = _address_words(said), _address_words(held.address)
    if not own:
        return None
    has_number = any(word[0].isdigit() for word in words)
    return has_number and len(words) >= 2 and words[:2] == own[:2] and set(words) <= set(own)


def _same_phone(said: str, held: Contact) -> bool | None:
    digits = _digits(said)
    if not held.phones:
        return None
    return len(digits) == PHONE_DIGITS and digits in map(_digits, held.phones)


SAME: Mapping[str, Callable[[Any, Contact], bool | None]] = {
    "name": _same_name,
    "birth_date": _same_birth_date,
    "address": _same_address,
    "phone": _same_phone,
}
"""What can be compared. The number of a license is held of nobody: it is only written down."""


def folded(text: str) -> list[str]:
    """Its words, without case, accents, apostrophes and what stands between them.

    >>> folded("José  O'Brien-LÓPEZ")
    ['jose', 'obrien', 'lopez']
    """
    plain = unicodedata.normalize("NFKD", text.casefold())
    kept = "".join(each for each in plain if not unicodedata.combining(each) and each not in "'’ʼ`")
    return re.findall(r"\w+", kept)


def _address_words(text: str) -> list[str]:
    return [SHORT_FORMS.get(word, word) for word in folded(text)]


def _digits(text: str) -> str:
    """Those of a number without its country."""
    return re.sub(r"\D", "", text)[-PHONE_DIGITS:]
