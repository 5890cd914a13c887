"""A metric changes while a worker runs: its past is read from the topics, the old one watching until then, and the new one at once."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from signal import SIGKILL, SIGTERM, Signals
from typing import Any

import msgspec
import numpy as np
import pytest
from typer.testing import CliRunner

from rollguard.cli.app import app
from rollguard.config import Settings
from rollguard.detectors import Account, Detect, Signal, Tick
from rollguard.incidents import LogCodec, LogRecord
from rollguard.service import open_store
from rollguard.service.detect_work import DetectStage
from rollguard.service.filling import Found, staged_of
from rollguard.streams import Ingest, Merger
from tests.live.servers import Broker, Names, until
from tests.live.workers import Service, shop_topics
from tests.properties import shop as shops

#: So that no test has to be quick: by the clock on the wall nothing is ever silent.
PATIENT: dict[str, str | None] = dict.fromkeys(("orders", "errors", "deliveries"), ", idle: 1h")
#: What the worker runs with at first.
BEFORE = {
    "a metric is new": (shops.CONFIG + "metrics: {errors: null}\n", PATIENT),
    "a label is new": (shops.CONFIG + "labels: {watched: [region]}\n", PATIENT),
    "a source is new": (shops.CONFIG + "metrics: {errors: null}\n", PATIENT | {"errors": None}),
}
EVENTS = ("orders", "errors", "deliveries")


def at(shop: shops.Shop, ms: int) -> dict[str, tuple[list[bytes], list[bytes]]]:
    """Lines of each source that arrive before a moment, and after it."""
    return {
        source: ([each.line for each in events if each.arrival_ms < ms], [each.line for each in events if each.arrival_ms >= ms])
        for source, events in shop.events.items()
    }


def accounts(ticks: list[Tick], metric: str) -> dict[int, Account]:
    return {tick.bucket: account for tick in ticks for account in tick.accounts if account.metric == metric}


def replayed(settings: Settings, shop: shops.Shop) -> list[Tick]:
    """What the stages say of all events, under one config."""
    merger, detect = Merger(settings, [(source, 0) for source in EVENTS]), Detect(settings)
    found: list[Tick] = []
    for source, events in shop.events.items():
        block = Ingest(settings, source, 0, whole=True).feed([each.line for each in events], 0).block
        assert block is not None
        closed = merger.feed(block)
        if closed is not None:
            found += [each for each in detect.feed(closed) if isinstance(each, Tick)]
    return found


def assert_same(found: Account, expected: Account) -> None:
    """A metric's series, what they were and what they should have been."""
    assert found.series == expected.series
    for name in ("observed", "expected", "variance", "error"):
        np.testing.assert_array_equal(getattr(found, name), getattr(expected, name))
    assert (found.missing, found.events, found.doubtful) == (expected.missing, expected.events, expected.doubtful)


