"""`rollguard replay --from`: live topics read by time, as a replay reads files."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import msgspec
import pytest

from rollguard.config import rfc3339
from tests.cli.terminal import Said, said
from tests.live.servers import Broker, Names
from tests.live.workers import Service, assert_same_lines, shop_topics
from tests.properties import shop as shops

Rollguard = Callable[..., Said]
SHOP = shops.a_shop()
FROM, TO = rfc3339(shops.START_MS) or "", rfc3339(SHOP.end_ms) or ""


@pytest.fixture
def rollguard(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Rollguard:
    return partial(said, monkeypatch, capsys)


@pytest.fixture
def service(broker: Broker, names: Names, tmp_path: Path) -> Service:
    shop_topics(broker, names, partitions=2)
    return Service(broker, tmp_path / "live", names, shops.CONFIG)


def test_topics_are_replayed_as_the_files_they_were_filled_from(rollguard: Rollguard, service: Service, tmp_path: Path) -> None:
    case = shops.write(tmp_path / "shop", SHOP, end_ms=SHOP.end_ms)
    service.produce(case, "max").done()
    config = str(service.path())
    assert rollguard("replay", str(case), "--out", str(tmp_path / "files")).code == 0
    own = [service.end_of(service.topic(topic)) for topic in ("blocks", "signals", "deadletter")]
    shown = rollguard("replay", "--from", FROM, "--to", TO, "-c", config, "--out", str(tmp_path / "topics"))
    assert shown.code == 0, shown
    assert "chg-7" in shown.out
    for name in ("timeline.jsonl", "incidents.jsonl"):
        files, topics = ((tmp_path / each / name).read_bytes().splitlines() for each in ("files", "topics"))
        assert_same_lines(topics, files)
    assert [service.end_of(service.topic(topic)) for topic in ("blocks", "signals", "deadletter")] == own
    summary = msgspec.json.decode((tmp_path / "topics" / "summary.json").read_bytes())
    assert summary["sources"]["orders"]["topic"] == service.shop.topic("orders")
    assert summary["sources"]["orders"]["read"] == len(SHOP.events["orders"])
    # A window within: what happened later is not known there.
    early = rfc3339(SHOP.onset_ms - shops.MINUTE_MS) or ""
    told = rollguard("replay", "--from", FROM, "--to", early, "-c", config, "--json")
    assert msgspec.json.decode(told.out)["incidents"] == []


def test_the_end_of_what_topics_hold_is_no_stop_of_orders(rollguard: Rollguard, service: Service, tmp_path: Path) -> None:
    well = replace(SHOP, events={source: [event for event in events if event.ts_ms < SHOP.onset_ms] for source, events in SHOP.events.items()})
    service.produce(shops.write(tmp_path / "well", well, end_ms=SHOP.onset_ms), "max").done()
    told = rollguard("replay", "--from", FROM, "-c", str(service.path()), "--json")
    found = msgspec.json.decode(told.out)
    assert found["incidents"] == []
    assert found["summary"]["sources"]["orders"]["kept"] > 1000


def test_a_time_that_is_not_over_cannot_be_replayed(rollguard: Rollguard, service: Service) -> None:
    told = rollguard("replay", "--from", FROM, "--to", "2099-01-01T00:00:00Z", "-c", str(service.path()))
    assert told.code == 2
    assert "not yet" in told.err


def test_what_cannot_be_read_of_topics_is_told_and_counted(rollguard: Rollguard, service: Service) -> None:
    topic = service.shop.topic("orders")
    event = {"event_id": "o", "ts": shops.START_MS, "service": "checkout", "region": "eu-west", "version": "1"}
    good = [msgspec.json.encode(event | {"event_id": f"o-{n}", "ts": shops.START_MS + n * 1000}) for n in range(100)]
    service.send(topic, [b"{rubbish", None, *good], at_ms=shops.START_MS)
    service.send(service.shop.topic("deploys"), [b"no change"])
    told = rollguard("replay", "--from", FROM, "--to", TO, "-c", str(service.path()), "--json")
    summary = msgspec.json.decode(told.out)["summary"]
    assert summary["sources"]["orders"]["kept"] == 100
    assert sum(summary["sources"]["orders"]["refused"].values()) == 2
    notes = "\n".join(summary["notes"])
    assert f"{topic}[0]:0: event refused" in notes
    assert f"{service.shop.topic('errors')}: no record in this time: errors counts as silent." in notes
    assert f"{service.shop.topic('deploys')}:0: change refused" in notes


def test_where_older_records_were_deleted_the_replay_begins_later_and_says_so(rollguard: Rollguard, service: Service, broker: Broker) -> None:
    topic = service.shop.topic("orders")
    later_ms = shops.START_MS + shops.HOUR_MS
    for begin_ms in (shops.START_MS, later_ms):
        values = [
            msgspec.json.encode({"event_id": f"{begin_ms}-{n}", "ts": begin_ms + n * 1000, "service": "checkout", "region": "eu-west", "version": "1"})
            for n in range(100)
        ]
        service.send(topic, values, at_ms=begin_ms)
    broker.delete_records(topic, 0, before=100)
    told = rollguard("replay", "--from", FROM, "--to", TO, "-c", str(service.path()), "--json")
    summary = msgspec.json.decode(told.out)["summary"]
    assert summary["notes"][0].startswith(f"{topic}: its oldest records are of {rfc3339(later_ms)}")
    assert summary["sources"]["orders"]["kept"] == 100
    assert summary["start"] == rfc3339(later_ms)


def test_topics_that_are_missing_are_told_in_one_line(rollguard: Rollguard, broker: Broker, names: Names, tmp_path: Path) -> None:
    service = Service(broker, tmp_path / "live", names)
    told = rollguard("replay", "--from", FROM, "-c", str(service.path()))
    assert told.code == 1
    assert names.topic("deliveries") in told.err
    assert "Traceback" not in told.err
