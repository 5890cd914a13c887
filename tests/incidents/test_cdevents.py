"""Changes that pipelines tell as CDEvents, alone or in CloudEvents."""

import base64
import contextlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rollguard.incidents import ChangeRefusedError, ChangeSeen, change_sightings, sightings
from rollguard.incidents.changes import ChangeBook
from rollguard.incidents.records import Rollback
from tests.incidents.scenes import START_MS

TIME = "2026-03-02T09:00:00Z"
PURL = "pkg:generic/checkout@4.11.0"


def event(predicate: str = "service.deployed", *, subject: dict[str, Any] | None = None, content: dict[str, Any] | None = None, **more: Any) -> dict[str, Any]:
    context = {"version": "0.5.0", "id": "e-1", "source": "/ci", "type": f"dev.cdevents.{predicate}.0.3.0", "timestamp": TIME} | more.pop("context", {})
    usual = {} if content == {} else {"environment": {"id": "production"}, "artifactId": PURL} | (content or {})
    return {"context": context, "subject": {"id": "service/checkout", "type": "service", "content": usual} | (subject or {}), **more}


def seen(record: object, headers: dict[str, str] | None = None, environment: str = "production") -> tuple[ChangeSeen, ...]:
    value = record if isinstance(record, bytes) else json.dumps(record).encode()
    return change_sightings(value, [(name, text.encode()) for name, text in (headers or {}).items()], environment=environment)


def one(record: object, headers: dict[str, str] | None = None) -> ChangeSeen:
    started, finished = seen(record, headers)
    assert (started.stage, finished.stage) == ("started", "finished")
    assert (started.started_ms, finished.started_ms, finished.finished_ms) == (finished.started_ms, finished.finished_ms, finished.seen_ms)
    return finished


def refusal(record: object, headers: dict[str, str] | None = None) -> str:
    with pytest.raises(ChangeRefusedError, match=r"\S") as caught:
        seen(record, headers)
    assert len(str(caught.value)) < 300
    return str(caught.value)


ENVELOPE = {"specversion": "1.0", "id": "e-1", "source": "/ci", "type": "dev.cdevents.service.deployed.0.3.0", "time": TIME}
BINARY = {f"ce_{name}": text for name, text in ENVELOPE.items()} | {"content-type": "application/json"}
STRUCTURED = {"content-type": "application/cloudevents+json; charset=UTF-8"}


def test_a_deployed_service_is_a_change_that_started_and_finished_then() -> None:
    found = one(event())
    assert (found.service, found.region, found.version, found.kind, found.finished_ms) == ("checkout", None, "4.11.0", "code", START_MS)
    assert (found.author, found.approvals, found.ai_assisted, found.rollback) == (None, None, "unknown", Rollback())


def test_every_form_says_the_same() -> None:
    bare = event()
    inside = {name: value for name, value in bare.items() if name != "context"}
    text = json.dumps(bare).encode()
    forms: list[tuple[object, dict[str, str]]] = [
        (bare, {}),
        (bare, {"content-type": "application/json"}),
        (ENVELOPE | {"data": bare}, {}),
        (ENVELOPE | {"data": bare, "datacontenttype": "application/cdevents+json"}, STRUCTURED),
        (ENVELOPE | {"data": bare}, {"Content-Type": "application/CloudEvents"}),
        (ENVELOPE | {"data_base64": base64.b64encode(text).decode()}, STRUCTURED),
        (ENVELOPE | {"data": bare}, BINARY | STRUCTURED),
        (bare, BINARY),
        (inside | {"context": {"id": "e-1"}}, BINARY),
        (inside, BINARY),
        (ENVELOPE | {"data": inside}, {}),
    ]
    assert {seen(record, headers) for record, headers in forms} == {seen(bare)}
    assert sightings(text, environment="production") == seen(bare)


@pytest.mark.parametrize("version", ["0.1.0", "0.3.0", "0.3.0-draft", "1.0.0", "12.0"])
def test_a_type_is_known_whatever_its_version(version: str) -> None:
    record = event(context={"type": f"dev.cdevents.service.deployed.{version}"})
    assert seen(record) == seen(event())


