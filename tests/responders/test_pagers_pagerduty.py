"""PagerDuty: what is sent keeps to the published schema, and nothing but its own answer counts."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rollguard.config import Pager as PagerConfig
from rollguard.responders import PageError
from rollguard.responders.pagers.pagerduty import PagerDuty, _event
from rollguard.responders.records import Link, Page
from tests.responders.faulty import Answer, Asked, Faulty, a_page

KEY = "R0planted0routing0key0000000001q"
ACCEPTED = Answer(202, b'{"status":"success","message":"Event processed","dedup_key":"incident-5f3a"}')

#: Events v2 as PagerDuty/api-schema publishes it (events-v2, "event" and "change event"), as far as we send it; nothing else may be there.
LINK: dict[str, Any] = {"type": "object", "required": ["href"], "properties": {"href": {"type": "string"}, "text": {"type": "string"}}}
IMAGE: dict[str, Any] = {
    "type": "object",
    "required": ["src"],
    "properties": {"src": {"type": "string"}, "href": {"type": "string"}, "alt": {"type": "string"}},
}
TIME: dict[str, Any] = {"type": "string", "maxLength": 24}
ROUTING_KEY: dict[str, Any] = {"type": "string", "minLength": 32, "maxLength": 32}
PAYLOAD: dict[str, Any] = {
    "type": "object",
    "required": ["summary", "source", "severity"],
    "properties": {
        "summary": {"type": "string", "minLength": 1, "maxLength": 1_024},
        "source": {"type": "string", "minLength": 1},
        "severity": {"type": "string", "enum": ["critical", "warning", "error", "info"]},
        "timestamp": TIME,
        "component": {"type": "string"},
        "group": {"type": "string"},
        "class": {"type": "string"},
        "custom_details": {"type": "object"},
    },
}
TRIGGER: dict[str, Any] = {
    "type": "object",
    "required": ["routing_key", "event_action", "payload"],
    "properties": {
        "routing_key": ROUTING_KEY,
        "event_action": {"type": "string", "enum": ["trigger"]},
        "dedup_key": {"type": "string", "minLength": 1, "maxLength": 255},
        "payload": PAYLOAD,
        "links": {"type": "array", "items": LINK},
        "images": {"type": "array", "items": IMAGE},
        "client": {"type": "string"},
        "client_url": {"type": "string"},
    },
}
FOLLOWING: dict[str, Any] = {
    "type": "object",
    "required": ["routing_key", "event_action", "dedup_key"],
    "properties": {
        "routing_key": ROUTING_KEY,
        "event_action": {"type": "string", "enum": ["acknowledge", "resolve"]},
        "dedup_key": {"type": "string", "minLength": 1, "maxLength": 255},
    },
}
CHANGE: dict[str, Any] = {
    "type": "object",
    "required": ["routing_key", "payload"],
    "properties": {
        "routing_key": ROUTING_KEY,
        "payload": {
            "type": "object",
            "required": ["summary"],
            "properties": {
                "summary": {"type": "string", "minLength": 1, "maxLength": 1_024},
                "timestamp": TIME,
                "source": {"type": "string"},
                "custom_details": {"type": "object"},
            },
        },
        "links": {"type": "array", "items": LINK},
    },
}
TYPES: dict[str, type] = {"object": dict, "array": list, "string": str}


def faults(schema: dict[str, Any], value: Any, where: str = "$") -> list[str]:
    """What of a value is not as a schema says: the part of JSON Schema that is used above, and no key that it does not name."""
    if not isinstance(value, TYPES[schema["type"]]):
        return [f"{where}: no {schema['type']}"]
    found = []
    if isinstance(value, str):
        if not schema.get("minLength", 0) <= len(value) <= schema.get("maxLength", 10**9):
            found.append(f"{where}: length {len(value)}")
        if value not in schema.get("enum", [value]):
            found.append(f"{where}: {value!r} is none of {schema['enum']}")
    elif isinstance(value, list):
        found += [each for place, item in enumerate(value) for each in faults(schema["items"], item, f"{where}[{place}]")]
    elif isinstance(value, dict):
        found += [f"{where}.{name}: missing" for name in schema.get("required", []) if name not in value]
        if known := schema.get("properties"):
            for name, inner in value.items():
                found += faults(known[name], inner, f"{where}.{name}") if name in known else [f"{where}.{name}: unknown"]
    return found


def asked_for(*pages: Page, answer: Answer = ACCEPTED) -> list[Asked]:
    """What PagerDuty is sent of pages."""

    async def whole() -> list[Asked]:
        async with Faulty(answer) as receiver:
            pager = PagerDuty("oncall (pagerduty)", PagerConfig(kind="pagerduty", url=(receiver.url,)), KEY)
            for page in pages:
                await pager.send(page, message_id="m-1")
            await pager.close()
            return receiver.asked

    return asyncio.run(whole())


def test_without_an_address_it_is_pagerduty_itself() -> None:
    pager = PagerDuty("oncall (pagerduty)", PagerConfig(kind="pagerduty"), KEY)
    assert pager._url == "https://events.pagerduty.com"
    asyncio.run(pager.close())


def test_an_incident_is_triggered_acknowledged_and_resolved_under_one_key() -> None:
    events = asked_for(a_page(), a_page(event="acknowledge"), a_page(event="resolve", ended_ms=1_772_442_600_000))
    assert {(each.method, each.path, each.headers["content-type"]) for each in events} == {("POST", "/v2/enqueue", "application/json")}
    bodies = [each.json() for each in events]
    assert [each["event_action"] for each in bodies] == ["trigger", "acknowledge", "resolve"]
    assert {each["dedup_key"] for each in bodies} == {"incident-5f3a"}
    assert [faults(schema, body) for schema, body in zip((TRIGGER, FOLLOWING, FOLLOWING), bodies, strict=True)] == [[], [], []]


def test_a_trigger_says_what_a_page_says() -> None:
    body = asked_for(a_page())[0].json()
    page = a_page()
    details = body["payload"].pop("custom_details")
    assert body["payload"] == {
        "summary": page.title,
        "source": "rollguard",
        "severity": "critical",
        "timestamp": "2026-03-02T09:01:30.000Z",
        "component": "checkout",
        "group": "eu-west",
        "class": "delivery_minutes",
    }
    assert details["lines"] == list(page.lines)
    assert details["suspects"][0]["probability"] == 0.931
    assert (details["owner"], details["onset"], details["message_id"]) == ("team-checkout", "2026-03-02T09:00:00.000Z", "m-1")
    assert [each["text"] for each in body["links"]] == ["Look and approve", "Runbook"]
    assert body["client_url"] == page.links[0].href


texts = st.text(st.characters(codec=None), max_size=1_500)  # half characters too
links = st.lists(
    st.builds(Link, text=texts, href=st.one_of(texts, st.sampled_from(["https://a.example/x", "javascript:alert(1)", "http://a.example/\n"]))), max_size=30
)
values = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), texts),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.one_of(texts, st.integers()), inner, max_size=3)),
    max_leaves=5,
)


@given(
    st.builds(
        a_page,
        dedup_key=st.text(st.characters(codec=None), min_size=1, max_size=400),
        title=texts,
        lines=st.lists(texts, max_size=60).map(tuple),
        service=st.one_of(st.none(), texts),
        owner=st.one_of(st.none(), texts),
        runbook=st.one_of(st.none(), texts),
        regions=st.lists(texts, max_size=3).map(tuple),
        links=links.map(tuple),
        details=st.dictionaries(texts, values, max_size=4),
        at_ms=st.integers(946_684_800_000, 4_102_444_800_000),
    )
)
def test_whatever_a_page_holds_the_event_keeps_to_the_schema(page: Page) -> None:
    event = msgspec.json.decode(_event(page, KEY, "m-1"))
    assert faults(TRIGGER, event) == []
    assert all(each["href"].startswith("http") and each["href"].isprintable() for each in event["links"])
    assert event["payload"]["summary"].isprintable()


@pytest.mark.parametrize(
    ("image", "src"),
    [("https://pictures.example/i.png", ["https://pictures.example/i.png"]), ("http://pictures.example/i.png", []), ("https://x/\n", []), (None, [])],
)
def test_a_picture_is_shown_if_it_is_served_by_https(image: str | None, src: list[str]) -> None:
    body = asked_for(a_page(image=image))[0].json()
    assert faults(TRIGGER, body) == []
    assert [each["src"] for each in body["images"]] == src


def test_two_long_keys_stay_two() -> None:
    first, second = asked_for(a_page(dedup_key="k" * 300), a_page(dedup_key="k" * 299 + "j"))
    assert len({first.json()["dedup_key"], second.json()["dedup_key"]}) == 2
    assert len(first.json()["dedup_key"]) == 255


@pytest.mark.parametrize(("size", "left_out"), [(400_000, "long"), (600_000, "long"), (1_200_000, "also, long"), (5_000_000, "also, long")])
def test_details_that_are_too_long_are_left_out_and_that_is_said(size: int, left_out: str) -> None:
    page = a_page(details={"metrics": ("m",), "long": "x" * size, "also": "y" * (size // 2), "short": "kept"})
    asked = asked_for(page)[0]
    assert len(asked.body) <= 512_000
    details = asked.json()["payload"]["custom_details"]
    assert details["shortened"].startswith(f"left out, since the event was too long for PagerDuty: {left_out} (")
    assert details["short"] == "kept"
    assert details["lines"] == list(page.lines)


def test_no_lines_and_no_details_are_too_many() -> None:
    page = a_page(lines=("\U0001f534" * 2_000,) * 5_000, details={"k" * 900 + str(number): "v" for number in range(3_000)}, title="\U0001f534" * 9_000)
    asked = asked_for(page)[0]
    assert len(asked.body) <= 512_000
    assert faults(TRIGGER, asked.json()) == []
    assert asked.json()["payload"]["custom_details"]["lines"][-1] == "… and 4960 lines more"


@pytest.mark.parametrize(
    "answer",
    [
        Answer(200, b'{"status":"success"}'),
        Answer(202, b'{"status":"invalid event"}'),
        Answer(202, b"Accepted"),
        Answer(202),
        Answer(202, b"[1]"),
        Answer(202, b"[" * 100_000),
        Answer(204),
    ],
)
def test_what_does_not_say_that_it_was_accepted_was_not(answer: Answer) -> None:
    with pytest.raises(PageError) as caught:
        asked_for(a_page(), answer=answer)
    assert caught.value.recoverable


def test_a_page_of_a_change_that_was_made_tells_of_the_change_besides() -> None:
    paged, change = asked_for(a_page(changed="Rollguard rolled back: 1.0 is live again in eu-west"))
    assert (paged.path, change.path) == ("/v2/enqueue", "/v2/change/enqueue")
    assert change.json()["payload"]["summary"] == "Rollguard rolled back: 1.0 is live again in eu-west"


def test_a_rollback_that_was_done_is_a_change_event() -> None:
    async def whole() -> tuple[str, Asked]:
        async with Faulty(ACCEPTED) as receiver:
            pager = PagerDuty("oncall (pagerduty)", PagerConfig(kind="pagerduty", url=(receiver.url + "/v2/enqueue",)), KEY)
            said = await pager.change(
                summary="checkout rolled back to 4.11.0\n" + "x" * 2_000,
                at_ms=1_772_442_090_000,
                links=a_page().links,
                details={"from": "4.12.0", "big": "x" * 600_000},
            )
            await pager.close()
            return said, receiver.asked[0]

    said, asked = asyncio.run(whole())
    assert "Event processed" in said
    assert asked.path == "/v2/change/enqueue"
    body = asked.json()
    assert faults(CHANGE, body) == []
    assert body["payload"]["timestamp"] == "2026-03-02T09:01:30.000Z"
    assert body["payload"]["custom_details"]["from"] == "4.12.0"
    assert "big" in body["payload"]["custom_details"]["shortened"]
