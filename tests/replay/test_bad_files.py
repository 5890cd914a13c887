"""Damaged files and mistaken cases, each told in its line; what is whole of them counts."""

from __future__ import annotations

import gzip
import json
import os
import random
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars
import pytest
import zstandard

from rollguard.config import RollguardError
from rollguard.replay import march_story, open_case, run_case, write_case

Spoil = Callable[[Path], None]
AT_MS = 1_772_443_000_000
FORMS = ("jsonl.gz", "jsonl.zst", "csv", "parquet")


def _lines(case: Path) -> list[bytes]:
    return (case / "orders.jsonl").read_bytes().splitlines(keepends=True)


def _put(case: Path, lines: list[bytes]) -> None:
    (case / "orders.jsonl").write_bytes(b"".join(lines))


def _order(number: int, **fields: object) -> bytes:
    event = {"event_id": f"x{number}", "ts": AT_MS, "service": "checkout", "region": "eu-west", "version": "4.1.0"} | fields
    return json.dumps({name: value for name, value in event.items() if value is not None}).encode() + b"\n"


def _packed(form: str, change: Callable[[bytes], bytes]) -> Spoil:
    def spoil(case: Path) -> None:
        plain = case / "orders.jsonl"
        pack = gzip.compress if form == "gz" else zstandard.ZstdCompressor().compress
        (case / f"orders.jsonl.{form}").write_bytes(change(pack(plain.read_bytes())))
        plain.unlink()

    return spoil


def _named(name: str) -> Spoil:
    def spoil(case: Path) -> None:
        (case / "orders.jsonl").rename(case / name)

    return spoil


def _instead(make: Callable[[Path], object]) -> Spoil:
    def spoil(case: Path) -> None:
        (case / "orders.jsonl").unlink()
        make(case / "orders.jsonl")

    return spoil


def _yaml(text: str | bytes) -> Spoil:
    def spoil(case: Path) -> None:
        (case / "case.yaml").write_bytes(text if isinstance(text, bytes) else text.encode())

    return spoil


def _deploys(*lines: bytes) -> Spoil:
    def spoil(case: Path) -> None:
        with (case / "deploys.jsonl").open("ab") as file:
            file.write(b"".join(lines))

    return spoil


def _shuffle(case: Path) -> None:
    lines = _lines(case)
    random.Random(1).shuffle(lines)  # noqa: S311 - an order, not a secret
    _put(case, lines)


def _yaml_folder(case: Path) -> None:
    (case / "case.yaml").unlink()
    (case / "case.yaml").mkdir()


def _twice(case: Path) -> None:
    shutil.copy(case / "orders.jsonl", case / "orders.csv")


def _empty(case: Path) -> None:
    shutil.rmtree(case)
    case.mkdir()


