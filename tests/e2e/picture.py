"""The picture of the console in README, taken of a running demo: `make picture`.

    make demo DEMO_ARGS="--patients 60 --days 20 --keep"      # in one terminal
    make picture                                              # in another

A store's day, from the head of the page to where `HEIGHT` ends, as a person with a screen of `WIDTH` sees it: in
Debian's chromium, as the test of the console has it. Small, for it is in everyone's clone.
"""

from __future__ import annotations

import asyncio
import shutil
import sys
from pathlib import Path

from playwright.async_api import async_playwright

from cli.system import find

PICTURE = Path(__file__).parents[2] / "docs" / "console.png"
WIDTH, HEIGHT = 1120, 760
MOST_BYTES = 150_000


async def take(console: str, picture: Path) -> None:
    """Open the store with most to do, and keep what is seen."""
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox"]
        )
        page = await browser.new_page(viewport={"width": WIDTH, "height": HEIGHT})
        await page.goto(console)
        stores = await page.locator("a[href^='/stores/']").all()
        if not stores:
            sys.exit(f"{console} shows no store yet: let the demo live some days first")
        addresses = [await each.get_attribute("href") for each in stores]
        busiest, most = addresses[0], -1
        for address in dict.fromkeys(addresses):
            await page.goto(f"{console}{address}")
            if (rows := await page.locator("tbody tr").count()) > most:
                busiest, most = address, rows
        await page.goto(f"{console}{busiest}")
        await page.screenshot(path=picture, type="png")
        await browser.close()


def main() -> None:
    """Take it, and say how large it is."""
    asyncio.run(take(find().url("console"), PICTURE))
    if (size := PICTURE.stat().st_size) > MOST_BYTES:
        sys.exit(f"{PICTURE} has {size:,} bytes, more than {MOST_BYTES:,}: make the window smaller")
    print(f"{PICTURE}: {size / 1000:.0f} kB")


if __name__ == "__main__":
    main()