def test_a_type_without_a_version_is_known() -> None:
    assert seen(event(context={"type": "dev.cdevents.service.deployed"})) == seen(event())


@pytest.mark.parametrize("predicate", ["deployed", "upgraded", "rolledback", "removed", "published"])
def test_whatever_happens_to_a_service_is_a_change(predicate: str) -> None:
    assert one(event(f"service.{predicate}")).service == "checkout"


@pytest.mark.parametrize("predicate", ["created", "modified", "deleted"])
def test_what_happens_to_an_environment_is_a_change_of_infrastructure(predicate: str) -> None:
    found = one(event(f"environment.{predicate}", subject={"id": "production/eu-west", "content": {"name": "eu"}}))
    assert (found.kind, found.service, found.region, found.version) == ("infra", "production", "eu-west", None)
    by_name = one(event(f"environment.{predicate}", subject={"id": "1234", "content": {"name": "production"}}))
    assert (by_name.service, by_name.region) == ("production", None)
    assert seen(event(f"environment.{predicate}", subject={"id": "staging", "content": {}})) == ()


@pytest.mark.parametrize(
    "kind", ["pipelinerun.started", "taskrun.finished", "artifact.published", "change.merged", "incident.detected", "service.dreamt", "service", ""]
)
def test_other_events_are_no_changes_whatever_they_hold(kind: str) -> None:
    record = {"context": {"type": f"dev.cdevents.{kind}.0.2.0", "timestamp": 7}, "subject": {"id": 5, "content": []}}
    assert seen(record) == ()
    assert seen(ENVELOPE | {"type": f"dev.cdevents.{kind}.0.2.0", "data": {"subject": 1}}) == ()
    assert seen(b"", {"ce_type": f"dev.cdevents.{kind}.0.2.0", "ce_specversion": "1.0"}) == ()
    assert seen({"context": {"type": "dev.cdeventsx.mytool-thing.done.0.1.0"}, "subject": {}}) == ()


def test_only_the_environment_that_is_watched_counts() -> None:
    assert seen(event(content={"environment": {"id": "staging"}})) == ()
    assert seen(event(content={"environment": {"id": "production-eu"}})) == ()
    assert seen(event(), environment="staging") == ()
    assert one(event(content={"environment": {"id": "production/eu-west"}})).region == "eu-west"
    assert one(event(content={"environment": {"id": "1234", "name": "production/eu/west"}})).region == "eu/west"
    assert one(event(content={"environment": {"id": "1234"}}, customData={"environment": "production", "region": "eu"})).region == "eu"
    assert one(event(content={"environment": {"id": "production/a"}}, customData={"region": "b"})).region == "b"
    assert seen(event(customData={"environment": "staging"})) == ()


@pytest.mark.parametrize(
    ("artifact", "version"),
    [
        ("pkg:generic/checkout@4.11.0", "4.11.0"),
        ("pkg:oci/myapp@sha256%3A0b31b1c0", "sha256:0b31b1c0"),
        ("pkg:oci/myapp@sha256%3A0b31b1c0?repository_url=ghcr.io&tag=4.11.0", "4.11.0"),
        ("pkg:oci/myapp?tag=4.11.0", "4.11.0"),
        ("pkg:npm/%40shop/checkout@4.11.0?vcs_url=git@x#sub@path", "4.11.0"),
        ("pkg:golang/mygit.com/myorg/myapp@234fd47e07d1004f0aed9c", "234fd47e07d1004f0aed9c"),
        ("0b31b1c02ff458ad", None),
        ("", None),
        (None, None),
    ],
)
def test_the_version_is_that_of_the_package_url(artifact: str | None, version: str | None) -> None:
    assert one(event(content={"artifactId": artifact})).version == version


def test_a_deployment_that_fans_out_to_regions_is_one_change() -> None:
    for chain in ({}, {"chainId": "c-1"}):
        book = ChangeBook(10**9)
        for at, region in enumerate(("eu-west", "us-east")):
            content = {"environment": {"id": f"production/{region}"}}
            for each in seen(event(content=content, context={"id": f"e-{at}", "timestamp": f"2026-03-02T09:0{at}:00Z", **chain})):
                book.add(each)
        book.learn(START_MS + 10**7)
        (change,) = book.changes.values()
        assert set(change.reach) == {"eu-west", "us-east"}
        assert change.deploy_id == ("c-1/checkout" if chain else f"{PURL}/checkout")


