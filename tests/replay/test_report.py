"""The page of a report: whatever stands in an event is text there, and nothing in it asks anybody for anything."""

from __future__ import annotations

import base64
import gzip
import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rollguard.detectors import Account, SeriesName, Tick
from rollguard.replay import Run, html_of
from rollguard.replay.affected import _cell
from rollguard.replay.report.minutes import EVERYWHERE, Minutes
from tests.cli.terminal import said
from tests.properties import shop as shops

ATTACKS = (
    "<script>alert(1)</script>",
    "</script><script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "'onmouseover='alert(1)",
    "javascript:alert(1)",
    "<!--",
    "]]>",
    "{{ 7 * 7 }}",
    "\u2028alert(1)\u2029",
)
#: A part of the page's own, and no more.
SCRIPTS = 3


Shown = dict[str, Any]


class Tags(HTMLParser):
    """Every tag of a page with its attributes, and its text."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data


def poisoned(value: Any, attack: str) -> Any:
    """The same, with an attack in every text that is no time and no word of ours."""
    if isinstance(value, dict):
        return {key: poisoned(each, attack) for key, each in value.items()}
    if isinstance(value, list):
        return [poisoned(each, attack) for each in value]
    ours = {"", "guilty", "no_change", "inconclusive", "hold", "page", "rollback", "observe", "onset", "change", "for", "against", "even", "missing", "silent"}
    return attack if isinstance(value, str) and value not in ours and not re.fullmatch(r"\d{4}-\d\d-\d\dT[\d:.]+Z", value) else value


def test_the_page_says_what_broke_who_did_it_what_it_cost_and_what_was_done(shown: Shown) -> None:
    page = Tags(html_of([shown]))
    for words in (
        shops.CULPRIT,
        "Who did it, how sure",
        "orders lost",
        "What would have been done, and what not yet",
        "roll back",
        "eu-west",
        "us-east",
        "Where it did not",
    ):
        assert words in page.text
    assert "well" in page.text


@pytest.mark.parametrize("attack", ATTACKS)
def test_nothing_that_came_with_an_event_is_more_than_text(shown: Shown, attack: str) -> None:
    clean, page = Tags(html_of([shown])), Tags(html_of([poisoned(shown, attack)]))
    assert [tag for tag, _ in page.tags] == [tag for tag, _ in clean.tags]
    assert sum(tag == "script" for tag, _ in page.tags) == SCRIPTS
    for _, attributes in page.tags:
        assert not [name for name in attributes if name.startswith("on")]
        assert (attributes.get("href") or "#").startswith(("#", "data:application/gzip;base64,"))


def test_it_asks_nobody_for_anything_and_is_small(shown: Shown) -> None:
    text = html_of([shown])
    policy = next(attributes["content"] for tag, attributes in Tags(text).tags if tag == "meta" and "http-equiv" in attributes)
    assert policy is not None
    assert policy.startswith("default-src 'none'")
    assert not [attributes for tag, attributes in Tags(text).tags if "src" in attributes or tag in {"link", "iframe", "object"}]
    assert len(text) < 1_000_000


def test_the_same_run_gives_the_same_page(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    run.write(tmp_path / "result")
    told = said(monkeypatch, capsys, "report", str(tmp_path / "result"), "-o", str(tmp_path / "page.html"))
    assert told.code == 0
    assert (tmp_path / "page.html").read_bytes() == (tmp_path / "result" / "report.html").read_bytes()
    told = said(monkeypatch, capsys, "report", str(tmp_path), "-o", str(tmp_path / "page.html"))
    assert (told.code, "no report.json in it" in told.err) == (2, True)


def test_several_runs_make_one_page_that_the_browser_opens(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("one", "two"):
        run.write(tmp_path / name)
    program = tmp_path / "browser"
    program.write_text(f'#!/bin/sh\necho "$1" > {tmp_path}/opened\n', encoding="utf-8")
    program.chmod(0o755)
    monkeypatch.setenv("BROWSER", str(program))
    monkeypatch.setattr("webbrowser._tryorder", None)
    page = tmp_path / "all.html"
    assert said(monkeypatch, capsys, "report", str(tmp_path / "one"), str(tmp_path / "two"), "-o", str(page), "--open").code == 0
    assert (tmp_path / "opened").read_text(encoding="utf-8").strip() == page.as_uri()
    assert page.read_text(encoding="utf-8").count("<article") == 2 * len(run.incidents)


def test_a_report_of_another_version_is_told_and_not_shown(
    shown: Shown, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "report.json").write_text(json.dumps(shown | {"format": 0}), encoding="utf-8")
    told = said(monkeypatch, capsys, "report", str(tmp_path), "-o", str(tmp_path / "page.html"))
    assert (told.code, "made by another version" in told.err, "replay it again" in told.err) == (2, True, True)
    assert not (tmp_path / "page.html").exists()


def test_a_run_in_which_nothing_was_wrong_says_so(shown: Shown) -> None:
    calm = shown | {"incidents": [], "summary": shown["summary"] | {"start": None, "end": None}}
    assert "No incident was found" in Tags(html_of([calm])).text


@given(st.lists(st.integers(0, 1000), min_size=1, max_size=200), st.integers(1, 30))
def test_however_coarse_a_curve_is_nothing_that_was_counted_is_lost(counts: list[int], most: int) -> None:
    minutes = Minutes(10_000)
    names = (SeriesName(metric="orders"), SeriesName(metric="orders", labels=(("region", "eu"),)))
    for bucket, count in enumerate(counts):
        column = np.array([float(count), 1.0])
        ones = np.ones(2)
        account = Account(metric="orders", series=names, observed=column, expected=ones, variance=ones, error=0.0 * ones, missing=False, silent=False)
        minutes.add(Tick(bucket=bucket, accounts=(account,), ready=True))
    curve = minutes.curve("orders", [EVERYWHERE], 0, len(counts) * 10_000, most=most)
    assert len(curve.observed) <= most
    assert sum(each or 0.0 for each in curve.observed) == pytest.approx(sum(counts))
    assert minutes.places("orders", "region") == ["eu"]
    twice = minutes.curve("orders", [EVERYWHERE, ("region", "eu")], 0, len(counts) * 10_000, most=most)
    assert sum(each or 0.0 for each in twice.observed) == pytest.approx(sum(counts) + len(counts))


@given(st.lists(st.sampled_from("+-0"), min_size=1, max_size=120))
def test_a_gap_is_told_from_its_first_minute_to_its_last(kinds: list[str]) -> None:
    minutes = Minutes(60_000)
    names = (SeriesName(metric="orders"),)
    one = np.ones(1)
    for bucket, kind in enumerate(kinds):
        account = Account(metric="orders", series=names, observed=one, expected=one, variance=one, error=0.0 * one, missing=kind == "-", silent=kind == "0")
        minutes.add(Tick(bucket=bucket, accounts=(account,), ready=True))
    told = {minute for gap in minutes.gaps() for minute in range(gap.start_ms // 60_000, gap.end_ms // 60_000) if gap.kind == "missing"}
    long = {at for at, kind in enumerate(kinds) if kind == "-" and ((at > 0 and kinds[at - 1] == "-") or kinds[at + 1 : at + 2] == ["-"])}
    assert told == long


def test_a_cell_that_a_spreadsheet_would_take_for_a_formula_is_text(shown: Shown) -> None:
    assert [_cell(text) for text in ("=HYPERLINK(1)", "+1", "-1", "@SUM(A1)", "o-17")] == ["'=HYPERLINK(1)", "'+1", "'-1", "'@SUM(A1)", "o-17"]
    listed = gzip.decompress(base64.b64decode(shown["incidents"][0]["affected"]["csv_gz"])).decode().splitlines()
    assert listed[0] == "source,event_id,time,service,region,version"
    assert len(listed) == 1 + shown["incidents"][0]["affected"]["events"]
