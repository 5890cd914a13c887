"""Alertmanager: one incident there for one here, on the real server; and every peer told."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest

from rollguard.config import Pager as PagerConfig
from rollguard.responders import PageError
from rollguard.responders.pagers import make_pager
from rollguard.responders.records import Page
from tests.responders.faulty import HTML, RESET, SILENT, Answer, Faulty, a_page
from tests.servers.alertmanager import Alertmanager, alertmanager

__all__ = ["alertmanager"]  # a fixture


def tell(url: str, *pages: Page, **more: Any) -> list[str]:
    """Send pages to peers, one after another."""

    async def whole() -> list[str]:
        pager = make_pager("am", PagerConfig.model_validate({"kind": "alertmanager", "url": url, **more}), None)
        try:
            return [await pager.send(page, message_id="m-1") for page in pages]
        finally:
            await pager.close()

    return asyncio.run(whole())


def sent(*pages: Page, **more: Any) -> list[Any]:
    """What a peer is sent of pages."""

    async def whole() -> list[Any]:
        async with Faulty(Answer(200)) as peer:
            pager = make_pager("am", PagerConfig.model_validate({"kind": "alertmanager", "url": peer.url, **more}), None)
            for page in pages:
                await pager.send(page, message_id="m-1")
            await pager.close()
            return [each.json() for each in peer.asked]

    return asyncio.run(whole())


def now_ms() -> int:
    return time.time_ns() // 1_000_000


def live(incident: str, **changed: Any) -> Page:
    """A page of an incident that goes on now."""
    at_ms = now_ms()
    return a_page(**({"dedup_key": incident, "at_ms": at_ms, "onset_ms": at_ms - 60_000} | changed))


def resolved(incident: str, **changed: Any) -> Page:
    return live(incident, **({"event": "resolve", "ended_ms": now_ms() - 1_000} | changed))


def test_an_incident_fires_once_however_often_it_is_told_and_is_resolved_once(alertmanager: Alertmanager) -> None:
    tell(alertmanager.url, live("once"))
    first = alertmanager.told("once", "firing")
    assert len(first["alerts"]) == 1
    assert first["alerts"][0]["labels"] == {"alertname": "RollguardIncident", "incident": "once"}
    assert first["alerts"][0]["annotations"]["summary"] == a_page().title
    tell(alertmanager.url, live("once", title="Worse"), live("once", title="Worse still"))
    alerts = alertmanager.alerts("once")
    assert [each["annotations"]["summary"] for each in alerts] == ["Worse still"]
    tell(alertmanager.url, resolved("once"))
    end = alertmanager.told("once", "resolved")
    assert [each["status"] for each in end["alerts"]] == ["resolved"]
    assert alertmanager.alerts("once") == []
    assert alertmanager.untold("once")


def test_nothing_goes_on_firing_when_service_severity_and_regions_changed_meanwhile(alertmanager: Alertmanager) -> None:
    labels = {"team": "checkout"}
    tell(alertmanager.url, live("moved"), labels=labels)
    alertmanager.told("moved", "firing")
    changed = {"service": "payments", "severity": "warning", "regions": ("eu-west", "us-east"), "owner": "team-payments", "runbook": None}
    tell(alertmanager.url, live("moved", **changed), labels=labels)
    assert [each["annotations"]["service"] for each in alertmanager.alerts("moved")] == ["payments"]
    tell(alertmanager.url, resolved("moved", service=None, severity="info", regions=()), labels=labels)
    alertmanager.told("moved", "resolved")
    assert alertmanager.alerts("moved") == []


@pytest.mark.parametrize(
    ("name", "times"),
    [
        ("long-ago", {"at_ms": 1_772_442_090_000, "onset_ms": 1_772_442_000_000, "ended_ms": 1_772_442_600_000}),
        ("ahead", {"ended_ms": 4_102_444_800_000}),
        ("before-its-onset", {"onset_ms": 4_102_444_800_000, "ended_ms": 1_772_442_600_000}),
        ("no-end", {"onset_ms": None, "ended_ms": None}),
    ],
)
def test_a_resolve_resolves_whatever_the_clocks_of_events_say(alertmanager: Alertmanager, name: str, times: dict[str, int | None]) -> None:
    tell(alertmanager.url, live(name))
    alertmanager.told(name, "firing")
    tell(alertmanager.url, resolved(name, **times))
    alertmanager.told(name, "resolved")
    assert alertmanager.alerts(name) == []


def test_an_incident_that_comes_back_fires_again(alertmanager: Alertmanager) -> None:
    tell(alertmanager.url, live("back"), resolved("back"), live("back"))
    assert len(alertmanager.alerts("back")) == 1


def test_whatever_is_in_a_service_or_a_config_the_real_server_takes_it(alertmanager: Alertmanager) -> None:
    strange = 'a"b{c="d"},\n=~\x1b[31m\u202e\ud800 <script>' + "x" * 5_000
    page = live("strange", service=strange, title=strange, lines=(strange, ""), regions=(strange,), owner="", runbook="none yet")
    tell(alertmanager.url, page, labels={"team": strange})
    alert = alertmanager.told("strange", "firing")["alerts"][0]
    assert alert["annotations"]["summary"].isprintable()
    assert alert["labels"]["team"].isprintable()
    assert len(alertmanager.alerts("strange")) == 1


def test_an_acknowledgement_is_not_sent() -> None:
    assert sent(a_page(event="acknowledge")) == []


def test_a_firing_alert_has_no_end_and_a_resolved_one_has() -> None:
    (firing,), (resolved,) = sent(a_page(), a_page(event="resolve", ended_ms=1_772_442_600_000))
    assert "endsAt" not in firing
    assert firing["startsAt"] == resolved["startsAt"] == "2026-03-02T09:00:00.000Z"
    assert resolved["endsAt"] == "2026-03-02T09:10:00.000Z"
    assert firing["labels"] == resolved["labels"]
    assert firing["generatorURL"] == "https://rollguard.example/incidents/incident-5f3a"


def test_a_bearer_token_goes_along() -> None:
    async def whole() -> str:
        async with Faulty(Answer(200)) as peer:
            pager = make_pager("am", PagerConfig.model_validate({"kind": "alertmanager", "url": peer.url}), "tok")
            await pager.send(a_page(), message_id="m-1")
            await pager.close()
            return peer.asked[0].headers["authorization"]

    assert asyncio.run(whole()) == "Bearer tok"


def test_every_peer_is_told_and_one_that_takes_it_is_enough() -> None:
    async def whole() -> tuple[str, list[int]]:
        async with Faulty(RESET) as first, Faulty(Answer(200)) as second, Faulty(Answer(500, b"oops")) as third:
            pager = make_pager("am", PagerConfig.model_validate({"kind": "alertmanager", "url": f"{first.url}, {second.url},{third.url}/"}), None)
            said = await pager.send(a_page(), message_id="m-1")
            await pager.close()
            return said.replace(first.url[7:], "FIRST").replace(third.url[7:], "THIRD"), [len(each.asked) for each in (first, second, third)]

    said, asked = asyncio.run(whole())
    assert asked == [1, 1, 1]
    assert said.startswith("1 of 3 peers took it; FIRST: broke off")
    assert said.endswith("THIRD: answered 500: oops")


@pytest.mark.parametrize(
    ("answers", "recoverable", "after_ms"),
    [
        ((Answer(400), Answer(400)), False, None),
        ((Answer(400), Answer(429, headers={"retry-after": "7"})), True, 7_000),
        ((Answer(429, headers={"retry-after": "9"}), Answer(429, headers={"retry-after": "7"})), True, 7_000),
        ((Answer(429, headers={"retry-after": "9"}), RESET), True, None),
        ((HTML, Answer(404)), True, None),
        ((SILENT, Answer(404)), True, None),
    ],
)
def test_when_no_peer_took_it_it_is_told_again_as_soon_as_one_may_take_it(answers: tuple[Any, Any], recoverable: bool, after_ms: int | None) -> None:
    async def whole() -> PageError:
        async with Faulty(answers[0]) as first, Faulty(answers[1]) as second:
            pager = make_pager("am", PagerConfig.model_validate({"kind": "alertmanager", "url": f"{first.url},{second.url}", "timeout": "300ms"}), None)
            with pytest.raises(PageError) as caught:
                await pager.send(a_page(), message_id="m-1")
            await pager.close()
            return caught.value

    error = asyncio.run(whole())
    assert (error.recoverable, error.after_ms) == (recoverable, after_ms)
