"""What a running worker shows of itself: its metrics, as Prometheus' own linter reads them, its routes, and what is gone when it loses a partition."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from pathlib import Path

import msgspec
import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.live.servers import Broker, Names, until
from tests.live.workers import Process, Service, shop_topics
from tests.properties import shop as shops

NOW_MS = time.time_ns() // 1_000_000
SOURCES = ("orders", "errors", "deliveries")


def promtool() -> str:
    found = shutil.which("promtool")
    if found is None and os.environ.get("CI"):
        pytest.fail("no promtool in CI: apt-get install prometheus")
    if found is None:
        pytest.skip("no promtool: `apt-get install prometheus`")
    return found


def metrics_of(worker: Process) -> dict[str, dict[str, float]]:
    """Values by name and by label, of what a worker shows now."""
    found: dict[str, dict[str, float]] = {}
    for family in text_string_to_metric_families(worker.get("/metrics")[1]):
        for sample in family.samples:
            found.setdefault(sample.name, {})[",".join(sample.labels.values())] = sample.value
    return found


def some_events(service: Service, n: int = 600) -> None:
    """Events of the last ten minutes, for each source."""
    for source in SOURCES:
        more = {"promised_minutes": 30.0, "actual_minutes": 31.0} if source == "deliveries" else {}
        first_ms = time.time_ns() // 1_000_000 - 1000 * n
        events = [
            {"event_id": f"{source}-{number}", "ts": first_ms + 1000 * number, "service": "checkout", "region": "eu-west", "version": "1", **more}
            for number in range(n)
        ]
        service.send(service.shop.topic(source), [msgspec.json.encode(event) for event in events])


def test_metrics_of_a_running_worker_are_right_and_promtool_finds_no_fault(broker: Broker, names: Names, tmp_path: Path) -> None:
    shop_topics(broker, names, partitions=1)
    with Service(broker, tmp_path, names, shops.CONFIG) as service:
        some_events(service)
        worker = service.ready()
        until(lambda: (worker.metric("rollguard_series", metric="orders") or 0) >= 3, "series are watched")
        until(lambda: worker.metric("rollguard_snapshot_timestamp_seconds", stage="desk") is not None, "the desk is kept")
        until(lambda: worker.metric("rollguard_source_lag_records", source="orders") == 0, "all is read")
        found = metrics_of(worker)
        linted = subprocess.run([promtool(), "check", "metrics"], input=worker.get("/metrics")[1], text=True, capture_output=True, check=False)
        assert (linted.returncode, linted.stdout + linted.stderr) == (0, "")
        assert worker.end() == 0
    assert found["rollguard_events_total"] == dict.fromkeys(SOURCES, 600.0)
    assert found["rollguard_source_lag_records"] == dict.fromkeys(SOURCES, 0.0)
    assert all(0 < delay < 120 for delay in found["rollguard_watermark_delay_seconds"].values())
    assert found["rollguard_desk_epoch"] == {"": 1.0}
    assert found["rollguard_open_incidents"] == {"": 0.0}
    assert found["rollguard_outbox_rows"]["waiting"] == 0.0
    assert "rollguard_outbox_oldest_timestamp_seconds" not in found
    assert set(found["rollguard_blind"].values()) == {0.0}
    assert len(found["rollguard_blind"]) == 5
    assert found["rollguard_partitions"] == {"ingest": 3.0, "detect": 1.0, "desk": 1.0}
    assert abs(found["rollguard_snapshot_timestamp_seconds"]["desk"] - time.time()) < 120


def test_what_a_worker_has_lost_it_does_not_show(broker: Broker, names: Names, tmp_path: Path) -> None:
    shop_topics(broker, names, partitions=1)
    with Service(broker, tmp_path, names, shops.CONFIG) as service:
        some_events(service)
        one, other = service.ready(), service.ready()

        def frontiers() -> list[list[str]]:
            return [sorted(metrics_of(each).get("rollguard_frontier_timestamp_seconds", {})) for each in (one, other)]

        def each_stage_once() -> bool:
            return sorted(frontiers()[0] + frontiers()[1]) == ["desk", "detect"]

        until(each_stage_once, "each stage's frontier is shown by one worker")
        assert one.end() == 0
        until(lambda: frontiers()[1] == ["desk", "detect"], "the other has all")
        lags = metrics_of(other)
        assert set(lags["rollguard_watermark_delay_seconds"]) == set(SOURCES)


def test_it_says_what_keeps_it_from_being_ready(broker: Broker, names: Names, tmp_path: Path) -> None:
    shop_topics(broker, names, partitions=1)
    with Service(broker, tmp_path, names, shops.CONFIG) as service:
        worker = service.ready()
        broker.stop()
        until(lambda: worker.get("/readyz")[0] == 503, "it is not ready without a broker")
        assert "brokers" in msgspec.json.decode(worker.get("/readyz")[1])["troubles"]
        assert worker.get("/healthz")[0] == 200
        assert "rollguard_source_lag_records{" not in worker.get("/metrics")[1]
        broker.start()
        until(lambda: worker.ready, "it is ready again")
