"""The gate over the database, by HTTP and by the command line: no answer is no pass."""

from __future__ import annotations

import json
import time
from pathlib import Path

import msgspec
import pytest

from rollguard.incidents import GateAnswer, GateQuestion, Plan
from rollguard.responders import Executor, Intent
from rollguard.service.gating import ask_gate, remember
from rollguard.store import Batch, IncidentRow, OutboxRow, Store
from tests.cli.terminal import said
from tests.incidents.scenes import settings_with
from tests.incidents.test_gate import allow, incident, seen
from tests.service.test_http import ask

QUESTION = GateQuestion(service="checkout", version="2.0", region="us-east")


def test_what_was_remembered_is_answered_from(store: Store) -> None:
    now_ms = time.time_ns() // 1_000_000
    settings = settings_with()
    assert ask_gate(store, settings, QUESTION, now_ms).answer == "wait"
    store.raise_flag(Executor.FRONTIER, str(now_ms - 20_000), now_ms)
    remember(store, [seen(approvals=2), seen(approvals=2)], now_ms)
    assert ask_gate(store, settings, QUESTION, now_ms).answer == "pass"
    epoch = store.claim("desk", "test", now_ms)
    body = msgspec.json.encode({"incident": incident()})
    row = IncidentRow(offset=0, incident_id="inc-1", opened_at_ms=now_ms, closed_at_ms=None, state="open", verdict="guilty", body=body)
    store.record("desk", epoch, Batch(from_offset=0, to_offset=1, incidents=(row,)), now_ms)
    assert ask_gate(store, settings, QUESTION, now_ms).answer == "block"


def test_a_version_that_was_rolled_back_is_blocked_for_ever(store: Store) -> None:
    now_ms = time.time_ns() // 1_000_000
    store.raise_flag(Executor.FRONTIER, str(now_ms), now_ms)
    remember(store, [seen(approvals=2)], now_ms)
    epoch = store.claim("desk", "test", now_ms)
    plan = Plan(incident_id="inc-1", deploy_id="chg-1", service="checkout", expected_version="2.0", to_version="1.0", places=("eu-west",))
    row = OutboxRow(
        id="r",
        kind="rollback",
        incident_id="inc-1",
        dedup_key="k",
        at_ms=now_ms,
        not_after_ms=now_ms + 1000,
        offset=0,
        body=msgspec.json.encode(Intent(plan=plan)),
    )
    store.record("desk", epoch, Batch(from_offset=0, to_offset=1, outbox=(row,)), now_ms)
    store.due(["rollback"], now_ms, 1, taken_by="one", lease_ms=1000)
    assert store.settle("r", "one", "done", now_ms)
    found = ask_gate(store, settings_with(), QUESTION, now_ms)
    assert (found.answer, found.reasons[0]) == ("block", "it was rolled back in inc-1: what mends it is another version")


def test_two_names_with_a_slash_are_two_versions(store: Store) -> None:
    remember(store, [allow("erin")], 0)
    other = GateQuestion(service="check", version="out/2.0", region="us-east", authors=("m",))
    assert ask_gate(store, settings_with("respond: {people: {erin: {secret: env:E}}}"), other, 0).has == 0


@pytest.mark.parametrize(("answer", "status"), [("pass", 200), ("wait", 503), ("block", 409)])
def test_a_pipeline_that_looks_at_nothing_but_the_status_does_what_is_right(answer: str, status: int) -> None:
    asked: list[GateQuestion] = []

    def gate(question: GateQuestion) -> GateAnswer:
        asked.append(question)
        return GateAnswer(answer=answer, reasons=("so",), needs=1, has=0)  # type: ignore[arg-type]

    found = ask("/gate?service=checkout&version=2.0&region=us-east&author=a&author=b", gate=gate)
    assert (found.status_code, found.json()) == (status, {"answer": answer, "reasons": ["so"], "needs": 1, "has": 0})
    assert asked == [GateQuestion(service="checkout", version="2.0", region="us-east", authors=("a", "b"))]
    assert ("retry-after" in found.headers) == (answer == "wait")


def test_a_database_that_is_away_is_no_pass(tmp_path: Path) -> None:
    store = Store.open(f"sqlite:///{tmp_path / 'rollguard.db'}")
    found = ask("/gate?service=checkout&version=2.0", gate=lambda asked: ask_gate(store, settings_with(), asked, 0))
    assert (found.status_code, found.json()["answer"]) == (503, "wait")
    assert ask("/gate?service=checkout").status_code == 400


def test_the_command_line_answers_by_its_exit_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], store: Store) -> None:
    path = tmp_path / "shop.yaml"
    path.write_text(f"store: {{url: 'sqlite:///{tmp_path / 'rollguard.db'}'}}\n", encoding="utf-8")
    words = ("gate", "checkout", "2.0", "--region", "us-east", "-c", str(path))
    told = said(monkeypatch, capsys, *words)
    assert (told.code, "nothing is known of the shop yet" in told.out) == (3, True)
    told = said(monkeypatch, capsys, *words, "--wait", "50ms", "--json")
    assert (told.code, json.loads(told.out)["answer"]) == (3, "wait")
    now_ms = time.time_ns() // 1_000_000
    store.raise_flag(Executor.FRONTIER, str(now_ms), now_ms)
    remember(store, [seen(approvals=2)], now_ms)
    assert said(monkeypatch, capsys, *words).code == 0
    assert said(monkeypatch, capsys, *words, "--wait", "soon").code == 2
