"""What a replay gives depends on the events alone: not on the run, the order they came in within the lateness, copies, or what came later."""

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest

from rollguard.replay import fold
from tests.properties.shop import CULPRIT, HOUR_MS, HURT, MINUTE_MS, Event, Shop, a_shop, arrived, ms_of, replayed, replayed_open, shuffled, write

SHORT = a_shop()
#: Long enough for promises to be watched and for a profile of the day to be learnt.
LONG = a_shop(hours=27.0, per_second=0.4)


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> list[bytes]:
    """Timeline of the short shop."""
    return replayed(tmp_path_factory.mktemp("shop") / "case", SHORT).timeline


@pytest.fixture(scope="module")
def expected_long(tmp_path_factory: pytest.TempPathFactory) -> list[bytes]:
    """Timeline of the long one."""
    return replayed(tmp_path_factory.mktemp("shop") / "case", LONG).timeline


@pytest.mark.parametrize("which", ["expected", "expected_long"])
def test_the_shop_has_an_incident_to_speak_of(which: str, request: pytest.FixtureRequest) -> None:
    timeline: list[bytes] = request.getfixturevalue(which)
    lines = [msgspec.json.decode(line) for line in timeline]
    [incident] = fold(lines)
    assert incident["suspects"][0]["deploy_id"] == CULPRIT
    assert incident["regions"] == [HURT]
    assert ("promised_minutes" in incident["metrics"]) == (which == "expected_long")
    assert {"page", "rollback"} <= {decision["action"] for decision in incident["decisions"]}
    assert lines[0]["event"] == "opened"


@pytest.mark.parametrize("which", ["expected", "expected_long"])
def test_the_shops_incident_is_over_before_its_story_is(which: str, request: pytest.FixtureRequest) -> None:
    timeline: list[bytes] = request.getfixturevalue(which)
    assert msgspec.json.decode(timeline[-1])["event"] == "closed"


def test_two_hash_seeds_give_the_same_bytes(tmp_path: Path, expected_long: list[bytes]) -> None:
    case = write(tmp_path / "case", LONG, end_ms=LONG.end_ms)
    command = str(Path(sys.executable).with_name("rollguard"))
    runs = [
        subprocess.Popen(
            [command, "replay", str(case), "--out", str(tmp_path / seed)], cwd=tmp_path, env=os.environ | {"PYTHONHASHSEED": seed}, stdout=subprocess.DEVNULL
        )
        for seed in ("1", "4242")
    ]
    assert [run.wait() for run in runs] == [0, 0]
    for seed in ("1", "4242"):
        assert (tmp_path / seed / "timeline.jsonl").read_bytes().splitlines() == expected_long
    assert (tmp_path / "1" / "summary.json").read_bytes() == (tmp_path / "4242" / "summary.json").read_bytes()


@pytest.mark.parametrize("seed", [1, 2])
def test_the_order_of_arrival_within_the_lateness_does_not_matter(tmp_path: Path, expected: list[bytes], seed: int) -> None:
    run = replayed(tmp_path / "case", SHORT.with_events(**{source: shuffled(events, seed) for source, events in SHORT.events.items()}))
    assert {source["late"] for source in run.summary["sources"].values()} == {0}
    assert run.timeline == expected


def test_copies_change_nothing(tmp_path: Path, expected: list[bytes]) -> None:
    def again(event: Event) -> list[Event]:
        return [event, replace(event, arrival_ms=event.arrival_ms + 4000)]

    run = replayed(
        tmp_path / "case", SHORT.with_events(**{source: arrived(copy for event in events for copy in again(event)) for source, events in SHORT.events.items()})
    )
    assert all(source["doubled"] == source["kept"] > 0 for source in run.summary["sources"].values())
    assert run.timeline == expected


def test_change_records_told_twice_and_in_another_order_change_nothing(tmp_path: Path, expected: list[bytes]) -> None:
    assert replayed(tmp_path / "case", replace(SHORT, deploys=[*SHORT.deploys[::-1], *SHORT.deploys])).timeline == expected


# A prefix of the input is what had come by some moment, and nothing said about the time after it. A case that states an end
# later than its last events says that none came: a complete stop, which is another input and no prefix.


def _until(shop: Shop, minutes: float, *, by: str) -> Shop:
    """What had come by, or happened before, some minutes after the onset."""
    when_ms = shop.onset_ms + round(minutes * MINUTE_MS)
    events = {source: [event for event in events if getattr(event, by) < when_ms] for source, events in shop.events.items()}
    deploys = [line for line in shop.deploys if ms_of(msgspec.json.decode(line)["started_at"]) < when_ms]
    return replace(shop, events=events, deploys=deploys, hours=shop.hours + (when_ms - shop.end_ms) / HOUR_MS)


@pytest.mark.parametrize("minutes", [-10.0, 1.55, 2.1, 6.0, 28.0])
def test_a_prefix_of_what_came_gives_a_prefix_of_the_timeline(tmp_path: Path, expected: list[bytes], minutes: float) -> None:
    found = replayed_open(tmp_path / "case", _until(SHORT, minutes, by="arrival_ms")).timeline
    assert found == expected[: len(found)]
    assert bool(found) == (minutes > 1.5)


@pytest.mark.parametrize("minutes", [1, 2, 4, 14])
def test_a_case_that_ends_earlier_gives_a_prefix_of_the_timeline(tmp_path: Path, expected: list[bytes], minutes: int) -> None:
    found = replayed(tmp_path / "case", _until(SHORT, minutes, by="ts_ms")).timeline
    assert found == expected[: len(found)]
    # All that was known of the buckets before the end has been told.
    assert len(found) == sum(ms_of(msgspec.json.decode(line)["at"]) <= SHORT.onset_ms + minutes * MINUTE_MS + 20_000 for line in expected)
