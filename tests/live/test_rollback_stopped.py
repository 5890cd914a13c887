"""A worker that is stopped or killed in the middle of a rollback: nothing is called twice, and what became of it is told as it is."""

from __future__ import annotations

import json
import sqlite3
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from signal import SIGKILL, SIGTERM
from typing import Any

import msgspec
import pytest

from rollguard.incidents import LogCodec, Plan, RolledBack
from rollguard.responders import Executor, Intent, Notice
from rollguard.service import open_store
from rollguard.store import Batch, OutboxRow
from tests.live.servers import Broker, Names, until
from tests.live.workers import ENDS_S, Process, Service, shop_topics
from tests.servers.receivers import serving

INCIDENT = "inc-1"
#: Writes down that it was called, waits until it may go on, and then is done: as slow as a test wants it.
DEPLOYER = """
import pathlib, sys, time
folder = pathlib.Path(sys.argv[1])
with (folder / "calls").open("a") as calls:
    calls.write(sys.argv[2] + "\\n")
deadline = time.monotonic() + 120
while not (folder / "go").exists() and time.monotonic() < deadline:
    time.sleep(0.02)
(folder / "live").write_text(sys.argv[3])
"""
COMMAND = """
respond:
  targets:
    all:
      kind: command
      argv: [{python}, {program}, {folder}, "{{intent}}", "{{to_version}}"]
      current: [cat, {live}]
      cas: native
      timeout: 2m
  target: all
"""
WEBHOOK = """
respond:
  pagers:
    oncall: {{kind: webhook, url: "{address}/oncall", secret: env:HOOK}}
  page: [oncall]
  targets:
    all: {{kind: webhook, url: "{address}", secret: env:HOOK, cas: native, timeout: 2m}}
  target: all
"""


class Rollback:
    """A rollback that was decided, and a worker that is to carry it out."""

    def __init__(self, service: Service, pager: str) -> None:
        self.service = service
        self.pager = pager

    def decide(self) -> None:
        """Put it into the outbox, with the page about its incident: as the desk does, on data that are fresh."""
        now_ms = time.time_ns() // 1_000_000
        plan = Plan(incident_id=INCIDENT, deploy_id="chg-1", service="checkout", expected_version="2.0", to_version="1.0", places=())
        about: dict[str, Any] = {
            "incident_id": INCIDENT,
            "symptoms": ["orders fall"],
            "metrics": ["orders"],
            "cost": "",
            "suspects": [],
            "regions": [],
            "services": ["checkout"],
            "no_change_probability": 0.0,
            "verdict": "guilty",
            "state": "open",
            "data_quality": [],
            "onset": "2026-03-02T10:00:00Z",
            "orders_lost": 0.0,
            "orders_lost_interval": [0.0, 0.0],
            "orders_lost_per_minute": 0.0,
            "closed_at": None,
        }
        page = Notice(pager=self.pager, event="trigger", incident=about)
        rows = (
            OutboxRow(id="page", kind="page", incident_id=INCIDENT, dedup_key=INCIDENT, at_ms=now_ms, offset=0, body=msgspec.json.encode(page)),
            OutboxRow(
                id="rollback",
                kind="rollback",
                incident_id=INCIDENT,
                dedup_key="checkout/chg-1",
                at_ms=now_ms,
                not_after_ms=now_ms + 120_000,
                offset=0,
                ordinal=1,
                body=msgspec.json.encode(Intent(plan=plan)),
            ),
        )
        with closing(open_store(self.service.settings)) as store:
            store.raise_flag(Executor.FRONTIER, str(now_ms), now_ms)
            store.record("desk", store.claim("desk", "test", now_ms), Batch(from_offset=0, to_offset=1, outbox=rows), now_ms)

    def worker(self) -> Process:
        """Start who carries it out."""
        return self.service.ready("--only", "respond")

    @property
    def row(self) -> OutboxRow:
        """What stands of it in the outbox."""
        with closing(open_store(self.service.settings)) as store:
            (row,) = store.outbox(kinds=["rollback"])
        return row

    @property
    def follow_ups(self) -> list[OutboxRow]:
        """Pages that tell what became of it, and were sent."""
        with closing(open_store(self.service.settings)) as store:
            return [row for row in store.outbox(kinds=["page"], states=["sent"]) if row.id != "page"]

    @property
    def ledger(self) -> list[str]:
        """What was written down of it, in order; the chain is whole."""
        with closing(open_store(self.service.settings)) as store:
            assert store.verify() == []
            return [entry.kind for entry in store.ledger() if entry.kind.startswith("rollback.")]

    @property
    def told(self) -> list[str]:
        """What the desk was told of it, each outcome once."""
        codec = LogCodec()
        records = [codec.decode(record.value) for record in self.service.read(self.service.topic("signals"))]
        return sorted({record.outcome for record in records if isinstance(record, RolledBack)})

    def let_lease_run_out(self) -> None:
        """Let minutes pass for it: whoever had it has not spoken of it for longer than its lease."""
        path = self.service.store.removeprefix("sqlite:///")
        with closing(sqlite3.connect(path)) as database, database:
            database.execute("UPDATE outbox SET taken_ms = taken_ms - 3600000, lease_until_ms = lease_until_ms - 3600000 WHERE id = 'rollback'")

    def is_over(self, outcome: str) -> None:
        """Wait until it ended so, and everybody was told."""
        until(lambda: self.row.state == outcome, f"a rollback that is {outcome}; it is {self.row.state}")
        until(lambda: len(self.follow_ups) == 1, "a page that says so")
        until(lambda: self.told == [outcome], "the desk knows of it")
        assert self.ledger == ["rollback.intent", f"rollback.{outcome}"]