def test_services_of_one_chain_and_the_rollback_in_it_are_changes_of_their_own() -> None:
    chain = {"chainId": "c-1"}
    records = [
        event(context=chain),
        event(context=chain, subject={"id": "service/cart"}),
        event("service.rolledback", context=chain),
        event("service.published", context=chain, content={"artifactId": None}),
    ]
    assert [one(record).deploy_id for record in records] == ["c-1/checkout", "c-1/cart", "c-1/checkout/rolledback", "c-1/checkout"]


def test_an_event_with_neither_chain_nor_artifact_is_a_change_of_its_own() -> None:
    ids = {one(event("service.removed", content={"artifactId": None}, context={"id": name})).deploy_id for name in ("e-1", "e-2")}
    assert ids == {"e-1/checkout/removed", "e-2/checkout/removed"}
    assert one(event(content={"artifactId": None}, context={"id": None})).deploy_id == f"{START_MS}/checkout"


def test_custom_data_with_our_fields_wins() -> None:
    custom = {
        "deploy_id": "chg-1",
        "service": "cart",
        "change_kind": "config",
        "from_version": "4.10.9",
        "version": "4.11.1",
        "started_at": "2026-03-02T08:50:00Z",
        "author": "ann",
        "approvals": 2,
        "ai_assisted": "advised",
        "rollback": {"supported": True, "to_version": "4.10.9"},
        "region": None,
        "team": "payments",
    }
    started, finished = seen(event(content={"environment": {"id": "production/eu"}}, customData=custom))
    assert (started.seen_ms, finished.seen_ms, finished.finished_ms) == (START_MS - 600_000, START_MS, START_MS)
    assert (finished.deploy_id, finished.service, finished.region, finished.kind) == ("chg-1", "cart", "eu", "config")
    assert (finished.from_version, finished.version, finished.author, finished.approvals, finished.ai_assisted) == ("4.10.9", "4.11.1", "ann", 2, "advised")
    assert finished.rollback == Rollback(supported=True, to_version="4.10.9")
    assert one(event(customData={"deployId": "chg-2"})).deploy_id == "chg-2"


@pytest.mark.parametrize("custom", [None, "text", "eyJhIjoxfQ==", 7, [], {}, {"team": {"deep": [1]}}])
def test_custom_data_of_somebody_elses_is_left_alone(custom: object) -> None:
    assert seen(event(customData=custom)) == seen(event())


def test_our_own_records_are_read_as_ever() -> None:
    record = {"deploy_id": "chg-1", "service": "checkout", "started_at": START_MS, "context": {"a": 1}, "subject": "x", "specversion": "1.0", "type": "t"}
    (own,) = seen(record)
    assert own.deploy_id == "chg-1"
    foreign = ENVELOPE | {"type": "com.shop.deploy", "data": record}
    assert seen(foreign) == (own,)
    assert seen(foreign, STRUCTURED) == (own,)
    assert seen(record, BINARY | {"ce_type": "com.shop.deploy"}) == (own,)


