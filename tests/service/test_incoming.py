"""What PagerDuty tells has a rate of its own, and who has no key of ours takes nothing from it."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path

import httpx
import pytest
from prometheus_client import CollectorRegistry

from rollguard.service.http import routes
from rollguard.service.incoming import Incoming
from rollguard.service.pagerduty import SIGNATURE
from rollguard.store import Store
from rollguard.streams.kafka import Outgoing
from tests.incidents.scenes import settings_with
from tests.service.test_http import nobody
from tests.service.test_pagerduty import KEY, body, signed

TEXT = """
changes: {http: {rate: {requests: 2, per: 1h}}}
respond: {pagers: {oncall: {kind: pagerduty, secret: env:ROUTING, webhook_secret: env:WEBHOOK}}}
"""
REASONS = ("command_refused", "limited")


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store.open(f"sqlite:///{tmp_path / 'rollguard.db'}")


def test_more_than_the_rate_has_to_wait_and_fills_no_ledger(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WEBHOOK", KEY)
    remembered: list[Mapping[str, str]] = []
    appended: list[Outgoing] = []

    async def append(records: Sequence[Outgoing]) -> None:
        appended.extend(records)

    async def append_to(topic: str, records: Sequence[Outgoing]) -> None:
        raise AssertionError(topic, records)

    async def remember(told: Mapping[str, str]) -> None:
        remembered.append(told)

    registry = CollectorRegistry()

    async def posted() -> list[int]:
        incoming = Incoming(settings_with(TEXT), store, registry=registry, append=append, append_to=append_to, remember=remember)
        app = routes(registry, dict, nobody, incoming.pagerduty())
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://worker") as client:
            codes = []
            for proof in ["v1=00"] * 4 + [signed(body())] * 3:
                answer = await client.post("/pagerduty", content=body(), headers={SIGNATURE: proof})
                assert ("retry-after" in answer.headers) == (answer.status_code == 429)
                codes.append(answer.status_code)
            return codes

    with closing(store):
        assert asyncio.run(posted()) == [401, 401, 429, 429, 202, 202, 429]
    assert (len(remembered), len(appended)) == (2, 2)
    refused = {reason: registry.get_sample_value("rollguard_refused_webhooks_total", {"sender": "pagerduty", "reason": reason}) for reason in REASONS}
    assert refused == {"command_refused": 2, "limited": 3}
    # A repeat: it has the same id.
    assert len({each.key for each in appended}) == 1


def test_without_a_secret_there_is_nothing_to_take_it(store: Store) -> None:
    async def never(*_: object) -> None:
        raise AssertionError

    with closing(store):
        incoming = Incoming(settings_with(""), store, registry=CollectorRegistry(), append=never, append_to=never, remember=never)
        assert (incoming.pagerduty(), incoming.routes(), incoming.watches()) == (None, [], [])
