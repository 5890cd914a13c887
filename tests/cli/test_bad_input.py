"""Damaged and mistaken input: one clear line each, never a traceback, and the good events around it count."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.cli.terminal import Said, said
from tests.properties.shop import START_MS, Shop, a_shop, write

SHOP: Shop = a_shop(hours=0.3, per_second=2.0)
N = {source: len(events) for source, events in SHOP.events.items()}
Replayed = Callable[[Path], "Result"]


class Result:
    """A replay's summary, and the notes that the same case without damage does not have."""

    def __init__(self, done: Said, usual: list[str]) -> None:
        assert (done.code, done.err) == (0, "")
        self.summary: dict[str, Any] = json.loads(done.out)["summary"]
        self.notes = [note for note in self.summary["notes"] if note not in usual]

    def counts(self, source: str) -> tuple[int, int]:
        """Events kept and refused."""
        file = self.summary["sources"][source]
        return file["kept"], sum(file["refused"].values())


@pytest.fixture
def case(tmp_path: Path) -> Path:
    """A small case without a fault."""
    return write(tmp_path / "case", SHOP, end_ms=SHOP.end_ms)


@pytest.fixture
def replayed(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Replayed:
    """Replay a case with --json."""
    clean = said(monkeypatch, capsys, "replay", write(tmp_path / "clean", SHOP, end_ms=SHOP.end_ms), "--json")
    usual = json.loads(clean.out)["summary"]["notes"]
    return lambda folder: Result(said(monkeypatch, capsys, "replay", folder, "--json"), usual)


def lines_of(path: Path) -> list[bytes]:
    return path.read_bytes().splitlines(keepends=True)


def test_a_truncated_file_counts_up_to_where_it_breaks(case: Path, replayed: Replayed) -> None:
    whole = gzip.compress((case / "orders.jsonl").read_bytes(), mtime=0)
    (case / "orders.jsonl").unlink()
    (case / "orders.jsonl.gz").write_bytes(whole[: len(whole) * 2 // 3])
    result = replayed(case)
    kept, refused = result.counts("orders")
    assert N["orders"] // 2 < kept < N["orders"]
    assert refused == 0
    (note,) = result.notes
    assert note.startswith(f"orders.jsonl.gz:{kept + 1}: the file breaks off")
    assert "unknown, not zero" in note


def test_an_empty_file_is_silent_and_said_to_be(case: Path, replayed: Replayed) -> None:
    (case / "errors.jsonl").write_bytes(b"")
    result = replayed(case)
    assert result.notes == ["errors.jsonl: the file is empty: errors counts as silent."]
    assert result.counts("orders") == (N["orders"], 0)


def test_a_file_in_the_wrong_order_is_told(case: Path, replayed: Replayed) -> None:
    (case / "orders.jsonl").write_bytes(b"".join(reversed(lines_of(case / "orders.jsonl"))))
    result = replayed(case)
    (note,) = result.notes
    assert note.startswith("orders.jsonl: ")
    assert "order of arrival" in note
    assert result.summary["sources"]["orders"]["late"] > 0


def test_a_line_of_many_megabytes_is_refused_and_the_others_count(case: Path, replayed: Replayed) -> None:
    lines = lines_of(case / "orders.jsonl")
    (case / "orders.jsonl").write_bytes(b"".join([*lines[:100], b'{"event_id": "' + b"x" * 40_000_000 + b'"}\n', *lines[100:]]))
    result = replayed(case)
    assert result.counts("orders") == (N["orders"], 1)
    (note,) = result.notes
    assert note.startswith("orders.jsonl:101: event refused: ")
    assert "`max_bytes`" in note


def test_a_half_binary_file_keeps_its_text(case: Path, replayed: Replayed) -> None:
    rubbish = bytes(range(256)) * 200
    (case / "orders.jsonl").write_bytes((case / "orders.jsonl").read_bytes() + rubbish)
    result = replayed(case)
    kept, refused = result.counts("orders")
    assert kept == N["orders"]
    assert refused > 0
    (note,) = result.notes
    assert note.startswith(f"orders.jsonl:{N['orders'] + 1}: event refused: ")


@pytest.mark.parametrize(
    ("ts", "says"),
    [
        ("2026-03-02T06:05:00", "a time without an offset"),
        ("02.03.2026 06:05", "expected whole milliseconds since 1970 or RFC 3339"),
        (START_MS // 1000, "it looks like seconds"),
        (1000, "not between 2000 and 2100"),
        (START_MS + 40 * 86_400_000, "ahead of the end of the case"),
    ],
)
def test_a_wrong_time_is_refused_with_a_guess(case: Path, replayed: Replayed, ts: object, says: str) -> None:
    lines = lines_of(case / "orders.jsonl")
    event = json.loads(lines[50]) | {"ts": ts, "event_id": "new"}
    (case / "orders.jsonl").write_bytes(b"".join([*lines[:200], json.dumps(event).encode() + b"\n", *lines[200:]]))
    result = replayed(case)
    assert result.counts("orders") == (N["orders"], 1)
    (note,) = result.notes
    assert note.startswith("orders.jsonl:201: event refused: ")
    assert says in note


def test_a_missing_column_is_named_with_the_metric_it_blinds(case: Path, replayed: Replayed) -> None:
    (case / "deliveries.jsonl").write_bytes((case / "deliveries.jsonl").read_bytes().replace(b'"promised_minutes"', b'"promise"'))
    (note,) = replayed(case).notes
    assert note.startswith("deliveries.jsonl: none of its ")
    assert "'promised_minutes'" in note


def test_a_missing_label_refuses_each_event(case: Path, replayed: Replayed) -> None:
    (case / "errors.jsonl").write_bytes((case / "errors.jsonl").read_bytes().replace(b'"region"', b'"place"'))
    result = replayed(case)
    assert result.counts("errors") == (0, N["errors"])
    (note,) = result.notes
    assert note.startswith("errors.jsonl:1: event refused: has no field 'region'.")


def test_a_missing_file_is_unknown_not_zero(case: Path, replayed: Replayed) -> None:
    (case / "deliveries.jsonl").rename(case / "delivery.jsonl")
    result = replayed(case)
    (note,) = [note for note in result.notes if "no file for source" in note]
    assert "deliveries" in note
    assert "unknown, not as zero" in note
    assert "'delivery.jsonl'" in note


def test_a_broken_deploys_line_leaves_the_others(case: Path, replayed: Replayed) -> None:
    changes = replayed(case).summary["changes"]
    with (case / "deploys.jsonl").open("ab") as file:
        file.write(b'{"deploy_id": \n{"deploy_id": "chg-x", "service": "cart", "started_at": "yesterday"}\n')
    result = replayed(case)
    assert result.summary["changes"] == changes
    lines = len((case / "deploys.jsonl").read_bytes().splitlines())
    assert [note.split(": change refused: ")[0] for note in result.notes] == [f"deploys.jsonl:{lines - 1}", f"deploys.jsonl:{lines}"]


def test_a_label_explosion_is_folded_and_every_event_counts(case: Path, replayed: Replayed) -> None:
    lines = lines_of(case / "orders.jsonl")
    wild = [json.dumps(json.loads(line) | {"service": f"s{at}"}).encode() + b"\n" for at, line in enumerate(lines)]
    (case / "orders.jsonl").write_bytes(b"".join(wild))
    result = replayed(case)
    assert result.counts("orders") == (N["orders"], 0)
    (note,) = result.notes
    assert note.startswith("orders.jsonl: service has more than 200 values (`labels.max_values`)")


def test_doubled_events_count_once_and_are_told(case: Path, replayed: Replayed) -> None:
    lines = lines_of(case / "orders.jsonl")
    (case / "orders.jsonl").write_bytes(b"".join(line for each in lines for line in (each, each)))
    result = replayed(case)
    assert result.notes == []
    assert result.summary["sources"]["orders"]["doubled"] == N["orders"]
    assert result.counts("orders") == (N["orders"], 0)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("- 1\n", "case.yaml:1: not a mapping"),
        ("metrics:\n  ordres: {smallest: 0.2}\n", "Did you mean 'orders'?"),
        ("budget: {false_page: 1}\n", "Did you mean 'false_pages'?"),
        ("start: 2026-03-02T00:00:00Z\nend: 2026-03-01T00:00:00Z\n", "end: not after `start`"),
        ("start: 2026-03-02T00:00:00\n", "has no time zone"),
        ("warmup: 2h\nwarmup: 3h\n", "case.yaml:2: warmup"),
    ],
)
def test_a_mistake_in_case_yaml_is_one_line_and_exit_2(
    case: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], text: str, says: str
) -> None:
    (case / "case.yaml").write_text(text)
    done = said(monkeypatch, capsys, "replay", case)
    assert (done.code, done.out) == (2, "")
    assert len(done.err.splitlines()) == 1
    assert says in done.err


def test_what_is_no_case_is_told_with_a_near_match(case: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    done = said(monkeypatch, capsys, "replay", case.parent / "cas")
    assert (done.code, done.out) == (2, "")
    assert "no such folder" in done.err
    assert f"Did you mean '{case}'?" in done.err
    done = said(monkeypatch, capsys, "replay", case / "orders.jsonl")
    assert (done.code, "not a folder" in done.err) == (2, True)
    (case.parent / "empty").mkdir()
    done = said(monkeypatch, capsys, "replay", case.parent / "empty")
    assert (done.code, "no event file of any source" in done.err) == (2, True)


def test_results_that_cannot_be_written_are_told_before_any_work(case: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    done = said(monkeypatch, capsys, "replay", case, "--out", case / "orders.jsonl")
    assert (done.code, done.out) == (1, "")
    assert "results cannot be written there: it is a file" in done.err
