"""The console in a real browser: Debian's chromium, driven by Playwright."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from playwright.async_api import Browser, Page, async_playwright, expect

from deploy.local import Addresses
from tests.console_process import ADA, Installed, installed
from tests.pharmacy import FAMILY_NAME, pharmacy, publish_all
from tests.running import until

CHROMIUM = shutil.which("chromium")

pytestmark = [pytest.mark.timeout(300), pytest.mark.needs("browser")]

Fresh = Callable[[str], str]
WIDE, PHONE = {"width": 1366, "height": 768}, {"width": 390, "height": 844}


@asynccontextmanager
async def browsing() -> AsyncIterator[Browser]:
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        try:
            yield browser
        finally:
            await browser.close()


@asynccontextmanager
async def a_page(browser: Browser, url: str, **more: object) -> AsyncIterator[Page]:
    """A page of somebody who said who they are; fails where its script or its policy complains."""
    context = await browser.new_context(**({"viewport": WIDE} | more))
    await context.add_cookies([{"name": name, "value": value, "url": url} for name, value in ADA.items()])
    page = await context.new_page()
    page.set_default_timeout(20_000)
    complaints: list[str] = []
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("console", lambda said: complaints.append(said.text) if "Content Security" in said.text else None)
    try:
        yield page
    finally:
        await context.close()
    assert not complaints


async def rows(page: Page) -> int:
    """How many lines of the stream the page shows, those in folds counted."""
    return sum(
        [int(await each.get_attribute("data-rows") or 0) for each in await page.locator(".line").all()]
    )


async def shows(page: Page, number: int) -> None:
    async def all_there() -> bool:
        return await rows(page) == number

    await until(all_there, f"the page shows {number} lines", seconds=60)


async def test_the_stream_loses_no_row_when_it_is_paused_and_when_the_console_is_killed(
    stack: Addresses, fresh_database: Fresh, unique_name: str, tmp_path: Path
) -> None:
    stores = [pharmacy(4, f"s{number}") for number in range(4)]
    async with (
        installed(stack, fresh_database, unique_name, tmp_path, processes={"console": 1}) as here,
        browsing() as browser,
        a_page(browser, here.url()) as page,
    ):
        await page.goto(f"{here.url()}/stream")
        await expect(page.locator(".state")).to_have_text("Live")
        await publish_all(stack.kafka, stores[0], prefix=here.prefix)
        await shows(page, len(stores[0]))

        await page.keyboard.press("p")
        await expect(page.get_by_role("button", name="Resume")).to_be_visible()
        await publish_all(stack.kafka, stores[1], prefix=here.prefix)
        await here.caught_up(len(stores[0] + stores[1]))
        assert await rows(page) == len(stores[0]), "a pause holds"
        await page.get_by_role("button", name="Resume").click()
        await shows(page, len(stores[0] + stores[1]))

        await asyncio.to_thread(here.services.kill, "console")
        await publish_all(stack.kafka, stores[2], prefix=here.prefix)
        await expect(page.locator(".state")).to_have_text("Trying again …")
        await asyncio.to_thread(here.services.start, "console")
        await shows(page, sum(map(len, stores[:3])))

        numbers = [
            int(await each.get_attribute("data-number") or 0) for each in await page.locator(".line").all()
        ]
        assert len(set(numbers)) == len(numbers), "none twice"

        await page.get_by_role("textbox", name="Store").fill("s2")
        await page.get_by_role("button", name="Show").click()
        await shows(page, len(stores[2]))


async def test_a_person_finds_out_what_happened_to_one_patient_and_why(
    stack: Addresses, fresh_database: Fresh, unique_name: str, tmp_path: Path
) -> None:
    """From the store's day to the patient, by mouse and by keys, on a screen and a phone, with and without script."""
    told = pharmacy(24)
    async with (
        installed(stack, fresh_database, unique_name, tmp_path, processes={"console": 1}) as here,
        browsing() as browser,
    ):
        await publish_all(stack.kafka, told, prefix=here.prefix)
        await here.caught_up(len(told))
        await _look(browser, here)
        await _reveal(browser, here)
        async with a_page(browser, here.url()) as page:
            await _stay_in_use(page, here, stack)
        await _measure(browser, here, told[-1].event.key)