@pytest.mark.parametrize(
    ("record", "headers", "words"),
    [
        (b"", {}, "truncated"),
        (b"", BINARY, "CDEvent: Input data was truncated"),
        (b"\xff", BINARY, "CDEvent: "),
        (b"[" * 50_000, BINARY, "CDEvent: "),
        (b'{"subject":{"id":"a"},"customData":' + b"[" * 50_000, BINARY, "CDEvent: "),
        (b"{}", STRUCTURED, "CloudEvent: Object missing required field `type`"),
        (b"[]", STRUCTURED, "CloudEvent: Expected `object`, got `array`"),
        (
            event(),
            {"content-type": "application/cloudevents+avro"},
            "content-type 'application/cloudevents+avro' cannot be read; expected application/cloudevents+json",
        ),
        ([event()], {"content-type": "application/cloudevents-batch+json"}, "expected application/cloudevents+json"),
        (ENVELOPE, {}, "CloudEvent: data is missing"),
        (ENVELOPE | {"data": None}, STRUCTURED, "CloudEvent: data is missing"),
        (ENVELOPE | {"data": "text"}, STRUCTURED, "CDEvent: Expected `object`, got `str`"),
        (ENVELOPE | {"data_base64": "?"}, STRUCTURED, "CloudEvent: Invalid base64"),
        (ENVELOPE | {"type": "com.shop.deploy", "data": {"a": 1}}, {}, "CloudEvent of type 'com.shop.deploy', expected dev.cdevents.service.deployed"),
        ({"context": {}, "subject": {}}, {}, "CDEvent: context.type is missing"),
        ({"context": {"type": "com.shop"}, "subject": {}}, {}, "CDEvent: context.type is 'com.shop'; expected dev.cdevents.service.deployed"),
        ({"context": "text", "subject": {}}, {}, "CDEvent: Expected `object"),
        (event(context={"timestamp": None}), {}, "CDEvent: context.timestamp is missing"),
        (event(context={"timestamp": "yesterday"}), {}, "CDEvent: context.timestamp 'yesterday' is not a time"),
        (event(context={"timestamp": "2026-03-02T09:00:00"}), {}, "CDEvent: context.timestamp '2026-03-02T09:00:00' has no offset"),
        (event(context={"timestamp": START_MS}), {}, "$.context.timestamp"),
        (event(subject={"id": None}), {}, "$.subject.id"),
        (event(subject={"id": "/"}), {}, "must not be empty"),
        (event(content={}), {}, "CDEvent: subject.content.environment.id is missing"),
        (event(content={"environment": {"id": ""}}), {}, "CDEvent: subject.content.environment.id is missing"),
        (event(content={"environment": "production"}), {}, "$.subject.content.environment"),
        (event(customData={"approvals": "two"}), {}, "CDEvent: customData: Expected `int | null`, got `str` - at `$.approvals`"),
        (event(customData={"change_kind": "magic"}), {}, "CDEvent: customData: "),
        (event(customData={"started_at": "2026-03-02T10:00:00Z"}), {}, "is before started_at"),
    ],
)
def test_what_cannot_be_used_is_refused_with_a_sentence(record: object, headers: dict[str, str], words: str) -> None:
    assert words in refusal(record, headers)


def test_a_header_that_is_no_text_is_refused() -> None:
    with pytest.raises(ChangeRefusedError, match="header ce_type is not UTF-8"):
        change_sightings(b"{}", [("ce_type", b"\xff")], environment="production")


HEADERS = st.lists(
    st.tuples(
        st.sampled_from(["content-type", "ce_type", "ce_time", "ce_id", "ce_specversion", "CE_TYPE"]) | st.text(max_size=5),
        st.sampled_from([b"application/cloudevents+json", b"dev.cdevents.service.deployed.0.1.0", b"dev.cdevents.", TIME.encode()]) | st.binary(max_size=8),
    ),
    max_size=4,
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=4) | st.sampled_from([TIME, PURL, "production"]), lambda inner: st.lists(inner, max_size=2)
)


@st.composite
def damaged(draw: st.DrawFn) -> object:
    """A CDEvent in some form, some of whose values are something else."""
    record: Any = event(customData={"deploy_id": "a", "rollback": {"supported": True}, "approvals": 1, "region": "eu"}, context={"chainId": "c"})
    record = draw(st.sampled_from([record, ENVELOPE | {"data": record}]))
    for _ in range(draw(st.integers(0, 3))):
        here = record
        while True:
            key = draw(st.sampled_from(sorted(here)))
            if isinstance(here[key], dict) and here[key] and draw(st.booleans()):
                here = here[key]
            else:
                here[key] = draw(JSON)
                break
    return record


@given(st.binary(max_size=60) | damaged().map(lambda record: json.dumps(record).encode()), HEADERS)
def test_any_bytes_and_headers_give_sightings_or_a_refusal(value: bytes, headers: list[tuple[str, bytes]]) -> None:
    with contextlib.suppress(ChangeRefusedError):
        assert all(each.id for each in change_sightings(value, headers, environment="production"))
