"""Slack: blocks within its limits, and nothing from an event is markup."""

from __future__ import annotations

import asyncio
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rollguard.config import Pager as PagerConfig
from rollguard.responders import PageError
from rollguard.responders.pagers.slack import Slack, _message
from rollguard.responders.records import Link, Page
from tests.responders.faulty import Answer, Faulty, a_page

NASTY = (
    "<!channel>",
    "<!here|x>",
    "<@U012345>",
    "<#C012345>",
    "<https://evil.example|Look and approve>",
    "&lt;!channel&gt;",
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "\x1b[31mred\x1b[0m\x1b]8;;https://evil.example\x07",
    "a\r\nX-Evil: 1\r\n\r\nbody",
    "line\n> quote\n*bold*",
    "\u202eevil\u2066",
    "\ud800",
    "{{7*7}} ${jndi:ldap://evil.example} %s %n",
    "=cmd()|'/c calc'!A1",
    "../../etc/passwd",
    "'; DROP TABLE incidents; --",
)


def texts_of(value: Any) -> list[tuple[dict[str, Any], str]]:
    """Every text object of a message, with its text."""
    if isinstance(value, list):
        return [each for inner in value for each in texts_of(inner)]
    if not isinstance(value, dict):
        return []
    if value.get("type") in {"mrkdwn", "plain_text"}:
        return [(value, value["text"])]
    return [each for inner in value.values() for each in texts_of(inner)]


def check(message: dict[str, Any]) -> None:
    """Block Kit's limits, as https://docs.slack.dev/reference/block-kit names them, and ours: nothing acts, nothing is markup that we did not write."""
    assert set(message) == {"text", "blocks", "unfurl_links", "unfurl_media"}
    blocks = message["blocks"]
    assert 1 <= len(blocks) <= 50
    for block in blocks:
        match block["type"]:
            case "header":
                assert block["text"]["type"] == "plain_text"
                assert 1 <= len(block["text"]["text"]) <= 150
            case "section":
                assert 1 <= len(block["text"]["text"]) <= 3_000
            case "context":
                assert 1 <= len(block["elements"]) <= 10
            case "actions":
                assert 1 <= len(block["elements"]) <= 25
                for button in block["elements"]:
                    assert set(button) == {"type", "action_id", "text", "url"}, "a button does nothing but open a page"
                    assert re.match(r"https?://", button["url"])
                    assert len(button["url"]) <= 3_000
                    assert 1 <= len(button["text"]["text"]) <= 75
                assert len({button["action_id"] for button in block["elements"]}) == len(block["elements"])
            case other:
                raise AssertionError(f"a block of type {other}")
    for where, text in [*texts_of(blocks), ({}, message["text"])]:
        assert not re.search(r"[<>]", text), "markup from an event"
        assert re.search(r"&(?!amp;|lt;|gt;)", text) is None, "an escape cut in two"
        assert all(each.isprintable() for each in text.split("\n"))
        assert where.get("verbatim", True)
        assert not where.get("emoji", False)


def test_a_message_names_the_suspect_the_money_clock_the_owner_and_the_times() -> None:
    message = _message(a_page())
    check(message)
    shown = "\n".join(text for _, text in texts_of(message["blocks"]))
    for said in (
        "93%  checkout 4.12.0 d-881",
        "*Money clock*  512 orders lost (430 to 601), 41 more each minute",
        "owner team-checkout",
        "since 2026-03-02T09:00:00.000Z",
        "told 2026-03-02T09:01:30.000Z",
        "incident incident-5f3a",
        *a_page().lines,
    ):
        assert said in shown
    buttons = message["blocks"][-1]["elements"]
    assert [(each["text"]["text"], each["url"]) for each in buttons] == [
        ("Look and approve", "https://rollguard.example/incidents/incident-5f3a"),
        ("Runbook", "https://wiki.example/checkout"),
    ]


@pytest.mark.parametrize(("event", "begins"), [("acknowledge", "Acknowledged: "), ("resolve", "Resolved: ")])
def test_what_follows_is_told_in_short(event: str, begins: str) -> None:
    message = _message(a_page(event=event, ended_ms=1_772_442_600_000))
    check(message)
    assert message["text"].startswith(begins)
    assert len(message["blocks"]) <= 4
    assert len(str(message)) < len(str(_message(a_page())))


@pytest.mark.parametrize("nasty", NASTY)
@pytest.mark.parametrize("event", ["trigger", "acknowledge", "resolve"])
def test_nothing_in_a_service_a_version_or_a_deploy_is_markup(nasty: str, event: str) -> None:
    suspects = ({"deploy_id": nasty, "service": nasty, "version": nasty, "probability": 0.5},)
    changed = dict.fromkeys(("dedup_key", "title", "service", "owner", "runbook"), nasty)
    links = (Link(text=nasty, href="https://rollguard.example/"), Link(text="x", href=nasty), Link(text="x", href=f"javascript:{nasty}"))
    message = _message(a_page(event=event, lines=(nasty, nasty), regions=(nasty,), links=links, details={"suspects": suspects}, **changed))
    check(message)
    urls = [each["url"] for block in message["blocks"] if block["type"] == "actions" for each in block["elements"]]
    assert urls == ["https://rollguard.example/"]


texts = st.one_of(
    st.text(st.one_of(st.characters(codec=None), st.sampled_from("<>&")), max_size=200), st.sampled_from(["", "<" * 4_000, "x" * 4_000, "&<" * 76])
)


@given(
    st.builds(
        a_page,
        event=st.sampled_from(["trigger", "acknowledge", "resolve"]),
        dedup_key=texts,
        title=texts,
        lines=st.lists(texts, max_size=150).map(tuple),
        service=st.one_of(st.none(), texts),
        links=st.lists(st.builds(Link, text=texts, href=texts.map("https://a.example/".__add__)), max_size=8).map(tuple),
        details=st.dictionaries(
            st.sampled_from(["suspects", "orders_lost", "orders_lost_interval", "orders_lost_per_minute"]),
            st.one_of(
                st.none(),
                texts,
                st.floats(allow_nan=False, allow_infinity=False),
                st.lists(st.floats(0, 1), max_size=3),
                st.lists(st.fixed_dictionaries({"probability": st.one_of(texts, st.floats(0, 1)), "service": texts}), max_size=9),
            ),
        ),
    )
)
def test_whatever_a_page_holds_the_message_keeps_to_slacks_limits(page: Page) -> None:
    check(_message(page))


def test_a_line_without_end_costs_no_other_its_place() -> None:
    message = _message(a_page(lines=("x" * 100_000, "the second")))
    check(message)
    assert any("the second" in text for _, text in texts_of(message["blocks"]))


@pytest.mark.parametrize("answer", [Answer(200, b"no_text"), Answer(200), Answer(202, b"ok"), Answer(200, b"okay then")])
def test_nothing_but_ok_counts_as_taken(answer: Answer) -> None:
    async def whole() -> PageError:
        async with Faulty(answer) as receiver:
            pager = Slack("chat (slack)", PagerConfig(kind="slack"), f"{receiver.url}/services/T/B/x")
            with pytest.raises(PageError) as caught:
                await pager.send(a_page(), message_id="m-1")
            await pager.close()
            return caught.value

    assert asyncio.run(whole()).recoverable
