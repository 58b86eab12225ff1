"""What a patient's message means: stop, a plain answer, or words that a person has to read.

A message is understood only where the whole of it is understood. Whatever has more to say is for a person: "Stop" and
"Please do not text me" end contact, "Stop filling the metformin" is about a drug. A message that nobody read yet may
be a stop (47 CFR 64.1200(a)(10): by any reasonable means), so automated contact waits for it.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from zoneinfo import ZoneInfo

from services.outreach.domain import phrases
from services.outreach.domain.model import Calendar
from services.outreach.domain.schedule import POLICY, Policy, closing
from shared.values import clean

LONGEST = 1600
"""Characters of a message that are kept: ten texts of 160. A longer one is cut, and read by a person."""

DAY = timedelta(days=1)
FURTHEST = 30
"""Days to look for one on which the store is open; a calendar that has none does not put reading off any further."""


class Meaning(StrEnum):
    """What a message says."""

    stop = "stop"  # no automated contact any more
    wrong_number = "wrong_number"  # whoever reads there is not the patient
    start = "start"  # contact is wanted again
    help = "help"
    yes = "yes"
    another_day = "another_day"  # which one, a person has to ask
    thanks = "thanks"  # or ok, or nothing at all: nothing follows
    unclear = "unclear"  # a person has to read it


@dataclass(frozen=True, slots=True)
class Heard:
    """What was understood; `spanish` where it was said in Spanish, so that the reply is."""

    meaning: Meaning
    spanish: bool = False


_WHOLE = {
    words: Heard(meaning, spanish)
    for meaning, english, in_spanish in (
        (Meaning.start, phrases.START, phrases.START_ES),
        (Meaning.help, phrases.HELP, phrases.HELP_ES),
        (Meaning.yes, phrases.YES, phrases.YES_ES),
        (Meaning.another_day, phrases.ANOTHER_DAY, phrases.ANOTHER_DAY_ES),
        (Meaning.thanks, phrases.THANKS, phrases.THANKS_ES),
        (Meaning.stop, phrases.STOP_WORDS, phrases.STOP_WORDS_ES),
    )
    for spanish, table in ((False, english), (True, in_spanish))
    for words in table
}
_PATTERNS = (
    (phrases.WRONG, Heard(Meaning.wrong_number)),
    (phrases.WRONG_ES, Heard(Meaning.wrong_number, spanish=True)),
    (phrases.STOPPED, Heard(Meaning.stop)),
    (phrases.STOPPED_ES, Heard(Meaning.stop, spanish=True)),
)
_SENTENCE_ENDS = re.compile(r"[.!?;:,\n()\u2026\u00a1\u00bf\u2013\u2014]+|\s-+\s")
_SPELLED_OUT = re.compile(r"(?<=\b\w)[.-](?=\w\b)")
"""The marks of `s.t.o.p`."""
_LONGEST_FIRST = "|".join(sorted(phrases.POLITE, key=len, reverse=True))
_POLITE_ENDS = re.compile(rf"^(?:(?:{_LONGEST_FIRST})(?: |$))+|(?:(?:^| )(?:{_LONGEST_FIRST}))+$")
WORDS_OF_A_PHRASE = 25
"""A sentence of more words says more than that contact is to end; and matching stays quick."""


def hear(text: str) -> Heard:
    """What a message means, as a whole: each of its sentences is understood, and they do not contradict one another."""
    text = clean(text, LONGEST + 1)
    if len(" ".join(text.split())) > LONGEST:
        return Heard(Meaning.unclear)
    if not text.strip():
        return Heard(Meaning.thanks)
    text = _SPELLED_OUT.sub("", text)
    sentences = [heard for part in _SENTENCE_ENDS.split(text) if (heard := _understood(_plain(part)))]
    if not sentences:
        return Heard(Meaning.unclear)
    if sentences[0].meaning is Meaning.stop:  # "stop calling, texting and writing me"
        as_one = _understood(_plain(text)) or sentences[0]
        sentences = [as_one] if as_one.meaning is Meaning.stop else sentences
    meanings = {heard.meaning for heard in sentences}
    said = meanings - {Meaning.thanks} or meanings
    if said == {Meaning.stop, Meaning.wrong_number}:
        said = {Meaning.wrong_number}
    if len(said) > 1:
        return Heard(Meaning.unclear)
    [meaning] = said
    return Heard(meaning, any(heard.spanish for heard in sentences if heard.meaning is meaning))


def _understood(words: str) -> Heard | None:
    """What one sentence means; none where it has no words."""
    if not words:
        return None
    bare = _POLITE_ENDS.sub("", _POLITE_ENDS.sub("", words)).strip()
    if not bare:
        return Heard(Meaning.thanks)
    for said in (words, bare) if words.count(" ") < WORDS_OF_A_PHRASE else ():
        if known := _WHOLE.get(said):
            return known
        for pattern, heard in _PATTERNS:
            if pattern.fullmatch(said):
                return heard
    return _again_and_again(bare.split()) or Heard(Meaning.unclear)


def _again_and_again(words: list[str]) -> Heard | None:
    """`STOP STOP stop`: each word by itself says it."""
    each = {_WHOLE[word] for word in words if word in _WHOLE}
    return each.pop() if len(each) == 1 and all(word in _WHOLE for word in words) else None


def _plain(text: str) -> str:
    """Lower-case words without accents, marks and emoji, as they are meant: `Dón't TXT me!!` is `do not text me`."""
    text = unicodedata.normalize("NFKD", text.translate(phrases.EMOJI).casefold())
    kept = (
        "" if unicodedata.category(each) in ("Mn", "Me", "Cf") or each in "'’‘`´" else each for each in text
    )
    words = re.sub(r"[^\w]|_", " ", "".join(kept)).split()
    return " ".join(phrases.SPELLED.get(word, word) for word in _joined(words))


def _joined(words: list[str]) -> Iterator[str]:
    """Words, with `s t o p` and `stooopp` as what they are; `don t` as one word."""
    if len(words) > 1 and all(len(word) == 1 and word.isalpha() for word in words):
        words = ["".join(words)]
    for word in re.sub(r"\b(don|doesn|isn|won) t\b", r"\1t", " ".join(words)).split():
        yield "stop" if re.fullmatch(r"s+t+[o0]+p+s?", word) else word


# ---- until when a person reads it ------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Deadlines:
    """Until when a person is to read a message, and from when on it comes before everything else (UTC)."""

    due_at: datetime
    escalates_at: datetime


def deadlines(now: datetime, calendar: Calendar, zone: ZoneInfo, policy: Policy = POLICY) -> Deadlines:
    """Today, while the store has hours left, else on its next day; it escalates at the end of the day after today on
    which the store is open."""
    today = now.astimezone(zone).date()
    following = next(
        (day for n in range(1, FURTHEST) if calendar.is_open(day := today + n * DAY)), today + DAY
    )
    escalates_at = closing(following, zone, policy)
    still_today = calendar.is_open(today) and now < closing(today, zone, policy)
    return Deadlines(
        closing(today, zone, policy) if still_today else escalates_at, escalates_at.astimezone(UTC)
    )
