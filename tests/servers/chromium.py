"""A real Chromium for pages: where there is none a test is skipped and says so; in CI it fails.

A page may ask nobody for anything, and has nothing to complain of: whoever opens one here is told if it does.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Dialog, Page, Request, sync_playwright

__all__ = ["SIZES", "THEMES", "Opened", "browser", "opened"]

THEMES = ("light", "dark")
#: A desk and a phone.
SIZES = {"desk": (1200, 900), "phone": (390, 844)}
SHOTS = Path(__file__).parents[2] / "build" / "screenshots"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """A running browser. Not for longer than a module: Playwright keeps an event loop in this thread, beside which no other test could run its own."""
    path = next((found for name in ("chromium", "chromium-browser", "google-chrome") if (found := shutil.which(name))), None)
    if path is None:
        reason = "no Chromium: `apt-get install chromium`"
        if os.environ.get("CI") and os.environ.get("ROLLGUARD_SERVERS") != "some":
            pytest.fail(reason)
        pytest.skip(reason)
    with sync_playwright() as playwright:
        # The sandbox wants a user who is not root.
        running = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"] if os.geteuid() == 0 else [])
        yield running
        running.close()


class Opened:
    """A page in a browser, with all that it complained of."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.complaints: list[str] = []
        page.on("console", lambda message: self.complaints.append(f"console: {message.text}"))
        page.on("pageerror", lambda error: self.complaints.append(f"error: {error}"))
        page.on("dialog", self._dialog)
        page.on("request", self._request)

    def _dialog(self, dialog: Dialog) -> None:
        self.complaints.append(f"dialog: {dialog.message}")
        dialog.dismiss()

    def _request(self, request: Request) -> None:
        if not request.url.startswith(("file:", "data:", "blob:")):
            self.complaints.append(f"asked {request.url}")

    def drawn(self) -> int:
        """Scroll through all of it, for charts are drawn when they come into sight; how many were."""
        self.page.locator("details.parts").evaluate_all("(all) => all.forEach((each) => { each.open = true; })")
        boxes = self.page.locator(".plot")
        for number in range(boxes.count()):
            boxes.nth(number).scroll_into_view_if_needed()
        self.page.wait_for_function("() => [...document.querySelectorAll('.plot')].every((box) => box.querySelector('canvas'))")
        self.page.evaluate("() => scrollTo(0, 0)")
        return self.page.locator(".plot canvas").count()

    def violations(self) -> list[str]:
        """What keeps some readers out, as axe-core finds it."""
        found = Axe().run(self.page).response["violations"]
        return [f"{each['id']}: {node['html'][:160]} {node['failureSummary']}" for each in found for node in each["nodes"]]

    def keep(self, name: str) -> None:
        """Keep a picture of all of it."""
        SHOTS.mkdir(parents=True, exist_ok=True)
        self.page.screenshot(path=SHOTS / f"{name}.png", full_page=True)


@contextmanager
def opened(browser: Browser, page: Path, *, theme: str = "light", size: str = "desk", zone: str = "America/New_York") -> Iterator[Opened]:
    """A page as somebody sees it."""
    width, height = SIZES[size]
    context = browser.new_context(
        color_scheme="dark" if theme == "dark" else "light",
        viewport={"width": width, "height": height},
        timezone_id=zone,
        locale="en-US",
        accept_downloads=True,
        reduced_motion="reduce",
    )
    try:
        shown = Opened(context.new_page())
        shown.page.goto(page.resolve().as_uri())
        yield shown
    finally:
        context.close()
