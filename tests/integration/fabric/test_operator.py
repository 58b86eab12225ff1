"""What an operator sees at a terminal of what waits for a person."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from pathlib import Path

from shared.events.enrollment import CONTACTS_TOPIC, ContactDetailsChanged
from tests.integration.fabric.given import Ledger, LedgerProcess, changed
from tests.integration.fabric.test_watching import malformed
from tests.running import at_rest, record

ROOT = Path(__file__).parents[3]


class Terminal:
    """A terminal of 80 columns in a folder where the ledger runs under the name of the planner."""

    def __init__(self, folder: Path, ledger: Ledger, process: LedgerProcess) -> None:
        self._folder = folder
        services = {"planner": [str(process.client.base_url)]}
        (folder / ".medsync").mkdir()
        state = {
            "kafka": ledger.bootstrap,
            "databases": {"planner": ledger.database_url},
            "services": services,
        }
        (folder / ".medsync" / "stack.json").write_text(json.dumps(state))

    async def run(self, *arguments: str) -> tuple[int, str, str]:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "cli.main",
            *arguments,
            cwd=self._folder,
            env={**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "80"},
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        out, err = await process.communicate()
        assert process.returncode is not None
        return process.returncode, out.decode(), err.decode()


async def test_an_operator_is_told_what_waits_and_reads_it(ledger: Ledger, tmp_path: Path) -> None:
    async with ledger.process() as process:
        await process.ready()
        terminal = Terminal(tmp_path, ledger, process)
        code, said, _ = await terminal.run("doctor")
        assert (code, "ok     Nothing needs attention" in said) == (0, True), said
        assert "ok     Nothing lasts longer than it should" in said

        sealed = record(ContactDetailsChanged(patient_id="s", revision=1), ce_sealingkeyid="1")
        sealed["value"] = b"\x00\xff" * 20
        await ledger.publish_raw([malformed("p"), (CONTACTS_TOPIC, sealed)])
        await ledger.publish(changed("p", 1), changed("q", 1, "refuse"))
        await at_rest(process.client)

        code, said, _ = await terminal.run("doctor")
        assert code == 1
        (wrong,) = [line for line in said.splitlines() if line.startswith("WRONG")]
        assert "planner: 3 parked" in wrong
        assert "3 open dead letters (" in wrong
        assert "1 schema" in wrong and "1 seal_broken" in wrong and "1 refused:told_to" in wrong
        assert "medsync deadletters list" in wrong

        code, said, _ = await terminal.run("deadletters", "list")
        assert code == 0
        assert max(map(len, said.splitlines())) <= 80
        assert "refused:told_to: this event says so" in said
        assert "enrollment.profile-changed.v1" in said

        code, said, _ = await terminal.run("deadletters", "list", "--json")
        listed = {letter["reason"]: letter for letter in json.loads(said)["items"]}
        assert (listed["schema"]["service"], listed["schema"]["behind"]) == ("planner", 1)

        _, said, _ = await terminal.run("deadletters", "show", "planner", str(listed["schema"]["id"]))
        shown = json.loads(said)
        assert shown["payload"] == {"revision": "Canarius"}
        assert (shown["record_key"], shown["headers"]["ce_type"]) == ("p", changed("p", 1).TYPE)
        _, said, _ = await terminal.run("deadletters", "show", "planner", str(listed["seal_broken"]["id"]))
        assert list(json.loads(said)["payload"]) == ["base64"]

        code, _, said = await terminal.run("deadletters", "list", "planer")
        assert (code, "did you mean planner?" in said) == (2, True)