async def _look(browser: Browser, here: Installed) -> None:
    """Store → patient → an earlier plan, and by keys."""
    async with a_page(browser, here.url()) as page:
        await page.goto(here.url())
        await page.get_by_role("link", name="Main Street Pharmacy").click()
        await expect(page.get_by_role("heading", name="Not picked up")).to_be_visible()
        lacking = page.locator("section", has=page.locator("#lacking"))
        await expect(
            lacking.get_by_text("Insurance rejected 1 fill: prior authorization required (reject 75).").first
        ).to_be_visible()
        await page.locator("section", has=page.locator("#late")).get_by_role("link").first.click()
        picture = page.get_by_role("img", name="Supply of each drug against the pickups")
        await expect(picture).to_have_count(1)  # of the two drawings, once the style sheet is there
        await expect(page.locator(".brief")).to_contain_text("Enrolled since")
        await expect(page.locator(".brief")).to_contain_text("Not picked up: package")
        await expect(page.locator(".brief")).to_contain_text("none on hand on")
        await expect(page.locator(".about").first).to_be_visible()
        await expect(page.locator(".because").first).to_contain_text("It was due")
        await expect(page.get_by_text("Best date: 1 extra trip before all are in sync").first).to_be_visible()
        await page.get_by_text("All steps of this plan").click()
        await expect(page.get_by_text("billed and filled, if confirmed (technician)")).to_be_visible()
        await page.get_by_role("link", name="this plan").last.click()
        await expect(page.get_by_text("Earlier revision")).to_be_visible()
        await page.wait_for_load_state()  # keys need the script
        await page.keyboard.press("g")
        await page.keyboard.press("p")
        await page.wait_for_url("**/patients")
        await page.keyboard.press("j")
        await page.keyboard.press("Enter")
        await page.wait_for_url("**/patients/*")


async def _stay_in_use(page: Page, here: Installed, stack: Addresses) -> None:
    """A page that somebody goes through by keys is not replaced under their hands: what is new is offered."""
    await page.goto(f"{here.url()}/stores/s1")
    await page.wait_for_load_state()
    await page.keyboard.press("j")
    await expect(page.locator(".rows .id").first).to_be_focused()
    await publish_all(stack.kafka, pharmacy(25), prefix=here.prefix)  # one patient more
    await expect(page.locator(".news")).to_contain_text("Reload", timeout=20_000)
    await expect(page.locator(".rows .id").first).to_be_focused()


async def _reveal(browser: Browser, here: Installed) -> None:
    async with a_page(browser, here.url(), java_script_enabled=False) as page:
        await page.goto(f"{here.url()}/patients?status=enrolled")
        await page.locator(".rows .id").first.click()
        assert FAMILY_NAME not in await page.content()
        await page.get_by_text("The name is hidden").click()
        await page.get_by_role("textbox", name="Why").fill("she is on the phone")
        await page.get_by_role("button", name="Reveal to ada").click()
        await expect(page.get_by_text(FAMILY_NAME)).to_be_visible()


async def _measure(browser: Browser, here: Installed, patient: str) -> None:
    """No page is wider than its screen, and each has one heading and named fields."""
    for viewport in (WIDE, PHONE):
        async with a_page(browser, here.url(), viewport=viewport) as page:
            for path in (
                "/",
                "/stores/s1",
                "/stream",
                "/patients",
                f"/patients/{patient}",
                "/health",
                "/nothing",
            ):
                await page.goto(f"{here.url()}{path}")
                width = await page.evaluate("document.documentElement.scrollWidth")
                assert width <= viewport["width"], f"{path} is {width} pixels wide"
                assert await page.locator("h1").count() == 1, path
                nameless = "input:not([type=hidden]), select"
                assert await page.evaluate(
                    "s => [...document.querySelectorAll(s)].every(e => e.labels.length)", nameless
                ), path
