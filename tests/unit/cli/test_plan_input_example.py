"""The loop in docs/reference/plan-input.md runs as it stands."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.oracle.families import drug, patient

DOCS = Path(__file__).parents[3] / "docs"
MEDSYNC = [sys.executable, "-c", "from cli.main import app; app()"]


@pytest.mark.slow
def test_the_loop_of_the_reference_follows_a_patient_to_one_pickup_a_cycle(tmp_path: Path) -> None:
    text = (DOCS / "reference" / "plan-input.md").read_text(encoding="utf-8")
    [code] = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    document = tmp_path / "patient.json"
    document.write_text(json.dumps(patient("p1", [drug("a", 30, 25), drug("b", 30, 11)])))
    ran = subprocess.run(
        [sys.executable, "-c", code, str(document), "120", *MEDSYNC],
        capture_output=True,
        text=True,
        check=True,
        cwd=DOCS.parent,
        timeout=100,
    )
    trips = ran.stdout.split("\n")[:-1]
    assert all(line.endswith(("a, b", "b, a")) for line in trips[2:]), trips
    assert 4 <= len(trips) <= 6, trips