class Deployer:
    """A command that deploys, and what it was asked."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "live").write_text("2.0")
        (folder / "deploy.py").write_text(DEPLOYER)

    @property
    def config(self) -> str:
        """How it is called."""
        words = {"python": sys.executable, "program": self.folder / "deploy.py", "folder": self.folder, "live": self.folder / "live"}
        return COMMAND.format(**{name: json.dumps(str(word)) for name, word in words.items()})

    @property
    def calls(self) -> list[str]:
        """Each call, by its intent."""
        path = self.folder / "calls"
        return path.read_text().splitlines() if path.exists() else []

    @property
    def live(self) -> str:
        """The version that is live."""
        return (self.folder / "live").read_text()

    def go_on(self) -> None:
        """Let it come to its end."""
        (self.folder / "go").touch()


@pytest.fixture
def deployer(tmp_path: Path) -> Deployer:
    return Deployer(tmp_path)


@pytest.fixture
def under_way(broker: Broker, names: Names, tmp_path: Path, deployer: Deployer) -> Iterator[tuple[Rollback, Process]]:
    """A rollback whose command runs, and its worker."""
    shop_topics(broker, names, partitions=1)
    with Service(broker, tmp_path / "service", names, deployer.config) as service:
        rollback = Rollback(service, "log")
        rollback.decide()
        worker = rollback.worker()
        until(lambda: len(deployer.calls) == 1, "a command that runs")
        yield rollback, worker
        deployer.go_on()


def test_who_is_told_to_stop_finishes_the_rollback_under_way_and_says_so(under_way: tuple[Rollback, Process], deployer: Deployer) -> None:
    rollback, worker = under_way
    worker.signal(SIGTERM)
    until(lambda: "worker_stops" in worker.said, "it begins to stop")
    deployer.go_on()
    # Not `end`: a second signal would end it at once.
    assert worker.process.wait(ENDS_S) == 0
    # It has said so itself, before it ended: nobody has to ask the target.
    assert (rollback.row.state, rollback.ledger) == ("done", ["rollback.intent", "rollback.done"])
    after = rollback.worker()
    rollback.is_over("done")
    assert after.end() == 0
    assert (len(deployer.calls), deployer.live) == (1, "1.0")


def test_a_command_that_outlives_the_stop_is_ended_and_left_to_a_person(under_way: tuple[Rollback, Process], deployer: Deployer) -> None:
    rollback, worker = under_way
    assert worker.end() == 0
    assert "responder_left_unfinished" in worker.said
    deployer.go_on()
    rollback.let_lease_run_out()
    after = rollback.worker()
    rollback.is_over("unknown")
    assert after.end() == 0
    # What was ended in the middle does not go on behind the person's back.
    assert (len(deployer.calls), deployer.live) == (1, "2.0")
    assert "look at what is live" in rollback.row.detail


def test_who_is_killed_in_the_middle_is_asked_after_by_what_is_live(under_way: tuple[Rollback, Process], deployer: Deployer) -> None:
    rollback, worker = under_way
    assert worker.end(SIGKILL) == -SIGKILL
    after = rollback.worker()
    # As long as its lease runs nobody else touches it.
    assert rollback.row.state == "taken"
    deployer.go_on()
    until(lambda: deployer.live == "1.0", "a command that goes on without its worker")
    rollback.let_lease_run_out()
    rollback.is_over("done")
    assert after.end() == 0
    assert len(deployer.calls) == 1
    assert "ended before saying so" in rollback.row.detail


@contextmanager
def a_hanging_deployer() -> Iterator[tuple[str, list[dict[str, Any]], list[dict[str, Any]]]]:
    """A deployer that takes a call and never answers, and a person's pager beside it: address, calls, and pages."""
    calls: list[dict[str, Any]] = []
    pages: list[dict[str, Any]] = []
    over = threading.Event()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body: Any = json.loads(self.rfile.read(int(self.headers["content-length"])))
            if self.path == "/rollback":
                calls.append(body)
                over.wait(120)
                return
            if self.path == "/oncall":
                pages.append(body)
            answer = b'{"version": "2.0"}' if self.path == "/current" else b"{}"
            self.send_response(200)
            self.send_header("content-length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

    with serving(Handler) as address:
        try:
            yield address, calls, pages
        finally:
            over.set()


@pytest.mark.parametrize("number", [SIGTERM, SIGKILL])
def test_a_deployer_that_never_answers_is_asked_once_and_a_person_is_told(
    broker: Broker, names: Names, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: Any
) -> None:
    monkeypatch.setenv("HOOK", "whsec_" + "YWFh" * 8)
    shop_topics(broker, names, partitions=1)
    with a_hanging_deployer() as (address, calls, pages), Service(broker, tmp_path, names, WEBHOOK.format(address=address)) as service:
        rollback = Rollback(service, "oncall")
        rollback.decide()
        worker = rollback.worker()
        until(lambda: len(calls) == 1, "a call that is under way")
        assert worker.end(number) == (0 if number == SIGTERM else -SIGKILL)
        rollback.let_lease_run_out()
        after = rollback.worker()
        rollback.is_over("unknown")
        until(lambda: any("the rollback is in doubt" in json.dumps(page) for page in pages), "a person who was told")
        assert after.end() == 0
        assert len(calls) == 1
