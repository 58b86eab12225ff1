"""Each classic mistake still applies to the code, or says loudly that it does not. `make faults` runs them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from tests.faults.mistakes import MISTAKES, Mistake, PatchFailed, put_back
from tests.faults.schedule import schedule


def test_there_are_twelve_and_more() -> None:
    assert len({mistake.name for mistake in MISTAKES}) >= 12


@pytest.mark.parametrize("mistake", MISTAKES, ids=lambda mistake: mistake.name)
def test_a_patch_applies(mistake: Mistake, tmp_path: Path) -> None:
    put_back(mistake, tmp_path)
    for name, _, new in mistake.patches:
        code = (tmp_path / "shared" / "messaging" / name).read_text()
        assert new in code
        compile(code, name, "exec")


def test_a_patch_that_no_longer_applies_fails_loudly(tmp_path: Path) -> None:
    gone: Sequence[tuple[str, str, str]] = [("unit.py", "what nobody wrote", "")]
    with pytest.raises(PatchFailed, match="stands 0 times"):
        put_back(replace(MISTAKES[0], patches=gone), tmp_path)


def test_a_seed_gives_the_same_schedule() -> None:
    one, again, other = (
        [(blow.name, blow.seed, blow.pause) for blow in schedule(seed, kills=50)] for seed in ("1", "1", "2")
    )
    assert one == again != other
