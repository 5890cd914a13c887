"""The pages of six past incidents, as a newcomer sees them: what broke, where, since when, what it cost, who did it, how sure that is, what was done."""

from __future__ import annotations

from datetime import datetime
from itertools import product
from typing import Any

import pytest
from playwright.sync_api import Browser, Page

from tests.cases.replays import CASES, NAMES, Replayed
from tests.servers.chromium import SIZES, THEMES, browser, opened

__all__ = ["browser"]

pytestmark = pytest.mark.skipif(not CASES.is_dir(), reason="the shared cases are not here: ../shared/data/cases")

#: An incident page's answers, by their question.
QUESTIONS = ("What broke", "Where", "Since when", "What it cost", "Who did it, how sure", "What would have been done")


def answers(page: Page) -> list[dict[str, str]]:
    """The answers of each incident, as they can be read."""
    found: list[dict[str, str]] = page.locator("article .facts").evaluate_all(
        """(lists) => lists.map((list) =>
            Object.fromEntries([...list.children].map((each) => ["dt", "dd"].map((part) => each.querySelector(part).innerText))))"""
    )
    return found


@pytest.mark.parametrize("name", NAMES)
def test_each_page_answers_what_a_newcomer_asks(browser: Browser, replayed: Replayed) -> None:
    with opened(browser, replayed.page, zone="UTC") as view:
        told = answers(view.page)
        assert len(told) == len(replayed.found)
        for incident, read in zip(replayed.found, told, strict=True):
            _agree(incident, read)
        if not replayed.labelled:
            assert "No incident was found" in view.page.inner_text("h1 + .lead")
        # What was labelled, read off the page and not off our results.
        for labelled, read in zip(replayed.labelled, told, strict=True):
            assert set(labelled["regions"]) <= set(read["Where"].replace("(", " ").replace(")", " ").replace(",", " ").split())
            assert (labelled["culprit"] or "not clear") in read["Who did it, how sure"]


def _agree(incident: dict[str, Any], read: dict[str, str]) -> None:
    assert tuple(read) == QUESTIONS
    assert all(each.strip() for each in read.values())
    onset = datetime.fromisoformat(incident["onset"])
    assert f"{onset:%b} {onset.day}, {onset:%H:%M:%S}" in read["Since when"]
    assert f"{incident['orders_lost']:,.0f} orders" in read["What it cost"]
    assert ("roll back" in read["What would have been done"]) == any(each["action"] == "rollback" for each in incident["decisions"])


@pytest.mark.parametrize("name", NAMES)
def test_each_page_is_whole_in_both_themes_on_a_desk_and_a_phone(browser: Browser, replayed: Replayed) -> None:
    assert replayed.page.stat().st_size < 1_000_000
    for theme, size in product(THEMES, SIZES):
        with opened(browser, replayed.page, theme=theme, size=size) as view:
            assert view.drawn() == view.page.locator(".plot").count() >= 3
            assert view.page.evaluate("() => document.documentElement.scrollWidth <= innerWidth")
            view.keep(f"{replayed.name}-{theme}-{size}")
            assert view.violations() == []
            assert view.complaints == []
