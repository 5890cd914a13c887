"""Many cases at once: what is done is kept, what is broken is told, and neither stops the others."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from rollguard.config import Layer
from rollguard.replay import Done, Switches, Work, case_folders, replay_all
from tests.properties import shop as shops

SHOP = shops.a_shop(hours=0.3, per_second=2.0)


@pytest.fixture
def cases(tmp_path: Path) -> Path:
    root = tmp_path / "cases"
    shops.write(root / "a-1", SHOP, end_ms=SHOP.end_ms)
    shops.write(root / "b-1", SHOP, end_ms=SHOP.end_ms)
    return root


def replayed(cases: Path, *, layers: tuple[Layer, ...] = (), again: bool = False) -> dict[str, Done]:
    out = cases.parent / "results"
    works = [Work(folder, out / folder.name, layers, Switches(), again) for folder in case_folders(cases)]
    return {done.name: done for done in replay_all(works, 2)}


def states(done: dict[str, Done]) -> dict[str, str]:
    return {name: each.state for name, each in done.items()}


def test_a_result_is_kept_until_it_is_broken_older_than_its_case_or_of_other_settings(cases: Path) -> None:
    first = replayed(cases)
    assert states(first) == {"a-1": "replayed", "b-1": "replayed"}
    kept = replayed(cases)
    assert states(kept) == {"a-1": "kept", "b-1": "kept"}
    assert kept["a-1"].summary == first["a-1"].summary
    summary = cases.parent / "results" / "a-1" / "summary.json"
    summary.write_bytes(summary.read_bytes()[:100])
    assert states(replayed(cases)) == {"a-1": "replayed", "b-1": "kept"}
    summary.write_bytes(summary.read_bytes().replace(b'"made_with"', b'"made_by"'))
    assert states(replayed(cases)) == {"a-1": "replayed", "b-1": "kept"}
    orders, times = cases / "b-1" / "orders.jsonl", (cases / "b-1" / "orders.jsonl").stat()
    orders.write_bytes(orders.read_bytes() + b"\n")
    os.utime(orders, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert states(replayed(cases)) == {"a-1": "kept", "b-1": "replayed"}, "another case of the same name, and no newer"
    later = (cases.parent / "results" / "b-1" / "summary.json").stat().st_mtime + 1
    os.utime(cases / "b-1" / "orders.jsonl", (later, later))
    assert states(replayed(cases)) == {"a-1": "kept", "b-1": "replayed"}
    other = Layer("budget: {false_pages: 2.0}\n", "mine.yaml")
    assert set(states(replayed(cases, layers=(other,))).values()) == {"replayed"}
    assert set(states(replayed(cases, layers=(other,), again=True)).values()) == {"replayed"}


def test_a_broken_case_is_told_and_does_not_stop_the_others(cases: Path) -> None:
    (cases / "0-empty").mkdir()
    (cases / "b-1" / "case.yaml").write_text("start: yesterday\n")
    done = replayed(cases)
    assert states(done) == {"0-empty": "broken", "a-1": "replayed", "b-1": "broken"}
    assert "no event file" in done["0-empty"].trouble
    assert "'yesterday' is no time" in done["b-1"].trouble
