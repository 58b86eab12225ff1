"""How patients, prescribers and payers behave: seeded draws that depend on whom and which time only.

So a run repeats exactly, whatever is killed on the way and in whatever order the work is done.
The shares are invented, chosen so that every path is walked; they claim nothing about real patients.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from hashlib import blake2b
from typing import TypeVar

T = TypeVar("T")


@dataclass(frozen=True)
class Behavior:
    """Answers for one seed."""

    seed: int

    def draw(self, *about: object) -> float:
        """A number in [0, 1) that is always the same for the same things."""
        text = "|".join(map(str, (self.seed, *about)))
        return int.from_bytes(blake2b(text.encode(), digest_size=7).digest(), "big") / 2**56

    def choose(self, shares: Sequence[tuple[float, T]], *about: object) -> T:
        """One of the values, each with its share; what the shares leave over falls to the last."""
        at = self.draw(*about)
        for share, value in shares:
            at -= share
            if at < 0:
                return value
        return shares[-1][1]

    def opts_in(self, patient_id: str) -> bool:
        return self.draw("opts in", patient_id) < 0.85

    def asked_after(self, patient_id: str) -> int:
        """Days until staff get round to asking a candidate."""
        return int(self.draw("asked", patient_id) * 7)

    def leaves_on_day(self, patient_id: str) -> int | None:
        """The day of the run on which the patient leaves the program, for the few who do."""
        return (
            45 + int(self.draw("when", patient_id) * 60) if self.draw("leaves", patient_id) < 0.02 else None
        )

    def consent(self, patient_id: str) -> dict[str, object]:
        """Channels, language and musts as the patient states them."""
        channels = self.choose(
            [(0.55, ["phone"]), (0.35, ["text", "phone"]), (0.1, ["phone", "letter"])], "channels", patient_id
        )
        musts: dict[str, object] = self.choose(
            [(0.08, {"must_weekdays": [0, 2, 4]}), (0.12, {"preferred_weekday": 4}), (0.8, {})],
            "musts",
            patient_id,
        )
        return {"channels": channels, "language": "en", **musts}

    def contact_outcome(self, kind: str, patient_id: str, about: str, attempt: int) -> str:
        """What a dialer reports of one attempt."""
        if kind in ("ready", "reminder"):
            return self.choose([(0.7, "answered"), (0.3, "voicemail")], kind, patient_id, about, attempt)
        return self.choose(
            [
                (0.003, "wrong_number"),
                (0.003, "stop"),
                (0.16, "no_answer"),
                (0.08, "voicemail"),
                (0.75, "answered"),
            ],
            "reach",
            kind,
            patient_id,
            about,
            attempt,
        )

    def alignment_choice(self, patient_id: str, about: str, offered: int) -> int:
        """Which of the offered days the patient takes."""
        return min(self.choose([(0.8, 0), (0.12, 1), (0.08, 2)], "day", patient_id, about), offered - 1)

    def answer_to_confirmation(self, patient_id: str, visit_id: str) -> str:
        return self.choose(
            [
                (0.84, "all"),
                (0.03, "all but one"),
                (0.02, "decline"),
                (0.04, "another day"),
                (0.02, "stopped one"),
                (0.03, "has some left"),
                (0.02, "question"),
            ],
            "confirm",
            patient_id,
            visit_id,
        )

    def one_of(self, things: Sequence[T], *about: object) -> T:
        return things[int(self.draw(*about) * len(things))]

    def renewal_answer(self, rx_id: str, attempt: int) -> str:
        return self.choose(
            [(0.78, "approved"), (0.05, "denied"), (0.05, "needs_visit"), (0.12, "no_answer")],
            "renewal",
            rx_id,
            attempt,
        )

    def renewal_refills(self, rx_id: str) -> int:
        return 2 + int(self.draw("refills", rx_id) * 10)

    def fill_result(self, patient_id: str, visit_id: str, rx_id: str, try_number: int) -> str:
        again = () if try_number == 1 else (try_number,)
        return self.choose(
            [(0.975, "filled"), (0.015, "rejected"), (0.01, "short")],
            "fill",
            patient_id,
            visit_id,
            rx_id,
            *again,
        )

    def reject_resolved_after(
        self, patient_id: str, visit_id: str, rx_id: str, try_number: int
    ) -> int | None:
        """Days until a prior authorization is given; none: it is given up."""
        about = (patient_id, visit_id, rx_id, try_number)
        return (
            int(self.draw("authorized after", *about) * 3) if self.draw("authorized", *about) < 0.8 else None
        )

    def shortage_resolved(self, patient_id: str, visit_id: str, rx_id: str, try_number: int) -> str:
        shares = [(0.7, "arrives"), (0.2, "partial"), (0.1, "give up")]
        return self.choose(shares, "short", patient_id, visit_id, rx_id, try_number)

    def comes_after(self, patient_id: str, visit_id: str) -> timedelta | None:
        """How long after the day's noon the patient comes; none: never."""
        days = self.choose(
            [(0.86, 0), (0.06, 1), (0.03, 2), (0.02, 4), (0.03, None)], "comes", patient_id, visit_id
        )
        return None if days is None else timedelta(days=days)

    def agrees(self, patient_id: str, visit_id: str, rx_id: str) -> bool:
        """Whether who is at the counter wants it filled while they wait."""
        return self.draw("agrees at the counter", patient_id, visit_id, rx_id) < 0.92

    def talks(self, patient_id: str, visit_id: str) -> bool:
        return self.draw("talks", patient_id, visit_id) < 0.8
