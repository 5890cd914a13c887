"""Whatever comes, by whomever: the answer says whether to try again, and nothing makes a 500."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from rollguard.service.intake.routes import LONGEST
from tests.service.intake.deliveries import ARGOCD, CI, GITHUB, PROMISES, RECORD, Door, deployment, secrets, settings_of

__all__ = ["secrets"]

CDEVENT = {
    "context": {"type": "dev.cdevents.service.deployed.0.3.0", "timestamp": "2026-03-02T09:00:00Z", "id": "e-1"},
    "subject": {"id": "service/checkout", "content": {"environment": {"id": "production/eu-west"}, "artifactId": "pkg:generic/checkout@4.11.0"}},
}
_JSON: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
_PATHS = ("/changes", "/changes/github", "/changes/argocd")


def test_our_record_and_a_cdevent_are_taken() -> None:
    door = Door()
    assert door.signed(msgspec.json.encode(RECORD)).json() == {"taken": 1, "note": ""}
    assert door.signed(msgspec.json.encode(CDEVENT)).json()["taken"] == 1
    assert [(each.deploy_id, each.service, each.region, each.version) for each in door.written] == [
        ("chg-1", "checkout", None, "4.11.0"),
        ("pkg:generic/checkout@4.11.0/checkout", "checkout", "eu-west", "4.11.0"),
    ]


def test_a_cloudevent_may_be_in_binary_mode() -> None:
    door = Door()
    headers = {
        "ce-specversion": "1.0",
        "ce-type": "dev.cdevents.service.deployed.0.3.0",
        "ce-id": "e-1",
        "ce-source": "/ci",
        "content-type": "application/json",
    }
    assert door.signed(msgspec.json.encode(CDEVENT), headers=headers).json()["taken"] == 1


def test_an_event_that_changes_nothing_and_another_environment_are_fine() -> None:
    door = Door()
    started = CDEVENT | {"context": {"type": "dev.cdevents.pipelinerun.started.0.3.0", "timestamp": "2026-03-02T09:00:00Z"}}
    assert door.signed(msgspec.json.encode(started)).json()["taken"] == 0
    assert door.signed(msgspec.json.encode(RECORD | {"environment": "staging"})).json() == {"taken": 0, "note": "a change to another environment"}
    assert door.written == []


def test_a_key_speaks_for_its_services_alone_and_who_tries_is_told_and_remembered() -> None:
    door = Door()
    body = msgspec.json.encode(RECORD | {"service": "payments"})
    answer = door.signed(body)
    assert answer.status_code == 403
    assert answer.json()["error"] == "the key 'ci' may not speak for the service 'payments'. Expected: one of checkout, promise-*"
    assert door.refused("signed", "foreign") == 1
    assert [(told["key"], told["reason"]) for told in door.ledger] == [("ci", "foreign")]
    assert [letter["reason"] for letter in door.letters] == ["foreign"]
    assert door.signed(body, secret=PROMISES).status_code == 202
    assert door.signed(msgspec.json.encode(RECORD | {"service": "promise-engine"})).status_code == 202
    # Also of what would not count.
    assert door.signed(msgspec.json.encode(RECORD | {"service": "payments", "environment": "staging"})).status_code == 403


def test_a_stale_or_foreign_signature_is_forged() -> None:
    door = Door()
    body = msgspec.json.encode(RECORD)
    for at_ms, words in ((door.now_ms - 6 * 60_000, "signed 6 min before it came"), (door.now_ms + 6 * 60_000, "signed 6 min after it came")):
        answer = door.signed(body, at_ms=at_ms)
        assert (answer.status_code, words in answer.json()["error"]) == (401, True)
    assert door.signed(body, secret="whsec_" + "Y2Nj" * 8).status_code == 401
    assert door.post("/changes", body).status_code == 401
    assert door.refused("signed", "forged") == 4
    assert CI not in str(door.letters + [dict(each) for each in door.ledger])


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"started_at": "yesterday"}, "is not a time"),
        ({"started_at": None}, "started_at"),
        ({"finished_at": "2026-03-02T08:00:00Z"}, "before started_at"),
        ({"change_kind": "magic"}, "change_kind"),
        ({"deploy_id": ""}, "must not be empty"),
        ({"author": "a" * 201}, "author has more than 200 letters"),
    ],
)
def test_what_cannot_be_used_says_why_and_is_kept(changed: dict[str, object], words: str) -> None:
    door = Door()
    answer = door.signed(msgspec.json.encode(RECORD | changed))
    assert answer.status_code == 400
    assert words in answer.json()["error"]
    assert [letter["reason"] for letter in door.letters] == ["unusable"]
    assert door.ledger == []


def test_while_kafka_is_away_the_sender_is_to_try_again_and_nothing_is_told_of_our_network() -> None:
    door = Door(away=True)
    answer = door.signed(msgspec.json.encode(RECORD))
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")
    assert "10.0.0.1" not in answer.text


def test_a_body_that_is_too_long_is_not_read_whether_or_not_it_says_so() -> None:
    door = Door()

    async def endless() -> object:
        for _ in range(LONGEST):
            yield b"x" * 65_536

    assert door.post("/changes", b"x" * (LONGEST + 1)).status_code == 413
    assert door.post("/changes/github", endless()).status_code == 413  # type: ignore[arg-type]  # without a length
    assert door.refused("signed", "too_long") == door.refused("github", "too_long") == 1


def test_a_key_that_says_too_much_has_to_wait_and_the_others_have_not() -> None:
    door = Door(settings_of("changes: {http: {rate: {requests: 3, per: 30s}, keys: {ci: {secret: env:CI_KEY}, all: {secret: env:ALL_KEY}}}}"))
    body = msgspec.json.encode(RECORD)
    assert [door.signed(body).status_code for _ in range(5)] == [202, 202, 202, 429, 429]
    assert door.signed(body).headers["retry-after"] == "10"
    assert door.signed(body, secret=PROMISES).status_code == 202
    door.clock_s += 10
    assert [door.signed(body).status_code for _ in range(2)] == [202, 429]
    assert door.refused("signed", "limited") == 4


def test_who_knocks_without_a_key_locks_nobody_out_and_fills_no_ledger() -> None:
    door = Door(settings_of("changes: {http: {rate: {requests: 3, per: 30s}, keys: {ci: {secret: env:CI_KEY}}}}"))
    assert [door.post("/changes", b"{}").status_code for _ in range(5)] == [401, 401, 401, 429, 429]
    assert len(door.ledger) == len(door.letters) == 3
    assert door.signed(msgspec.json.encode(RECORD)).status_code == 202


def test_without_a_key_there_is_no_route() -> None:
    door = Door(settings_of(""))
    assert [door.post(path, b"{}").status_code for path in _PATHS] == [404, 404, 404]


def _bodies() -> Iterator[st.SearchStrategy[bytes]]:
    yield st.binary(max_size=200)
    yield _JSON.map(msgspec.json.encode)
    yield st.dictionaries(st.sampled_from([*RECORD, "region", "approvals", "rollback"]), _JSON, max_size=3).map(lambda more: msgspec.json.encode(RECORD | more))
    yield st.dictionaries(st.sampled_from(["payload", "environment", "task", "creator", "created_at", "id", "sha"]), _JSON, max_size=3).map(
        lambda more: msgspec.json.encode(deployment("success", **more))
    )
    yield st.dictionaries(
        st.sampled_from(["app", "phase", "started_at", "finished_at", "images", "labels", "initiated_by", "revision", "namespace", "healthy_at"]),
        _JSON,
        max_size=4,
    ).map(
        lambda more: msgspec.json.encode(
            {"app": "checkout", "phase": "Succeeded", "started_at": "2026-03-02T09:00:00Z", "finished_at": "2026-03-02T09:01:00Z"} | more
        )
    )


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.one_of(*_bodies()), st.sampled_from(_PATHS), st.booleans(), st.sampled_from(["deployment", "deployment_status", "ping", "\xe9", ""]))
@example(b'{"app":"c","phase":"Succeeded","started_at":"2","finished_at":"2","images":true}', "/changes/argocd", True, "deployment")
def test_no_body_whatsoever_makes_a_500(body: bytes, path: str, signed: bool, event: str) -> None:
    door = Door()
    headers: dict[str, str | bytes] = {"x-github-event": event.encode("latin-1"), "content-type": "application/json"}
    if signed:
        headers |= {"authorization": f"Bearer {ARGOCD}", "x-hub-signature-256": "sha256=" + hmac.new(GITHUB.encode(), body, hashlib.sha256).hexdigest()}
    answer = door.signed(body) if path == "/changes" and signed and _is_text(body) else door.post(path, body, headers)
    assert answer.status_code in {202, 400, 401, 403}
    assert answer.headers["content-type"] == "application/json"
    assert ("taken" in answer.json()) == (answer.status_code == 202)


def _is_text(body: bytes) -> bool:
    try:
        body.decode()
    except UnicodeDecodeError:
        return False
    return True


@given(
    st.dictionaries(
        st.sampled_from(["webhook-id", "webhook-timestamp", "webhook-signature"]), st.binary(max_size=30).filter(lambda text: not set(text) & {0, 10, 13})
    )
)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_headers_are_a_signature_but_its_own(headers: dict[str, bytes]) -> None:
    assert Door().post("/changes", msgspec.json.encode(RECORD), headers).status_code == 401
