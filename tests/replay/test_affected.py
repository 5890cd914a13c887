"""The events an incident touched: those of the hurt places, while they hurt, each once."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

from rollguard.replay import OutError, make_file, open_case, run_case, write_affected
from tests.properties.shop import HURT, a_shop, ms_of, write

SHOP = a_shop()


def test_what_is_listed_is_what_happened_there_meanwhile(tmp_path: Path) -> None:
    case = open_case(write(tmp_path / "case", SHOP, end_ms=SHOP.end_ms))
    [incident] = run_case(case).incidents
    counts = write_affected(case, incident, tmp_path / "affected.jsonl.gz")
    listed = [json.loads(line) for line in gzip.decompress((tmp_path / "affected.jsonl.gz").read_bytes()).splitlines()]
    onset_ms, closed_ms = ms_of(incident["onset"]), ms_of(incident["closed_at"])
    for source in ("orders", "errors"):
        expected = {event.fields["event_id"] for event in SHOP.events[source] if onset_ms <= event.ts_ms < closed_ms and event.fields["region"] == HURT}
        found = [event["event_id"] for event in listed if event["source"] == source]
        assert sorted(found) == sorted(expected)
        assert counts[source] == len(expected) > 50


def test_of_the_guilty_service_only_its_version_is_listed_and_a_copy_is_not(tmp_path: Path) -> None:
    shop = SHOP.with_events(deliveries=[each for event in SHOP.events["deliveries"] for each in (event, event)])
    case = open_case(write(tmp_path / "case", shop, end_ms=shop.end_ms))
    [incident] = run_case(case).incidents
    incident["metrics"] = ["promised_minutes"]
    counts = write_affected(case, incident, tmp_path / "affected.jsonl")
    listed = [json.loads(line) for line in (tmp_path / "affected.jsonl").read_text().splitlines()]
    promises = [event for event in listed if event["source"] == "deliveries"]
    assert {(event["service"], event["version"], event["region"]) for event in promises} == {("delivery-promise", "2.0", HURT)}
    assert len({event["event_id"] for event in promises}) == len(promises) == counts["deliveries"]


def test_a_list_that_cannot_be_written_leaves_nothing_behind(tmp_path: Path) -> None:
    case = open_case(write(tmp_path / "case", SHOP, end_ms=SHOP.end_ms))
    [incident] = run_case(case).incidents
    with pytest.raises(Exception, match="results cannot be written there") as caught:
        write_affected(case, incident, tmp_path / "no" / "affected.jsonl")
    assert getattr(caught.value, "code", None) == "out"
    assert not (tmp_path / "no").exists()


def test_a_place_that_cannot_be_written_is_refused_before_any_work_and_a_good_one_is_left_as_it_was(tmp_path: Path) -> None:
    kept = tmp_path / "kept.jsonl"
    kept.write_text("old")
    make_file(kept)
    for path in (tmp_path, tmp_path / "no" / "affected.jsonl", kept / "affected.jsonl"):
        with pytest.raises(OutError, match="a file in a folder that can be written into"):
            make_file(path)
    assert [path.name for path in tmp_path.iterdir()] == ["kept.jsonl"]
    assert kept.read_text() == "old"
