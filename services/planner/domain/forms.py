"""Dose forms: one word for each, whatever the drug file calls it (TAB, Oral Tablet, tablet, extended release)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache

FORMS: Mapping[str, re.Pattern[str]] = {
    form: re.compile(words)
    for form, words in {
        "pack": r"\b(dose)?pa(c)?ks?\b|\bkits?\b|\bblister",
        "inhaler": r"inhal|aerosol|nebuli|\b(hfa|mdi|dpi)\b",
        "patch": r"\bpatch|transdermal",
        "injection": r"inject|\bsyringes?\b|\bvials?\b|\bpens?\b|\bcartridges?\b|\bampu",
        "tablet": r"\btab(let)?s?\b|\bcaplets?\b|\bodt\b",
        "capsule": r"\bcap(sule)?s?\b|\bgelcaps?\b|\bsoft ?gels?\b",
        "drops": r"\bdrops?\b|\b(ophthalmic|otic) (solution|suspension)\b",
        "cream": r"\b(cream|ointment|gel|lotion|foam|paste)\b",
        "suppository": r"\bsupposito",
        "spray": r"\bsprays?\b",
        "film": r"\bfilms?\b",
        "powder": r"\bpowders?\b",
        "lozenge": r"\blozenges?\b|\btroches?\b",
        "liquid": r"\b(liquid|solution|suspension|syrup|elixir)\b",
    }.items()
}
"""The first whose words are found: a tablet pack is a pack, a capsule to inhale an inhaler."""


@lru_cache(maxsize=4096)
def form_of(said: str) -> str:
    """The form's one word; what is not recognized stays as it was said."""
    words = said.casefold().replace("_", " ").strip()
    return next((form for form, pattern in FORMS.items() if pattern.search(words)), words)
