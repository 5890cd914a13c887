"""Webhooks of GitHub: what becomes a change, what does not, and whose."""

from __future__ import annotations

import hashlib
import hmac
from typing import Any

import pytest

from rollguard.incidents import sightings_of
from tests.service.intake.deliveries import GITHUB, Door, deployment, secrets, settings_of

__all__ = ["secrets"]

RUN = {"id": 77, "run_attempt": 2, "actor": {"login": "erin", "type": "User"}, "triggering_actor": {"login": "frank", "type": "User"}}
BOT = {"login": "github-actions[bot]", "type": "Bot"}


def test_a_ping_is_answered_and_changes_nothing() -> None:
    door = Door()
    answer = door.github("ping", {"zen": "Keep it logically awesome.", "hook_id": 1})
    assert (answer.status_code, answer.json()) == (202, {"taken": 0, "note": "pong"})
    assert door.written == []


def test_a_deployment_starts_and_its_success_finishes_the_same_change() -> None:
    door = Door()
    for event, state in (("deployment", None), ("deployment_status", "in_progress"), ("deployment_status", "success")):
        assert door.github(event, deployment(state)).json()["taken"] == 1
    assert {(each.deploy_id, each.service, each.region, each.version) for each in door.written} == {
        ("github/shop/checkout/145988746/checkout", "checkout", None, "f95f852bd8fca8fcc58a9a2d6c842781e32a215e")
    }
    assert [(each.started_at, each.finished_at) for each in door.written] == [
        ("2026-03-02T09:00:00Z", None),
        ("2026-03-02T09:05:00Z", None),
        ("2026-03-02T09:00:00Z", "2026-03-02T09:05:00Z"),
    ]
    assert {each.author for each in door.written} == {"dana"}


def test_a_delivery_that_comes_again_has_the_same_ids() -> None:
    door = Door()
    for delivery in ("first", "again"):
        door.github("deployment_status", deployment("success"), delivery=delivery)
    first, again = ({seen.id for seen in sightings_of(each, environment="production")} for each in door.written)
    assert first == again


@pytest.mark.parametrize("state", ["inactive", "pending", "queued", "waiting", None])
def test_a_state_that_changes_nothing_is_no_change(state: str | None) -> None:
    door = Door()
    message = deployment(state or "success")
    message["deployment_status"]["state"] = state
    assert door.github("deployment_status", message).status_code == 202
    assert door.written == []


@pytest.mark.parametrize("state", ["failure", "error"])
def test_one_that_failed_may_have_reached_a_part_and_is_never_said_to_be_over(state: str) -> None:
    door = Door()
    door.github("deployment_status", deployment(state))
    assert [(each.started_at, each.finished_at) for each in door.written] == [("2026-03-02T09:05:00Z", None)]


def test_one_of_actions_that_waits_for_a_person_has_not_begun() -> None:
    door = Door()
    assert "starts with its status in_progress" in door.github("deployment", deployment(None, run=RUN)).json()["note"]
    door.github("deployment_status", deployment("success", run=RUN, creator=BOT))
    (record,) = door.written
    assert (record.started_at, record.finished_at, record.author) == ("2026-03-02T09:05:00Z", "2026-03-02T09:05:00Z", "frank")


def test_waves_of_one_run_are_one_change_with_their_regions() -> None:
    door = Door()
    for number, region in enumerate(("eu-west", "us-east")):
        door.github("deployment_status", deployment("success", run=RUN, id=number, environment=f"production/{region}"))
    assert [(each.deploy_id, each.region) for each in door.written] == [("github/shop/checkout/run-77.2/checkout", region) for region in ("eu-west", "us-east")]


def test_what_a_program_did_is_nobodys() -> None:
    door = Door()
    door.github("deployment_status", deployment("success", creator=BOT))
    assert door.written[0].author is None


