"""A stranger in a browser signs in to the demo as the pharmacist of one store, and sees no other."""

from __future__ import annotations

import asyncio
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.async_api import Page, async_playwright, expect

from tests.e2e.demo_process import DemoProcess

pytestmark = [pytest.mark.timeout(300), pytest.mark.needs("browser")]


@pytest.fixture
def console(tmp_path: Path) -> Iterator[str]:
    """Where the console of a small demo answers."""
    demo = DemoProcess(tmp_path / "demo", "--patients", "16", "--days", "3", "--keep")
    try:
        demo.until_left_running()
        yield re.findall(r"The console: (\S+)", demo.output)[0]
    finally:
        demo.end()


async def test_a_pharmacist_of_one_store_signs_in_and_sees_no_other(console: str) -> None:
    async with async_playwright() as playwright:
        chromium = shutil.which("chromium")
        browser = await playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        context = await browser.new_context()
        page = await context.new_page()
        try:
            await page.goto(console)
            await page.get_by_role("link", name="pharmacist-of-tulsa-north").click()
            await expect(page.get_by_role("link", name="Tulsa North Pharmacy")).to_be_visible()
            assert await stores_on(page) == {"tulsa-north"}
            [cookie] = [each for each in await context.cookies() if each["name"] == "__Host-medsync"]
            assert cookie["secure"] and cookie["httpOnly"]
            for path, status in (("/stores/tulsa-north", 200), ("/stores/tulsa-south", 404)):
                answer = await page.goto(f"{console}{path}")
                assert answer is not None and answer.status == status, path
            await page.goto(f"{console}/patients")
            assert await page.locator("tbody tr").count() > 0
            assert "tulsa-south" not in await page.content()
            await page.goto(f"{console}/health")
            await expect(page.get_by_text("at rest").first).to_be_visible()
            await page.goto(f"{console}/acting-as")
            await page.get_by_role("button", name="Sign out").click()
            await page.get_by_role("link", name="Sign in again").click()
            await expect(page.get_by_role("heading", name="Who are you?")).to_be_visible()
        finally:
            await browser.close()


async def stores_on(page: Page) -> set[str]:
    links = await page.locator("a[href^='/stores/']").all()
    addresses = await asyncio.gather(*(link.get_attribute("href") for link in links))
    return {str(address).removeprefix("/stores/").partition("?")[0] for address in addresses}
