"""The closed loop: the example shop on a real Kafka, a real Alertmanager, a worker, and a deployer that goes back when it is told to."""

from __future__ import annotations

import base64
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest
from aiokafka import AIOKafkaProducer

from rollguard.config import Layer, Settings, default_text, load_layers
from rollguard.replay import fold
from rollguard.service import open_store
from rollguard.store import LedgerEntry, Store
from tests.live.servers import HOST, Broker, Names, free_ports, in_a_loop, until
from tests.live.workers import Process
from tests.servers.alertmanager import Alertmanager, alertmanager
from tests.servers.receivers import serving

__all__ = ["alertmanager"]

pytestmark = pytest.mark.live_long
Figure = Callable[[str], None]
SHOP = Path(__file__).parents[2] / "examples" / "shop"
KEYS = {
    name: "whsec_" + base64.b64encode(f"{name}: a secret of over 24 bytes".encode()).decode()
    for name in ("DEPLOYER_SECRET", "DANA_KEY", "ERIN_KEY", "FRANK_KEY")
}
TOPICS = ("orders", "errors", "deliveries", "promises", "deploys")
ORDERS = 50.0
#: A page and a rollback are asked for within these times after the bad version is live.
PAGED_S, ROLLED_BACK_S = 60.0, 90.0
#: For what has to be proven, which takes as long as chance takes.
PROOF_S = 600.0
START_S = 240.0