@pytest.mark.parametrize(
    "payload", [{"service": "promises", "region": ["eu-west", "eu-north"], "version": "4.11.0"}, '{"service":"promises","region":"eu-west","version":"4.11.0"}']
)
def test_what_the_deployment_itself_says_wins(payload: Any) -> None:
    door = Door()
    door.github("deployment_status", deployment("success", payload=payload))
    assert {(each.service, each.version) for each in door.written} == {("promises", "4.11.0")}
    assert door.written[0].region == "eu-west"


@pytest.mark.parametrize("payload", ["", "staged by hand", "{broken", [1, 2], None])
def test_a_payload_of_somebodys_own_is_left_alone(payload: Any) -> None:
    door = Door()
    assert door.github("deployment_status", deployment("success", payload=payload)).json()["taken"] == 1


@pytest.mark.parametrize(
    ("task", "kind"), [("deploy", "code"), ("deploy:migrations", "migration"), ("config", "config"), ("flag-flip", "flag"), (None, "code")]
)
def test_the_task_names_the_kind(task: str | None, kind: str) -> None:
    door = Door()
    door.github("deployment_status", deployment("success", task=task))
    assert door.written[0].change_kind == kind


def test_another_environment_is_no_concern_and_upper_case_makes_none() -> None:
    door = Door()
    assert door.github("deployment_status", deployment("success", environment="staging")).json()["taken"] == 0
    assert door.github("deployment_status", deployment("success", environment="Production")).json()["taken"] == 1


def test_the_config_says_where_fields_stand() -> None:
    region = "\"deployment.environment == 'production' && 'eu-west'\""
    fields = f"{{version: deployment.ref, region: {region}, author: sender.login, approvals: deployment.payload.reviews}}"
    door = Door(settings_of(f"changes: {{http: {{github: {{shop: {{secret: env:GITHUB_SECRET, fields: {fields}}}}}}}}}"))
    door.github("deployment_status", deployment("success", payload={"reviews": 2}, creator=BOT))
    (record,) = door.written
    assert (record.version, record.region, record.author, record.approvals) == ("v4.11.0", "eu-west", "dana", 2)
    answer = door.github("deployment_status", deployment("success", payload={"reviews": "two"}))
    assert answer.status_code == 400
    assert "changes.http.github.shop.fields" in answer.json()["error"]


def test_a_repository_speaks_for_its_own_services_alone() -> None:
    text = 'changes: {http: {github: {shop: {secret: env:GITHUB_SECRET, repositories: {"shop/check*": [checkout, "checkout-*"]}}}}}'
    door = Door(settings_of(text))
    assert door.github("deployment_status", deployment("success")).status_code == 202
    answer = door.github("deployment_status", deployment("success", payload={"service": "payments"}))
    assert (answer.status_code, "may not speak for the service 'payments'" in answer.json()["error"]) == (403, True)
    message = deployment("success")
    message["repository"]["full_name"] = "shop/else"
    assert door.github("deployment_status", message).status_code == 403
    assert [told["reason"] for told in door.ledger] == ["foreign", "foreign"]


def test_what_github_did_not_sign_is_forged_and_remembered() -> None:
    door = Door()
    assert door.github("deployment_status", deployment("success"), secret="another").status_code == 401
    assert door.post("/changes/github", b"{}", {"x-github-event": "ping"}).status_code == 401
    assert door.post("/changes/github", b"{}", {"x-hub-signature-256": b"sha256=\xff\xfe"}).status_code == 401
    assert door.refused("github", "forged") == 3
    assert len(door.ledger) == len(door.letters) == 3
    assert door.written == []


def test_a_form_is_told_from_json() -> None:
    door = Door()
    body = b"payload=%7B%7D"

    signed = "sha256=" + hmac.new(GITHUB.encode(), body, hashlib.sha256).hexdigest()
    headers = {"x-hub-signature-256": signed, "x-github-event": "deployment", "content-type": "application/x-www-form-urlencoded"}
    answer = door.post("/changes/github", body, headers)
    assert (answer.status_code, "content type application/json" in answer.json()["error"]) == (400, True)
