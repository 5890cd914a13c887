"""A config told in words: what it watches, every mistake, and what its memory is too short for."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest

from rollguard.config import Layer, default_text, load_layers
from rollguard.detectors import SeriesTree, fast_settings, log_thresholds, slow_settings
from tests.cli.terminal import Said, said
from tests.properties.shop import REGIONS, a_shop, write

SHOP = a_shop(hours=2.0, per_second=2.0)


@pytest.fixture(scope="module")
def case(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small case: about a hundred orders a minute over three regions."""
    return write(tmp_path_factory.mktemp("check") / "case", SHOP, end_ms=SHOP.end_ms)


class Checker:
    """Calls `rollguard check` with a config of some lines."""

    def __init__(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        self.file = tmp_path / "mine.yaml"
        self.monkeypatch = monkeypatch
        self.capsys = capsys

    def says(self, config: str = "", *words: object) -> Said:
        self.file.write_text(config)
        return said(self.monkeypatch, self.capsys, "check", "-c", self.file, *words)

    def tells(self, config: str = "", *words: object) -> dict[str, Any]:
        done = self.says(config, *words, "--json")
        assert (done.code, done.err) == (0, "")
        told: dict[str, Any] = json.loads(done.out)
        return told


@pytest.fixture
def checker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Checker:
    """The command over a file of the test's own."""
    return Checker(tmp_path, monkeypatch, capsys)


def test_a_person_reads_what_is_watched_and_what_is_too_rare_to_be_seen(checker: Checker) -> None:
    done = checker.says("metrics: {orders: {smallest: 0.25, model: {name: river.drift.ADWIN}}, errors: {watch: false}}\n")
    assert (done.code, done.err) == (0, "")
    for word in ("no mistakes", "What is watched", "how many orders", "river.drift.ADWIN", "25 %", "one in 90d", "never pages", "service, region"):
        assert word in done.out, word
    (sentence,) = [line for line in done.out.splitlines() if line.startswith("orders: this half-life")]
    for word in ("(4h) cannot see the change you asked for (0.25) below", "raise baseline.half_life to", "or smallest to"):
        assert word in sentence, word
    assert "errors: this half-life" not in done.out
    assert "nats" not in done.out
    assert "\x1b" not in done.out


def test_all_mistakes_are_told_at_once(checker: Checker) -> None:
    done = checker.says("baseline: {half_live: 4h}\nplaces: {eu: {time_zone: Europe/Belrin}}\nmetrics: {orders: {smallest: 0}}\n")
    assert (done.code, done.out) == (2, "")
    assert [line.partition(": ")[0].rpartition(":")[2] for line in done.err.splitlines()] == ["1", "2", "3"]
    assert "Did you mean 'Europe/Berlin'?" in done.err


def test_mistakes_of_a_case_are_told_as_well(checker: Checker, case: Path, tmp_path: Path) -> None:
    assert checker.says("", tmp_path / "no").code == 2
    twin = write(tmp_path / "twin", SHOP, end_ms=SHOP.end_ms, config="accept: [{metric: orderly, at: 2026-03-02T07:00:00Z}]\n")
    done = checker.says("", twin)
    assert (done.code, done.out) == (2, "")
    assert "case.yaml:4: accept[0].metric" in done.err
    assert checker.says("bucket: 7s\n", case).code == 2


def _metric(told: dict[str, Any], name: str) -> dict[str, Any]:
    (found,) = [each for each in told["metrics"] if each["metric"] == name]
    assert isinstance(found, dict)
    return found


def test_what_is_advised_does_what_is_asked_for(checker: Checker) -> None:
    for name in ("orders", "errors", "promised_minutes"):
        before = _metric(checker.tells(), name)
        advice = before["advice"]
        assert before["least_per_minute"] > advice["per_minute"]
        longer = _metric(checker.tells(f"baseline: {{half_life: {advice['half_life']}}}\n"), name)
        larger = _metric(checker.tells(f"metrics: {{{name}: {{smallest: {advice['smallest']}}}}}\n"), name)
        # Rounded to two digits, upwards.
        for after in (longer, larger):
            assert 0.7 * advice["per_minute"] < after["least_per_minute"] <= 1.1 * advice["per_minute"]


def test_a_longer_lag_a_larger_change_and_a_larger_budget_need_fewer_events(checker: Checker) -> None:
    def least(config: str) -> float:
        return float(_metric(checker.tells(config), "orders")["least_per_minute"])

    shipped = least("")
    for config in ("baseline: {lag: 4h}", "metrics: {orders: {smallest: 0.5}}", "budget: {false_pages: 100}", "baseline: {half_life: 2d}"):
        assert least(config) < shipped, config


def test_the_memory_law_holds_for_the_number_that_is_told(checker: Checker) -> None:
    told = _metric(checker.tells("baseline: {lag: 0s}\n"), "orders")
    # Half of the nats that come in a time constant must pass the threshold: tau = half-life / ln 2; a fall to 1 / 1.1.
    fall = 1.0 - (1.0 + math.log(1.1)) / 1.1
    needed = 2.0 * told["threshold_nats"] / (240.0 / math.log(2.0)) / fall
    assert needed <= told["least_per_minute"] <= 1.06 * needed


def test_without_a_slow_watch_none_is_told(checker: Checker) -> None:
    assert _metric(checker.tells("baseline: {slow_share: 0}\n"), "orders")["slow_least_per_minute"] is None
    told = _metric(checker.tells(), "orders")
    assert told["slow_least_per_minute"] < told["least_per_minute"]


def test_both_watches_share_the_budget_as_the_detectors_do(checker: Checker) -> None:
    settings = load_layers([Layer(default_text(), "default.yaml")])
    tree = SeriesTree("orders", settings.labels.watched)
    fast, slow = fast_settings(settings), slow_settings(settings)
    assert slow is not None
    told = _metric(checker.tells(), "orders")
    assert told["threshold_nats"] == pytest.approx(float(log_thresholds(fast, 4, tree)[0]), abs=0.005)
    # The law of memory on hours, behind a lag of a day: see above.
    nats = float(log_thresholds(slow, 4, tree)[0])
    fall = 1.0 - (1.0 + math.log(1.1)) / 1.1
    needed = nats / (72.0 / math.log(2.0) / 2.0 + 24.0) / fall / 60.0
    assert needed <= told["slow_least_per_minute"] <= 1.1 * needed


def test_a_case_names_the_series_that_are_too_rare_the_worst_first(checker: Checker, case: Path) -> None:
    told = checker.tells("", case)
    lacking = [each["per_minute"] / each["least_per_minute"] for each in told["unseen"]]
    assert lacking == sorted(lacking)
    assert all(share < 1.0 for share in lacking)
    assert 0 < len(told["unseen"]) < told["series"]
    by_name = {each["series"]: each for each in told["unseen"]}
    assert "orders" not in by_name
    hours = SHOP.hours
    for region in REGIONS:
        mine = [event for event in SHOP.events["errors"] if event.fields["region"] == region and event.fields["service"] == "search"]
        assert by_name[f"errors{{service=search,region={region}}}"]["per_minute"] == pytest.approx(len(mine) / (60.0 * hours), rel=0.02)


def test_what_is_advised_to_a_series_makes_it_seen(checker: Checker, case: Path) -> None:
    worst = checker.tells("", case)["unseen"][0]
    metric = worst["series"].partition("{")[0]
    longer = checker.tells(f"baseline: {{half_life: {worst['advice']['half_life']}}}\n", case)
    larger = checker.tells(f"metrics: {{{metric}: {{smallest: {worst['advice']['smallest']}}}}}\n", case)
    for told in (longer, larger):
        assert worst["series"] not in {each["series"] for each in told["unseen"]}


def test_a_bounded_number_of_series_is_told_to_a_person(checker: Checker, case: Path) -> None:
    config = "metrics: {orders: {smallest: 0.001}, errors: {smallest: 0.001}}\n"
    n = len(checker.tells(config, case)["unseen"])
    done = checker.says(config, case)
    assert done.code == 0
    assert sum(line.startswith("! ") and "this half-life" in line for line in done.out.splitlines()) == 10
    assert f"and {n - 10} more of" in done.out


def test_a_config_that_sees_all_says_so(checker: Checker, case: Path) -> None:
    done = checker.says("baseline: {half_life: 300d}\nmetrics: {errors: {smallest: 0.5}, orders: {smallest: 0.5}, actual_minutes: {watch: false}}\n", case)
    assert "series of the case the change that is asked for can be seen" in done.out
    assert "! " not in done.out


def test_what_a_case_does_not_hold_is_said(checker: Checker, tmp_path: Path) -> None:
    half = write(tmp_path / "half", SHOP, end_ms=SHOP.end_ms)
    (half / "deliveries.jsonl").unlink()
    (half / "errors.jsonl").rename(half / "errors.jsonl.gz")  # no gzip at all
    done = checker.says("", half)
    assert (done.code, done.err) == (0, "")
    for word in ("no file for source deliveries", "no event of metric promised_minutes", "errors.jsonl.gz"):
        assert word in done.out, word


def test_help_teaches_with_an_example_and_the_exit_codes(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    done = said(monkeypatch, capsys, "check", "--help")
    assert "rollguard check -c shop.yaml" in done.out
    assert "0 fine" in done.out