class Loop:
    """A shop, and the worker that watches it."""

    def __init__(self, settings: Settings, config: Path, url: str, worker: str) -> None:
        self.worker = worker
        self.heartbeats: list[str] = []
        self.settings = settings
        self.config = config
        self.deployer = url
        self.urls: dict[str, str] = {}

    def deploy(self, service: str, version: str, *, regions: list[str] | None = None, author: str = "mallory", approvals: int = 1) -> float:
        """Deploy a version; when it was live, by the clock that only goes forward."""
        asked = {"service": service, "version": version, "regions": regions, "author": author, "approvals": approvals}
        httpx.post(f"{self.deployer}/deploy", json=asked, trust_env=False).raise_for_status()
        return time.monotonic()

    @property
    def calls(self) -> list[dict[str, Any]]:
        """Every call to go back that the deployer has had."""
        found: list[dict[str, Any]] = self._told()["calls"]
        return found

    def live(self, service: str, region: str) -> str:
        """The version that is live."""
        return str(self._told()["live"][f"{service}@{region}"])

    def incidents(self) -> list[dict[str, Any]]:
        """What is known of incidents."""
        with self.store() as store:
            return fold(msgspec.json.decode(row.line) for row in store.timeline())

    def ledger(self) -> list[LedgerEntry]:
        """All that was written down, whole."""
        with self.store() as store:
            assert store.verify() == []
            return store.ledger()

    def kinds(self) -> list[str]:
        """What was written down, by kind."""
        return [entry.kind for entry in self.ledger()]

    @contextmanager
    def store(self) -> Iterator[Store]:
        """The database, for a while."""
        store = open_store(self.settings)
        try:
            yield store
        finally:
            store.close()

    def say(self, *words: str, key: str) -> None:
        """Say something as a person, by the command line."""
        done = subprocess.run(
            [sys.executable, "-P", "-m", "rollguard", *words, "-c", str(self.config), "--secret", f"env:{key}"], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr

    def gate(self, service: str, version: str, *, region: str) -> httpx.Response:
        """Ask as a pipeline does."""
        return httpx.get(f"{self.worker}/gate", params={"service": service, "version": version, "region": region}, trust_env=False)

    def forge(self, record: dict[str, Any]) -> None:
        """Write a change that nobody signed."""

        async def work() -> None:
            async with AIOKafkaProducer(bootstrap_servers=self.settings.kafka.bootstrap_servers) as producer:
                await producer.send_and_wait(self.settings.changes.topic, msgspec.json.encode(record))

        in_a_loop(work)

    def _told(self) -> Any:
        return httpx.get(f"{self.deployer}/calls", trust_env=False).json()


@contextmanager
def outside() -> Iterator[tuple[str, list[str]]]:
    """Somebody outside who is told that Rollguard lives: their address, and what was asked."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            asked.append(self.path)
            self.send_response(200)
            self.send_header("content-length", "0")
            self.end_headers()

    with serving(Handler) as address:
        yield f"{address}/ping", asked


@contextmanager
def running(broker: Broker, alertmanager: Alertmanager, names: Names, folder: Path) -> Iterator[Loop]:
    """A shop of three hours' past that is open, and a worker that has come up to the present and found nothing."""
    deployer, http = free_ports(2)
    text = (SHOP / "rollguard.yaml").read_text(encoding="utf-8")
    text = re.sub(r"topic: shop\.", f"topic: {names.prefix}.shop.", text)
    text = text.replace("http://127.0.0.1:9093", alertmanager.url).replace("http://127.0.0.1:8090", f"http://{HOST}:{deployer}")
    text += json.dumps({"kafka": {"bootstrap_servers": broker.bootstrap, "prefix": names.prefix, "group": names.group}})[1:-1].replace('"kafka"', "\nkafka", 1)
    text = text.replace("respond:\n", "respond:\n  heartbeat: {secret: env:HEARTBEAT_URL, every: 20s}\n")
    text += f"\nstore: {{url: 'sqlite:///{folder / 'rollguard.db'}'}}\nhttp: {{port: {http}}}\n"
    config = folder / "shop.yaml"
    config.write_text(text, encoding="utf-8")
    settings = load_layers([Layer(default_text(), "default.yaml"), Layer(text, "shop.yaml")])
    for topic in TOPICS:
        broker.create_topic(f"{names.prefix}.shop.{topic}", 1 if topic == "deploys" else 2)
    for topic in ("blocks", "signals", "deadletter", "commands"):
        broker.create_topic(f"{names.prefix}.{topic}")
    watched = ExitStack()
    address, heartbeats = watched.enter_context(outside())
    words = ["--bootstrap", broker.bootstrap, "--prefix", f"{names.prefix}.shop", "--port", str(deployer), "--orders", str(ORDERS)]
    said = folder / "shop.log"
    # As a person starts it: its modules stand beside it.
    clean = {name: value for name, value in os.environ.items() if name != "PYTHONSAFEPATH"}
    with said.open("wb") as log:
        shop = subprocess.Popen([sys.executable, str(SHOP / "main.py"), *words], stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=folder, env=clean)
    os.environ["HEARTBEAT_URL"] = address
    worker = Process(["worker", "-c", str(config), "--logs", "json"], folder / "worker.log", http)
    loop = Loop(settings, config, f"http://{HOST}:{deployer}", f"http://{HOST}:{http}")
    loop.heartbeats = heartbeats

    def has_opened() -> bool:
        assert shop.poll() is None, said.read_text()
        return "open: " in said.read_text()

    def is_present() -> bool:
        seen = worker.metric("rollguard_frontier_timestamp_seconds", stage="desk") if worker.ready else None
        return seen is not None and time.time() - seen < 20.0

    try:
        until(has_opened, "an open shop", START_S)
        loop.urls = json.loads(re.findall("open: (.*)", said.read_text())[-1])
        until(is_present, f"a worker that has come up to the present; it said:\n{worker.said[-2000:]}", START_S)
        with loop.store() as store:
            assert store.outbox() == []
        yield loop
    finally:
        shop.terminate()
        shop.wait(30)
        assert worker.end() == 0
        watched.close()
        sys.stdout.write(worker.said[-5000:])


@pytest.fixture(autouse=True)
def keys(monkeypatch: pytest.MonkeyPatch) -> None:
    """Secrets are where the config says."""
    for name, value in (KEYS | {"HEARTBEAT_URL": ""}).items():
        monkeypatch.setenv(name, value)


def test_a_bad_version_is_found_paged_and_rolled_back_and_the_recovery_is_proven(
    broker: Broker, alertmanager: Alertmanager, names: Names, tmp_path: Path, figure: Figure
) -> None:
    with running(broker, alertmanager, names, tmp_path) as loop:
        live_s = loop.deploy("promises", "2.0", regions=["eu-west"])
        until(lambda: loop.incidents() != [], "an incident", PAGED_S)
        (incident,) = loop.incidents()
        told = alertmanager.told(incident["incident_id"], "firing", PAGED_S)
        paged_s = time.monotonic() - live_s
        # The pipeline asks before it goes on to the other region.
        assert loop.gate("promises", "2.0", region="us-east").json()["answer"] == "block"
        until(lambda: loop.live("promises", "eu-west") == "1.0", "the version before it", ROLLED_BACK_S)
        back_s = time.monotonic() - live_s
        until(lambda: "rollback.done" in loop.kinds(), "a rollback that is confirmed")
        until(lambda: "decided.observe" in loop.kinds(), "a recovery that is proven", PROOF_S)
        proven_s = time.monotonic() - live_s
        (incident,) = loop.incidents()
        figure(f"paged {paged_s:.0f} s, rolled back {back_s:.0f} s, recovery proven {proven_s:.0f} s after it was live")
        assert (incident["verdict"], incident["suspects"][0]["service"], incident["suspects"][0]["version"]) == ("guilty", "promises", "2.0")
        assert "rolled back" in str(told)
        (call,) = loop.calls
        assert (call["service"], call["region"], call["expected_version"], call["to_version"]) == ("promises", "eu-west", "2.0", "1.0")
        kinds = loop.kinds()
        assert [kinds.count(kind) for kind in ("decided.rollback", "rollback.intent", "rollback.done")] == [1, 1, 1]
        assert paged_s <= PAGED_S
        assert back_s <= ROLLED_BACK_S
        until(lambda: "the rollback of" in str(alertmanager.alerts(incident["incident_id"])), "a page that says that it helped")
        # What was rolled back goes no further, and a change that nobody signed blames nobody.
        assert "it was rolled back in" in loop.gate("promises", "2.0", region="us-east").json()["reasons"][0]
        loop.forge({"deploy_id": "chg-forged", "service": "search", "started_at": int(time.time() * 1000)})
        until(lambda: "change.refused" in loop.kinds(), "what nobody signed")
        # All the while somebody outside was told that an anomaly of our own came through.
        assert len(loop.heartbeats) >= 2


def test_a_provider_that_fails_is_paged_and_nothing_is_rolled_back(
    broker: Broker, alertmanager: Alertmanager, names: Names, tmp_path: Path, figure: Figure
) -> None:
    with running(broker, alertmanager, names, tmp_path) as loop:
        # Somebody deploys something harmless right before.
        loop.deploy("storefront", "1.1", regions=["eu-west"])
        time.sleep(30.0)
        httpx.post(f"{loop.urls['payments']}/provider", json={"fails": 0.5}, trust_env=False).raise_for_status()
        failed_s = time.monotonic()
        until(lambda: "decided.page" in loop.kinds(), "a page", PAGED_S)
        alertmanager.told(loop.incidents()[0]["incident_id"], "firing", PAGED_S)
        figure(f"paged {time.monotonic() - failed_s:.0f} s after the provider began to fail")
        # Longer than a rollback of the bad version took.
        time.sleep(ROLLED_BACK_S)
        assert loop.calls == []
        assert not [kind for kind in loop.kinds() if "rollback" in kind]
        assert all(incident["verdict"] != "guilty" for incident in loop.incidents())
        assert loop.live("storefront", "eu-west") == "1.1"


def test_a_plan_that_needs_two_persons_waits_for_the_second_and_then_acts(
    broker: Broker, alertmanager: Alertmanager, names: Names, tmp_path: Path, figure: Figure
) -> None:
    with running(broker, alertmanager, names, tmp_path) as loop:
        loop.deploy("checkout", "2.0", regions=["eu-west"])

        def waiting() -> list[tuple[str, str]]:
            with loop.store() as store:
                lines = [msgspec.json.decode(row.line) for row in store.timeline()]
            decided = [(line["incident_id"], line["decision"]) for line in lines if line.get("decision")]
            return [(incident, decision["plan"]["hash"]) for incident, decision in decided if decision.get("plan") and decision.get("needs") == 2]

        until(lambda: waiting() != [], "a plan that waits for two", PAGED_S)
        incident, plan = waiting()[0]
        told = alertmanager.told(incident, "firing", PAGED_S)
        assert plan in str(told) or plan in str(alertmanager.alerts(incident))
        for _ in range(2):
            # Twice the same person is one person.
            loop.say("incidents", "approve", incident, "--plan", plan, "--as", "dana", key="DANA_KEY")
        until(lambda: loop.kinds().count("command.approve") == 2, "what dana said")
        # A name that is not theirs to use is heard by nobody.
        loop.say("incidents", "approve", incident, "--plan", plan, "--as", "erin", key="FRANK_KEY")
        until(lambda: "command.refused" in loop.kinds(), "what was refused")
        time.sleep(15.0)
        assert loop.calls == []
        loop.say("incidents", "approve", incident, "--plan", plan, "--as", "erin", key="ERIN_KEY")
        second_s = time.monotonic()
        until(lambda: loop.live("checkout", "eu-west") == "1.0", "the version before it", ROLLED_BACK_S)
        figure(f"rolled back {time.monotonic() - second_s:.0f} s after the second person")
        until(lambda: "rollback.done" in loop.kinds(), "a rollback that is confirmed")
        (intent,) = [msgspec.json.decode(entry.body) for entry in loop.ledger() if entry.kind == "rollback.intent"]
        assert intent["approved_by"] == ["dana", "erin"]
        assert len(loop.calls) == 1
