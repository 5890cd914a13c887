"""Apprise: a page as its receivers get it."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest

from rollguard.config import Pager as PagerConfig
from rollguard.responders import PageError
from rollguard.responders.pagers import make_pager
from rollguard.responders.records import Link
from tests.responders.faulty import Answer, Faulty, a_page

# Apprise imports PGPy, which imports it; from Python 3.13 on Apprise stands in for it.
pytestmark = pytest.mark.filterwarnings("ignore:'imghdr' is deprecated:DeprecationWarning")


def received(**changed: Any) -> Any:
    """What Apprise's plainest receiver gets of a page."""

    async def whole() -> Any:
        async with Faulty(Answer(200)) as receiver:
            pager = make_pager("chat", PagerConfig(kind="apprise"), receiver.url.replace("http", "json", 1) + "/")
            await pager.send(a_page(**changed), message_id="m-1")
            await pager.close()
            return receiver.asked[0].json()

    return asyncio.run(whole())


def test_a_page_has_its_title_its_lines_and_its_links() -> None:
    page, got = a_page(), received()
    assert got["title"] == page.title
    assert got["message"].split("\n") == [
        *page.lines,
        "Look and approve: https://rollguard.example/incidents/incident-5f3a",
        "Runbook: https://wiki.example/checkout",
    ]


@pytest.mark.parametrize(
    ("changed", "kind", "begins"),
    [
        ({}, "failure", "Delivery"),
        ({"severity": "warning"}, "warning", "Delivery"),
        ({"severity": "info"}, "info", "Delivery"),
        ({"event": "acknowledge"}, "info", "Acknowledged: "),
        ({"event": "resolve"}, "success", "Resolved: "),
    ],
)
def test_its_kind_is_that_of_the_page(changed: dict[str, Any], kind: str, begins: str) -> None:
    got = received(**changed)
    assert got["type"] == kind
    assert got["title"].startswith(begins)


def test_a_page_without_lines_is_told_by_its_title() -> None:
    assert received(lines=(), links=(), runbook=None)["message"] == a_page().title


def test_a_text_from_an_event_is_a_line_and_no_template() -> None:
    got = received(title="a\r\nb\x1b[31m", lines=("${HOME} \\n :fire: <b>",), links=(Link(text="x", href="javascript:alert(1)"),), runbook=None)
    assert got["title"] == "a\\r\\nb\\x1b[31m"
    assert got["message"] == "${HOME} \\n :fire: <b>"


def test_why_a_page_was_not_taken_is_told() -> None:
    async def whole() -> str:
        async with Faulty(Answer(503)) as receiver:
            pager = make_pager("chat", PagerConfig(kind="apprise"), receiver.url.replace("http", "json", 1) + "/")
            with pytest.raises(PageError) as caught:
                await pager.send(a_page(), message_id="m-1")
            await pager.close()
            return caught.value.problem

    assert "503" in asyncio.run(whole())


def test_a_pager_that_was_closed_leaves_nothing_on_apprises_log() -> None:
    before = list(logging.getLogger("apprise").filters)
    received()
    with pytest.raises(PageError):
        make_pager("chat", PagerConfig(kind="apprise"), "nothing")
    assert logging.getLogger("apprise").filters == before
