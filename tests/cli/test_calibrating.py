"""Promised and measured rate of a case, in words and as JSON: the numbers are those of the detectors."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from rollguard.cli.calibrating import MOST_SERIES
from rollguard.detectors import Detect, Signal
from rollguard.replay import Replay, open_case
from tests.cli.terminal import Said, said
from tests.properties.shop import a_shop, write

SHOP = a_shop(hours=3.0, per_second=2.0)
#: Only counts and ratios have had time enough in three hours.
CONFIG = "warmup: 2h\nmetrics: {promised_minutes: null, actual_minutes: null}\n"


@pytest.fixture(scope="module")
def case(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three hours of a small shop, the last of them judged; in its last half hour one region goes wrong."""
    return write(tmp_path_factory.mktemp("calibrate") / "case", SHOP, end_ms=SHOP.end_ms, config=CONFIG)


@pytest.fixture(scope="module")
def stage(case: Path) -> tuple[Detect, list[Signal]]:
    """The detectors after that case, and what they said."""
    opened = open_case(case)
    replay, detect, signals = Replay(opened.settings, opened.events(), None, start_ms=opened.start_ms, end_ms=opened.end_ms), Detect(opened.settings), []
    for closed in replay.closed(None):
        signals += [each for each in detect.feed(closed) if isinstance(each, Signal) and each.kind == "left"]
    return detect, signals


