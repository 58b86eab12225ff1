"""Named places at which a test can end the process, as a power cut would. Cost nothing unarmed.

Armed by the environment: `MEDSYNC_CRASH_AT=commit.before:3` ends the process with SIGKILL the third time it gets
there; `MEDSYNC_CRASH_AT=relay.sent:1:stop` freezes it with SIGSTOP instead.
"""

from __future__ import annotations

import os
import signal

POINTS = (
    "command.begun",
    "command.decided",
    "unit.locked",
    "unit.outbox_written",
    "unit.committed",
    "intake.received",
    "intake.claimed",
    "intake.handled",
    "intake.committed",
    "intake.acknowledged",
    "letter.before",
    "letter.after",
    "job.found",
    "job.done",
    "relay.ticked",
    "relay.fetched",
    "relay.sent",
    "relay.committed",
    "rebalance.revoked",
    "rebalance.assigned",
)


def _noop(point: str) -> None:
    pass


def _armed(spec: str) -> None:
    global reach
    point, _, rest = spec.partition(":")
    times, _, how = rest.partition(":")
    if point not in POINTS:
        raise ValueError(f"no crash point {point!r}; there are {', '.join(POINTS)}")
    left = int(times or 1)

    def reach_armed(reached: str) -> None:
        nonlocal left
        if reached == point:
            left -= 1
            if left == 0:
                os.kill(os.getpid(), signal.SIGSTOP if how == "stop" else signal.SIGKILL)

    reach = reach_armed


reach = _noop

if "MEDSYNC_CRASH_AT" in os.environ:
    _armed(os.environ["MEDSYNC_CRASH_AT"])
