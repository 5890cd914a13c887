"""What is acknowledged in PagerDuty is known here, and what PagerDuty did not sign is not."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
from typing import Any

import httpx
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rollguard.incidents import Command
from rollguard.service.commands import CommandRefusedError
from rollguard.service.http import routes
from rollguard.service.intake.routes import LONGEST
from rollguard.service.metrics import Metrics
from rollguard.service.pagerduty import SIGNATURE, acknowledged
from tests.service.test_http import SETTINGS, nobody

KEY = "a-webhook-secret-of-pagerduty"


def body(**changed: Any) -> bytes:
    """As PagerDuty's documentation shows it."""
    event = {
        "id": "5ac64822-4adc-4fda-ade0-410becf0de4f",
        "event_type": "incident.acknowledged",
        "resource_type": "incident",
        "occurred_at": "2026-03-02T09:10:00.000Z",
        "agent": {"id": "PLH1HKV", "type": "user_reference", "summary": "Dana"},
        "data": {"id": "PGR0VU2", "type": "incident", "incident_key": "inc-1", "status": "acknowledged"},
    }
    return msgspec.json.encode({"event": event | changed})


def signed(text: bytes, key: str = KEY) -> str:
    return "v1=" + hmac.new(key.encode(), text, hashlib.sha256).hexdigest()


def test_an_acknowledgement_is_a_command_of_whoever_gave_it() -> None:
    found = acknowledged(["another", KEY], f"v1=00,{signed(body())}", body())
    assert found == Command(
        id="pagerduty-5ac64822-4adc-4fda-ade0-410becf0de4f", verb="ack", at_ms=1_772_442_600_000, by="Dana (PagerDuty)", incident_id="inc-1"
    )


@pytest.mark.parametrize("changed", [{"event_type": "incident.resolved"}, {"event_type": "pagey.ping", "data": {"message": "hello"}}, {"data": {}}])
def test_what_else_it_tells_changes_nothing(changed: dict[str, Any]) -> None:
    text = body(**changed)
    assert acknowledged([KEY], signed(text), text) is None


@given(st.binary(max_size=200), st.text(max_size=80))
def test_what_is_not_signed_is_refused_whatever_it_is(text: bytes, signature: str) -> None:
    with pytest.raises(CommandRefusedError, match="no signature of ours") as caught:
        acknowledged([KEY], signature, text)
    assert KEY not in str(caught.value)


@given(st.binary(max_size=200))
def test_what_is_signed_and_cannot_be_read_is_refused(text: bytes) -> None:
    with pytest.raises(CommandRefusedError, match="Expected: an event"):
        acknowledged([KEY], signed(text), text)


def test_the_route_answers_so_that_pagerduty_tries_again_only_what_may_succeed() -> None:
    taken: list[Command | None] = []

    async def take(signature: str, text: bytes) -> None:
        taken.append(acknowledged([KEY], signature, text))

    app = routes(Metrics(SETTINGS).registry, dict, nobody, take)

    async def whole() -> list[int]:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://worker") as client:
            headers = [{SIGNATURE: signed(body())}, {SIGNATURE: signed(body(), "another")}, {}]
            found = [await client.post("/pagerduty", content=body(), headers=each) for each in headers]
            found.append(await client.post("/pagerduty", content=b"x" * (LONGEST + 1)))
            found.append(await client.get("/pagerduty"))
            return [each.status_code for each in found]

    assert asyncio.run(whole()) == [202, 401, 401, 413, 405]
    assert len(taken) == 1


def test_without_a_subscription_there_is_no_route() -> None:
    async def whole() -> int:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(routes(Metrics(SETTINGS).registry, dict, nobody)), base_url="http://worker") as client:
            return (await client.post("/pagerduty", content=b"{}")).status_code

    assert asyncio.run(whole()) == 404
