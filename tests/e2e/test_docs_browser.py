"""The page of a service's document in a real browser: it shows, under its own policy, and asks nobody else."""

from __future__ import annotations

import shutil
import socket
from threading import Thread

import pytest
import uvicorn
from playwright.async_api import async_playwright

from cli.openapi import app_of

CHROMIUM = shutil.which("chromium")

pytestmark = pytest.mark.needs("browser")


async def test_the_document_is_shown_and_nothing_is_asked_of_anybody_else() -> None:
    listening = socket.create_server(("127.0.0.1", 0))
    address = f"http://127.0.0.1:{listening.getsockname()[1]}/"
    server = uvicorn.Server(uvicorn.Config(app_of("enrollment"), lifespan="off", log_config=None))
    running = Thread(target=server.run, args=([listening],))
    running.start()
    asked: list[str] = []
    complaints: list[str] = []
    try:
        async with async_playwright() as playwright:
            browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
            page = await browser.new_page()
            page.on("request", lambda request: asked.append(request.url))
            page.on("pageerror", lambda error: complaints.append(str(error)))
            page.on("console", lambda said: complaints.append(said.text))
            await page.goto(f"{address}docs")
            await page.locator("#operations-patients-enrollment_consent").click()
            await page.get_by_text("Enroll a patient, or amend the consent").wait_for()
            await browser.close()
    finally:
        server.should_exit = True
        running.join()
    assert not complaints
    assert asked and all(url.startswith((address, "data:")) for url in asked), asked
