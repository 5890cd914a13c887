"""Webhook: whoever holds the secret can check who sent a page, and knows each message again."""

from __future__ import annotations

import asyncio
import base64

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from standardwebhooks.webhooks import Webhook as Checker
from standardwebhooks.webhooks import WebhookVerificationError

from rollguard.config import Pager as PagerConfig
from rollguard.responders.pagers.webhook import Webhook, _name
from rollguard.responders.records import Page
from tests.responders.faulty import Answer, Asked, Faulty, a_page

SECRET = "whsec_" + base64.b64encode(b"a secret of tests, 32 bytes long").decode()
OTHER = "whsec_" + base64.b64encode(b"another secret, 32 bytes as well").decode()


def asked_for(page: Page, *message_ids: str) -> list[Asked]:
    async def whole() -> list[Asked]:
        async with Faulty(Answer(204)) as receiver:
            pager = Webhook("bridge (webhook)", PagerConfig(kind="webhook", url=(f"{receiver.url}/pages?from=rollguard",)), SECRET)
            for each in message_ids:
                await pager.send(page, message_id=each)
            await pager.close()
            return receiver.asked

    return asyncio.run(whole())


def test_the_signature_is_good_for_this_body_this_id_and_this_secret_alone() -> None:
    asked = asked_for(a_page(), "page-5f3a-1")[0]
    assert asked.path == "/pages?from=rollguard"
    assert Checker(SECRET).verify(asked.body, asked.headers)["type"] == "rollguard.page.trigger"
    for checker, body, headers in (
        (Checker(OTHER), asked.body, asked.headers),
        (Checker(SECRET), asked.body.replace(b"critical", b"info"), asked.headers),
        (Checker(SECRET), asked.body, asked.headers | {"webhook-id": "page-5f3a-2"}),
    ):
        with pytest.raises(WebhookVerificationError):
            checker.verify(body, headers)


def test_a_message_told_again_has_the_same_id_and_body() -> None:
    first, again, other = asked_for(a_page(), "m-1", "m-1", "m-2")
    assert first.headers["webhook-id"] == again.headers["webhook-id"] == "m-1"
    assert first.body == again.body
    assert other.headers["webhook-id"] == "m-2"


def test_the_body_is_the_documented_object_with_all_its_keys() -> None:
    page = a_page(event="resolve", ended_ms=1_772_442_600_000)
    assert asked_for(page, "m-1")[0].json() == {
        "type": "rollguard.page.resolve",
        "timestamp": "2026-03-02T09:01:30.000Z",
        "data": {
            "dedup_key": "incident-5f3a",
            "title": page.title,
            "lines": list(page.lines),
            "severity": "critical",
            "service": "checkout",
            "owner": "team-checkout",
            "runbook": "https://wiki.example/checkout",
            "regions": ["eu-west"],
            "onset": "2026-03-02T09:00:00.000Z",
            "ended": "2026-03-02T09:10:00.000Z",
            "links": [{"text": "Look and approve", "href": "https://rollguard.example/incidents/incident-5f3a"}],
            "details": {
                "metrics": ["delivery_minutes"],
                "orders_lost": 512.4,
                "orders_lost_interval": [430.0, 601.0],
                "orders_lost_per_minute": 41.2,
                "suspects": [{"deploy_id": "d-881", "service": "checkout", "version": "4.12.0", "probability": 0.931, "reasons": ["it reached eu-west then"]}],
            },
        },
    }
    least = Page(event="trigger", dedup_key="k", title="t", lines=(), severity="info", at_ms=0)
    assert set(asked_for(least, "m-1")[0].json()["data"]) == set(asked_for(page, "m-1")[0].json()["data"])


@given(st.text(st.characters(codec=None)), st.text(st.characters(codec=None)))
@example("a.b", "a-b")
@example("a\r\nwebhook-id: x", "\ud800")
def test_an_id_is_what_a_header_carries_and_two_stay_two(first: str, second: str) -> None:
    assert _name(first).isascii()
    assert "." not in _name(first)
    assert _name(first).isprintable()
    assert (_name(first) == _name(second)) == (first == second)


def test_texts_that_no_utf8_can_carry_are_sent_all_the_same() -> None:
    asked = asked_for(a_page(service="\ud800", title="a\r\nb", details={"x": {1: float("nan")}}), "m.1\n")[0]
    body = Checker(SECRET).verify(asked.body, asked.headers)
    assert (body["data"]["service"], body["data"]["title"], body["data"]["details"]) == ("?", "a\r\nb", {"x": {"1": None}})