@pytest.mark.parametrize("what", BEFORE)
def test_a_changed_metric_is_watched_at_once_as_if_it_had_always_been(broker: Broker, names: Names, tmp_path: Path, what: str) -> None:
    shop = shops.a_shop()
    shop_topics(broker, names, partitions=1)
    first_ms, second_ms = (round(shops.START_MS + share * shop.hours * shops.HOUR_MS) for share in (0.7, 0.8))
    early = {source: lines for source, (lines, _) in at(shop, first_ms).items()}
    between = {source: lines[len(early[source]) :] for source, (lines, _) in at(shop, second_ms).items()}
    late = {source: lines for source, (_, lines) in at(shop, second_ms).items()}
    config, sources = BEFORE[what]
    with Service(broker, tmp_path / "live", names, config, sources=sources) as old:
        for source in EVENTS:
            old.send(names.topic(source), early[source])
        worker = old.ready("--only", "ingest", "--only", "detect")
        old.await_frontier(first_ms - 2 * shops.MINUTE_MS, stage="detect")
        new = Service(broker, tmp_path / "live", names, shops.CONFIG, names=old.names, processes=old.processes, sources=PATIENT, has_topics=True)
        path = str(new.path(1))
        run = CliRunner().invoke(app, ["backfill", "-c", path, "--dry-run", "--json"])
        assert run.exit_code == 0, run.output
        plan = msgspec.json.decode(run.output)
        assert "errors" in [each["metric"] for each in plan["plan"]["lacking"]]
        assert plan["done"] is None
        told = CliRunner().invoke(app, ["backfill", "-c", path])
        assert told.exit_code == 0, told.output
        assert re.search(r"[1-9][0-9,]* records read, up to 2026-03-02T", told.output)
        # The old worker goes on meanwhile: what it says then lacks the metric too.
        for source in EVENTS:
            old.send(names.topic(source), between[source])
        old.await_frontier(second_ms - 2 * shops.MINUTE_MS, stage="detect")
        assert worker.end() == 0
        before = len(old.read(old.topic("signals")))
        new.ready("--only", "ingest", "--only", "detect")
        for source in EVENTS:
            new.send(names.topic(source), late[source])
        last_ms = shop.end_ms - 2 * shops.MINUTE_MS
        new.await_frontier(last_ms, stage="detect")
        codec = LogCodec()
        found: list[LogRecord] = []

        def stand() -> bool:
            # What a worker says of its frontier may be a moment ahead of what it has written.
            found[:] = [codec.decode(record.value) for record in new.read(new.topic("signals"))[before:]]
            return any(isinstance(each, Tick) and (each.bucket + 1) * new.settings.bucket_ms >= last_ms for each in found)

        until(stand, "the last ticks stand in the log")
        until(lambda: "backfill_taken" in new.processes[-1].said, "the worker goes on from the backfill")
        store = open_store(new.settings)
        until(lambda: [each.stage for each in store.owners()] == ["detect/0"], "the backfill is let go once the worker has kept the stage")
        store.close()
    settings = new.settings
    expected = replayed(settings, shop)
    ticks = [each for each in found if isinstance(each, Tick)]
    # Not one bucket was left out between the backfill, the old worker and the new one.
    firsts = {tick.bucket for tick in ticks}
    assert min(firsts) * settings.bucket_ms <= first_ms
    assert firsts >= set(range(min(firsts), last_ms // settings.bucket_ms))
    for metric in ("errors", "orders", "promised_minutes"):
        mine, theirs = accounts(ticks, metric), accounts(expected, metric)
        compared = [bucket for bucket in mine if bucket * settings.bucket_ms < last_ms]
        assert len(compared) > 100
        for bucket in compared:
            assert_same(mine[bucket], theirs[bucket])
    signals = [each for each in found if isinstance(each, Signal) and each.series.metric == "errors"]
    assert any(each.kind == "left" and each.bucket * settings.bucket_ms >= shop.onset_ms for each in signals)


#: A backfill that keeps what it has after each ten blocks, and is sent a signal in the middle of one.
INTERRUPTED = """
import os, sys
from rollguard.cli import main
from rollguard.service import refill
from rollguard.streams.kafka import stretches

refill.KEEP_S, stretches.MOST = 0.0, 10
number, last = int(sys.argv.pop(1)), int(sys.argv.pop(1))
feed, fed = refill._Run._feed, []

def feed_and_end(run, record):
    feed(run, record)
    fed.append(record)
    if len(fed) == last:
        os.kill(os.getpid(), number)

refill._Run._feed = feed_and_end
main()
"""
#: A log of blocks has as many as there were reads.
READS = 12


def kept(service: Service) -> Found:
    """What a backfill left in the database."""
    store = open_store(service.settings)
    found = staged_of(store, "detect/0", service.settings)
    store.close()
    assert found is not None
    return found


def come_to(service: Service) -> dict[str, Any]:
    """What a backfill has come to. How the read sources were cut into blocks depends on where each read ended, and is left out: the merger's sums are not."""
    found = kept(service)
    stage = DetectStage.restore(service.settings, found.staged.stage)
    assert stage.filler is not None
    frontiers = {place: stage.filler.frontier(*place) for place in stage.filler.places}
    told = {"offset": found.offset, "done": found.staged.done, "away": found.staged.away, "metrics": found.staged.metrics}
    return told | {"merger": stage.merger.snapshot(), "detect": stage.detect.snapshot(), "frontiers": frontiers}


def backfilled(service: Service, *words: str) -> dict[str, Any]:
    """Run it to its end; what it says it did."""
    run = CliRunner().invoke(app, ["backfill", "-c", str(service.path()), "--json", *words])
    assert run.exit_code == 0, run.output
    done: dict[str, Any] = msgspec.json.decode(run.output)["done"]
    return done


def interrupted(service: Service, number: Signals, last: int) -> None:
    """Run it until it has fed so many blocks, and a signal comes."""
    words = [sys.executable, "-P", "-c", INTERRUPTED, str(int(number)), str(last), "backfill", "-c", str(service.path())]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == -number, done.stdout + done.stderr


@pytest.mark.parametrize("number", [SIGTERM, SIGKILL])
def test_a_backfill_that_is_interrupted_twice_comes_to_what_one_at_once_does_and_so_does_a_repeated_one(
    broker: Broker, names: Names, tmp_path: Path, number: Signals
) -> None:
    shop = shops.a_shop()
    shop_topics(broker, names, partitions=1)
    # It ends while something is wrong.
    broken = {source: [event for event in events if event.ts_ms < shop.onset_ms + 8 * shops.MINUTE_MS] for source, events in shop.events.items()}
    config, sources = BEFORE["a metric is new"]
    with Service(broker, tmp_path / "old", names, config, sources=sources) as old:
        worker = old.ready("--only", "ingest")
        for part in range(READS):
            before = old.end_of(old.topic("blocks"))
            for source, events in broken.items():
                old.send(names.topic(source), [event.line for event in events[part * len(events) // READS : (part + 1) * len(events) // READS]])
            until(lambda before=before: old.end_of(old.topic("blocks")) >= before + len(EVENTS), "a block of each source")  # type: ignore[misc]
        assert worker.end() == 0

        once, torn = (Service(broker, tmp_path / name, names, shops.CONFIG, names=old.names, sources=PATIENT, has_topics=True) for name in ("once", "torn"))
        whole = backfilled(once)
        assert whole["blocks"] >= READS * len(EVENTS)
        assert not whole["resumed"]
        assert whole["away"] > 0
        third = whole["blocks"] // 3
        interrupted(torn, number, third)
        first = kept(torn)
        assert (first.staged.done, 0 < first.offset < whole["offset"]) == (False, True)
        interrupted(torn, number, third)
        second = kept(torn)
        assert (second.staged.done, first.offset < second.offset < whole["offset"]) == (False, True)
        rest = backfilled(torn)
        # Only what was not kept is read again.
        assert rest["resumed"]
        assert rest["records"] < whole["records"]
        assert come_to(torn) == come_to(once)
        again = backfilled(torn)
        assert (again["records"], again["away"]) == (0, whole["away"])
        assert come_to(torn) == come_to(once)
        assert backfilled(torn, "--again")["records"] == whole["records"]
        assert come_to(torn) == come_to(once)
