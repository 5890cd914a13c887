"""A real worker that goes blind: a person is told past what is broken, once, and told again when it sees."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from signal import SIGTERM
from typing import Any

import pytest

from tests.live.servers import Broker, Names, until
from tests.live.workers import Service, shop_topics
from tests.servers.receivers import serving

CONFIG = """
blind: {{brokers: 5s}}
respond:
  pagers:
    broken: {{kind: webhook, url: "{address}/broken", secret: env:HOOK}}
    oncall: {{kind: webhook, url: "{address}/oncall", secret: env:HOOK}}
  page: [broken]
  fallback: [oncall]
"""
Said = list[tuple[str, str, str]]
#: Looks are five seconds apart, and a broker takes its time to come back.
PATIENCE_S = 240.0


@contextmanager
def receiver() -> Iterator[tuple[str, Said]]:
    """Takes what is posted to /oncall and refuses the rest; gives its address, and path, event and key of what came."""
    said: Said = []

    class Receiver(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body: Any = json.loads(self.rfile.read(int(self.headers["content-length"])))
            said.append((self.path, body["type"].rpartition(".")[2], body["data"]["dedup_key"]))
            self.send_response(204 if self.path == "/oncall" else 403)
            self.end_headers()

    with serving(Receiver) as address:
        yield address, said


def test_brokers_that_stop_are_paged_past_a_pager_that_is_broken_and_end_by_themselves(
    broker: Broker, names: Names, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOOK", "whsec_" + "YWFh" * 8)
    shop_topics(broker, names, partitions=1)
    with receiver() as (address, said), Service(broker, tmp_path, names, CONFIG.format(address=address)) as service:
        worker = service.ready()
        key = f"rollguard/{service.names.group}/blind/brokers"
        broker.stop()
        until(lambda: ("/oncall", "trigger", key) in said, "a page by the other pager", PATIENCE_S)
        assert worker.metric("rollguard_blind", reason="brokers") == 1
        broker.start()
        until(lambda: ("/oncall", "resolve", key) in said, "it is told that it sees again", PATIENCE_S)
        until(lambda: worker.metric("rollguard_blind", reason="brokers") == 0, "it is not blind any more", PATIENCE_S)
        assert worker.end() == 0
    assert [event for path, event, each in said if (path, each) == ("/oncall", key)] == ["trigger", "resolve"]
    assert ("/broken", "trigger", key) in said


def test_a_worker_that_waits_for_brokers_lives_tells_of_it_and_ends_at_a_signal(
    broker: Broker, names: Names, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOOK", "whsec_" + "YWFh" * 8)
    shop_topics(broker, names, partitions=1)
    with receiver() as (address, said), Service(broker, tmp_path, names, CONFIG.format(address=address)) as service:
        broker.stop()
        worker = service.worker()
        until(lambda: any(path == "/oncall" for path, _, _ in said), "a page", PATIENCE_S)
        assert worker.get("/healthz")[0] == 200
        code, answer = worker.get("/readyz")
        assert (code, sorted(json.loads(answer)["troubles"])) == (503, ["brokers", "kafka"])
        assert worker.end() == 0


def test_a_second_signal_ends_it_at_once(broker: Broker, names: Names, tmp_path: Path) -> None:
    shop_topics(broker, names, partitions=1)
    with Service(broker, tmp_path, names) as service:
        worker = service.ready()
        # Nobody answers good-byes now, so that the first signal takes its time.
        broker.pause()
        worker.signal(SIGTERM)
        until(lambda: "worker_stops" in worker.said, "it begins to stop")
        worker.signal(SIGTERM)
        assert worker.process.wait(60.0) == -SIGTERM
        assert "worker_ends_at_once" in worker.said
