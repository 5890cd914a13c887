"""Changes and commands on their way into the signals log: whatever comes, nothing raises and nothing vanishes."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Literal

import msgspec
import pytest
from aiokafka import ConsumerRecord
from hypothesis import given
from hypothesis import strategies as st

from rollguard.config import Layer, default_text, load_layers, settings_hash
from rollguard.incidents import ChangeSeen, Kill, LogCodec
from rollguard.service.changes import Keys, change_signer, records_of
from rollguard.service.signing import signature, signer
from rollguard.streams.kafka import Outgoing

SETTINGS = load_layers([Layer(default_text(), "default.yaml")])
CHANGE = {
    "deploy_id": "chg-1",
    "service": "checkout",
    "environment": "production",
    "started_at": "2026-03-02T09:00:00Z",
    "finished_at": "2026-03-02T09:05:00Z",
    "version": "4.11.0",
}
CDEVENT = {
    "context": {"type": "dev.cdevents.service.deployed.0.3.0", "timestamp": "2026-03-02T09:00:00Z", "id": "e-1", "source": "/ci", "version": "0.4.1"},
    "subject": {
        "id": "service/checkout",
        "type": "service",
        "content": {"environment": {"id": "production"}, "artifactId": "pkg:generic/checkout@4.11.0"},
    },
}


def out_of(value: bytes | None, headers: tuple[tuple[str, bytes], ...] = (), kind: Literal["change", "command"] = "change") -> list[Outgoing]:
    return records_of(SETTINGS, kind, ConsumerRecord("deploys", 2, 41, 1_772_442_000_000, 0, b"k", value, None, 1, len(value or b""), headers))


def changes_in(out: list[Outgoing]) -> list[ChangeSeen]:
    found = [LogCodec().decode(each.value or b"") for each in out]
    assert {each.topic for each in out} == {"signals"}
    return [each for each in found if isinstance(each, ChangeSeen)]


def test_a_change_of_our_schema_becomes_its_sightings() -> None:
    assert [(seen.stage, seen.deploy_id) for seen in changes_in(out_of(msgspec.json.encode(CHANGE)))] == [("started", "chg-1"), ("finished", "chg-1")]


@pytest.mark.parametrize("mode", ["alone", "structured", "binary"])
def test_a_cdevent_is_read_in_each_mode_of_cloudevents(mode: str) -> None:
    kind = "dev.cdevents.service.deployed.0.3.0"
    envelope = {"specversion": "1.0", "id": "e-1", "source": "/ci", "type": kind, "time": "2026-03-02T09:00:00Z"}
    value = msgspec.json.encode(CDEVENT)
    headers: tuple[tuple[str, bytes], ...] = ()
    if mode == "structured":
        value, headers = msgspec.json.encode(envelope | {"data": CDEVENT}), (("content-type", b"application/cloudevents+json; charset=utf-8"),)
    elif mode == "binary":
        headers = tuple((f"ce_{name}", text.encode()) for name, text in envelope.items())
    found = changes_in(out_of(value, headers))
    assert [(seen.service, seen.version, seen.started_ms) for seen in found][:1] == [("checkout", "4.11.0", 1_772_442_000_000)]


def test_a_change_to_another_environment_is_no_concern_and_no_dead_letter() -> None:
    assert out_of(msgspec.json.encode(CHANGE | {"environment": "staging"})) == []


@given(st.binary(max_size=80) | st.none(), st.lists(st.tuples(st.sampled_from(["content-type", "ce_type", "ce_id", "ce_time", "x"]), st.binary(max_size=9))))
def test_whatever_comes_is_put_away_with_its_place_and_a_reason(value: bytes | None, headers: list[tuple[str, bytes]]) -> None:
    kinds: tuple[Literal["change", "command"], ...] = ("change", "command")
    for kind in kinds:
        (letter,) = out_of(value, tuple(headers), kind)
        told = {name: text.decode() for name, text in letter.headers}
        assert letter.topic == "deadletter"
        assert letter.key == b"deploys/2/41"
        assert letter.value == value
        assert (told["topic"], told["partition"], told["offset"]) == ("deploys", "2", "41")
        assert told["reason"]
        assert told["detail"]


@given(
    st.dictionaries(st.sampled_from([*CHANGE, "region", "approvals"]), st.none() | st.integers() | st.text(max_size=9) | st.lists(st.integers(), max_size=2))
)
def test_a_change_with_any_field_wrong_is_a_change_or_a_dead_letter(fields: dict[str, object]) -> None:
    out = out_of(msgspec.json.encode(CHANGE | fields))
    assert {each.topic for each in out} <= {"signals"} or [each.topic for each in out] == ["deadletter"]


def test_the_kill_switch_is_a_command_and_a_command_that_is_none_says_what_was_expected() -> None:
    (on,) = out_of(b'{"command": "kill", "on": true}', kind="command")
    assert LogCodec().decode(on.value or b"") == Kill(on=True, at_ms=1_772_442_000_000)
    (letter,) = out_of(b'{"command": "dance"}', kind="command")
    assert b"Expected" in dict(letter.headers)["detail"]


KEY = "whsec_" + "YWFh" * 8
SIGNED = load_layers([Layer(default_text(), "default.yaml"), Layer("changes: {secret: env:CHANGES_KEY}", "shop.yaml")])


def signed_out(value: bytes, headers: list[tuple[str, bytes]], at_ms: int) -> list[Outgoing]:
    return records_of(SIGNED, "change", ConsumerRecord("deploys", 0, 1, at_ms, 0, b"k", value, None, 1, len(value), tuple(headers)), Keys(changes=KEY))


def reason_of(out: list[Outgoing]) -> tuple[str, str]:
    (letter,) = out
    headers = dict(letter.headers)
    return headers["reason"].decode(), headers["detail"].decode()


def test_a_change_has_to_be_signed_where_the_config_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHANGES_KEY", KEY)
    value = msgspec.json.encode(CHANGE)
    headers, now_ms = change_signer(SIGNED)(value), time.time_ns() // 1_000_000
    assert len(changes_in(signed_out(value, headers, now_ms))) == 2
    # Nobody's, another's, of another record, and one that is sent again later.
    assert reason_of(signed_out(value, [], now_ms)) == ("unsigned", "it is not signed")
    monkeypatch.setenv("CHANGES_KEY", "whsec_" + "YmJi" * 8)
    assert reason_of(signed_out(value, change_signer(SIGNED)(value), now_ms)) == ("unsigned", "another signature than theirs")
    other = msgspec.json.encode(CHANGE | {"author": "somebody"})
    assert reason_of(signed_out(other, headers, now_ms)) == ("unsigned", "another signature than theirs")
    assert reason_of(signed_out(value, headers, now_ms + 6 * 60_000)) == ("unsigned", "signed 6 min before it came")


def test_a_change_that_waited_for_us_is_not_stale(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHANGES_KEY", KEY)
    value, long_ago = msgspec.json.encode(CHANGE), datetime(2026, 3, 2, 9, tzinfo=UTC)
    headers = signature(signer(KEY, "changes"), value, "msg-1", long_ago)
    assert len(changes_in(signed_out(value, headers, round(long_ago.timestamp() * 1000) + 1_000))) == 2


@given(
    st.binary(max_size=60),
    st.lists(st.tuples(st.sampled_from(["webhook-id", "webhook-timestamp", "webhook-signature"]), st.binary(max_size=30)), max_size=4),
    st.integers(0, 2**53),
)
def test_no_bytes_stop_the_reader_of_signed_changes(value: bytes, headers: list[tuple[str, bytes]], at_ms: int) -> None:
    assert reason_of(signed_out(value, headers, at_ms))[0] == "unsigned"


def test_the_secret_of_changes_moves_no_history() -> None:
    assert settings_hash(SIGNED) == settings_hash(SETTINGS)