class Terminal:
    """Calls `rollguard calibrate`."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        self.monkeypatch = monkeypatch
        self.capsys = capsys

    def says(self, *words: object) -> Said:
        return said(self.monkeypatch, self.capsys, "calibrate", *words)

    def tells(self, *words: object) -> dict[str, Any]:
        done = self.says(*words, "--json")
        assert (done.code, done.err) == (0, "")
        told: dict[str, Any] = json.loads(done.out)
        return told


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Terminal:
    return Terminal(monkeypatch, capsys)


def digits(value: float) -> float:
    return pytest.approx(value, rel=1e-3)  # type: ignore[return-value]


def test_the_numbers_are_those_of_the_detectors(terminal: Terminal, case: Path, stage: tuple[Detect, list[Signal]]) -> None:
    told, (detect, signals) = terminal.tells(case), stage
    records = detect.calibration()
    assert told["promised_per_month"] == digits(sum(each.promised for each in records))
    assert told["model_alone_per_month"] == digits(sum(each.measured for each in records))
    assert told["signals"] == len(signals) > 0
    by_name = {each["series"]: each for each in told["series"]}
    assert len(by_name) == sum(each.watch == "fast" for each in records)
    for each in records:
        found = by_name[str(each.series)]
        mine = found[each.watch]
        assert (found["kind"], found["worse"], mine["ready"]) == (each.kind, each.worse, each.ready)
        for key, value in {
            "honesty": each.honesty,
            "scatter": each.scatter,
            "error": each.error,
            "per_minute": each.per_minute,
            "promised_per_month": each.promised,
            "model_alone_per_month": each.measured,
        }.items():
            assert mine[key] == digits(value), key
        assert mine["threshold_nats"] == (None if each.threshold is None else digits(each.threshold))
        sizes = [size for within in mine["smallest_change"].values() for size in within.values()]
        assert sizes == [None if one.change is None else digits(one.change) for one in sorted(each.shown, key=lambda one: one.within_ms)]
        assert found["signals"] == sum(signal.series == each.series for signal in signals)


def test_promised_stands_beside_measured_over_the_time_that_was_judged(terminal: Terminal, case: Path) -> None:
    told = terminal.tells(case)
    assert told["budget"] == {"false_pages": 1.0, "per": "30d", "per_month": 1.0, "slow_share": 0.25}
    assert told["days"] == digits(3.0 / 24.0)
    # Two of the three hours are the warm-up.
    assert told["days_judged"] == pytest.approx(1.0 / 24.0, rel=0.1)
    # The slow watch cannot speak yet; all else has its three quarters.
    assert 0.5 < told["promised_per_month"] <= 0.75
    assert told["bursts"] == 1
    assert told["bursts_per_month"] == digits(30.0 / told["days_judged"])
    assert told["signals_per_month"] == digits(told["signals"] * 30.0 / told["days_judged"])


def test_the_worst_series_come_first(terminal: Terminal, case: Path) -> None:
    ready = [each["fast"]["times_promised"] for each in terminal.tells(case)["series"] if each["fast"]["ready"]]
    assert len(ready) > 10
    assert ready == sorted(ready, reverse=True)


def test_a_person_reads_it_without_a_word_of_statistics(terminal: Terminal, case: Path) -> None:
    done = terminal.says(case)
    assert (done.code, done.err) == (0, "")
    for word in (
        "one false page in 30d for everything", "Promised", "Measured", "in 1 burst,", "A true incident counts too", "trust in", "events", "threshold",
        "60 min", "orders{region=eu-west}", "Smallest change that is seen in time",
    ):  # fmt: skip
        assert word in done.out, word
    for word in ("honesty", "posterior", "divergence", "\x1b"):
        assert word not in done.out
    assert max(map(len, done.out.splitlines())) < 250


def test_each_column_is_explained(terminal: Terminal, case: Path) -> None:
    lines = terminal.says(case).out.splitlines()
    for column in ("model alone: ", "trust in the model: ", "threshold: ", "smallest change: "):
        assert any(line.startswith(column) for line in lines), column
    # A slow watch that cannot speak has no column.
    assert not any("a day" in line for line in lines)


def test_rows_are_bounded_and_all_shows_them(terminal: Terminal, case: Path) -> None:
    told = [each["series"] for each in terminal.tells(case)["series"] if each["fast"]["ready"]]
    short, whole = terminal.says(case).out, terminal.says(case, "--all").out

    def rows(text: str) -> list[str]:
        return [word for line in text.splitlines() if (word := line.partition(" ")[0]) in told]

    assert rows(short) == told[:MOST_SERIES]
    assert f"and {len(told) - MOST_SERIES} more" in short
    assert rows(whole) == told
    assert "more with less" not in whole


def test_a_config_goes_over_the_defaults(terminal: Terminal, case: Path, tmp_path: Path) -> None:
    mine = tmp_path / "mine.yaml"
    mine.write_text("budget: {false_pages: 10}\n", encoding="utf-8")
    assert terminal.tells(case, "-c", mine)["promised_per_month"] == digits(10.0 * terminal.tells(case)["promised_per_month"])


def test_too_short_a_case_says_so(terminal: Terminal, tmp_path: Path) -> None:
    short = write(tmp_path / "short", SHOP, end_ms=SHOP.end_ms, config=CONFIG.replace("2h", "2d"))
    done = terminal.says(short)
    assert done.code == 0
    assert "No series has been seen for long enough to be judged" in done.out
    told = terminal.tells(short)
    assert (told["days_judged"], told["promised_per_month"], told["signals_per_month"]) == (0.0, 0.0, None)


def test_what_is_wrong_with_a_file_is_noted(terminal: Terminal, tmp_path: Path) -> None:
    half = write(tmp_path / "half", SHOP, end_ms=SHOP.end_ms, config=CONFIG)
    (half / "deliveries.jsonl").unlink()
    (half / "errors.jsonl").rename(half / "errors.jsonl.gz")  # no gzip at all
    told = terminal.tells(half)
    assert any("no file for source deliveries" in note for note in told["notes"])
    assert any("errors.jsonl.gz" in note for note in told["notes"])


def test_a_river_model_says_how_often_it_could_not_answer(terminal: Terminal, tmp_path: Path) -> None:
    config = "warmup: 1h\nbucket: 60s\nlabels: {watched: [region]}\n"
    config += "metrics: {promised_minutes: null, actual_minutes: null, errors: {model: {name: river.anomaly.GaussianScorer}}}\n"
    modelled = write(tmp_path / "modelled", SHOP, end_ms=SHOP.end_ms, config=config)
    told = terminal.tells(modelled)
    assert told["models"] == [{"metric": "errors", "model": "river.anomaly.GaussianScorer", "series": 4, "ready": 0, "refused": 0, "renewed": 0}]
    assert {each["model"] for each in told["series"] if each["metric"] == "errors"} == {"river.anomaly.GaussianScorer"}
    assert "errors: river.anomaly.GaussianScorer watches 4 series, 0 of them ready; refused 0 values" in terminal.says(modelled).out


@pytest.mark.parametrize("command", ["calibrate", "check"])
def test_a_wrong_model_is_a_mistake_of_the_file_that_names_it(
    command: str, case: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    mine = tmp_path / "mine.yaml"
    lines = ["metrics:", "  orders:", "    model: {name: river.anomaly.GaussScorer}", "  errors:", "    watch: false"]
    lines += ["    model: {name: river.anomaly.GaussianScorer, arguments: {window: 3}}"]
    mine.write_text("\n".join(lines), encoding="utf-8")
    done = said(monkeypatch, capsys, command, case, "-c", mine)
    assert (done.code, done.out) == (2, "")
    first, second = done.err.splitlines()
    assert first.startswith(f"{mine}:3: metrics.orders.model: river.anomaly.GaussScorer: no such model. Expected: ")
    assert first.endswith("Did you mean 'river.anomaly.GaussianScorer'?")
    assert second.startswith(f"{mine}:6: metrics.errors.model: river.anomaly.GaussianScorer: unknown argument 'window'")


def test_a_wrong_model_of_a_case_is_one_of_its_case_yaml(terminal: Terminal, tmp_path: Path) -> None:
    wrong = write(tmp_path / "wrong", SHOP, end_ms=SHOP.end_ms, config="metrics: {orders: {model: {name: river.drift.ADWINS}}}\n")
    done = terminal.says(wrong)
    assert done.code == 2
    assert "case.yaml:4: metrics.orders.model: river.drift.ADWINS: no such model" in done.err


def test_no_case_is_wrong_usage(terminal: Terminal, tmp_path: Path) -> None:
    done = terminal.says(tmp_path / "no")
    assert (done.code, done.out) == (2, "")
    assert "no such folder" in done.err


def test_help_teaches_with_an_example_and_the_exit_codes(terminal: Terminal) -> None:
    done = terminal.says("--help")
    for word in ("rollguard calibrate cases/quiet-7", "0 fine", "--all", "5, 15 and 60"):
        assert word in done.out, word