@pytest.fixture(scope="session")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small case without a mistake: an hour and a half of a shop, one incident, plain files."""
    case = tmp_path_factory.mktemp("whole") / "case"
    write_case(march_story(seed=2, scale=0.0005, days_before=0.05, hours_of_incident=0.2), case)
    for packed in case.glob("*.jsonl.gz"):
        packed.with_suffix("").write_bytes(gzip.decompress(packed.read_bytes()))
        packed.unlink()
    with (case / "case.yaml").open("a", encoding="utf-8") as file:
        file.write("warmup: 30m\n")
    return case


@pytest.fixture
def case(whole: Path, tmp_path: Path) -> Path:
    """A copy of it to spoil."""
    return Path(shutil.copytree(whole, tmp_path / "case"))


@pytest.fixture(scope="session")
def clean(whole: Path) -> dict[str, Any]:
    """Summary of the case without a mistake."""
    return run_case(open_case(whole)).summary


def _notes(case: Path, clean: dict[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """Summary of a spoiled case, and the lines that the clean one has not."""
    summary = run_case(open_case(case)).summary
    notes = [note for note in summary["notes"] if note not in clean["notes"]]
    assert all(note.isprintable() for note in notes)
    return summary, notes


#: What is done to the orders, and the one line that tells of it.
BROKEN: dict[str, tuple[Spoil, str]] = {
    "cut gzip": (_packed("gz", lambda data: data[: len(data) // 2]), r"orders.jsonl.gz:\d+: the file breaks off: it ends in the middle"),
    "cut zst": (_packed("zst", lambda data: data[:-10]), r"orders.jsonl.zst:\d+: the file breaks off: it ends in the middle"),
    "no gzip": (_named("orders.jsonl.gz"), r"orders.jsonl.gz: nothing .* it is not gzip"),
    "no zst": (_named("orders.jsonl.zst"), r"orders.jsonl.zst: nothing .* it is not Zstandard"),
    "no parquet": (_named("orders.parquet"), r"orders.parquet: nothing .* it is not Parquet"),
    "no CSV": (_named("orders.csv"), r"orders.csv: nothing .* not a header in CSV"),
    "empty gzip": (_packed("gz", lambda _: b""), r"orders.jsonl.gz: nothing .* it is empty, which no gzip file is"),
    "empty": (lambda case: _put(case, []), r"orders.jsonl: the file is empty: orders counts as silent"),
    "a folder": (_instead(Path.mkdir), r"orders.jsonl: nothing .* it is a folder"),
    "a pipe": (_instead(os.mkfifo), r"orders.jsonl: nothing .* not a regular file"),
    "a link to nothing": (_instead(lambda path: path.symlink_to("nowhere")), r"orders.jsonl: nothing .* a link to nothing"),
    "an input error": (_instead(lambda path: path.symlink_to("/proc/self/mem")), r"orders.jsonl: nothing .* input/output error"),
    "not there": (_instead(lambda _: None), r"case: no file for source orders .* unknown, not as zero"),
    "mistyped": (_named("order.jsonl"), r"case: no file for source orders .* If 'order.jsonl' is meant, rename it"),
    "the wrong order": (_shuffle, r"orders.jsonl: \d+ of \d,\d+ events came too late to count: .* check the order of the records"),
    "another column": (
        lambda case: _put(case, [line.replace(b'"region"', b'"place"') for line in _lines(case)]),
        r"orders.jsonl:1: .* Not one of its 1,1\d\d events",
    ),
    "half binary": (lambda case: _put(case, [*_lines(case)[:500], random.Random(1).randbytes(50_000)]), r"orders.jsonl:501: event refused: .* In all \d+"),  # noqa: S311
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_file_is_told_in_one_line_and_the_other_files_count(case: Path, clean: dict[str, Any], name: str) -> None:
    spoil, begins = BROKEN[name]
    spoil(case)
    if name == "an input error" and not Path("/proc/self/mem").exists():
        pytest.skip("there is no file here that can be opened but not read")
    summary, notes = _notes(case, clean)
    # That then nothing can be found is another matter, told in its own line.
    told = [note for note in notes if not note.startswith("nothing could be found")]
    assert len(told) == 1
    assert re.match(begins, told[0])
    orders = summary["sources"]["orders"]
    assert orders["read"] == orders["kept"] + orders["late"] + orders["doubled"] + sum(orders["refused"].values())
    assert {source: counts for source, counts in summary["sources"].items() if source != "orders"} == {
        source: counts for source, counts in clean["sources"].items() if source != "orders"
    }


@pytest.mark.skipif(os.geteuid() == 0, reason="nothing is unreadable to the superuser")
def test_a_file_that_may_not_be_read_is_told_in_one_line(case: Path, clean: dict[str, Any]) -> None:
    (case / "orders.jsonl").chmod(0)
    assert [note for note in _notes(case, clean)[1] if "no permission to read it" in note] != []


@pytest.mark.parametrize("damage", ["cut", "flipped", "followed by rubbish"])
def test_all_that_can_be_unpacked_of_a_damaged_gzip_counts(case: Path, clean: dict[str, Any], damage: str) -> None:
    lines = _lines(case)
    half = len(lines) // 2

    def flushed(data: bytes) -> bytes:
        """Half of the lines, whole to the last byte, then damage."""
        del data
        head = gzip.compress(b"".join(lines[:half]))
        tail = gzip.compress(b"".join(lines[half:]))
        return head + {"cut": tail[:5], "flipped": tail[:10] + b"\xff" * 20, "followed by rubbish": b"rubbish"}[damage]

    _packed("gz", flushed)(case)
    summary, [note] = _notes(case, clean)
    assert note.startswith(f"orders.jsonl.gz:{half + 1}: the file breaks off")
    assert summary["sources"]["orders"]["read"] == half
    assert summary["sources"]["orders"]["refused"] == {}


#: What is wrong with case.yaml, and the lines that tell of it.
MISTAKES: dict[str, tuple[Spoil, list[str]]] = {
    "a list": (_yaml("- a\n- b\n"), [r".*case.yaml:1: not a mapping"]),
    "a word": (_yaml("hello\n"), [r".*case.yaml:1: not a mapping"]),
    "no YAML": (_yaml("name: [a\n"), [r".*case.yaml:2: not YAML"]),
    "binary": (_yaml(b"\xff\xfe\x00"), [r".*case.yaml:1: byte \d is not UTF-8"]),
    "an unknown metric": (_yaml("money_clock: {metric: sales}\n"), [r".*case.yaml:1: money_clock.metric: there is no metric 'sales'"]),
    "start after end": (_yaml("start: 2026-03-02T00:00:00Z\nend: 2026-03-01T00:00:00Z\n"), [r".*case.yaml:2: end: not after `start`"]),
    "a time without zone": (_yaml("start: 2026-03-02T00:00:00\n"), [r".*case.yaml:1: start: '2026-03-02T00:00:00' has no time zone"]),
    "times that are none": (_yaml("start: soon\nend: [1]\n"), [r".*case.yaml:1: start: 'soon' is no time", r".*case.yaml:2: end: a list is no time"]),
    "a mistyped year": (_yaml("start: 2006-03-02T00:00:00Z\nend: 2026-03-03T00:00:00Z\n"), [r".*case.yaml:2: end: more than 400 days after"]),
    "an impossible year": (_yaml("start: 0001-01-01T00:00:00+14:00\n"), [r".*case.yaml:1: start: .* not between 2000 and 2100"]),
    "its own key and the config's": (_yaml("end: 1\nbudgt: 3\nname: {}\n"), [r".*:1: end", r".*:2: budgt: unknown key", r".*:3: name"]),
    "a folder": (_yaml_folder, [r".*case.yaml: cannot be read"]),
    "no events": (_empty, [r".*case: no event file of any source"]),
    "two files of one source": (_twice, [r".*orders.jsonl and orders.csv are both"]),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_all_mistakes_of_a_case_are_told_at_once_each_in_a_line(case: Path, name: str) -> None:
    spoil, begins = MISTAKES[name]
    spoil(case)
    with pytest.raises(RollguardError) as caught:
        open_case(case)
    assert caught.value.code in {"config", "case"}
    lines = str(caught.value).splitlines()
    assert len(lines) == len(begins)
    assert all(re.match(pattern, line) for pattern, line in zip(begins, lines, strict=True))


def test_broken_lines_of_deploys_are_told_by_reason_and_the_others_count(case: Path, clean: dict[str, Any]) -> None:
    n_good = len((case / "deploys.jsonl").read_bytes().splitlines())
    good = b'{"deploy_id":"good","service":"cart","started_at":"2026-03-02T09:00:00Z"}\n'
    _deploys(b"{no\n", b'{"deploy_id":"a"}\n', good, b"{no\n", b'{"deploy_id":"a","service":"b","started_at":"2026-03-02T09:00:00"}\n', b"\xff\x00\n")(case)
    summary, notes = _notes(case, clean)
    assert summary["changes"] == clean["changes"] + 1
    assert summary["changes_refused"] == 5
    assert all(re.match(rf"deploys.jsonl:({n_good + 1}|{n_good + 2}|{n_good + 5}|{n_good + 6}): change refused: ", note) for note in notes)
    assert sum("1 more like it" in note for note in notes) == 1


def test_a_flood_of_broken_deploys_does_not_flood_the_terminal(case: Path, clean: dict[str, Any]) -> None:
    _deploys(*[b'{"deploy_id":"a","service":"b","change_kind":"\\u001b%d","started_at":1}\n' % i for i in range(100)])(case)
    summary, notes = _notes(case, clean)
    assert summary["changes_refused"] == 100
    assert len(notes) <= 6
    assert all(note.isprintable() for note in notes)


def test_one_endless_line_costs_little_memory_and_none_of_the_events_around_it(case: Path, clean: dict[str, Any]) -> None:
    good = _lines(case)
    with (case / "orders.jsonl").open("wb") as file:
        file.writelines(good[:500])
        for _ in range(100):
            file.write(b"a" * 1_000_000)
        file.write(b"\n")
        file.writelines(good[500:])
    program = (
        "import json, resource, sys; from pathlib import Path; from rollguard.replay import open_case, run_case\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "summary = run_case(open_case(Path(sys.argv[1]))).summary\n"
        "print(json.dumps([summary, (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024]))"
    )
    done = subprocess.run([sys.executable, "-P", "-c", program, str(case)], capture_output=True, text=True, check=True, cwd=case)
    summary, megabytes = json.loads(done.stdout)
    assert summary["sources"]["orders"]["refused"] == {"size": 1}
    assert summary["sources"]["orders"]["kept"] == clean["sources"]["orders"]["kept"]
    assert any(note.startswith("orders.jsonl:501: event refused: ") for note in summary["notes"])
    assert megabytes < 200


@pytest.mark.parametrize("where", ["before", "behind", "around"])
def test_times_from_another_decade_do_not_make_a_case_of_unknown_span_last_for_decades(case: Path, clean: dict[str, Any], where: str) -> None:
    (case / "case.yaml").write_text("warmup: 30m\n")
    good = _lines(case)
    ancient = [_order(i, ts=1_000_000_000_000 + i) for i in range(30)]
    future = [_order(100 + i, ts=4_000_000_000_000 + i) for i in range(30)]
    _put(case, [*(ancient if where != "behind" else []), *good, *(future if where != "before" else [])])
    summary, notes = _notes(case, clean)
    assert any(re.match(r"orders.jsonl: \d+ events lie more than 31 days from all others, as those at ", note) for note in notes)
    assert summary["sources"]["orders"]["kept"] == clean["sources"]["orders"]["kept"]
    assert summary["end"].startswith("2026-03-02")


@pytest.mark.parametrize("line", ["start: 2001-01-01T00:00:00Z", "end: 2099-01-01T00:00:00Z"])
def test_a_stated_time_decades_away_from_the_events_is_told_and_not_taken(case: Path, clean: dict[str, Any], line: str) -> None:
    (case / "case.yaml").write_text(f"warmup: 30m\n{line}\n")
    summary, notes = _notes(case, clean)
    assert [note for note in notes if note.startswith(f"case.yaml: {line.split(':', maxsplit=1)[0]} is more than 31 days from the events")] != []
    assert summary["sources"]["orders"]["kept"] == clean["sources"]["orders"]["kept"]


def _as(form: str, case: Path, source: str) -> None:
    plain = case / f"{source}.jsonl"
    events = [json.loads(line) for line in plain.read_bytes().splitlines()]
    target = case / f"{source}.{form}"
    if form == "jsonl.gz":
        target.write_bytes(gzip.compress(plain.read_bytes()))
    elif form == "jsonl.zst":
        target.write_bytes(zstandard.ZstdCompressor().compress(plain.read_bytes()))
    elif form == "csv":
        polars.DataFrame(events, infer_schema_length=None).write_csv(target)
    else:
        polars.DataFrame(events, infer_schema_length=None).with_columns(polars.col("region").cast(polars.Binary)).write_parquet(target)
    plain.unlink()


@pytest.mark.parametrize("form", FORMS)
def test_every_form_of_a_case_gives_the_same_timeline(whole: Path, case: Path, form: str) -> None:
    expected = run_case(open_case(whole))
    assert expected.timeline
    for source in ("orders", "errors", "deliveries"):
        _as(form, case, source)
    found = run_case(open_case(case))
    assert found.timeline == expected.timeline
    counts = [{name: {**source, "file": None} for name, source in run.summary["sources"].items()} for run in (expected, found)]
    assert counts[0] == counts[1]


def test_changes_in_a_table_are_read_like_those_in_json(whole: Path, case: Path) -> None:
    records = [json.loads(line) for line in (case / "deploys.jsonl").read_bytes().splitlines()]
    flat = [{**record, "rollback": json.dumps(record["rollback"])} for record in records]
    polars.DataFrame(flat).write_csv(case / "deploys.csv")
    (case / "deploys.jsonl").unlink()
    found, expected = run_case(open_case(case)), run_case(open_case(whole))
    assert found.summary["changes_refused"] == 0
    assert found.timeline == expected.timeline


def test_a_broken_row_of_a_table_costs_only_itself(case: Path, clean: dict[str, Any]) -> None:
    _as("csv", case, "orders")
    header, *rows = (case / "orders.csv").read_bytes().splitlines(keepends=True)
    n_columns = header.count(b",") + 1
    bad = [b'"never closed,1\n', b"1," * n_columns + b"1\n", b"\xe9\n", b"a" * 200_000 + b"\n"]
    (case / "orders.csv").write_bytes(b"\xef\xbb\xbf" + header + b"".join(rows[:500] + bad + rows[500:]))
    summary, notes = _notes(case, clean)
    assert {note.split(":")[1] for note in notes} == {"502", "504", "505"}
    assert any(f"a row of {n_columns + 1} cells under a header of {n_columns}" in note or "a row that is not CSV" in note for note in notes)
    assert summary["sources"]["orders"]["kept"] == clean["sources"]["orders"]["kept"]
    assert sum(summary["sources"]["orders"]["refused"].values()) == len(bad)
