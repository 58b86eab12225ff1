"""What README shows of the demo, made anew by a run of it: `make readme`.

The end that the default demo prints, and a picture of the console as it stands then: a store's day, from the head of
the page to where `HEIGHT` ends, as a person with a screen of `WIDTH` sees it, in Debian's chromium. To be run after a
change of what is planned or shown; the same code gives the same figures on every machine.
"""

from __future__ import annotations

import asyncio
import re
import shutil
import sys
import tempfile
from pathlib import Path

from playwright.async_api import async_playwright

from tests.e2e.demo_process import ROOT, DemoProcess

README, PICTURE = ROOT / "README.md", ROOT / "docs" / "console.png"
WIDTH, HEIGHT = 1120, 760
MOST_BYTES = 180_000

SHOWN = re.compile(
    r"(?P<table>\d+ days later: .*?┘)\n"
    r".*?\n(?P<story>An ordinary patient: .*?)\n\s*\n"
    r".*\n(?P<proof>Proof: .*?)\n[^\n]*All figures",
    re.DOTALL,
)
"""The table, the head of the first story, and the proof, in what the demo says."""

BLOCK = re.compile(r" {4}\d+ days later: .*? {4}Proof: [^\n]*(?:\n {4} [^\n]*)*", re.DOTALL)
"""The same in README."""


def main() -> None:
    """Run the demo; write down what it says, and what the console shows."""
    with tempfile.TemporaryDirectory(prefix="medsync-readme-") as folder:
        demo = DemoProcess(Path(folder) / "run", "--keep", columns=80)
        try:
            demo.until_left_running()
            README.write_text(with_figures(README.read_text("utf-8"), demo.output), "utf-8")
            [console] = re.findall(r"The console: (\S+)", demo.output)
            asyncio.run(take(console, PICTURE))
        finally:
            demo.end()
    if (size := PICTURE.stat().st_size) > MOST_BYTES:
        sys.exit(f"{PICTURE} has {size:,} bytes, more than {MOST_BYTES:,}: make the window smaller")
    print(f"{README} and {PICTURE} ({size / 1000:.0f} kB) show the demo as it is")


def with_figures(readme: str, said: str) -> str:
    """README with the end that the demo printed."""
    found = SHOWN.search(said)
    assert found, "the demo ends otherwise than it did: correct SHOWN"
    lines = "\n\n".join((found["table"], found["story"], found["proof"])).split("\n")
    block = "\n".join(f"    {line}".rstrip() for line in lines)
    anew, times = BLOCK.subn(lambda _: block, readme)
    assert times == 1, "README shows the end of the demo once"
    return anew


async def take(console: str, picture: Path) -> None:
    """Open the store with most to do, and keep what is seen."""
    async with async_playwright() as playwright:
        chromium = shutil.which("chromium")
        browser = await playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = await browser.new_page(viewport={"width": WIDTH, "height": HEIGHT})
        await page.goto(console)
        await page.get_by_role("link", name="manager-1").click()  # at the provider of this machine
        await page.wait_for_url(f"{console}/**")
        stores = [
            await each.get_attribute("href") for each in await page.locator("a[href^='/stores/']").all()
        ]
        rows = {}
        for address in dict.fromkeys(stores):
            await page.goto(f"{console}{address}")
            rows[address] = await page.locator("tbody tr").count()
        await page.goto(f"{console}{max(rows, key=lambda address: rows[address])}")
        await page.screenshot(path=picture, type="png")
        await browser.close()


if __name__ == "__main__":
    main()
