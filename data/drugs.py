"""What the name of a drug says, and what is known of its ingredient: documented rules, no draw.

RxNorm names read `[24 HR ]Ingredient Strength[ / Ingredient Strength] Form[ [Brand]]`. Names written otherwise
(brands, abbreviations) were read by hand: data/drugs-by-hand.csv. Lists of ingredients below hold what occurs in
the sample patients; a chain takes these facts from its drug file.
"""

from __future__ import annotations

import csv
import re
from dataclasses import dataclass
from datetime import date
from pathlib import Path


@dataclass(frozen=True)
class Facts:
    """A drug product. A combination has its ingredients in alphabetical order, strengths in the same."""

    ingredient: str
    strength: str
    form: str
    by_hand: bool = False

    @property
    def ingredients(self) -> set[str]:
        return set(self.ingredient.split(" / "))

    @property
    def counted(self) -> bool:
        """Dispensed in tablets or capsules; all else comes in packages that are never split."""
        return self.form in ("tablet", "capsule")

    @property
    def antibiotic(self) -> bool:
        return bool(self.ingredients & ANTIBIOTICS)

    @property
    def short_course(self) -> bool:
        """Anti-infectives, tapers, relief of a symptom, and what goes on the skin: never taken on and on."""
        return self.antibiotic or self.form == "cream" or bool(self.ingredients & SHORT_COURSES)

    @property
    def critical(self) -> bool:
        """A day without it is dangerous: clotting, insulin, heart rhythm, rebound (decision of this project)."""
        return bool(self.ingredients & CRITICAL)


ANTIBIOTICS = {
    "amoxicillin", "azithromycin", "cefaclor", "cefdinir", "ceftriaxone", "cefuroxime", "cephalexin",
    "ciprofloxacin", "clarithromycin", "clavulanate", "clindamycin", "doxycycline", "erythromycin",
    "levofloxacin", "metronidazole", "moxifloxacin", "mupirocin", "nitrofurantoin", "penicillin v",
    "sulfamethoxazole", "trimethoprim",
}  # fmt: skip

SHORT_COURSES = {
    "acetaminophen", "chlorhexidine", "chlorpheniramine", "clotrimazole", "cyclobenzaprine", "dexamethasone",
    "famciclovir", "guaifenesin", "methylprednisolone", "nystatin", "permethrin", "phenazopyridine",
    "prednisone", "pseudoephedrine", "sibutramine", "varenicline",
}  # fmt: skip

CRITICAL = {
    "atenolol", "carvedilol", "clonidine", "clopidogrel", "digoxin", "insulin aspart", "insulin detemir",
    "metoprolol", "ticagrelor", "warfarin",
}  # fmt: skip

REFRIGERATED = {"exenatide", "insulin aspart", "insulin detemir"}

SCHEDULES = {
    "alprazolam": "c4", "clonazepam": "c4", "diazepam": "c4", "lorazepam": "c4", "methylphenidate": "c2",
    "pentazocine": "c4", "propoxyphene": "c4", "sibutramine": "c4", "zolpidem": "c4",
}  # fmt: skip

HYDROCODONE_RESCHEDULED = date(2014, 10, 6)  # combinations went from C-III to C-II (79 FR 49661)


def schedule_of(facts: Facts, on: date) -> str:
    """The federal schedule on that day (21 CFR 1308)."""
    if "hydrocodone" in facts.ingredients:
        return "c3" if on < HYDROCODONE_RESCHEDULED else "c2"
    if "codeine" in facts.ingredients:
        return "c5" if facts.form == "liquid" else "c3"
    return next((SCHEDULES[each] for each in sorted(facts.ingredients) if each in SCHEDULES), "none")


def needs_refrigeration(facts: Facts) -> bool:
    return bool(facts.ingredients & REFRIGERATED)


# --- reading a name ---

FORMS = (
    (r"inhaler|inhalant|actuat", "inhaler"),
    (r"ophthalmic|otic", "drops"),
    (r"cream|ointment|gel|lotion", "cream"),
    (r"pack\b", "pack"),
    (r"solution|suspension|mouthwash", "liquid"),
    (r"capsule", "capsule"),
    (r"tablet", "tablet"),
)

SAME_INGREDIENT = {
    "thyroxine": "levothyroxine",
    "triiodothyronine": "liothyronine",
    "estrogens, conjugated (usp)": "conjugated estrogens",
    "chlorhexidine gluconate": "chlorhexidine",
    "clavulanate potassium": "clavulanate",
    "cyclobenzaprine hydrochloride": "cyclobenzaprine",
    "diclofenac sodium": "diclofenac",
    "fluticasone propionate": "fluticasone",
    "metformin hydrochloride": "metformin",
    "metoprolol succinate": "metoprolol",
    "mometasone furoate": "mometasone",
    "penicillin v potassium": "penicillin v",
    "propoxyphene napsylate": "propoxyphene",
}

PART = re.compile(
    r"(?P<ingredient>.+?) (?P<amount>[\d.]+) (?P<unit>MG/ACTUAT|MG/ML|MG/MG|UNT/ML|MEQ|MG)\b(?P<rest>.*)"
)
RELEASE = {"Extended Release": " ER", "Enteric Coated": " EC"}


def facts_of(code: str, name: str) -> Facts:
    """The facts in a drug's name.

    Raises:
        ValueError: the name follows no pattern, and is not among those read by hand.
    """
    if (code, name) in BY_HAND:
        return BY_HAND[code, name]
    bare = re.sub(r"\s*\[.*\]$", "", name)
    parts = [PART.fullmatch(part) for part in re.sub(r"^\d+ (HR|ACTUAT) ", "", bare).split(" / ")]
    form = next((form for pattern, form in FORMS if re.search(pattern, bare.lower())), None)
    if form is None or not all(parts):
        raise ValueError(f"{code} {name!r}: add it to data/drugs-by-hand.csv")
    found = sorted(
        (
            SAME_INGREDIENT.get(part["ingredient"].lower(), part["ingredient"].lower()),
            part["amount"],
            part["unit"],
        )
        for part in parts
        if part
    )
    strength = " / ".join(f"{amount} {unit.lower()}" for _, amount, unit in found)
    release = next((short for words, short in RELEASE.items() if words in bare), "")
    return Facts(" / ".join(ingredient for ingredient, _, _ in found), strength + release, form)


def _by_hand() -> dict[tuple[str, str], Facts]:
    path = Path(__file__).with_name("drugs-by-hand.csv")
    with path.open(encoding="utf-8", newline="") as lines:
        return {
            (row["code"], row["name"]): Facts(row["ingredient"], row["strength"], row["form"], by_hand=True)
            for row in csv.DictReader(lines)
        }


BY_HAND = _by_hand()
