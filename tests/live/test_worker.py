"""The service as it runs: real workers on a real broker, and what they find."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from rollguard.config import ms_of, read_layer
from rollguard.replay import Run, open_case, run_case
from rollguard.service import open_store
from tests.live.servers import Broker, Names, until
from tests.live.workers import Service, assert_same_lines, shop_topics
from tests.properties import shop as shops

#: What a replay takes as given: auto, earned, and a target for every service.
MODE = """mode: auto
respond: {trust: granted, targets: {all: {kind: command, argv: ["false"], cas: native}}, target: all}
"""
CASES = Path(__file__).parents[3] / "shared" / "data" / "cases"
HOUR_MS, MINUTE_MS = shops.HOUR_MS, shops.MINUTE_MS


def case_of(name: str) -> Path:
    """A shared case, where there is one."""
    if not (CASES / name).is_dir():
        pytest.skip(f"{CASES / name} is not here")
    return CASES / name


def lived(service: Service, case: Path) -> tuple[list[bytes], Run]:
    """Write a case to topics and let a worker read them; its timeline, and the replay of the files."""
    run = run_case(open_case(case, [read_layer(service.path())]))
    last_ms = max(ms_of(msgspec.json.decode(line)["at"]) for line in run.timeline)
    service.produce(case, "max").done()
    worker = service.ready()
    service.await_frontier(last_ms, seconds=300.0)
    assert worker.end() == 0
    return service.timeline(last_ms), run


def test_a_live_run_finds_what_a_replay_finds_and_acts_on_nothing_of_the_past(broker: Broker, names: Names, tmp_path: Path) -> None:
    shop = shops.a_shop()
    case = shops.write(tmp_path / "shop", shop, end_ms=shop.end_ms)
    shop_topics(broker, names)
    with Service(broker, tmp_path / "live", names, MODE + shops.CONFIG) as service:
        found, run = lived(service, case)
        assert_same_lines(found, run.timeline)
        decided = [each["decision"]["action"] for each in map(msgspec.json.decode, found) if "decision" in each]
        assert {"page", "rollback"} <= set(decided)
        store = open_store(service.settings)
        told = store.outbox()
        store.close()
    # The shop's morning is months ago: a person is told, and told how late it is; nobody is asked to roll anything back.
    assert {row.kind for row in told} == {"page", "advice"}
    assert all(msgspec.json.decode(row.body)["late_ms"] > 3 * HOUR_MS for row in told)


@pytest.mark.live_long
@pytest.mark.parametrize("name", ["promise-7", "decoys-7", "provider-7"])
def test_a_live_run_over_a_case_finds_what_its_replay_finds(broker: Broker, names: Names, tmp_path: Path, figure: Callable[[str], None], name: str) -> None:
    case = case_of(name)
    shop_topics(broker, names, partitions=1)
    with Service(broker, tmp_path / "live", names, MODE) as service:
        found, run = lived(service, case)
    assert_same_lines(found, run.timeline)
    figure(f"{len(found)} lines of the timeline are the same")


@pytest.mark.live_long
def test_over_many_partitions_the_same_is_found_but_for_what_counts_as_late(
    broker: Broker, names: Names, tmp_path: Path, figure: Callable[[str], None]
) -> None:
    shop_topics(broker, names, partitions=4)
    with Service(broker, tmp_path / "live", names, MODE) as service:
        found, run = lived(service, case_of("promise-7"))
    assert len(found) == len(run.timeline)
    furthest = 0.0
    for one, other in zip(map(msgspec.json.decode, found), map(msgspec.json.decode, run.timeline), strict=True):
        assert told(one) == told(other)
        if "incident" in one and other["incident"]["orders_lost"] > 100:
            furthest = max(furthest, abs(one["incident"]["orders_lost"] / other["incident"]["orders_lost"] - 1))
    assert furthest < 0.01
    figure(f"{len(found)} lines, lost orders within {100 * furthest:.2f} %")


def told(line: dict[str, Any]) -> dict[str, Any]:
    """What a person would act on, of a line: no number that a late event more or less would move."""
    incident, decision = line.get("incident") or {}, line.get("decision") or {}
    return {
        "at": line["at"],
        "event": line["event"],
        "id": line["incident_id"],
        **{name: incident.get(name) for name in ("onset", "state", "verdict", "metrics", "regions", "services")},
        "suspect": incident["suspects"][0]["deploy_id"] if incident.get("suspects") else None,
        "decision": (decision.get("action"), decision.get("target")),
    }


def test_what_cannot_be_counted_is_put_away_and_stops_nothing(broker: Broker, names: Names, tmp_path: Path, figure: Callable[[str], None]) -> None:
    shop_topics(broker, names, partitions=2)
    topic = names.topic("orders")
    event = {"event_id": "o-1", "ts": shops.START_MS, "service": "checkout", "region": "eu-west", "version": "1"}
    bad: dict[str, bytes | None] = {
        "json": b"{rubbish",
        "utf8": b'{"ts": "\xff"}',
        "tombstone": None,
        "too_long": msgspec.json.encode(event | {"note": "x" * 70_000}),
        "missing": msgspec.json.encode({"event_id": "o-2", "service": "checkout"}),
        "future": msgspec.json.encode(event | {"event_id": "o-3", "ts": shops.START_MS + 365 * 24 * HOUR_MS}),
    }
    good = [msgspec.json.encode(event | {"event_id": f"g-{n}", "ts": shops.START_MS + n * 1000}) for n in range(600)]
    with Service(broker, tmp_path / "live", names) as service:
        service.send(topic, [*good[:300], *bad.values(), *good[300:]], at_ms=shops.START_MS)
        worker = service.ready("--only", "ingest")
        until(lambda: worker.metric("rollguard_events_total", source="orders") == len(good), "all good events are counted")
        until(lambda: service.end_of(service.topic("deadletter")) >= len(bad), "all letters are there")
        letters = service.read(service.topic("deadletter"))
        assert worker.end() == 0
    headers = [{name: text.decode() for name, text in letter.headers} for letter in letters]
    assert [letter.key.decode() for letter in letters] == [f"{topic}/0/{300 + n}" for n in range(len(bad))]
    assert [each["offset"] for each in headers] == [str(300 + n) for n in range(len(bad))]
    assert [letter.value for letter in letters] == list(bad.values())
    reasons = [each["reason"] for each in headers]
    figure(f"refused: {', '.join(reasons)}")
    assert len(set(reasons)) == len(bad)
    assert all(each["detail"] for each in headers)


def test_a_worker_waits_for_topics_that_are_missing_and_says_so_once(broker: Broker, names: Names, tmp_path: Path) -> None:
    with Service(broker, tmp_path / "live", names) as service:
        worker = service.worker()
        until(lambda: "waiting_for_kafka" in worker.said, "what it waits for")
        told = next(line for line in worker.said.splitlines() if "waiting_for_kafka" in line)
        assert names.topic("deliveries") in told
        # Longer than its first pauses are together.
        time.sleep(4.0)
        shop_topics(broker, names)
        until(lambda: worker.ready, "it goes on by itself")
        assert worker.said.count("waiting_for_kafka") == 1
        assert worker.end() == 0
