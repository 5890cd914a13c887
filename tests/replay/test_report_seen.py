"""The page as somebody sees it, in a real Chromium: drawn, readable, by keyboard and on paper, and quiet."""

from __future__ import annotations

import csv
import gzip
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page

from rollguard.replay import html_of, open_case, run_case
from tests.properties import shop as shops
from tests.replay.test_report import ATTACKS, poisoned
from tests.servers.chromium import SIZES, THEMES, browser, opened

__all__ = ["browser"]

Shown = dict[str, Any]


@pytest.fixture(scope="module")
def page(shown: Shown, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Its page."""
    return written(shown, tmp_path_factory.mktemp("page"))


def written(shown: Shown, folder: Path) -> Path:
    file = folder / "report.html"
    file.write_text(html_of([shown]), encoding="utf-8")
    return file


def plots(shown: Shown) -> int:
    parts = sum(1 + len(row["parts"]) if len(row["parts"]) > 1 else 1 for incident in shown["incidents"] for row in incident["charts"])
    return len(shown["overview"]["curves"]) + parts + sum(incident["clock"] is not None for incident in shown["incidents"])


def coloured(page: Page, chart: int) -> int:
    """Points of a chart's canvas that are not empty."""
    count: int = (
        page.locator(".plot canvas")
        .nth(chart)
        .evaluate(
            """(canvas) => {
            const seen = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data;
            let count = 0;
            for (let at = 3; at < seen.length; at += 4) count += seen[at] > 0;
            return count;
        }"""
        )
    )
    return count


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("theme", THEMES)
def test_every_chart_is_drawn_and_nobody_is_kept_out(browser: Browser, shown: Shown, page: Path, theme: str, size: str) -> None:
    with opened(browser, page, theme=theme, size=size) as view:
        assert view.drawn() == plots(shown) > 5
        assert min(coloured(view.page, chart) for chart in range(plots(shown))) > 500
        assert view.page.evaluate("() => document.documentElement.scrollWidth <= innerWidth")
        view.keep(f"small-shop-{theme}-{size}")
        assert view.violations() == []
        assert view.complaints == []


def test_what_keeps_a_reader_out_or_asks_somebody_is_found(browser: Browser, tmp_path: Path) -> None:
    bad = tmp_path / "bad.html"
    bad.write_text(
        '<!DOCTYPE html><title>bad</title><p style="color: #ccc">pale</p><img src="http://127.0.0.1:9/pixel.png"><script>console.log("seen")</script>'
    )
    with opened(browser, bad) as view:
        found = {each.split(":")[0] for each in view.violations()}
        assert {"color-contrast", "html-has-lang", "image-alt"} <= found
        assert {"asked http://127.0.0.1:9/pixel.png", "console: seen"} <= set(view.complaints)


@pytest.mark.parametrize("attack", ATTACKS)
def test_nothing_that_came_with_an_event_runs(browser: Browser, shown: Shown, tmp_path: Path, attack: str) -> None:
    with opened(browser, written(poisoned(shown, attack), tmp_path)) as view:
        view.drawn()
        view.page.mouse.move(400, 400)
        assert attack in view.page.inner_text("body") or "\u2028" in attack
        assert view.complaints == []


def test_a_chart_can_be_walked_through_without_a_pointer(browser: Browser, page: Path) -> None:
    with opened(browser, page) as view:
        figure = view.page.locator("figure", has=view.page.locator(".plot.whole")).first
        figure.locator(".plot").focus()
        view.page.wait_for_function("() => document.activeElement.querySelector('canvas')")
        view.page.keyboard.press("ArrowRight")
        first = figure.locator("output").inner_text()
        view.page.keyboard.press("ArrowRight")
        assert " counted, " in first
        assert figure.locator("output").inner_text() != first
        view.page.keyboard.press("End")
        last = figure.locator("output").inner_text()
        view.page.keyboard.press("ArrowRight")
        assert figure.locator("output").inner_text() == last
        assert view.complaints == []


def test_times_are_the_readers_and_utc_is_behind_them(browser: Browser, shown: Shown, page: Path) -> None:
    onset = shown["incidents"][0]["onset"]
    with opened(browser, page, zone="Asia/Tokyo") as view:
        time = view.page.locator(f"time[datetime='{onset}']").first
        hour = int(onset[11:13])
        assert f", {(hour + 9) % 24:02d}{onset[13:19]}" in time.inner_text()
        assert time.get_attribute("title") == onset.replace("T", " ").replace("Z", " UTC")
        view.page.get_by_role("button", name="Show times in UTC").click()
        assert f", {hour:02d}{onset[13:19]} UTC" in time.inner_text()
        assert view.complaints == []


def test_on_paper_everything_is_open_and_drawn(browser: Browser, shown: Shown, page: Path) -> None:
    with opened(browser, page, theme="dark") as view:
        assert view.page.locator("details:not([open])").count() > 0
        paper = view.page.pdf()
        assert paper.startswith(b"%PDF")
        view.page.evaluate("() => dispatchEvent(new Event('beforeprint'))")
        assert view.page.locator("details:not([open])").count() == 0
        assert view.page.locator(".plot canvas").count() == plots(shown)
        assert view.page.evaluate("() => getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
        view.page.evaluate("() => dispatchEvent(new Event('afterprint'))")
        assert view.page.locator("details:not([open])").count() > 0
        assert view.complaints == []


def test_what_was_touched_can_be_taken_home(browser: Browser, shown: Shown, page: Path, tmp_path: Path) -> None:
    with opened(browser, page) as view:
        with view.page.expect_download() as download:
            view.page.get_by_role("link", name="Download the list").first.click()
        download.value.save_as(tmp_path / "affected.csv")
        assert download.value.suggested_filename == f"affected-{shown['incidents'][0]['incident_id']}.csv"
        rows = list(csv.DictReader((tmp_path / "affected.csv").read_text(encoding="utf-8").splitlines()))
        assert len(rows) == shown["incidents"][0]["affected"]["events"] > 0
        assert {row["region"] for row in rows} == {shops.HURT}
        assert view.complaints == []


def test_a_hundred_thousand_points_are_drawn_and_can_be_looked_at_closer(browser: Browser, shown: Shown, tmp_path: Path) -> None:
    n = 100_000
    incident = shown["incidents"][0]
    row = incident["charts"][0]
    start_s = row["whole"]["start_s"]
    many = row["whole"] | {
        "step_s": 1,
        "observed": [50 + at % 17 for at in range(n)],
        "expected": [50 + at % 7 for at in range(n)],
        "spread": [5] * n,
    }
    large = shown | {"incidents": [incident | {"charts": [{"metric": row["metric"], "whole": many, "parts": [], "outside": False}]}]}
    with opened(browser, written(large, tmp_path)) as view:
        figure = view.page.locator("figure", has=view.page.locator(".plot.whole"))
        box = figure.locator(".plot")
        box.scroll_into_view_if_needed()
        view.page.wait_for_function("() => document.querySelector('.plot.whole canvas')")
        over = box.locator(".u-over").bounding_box()
        assert over is not None
        middle = over["y"] + over["height"] / 2
        # A tenth of what is shown, by dragging: then a step of the pointer is worth a tenth of what it was.
        view.page.mouse.move(over["x"] + 0.4 * over["width"], middle)
        view.page.mouse.down()
        view.page.mouse.move(over["x"] + 0.5 * over["width"], middle, steps=5)
        view.page.mouse.up()
        view.page.mouse.move(over["x"] + 1, middle)
        first = figure.locator("output").inner_text()
        view.page.mouse.move(over["x"] + over["width"] - 1, middle)
        last = figure.locator("output").inner_text()
        assert " counted, " in first
        assert first != last
        low, high = view.page.evaluate("() => { const { min, max } = document.querySelector('.plot.whole').plot.scales.x; return [min, max]; }")
        assert low == pytest.approx(start_s + 0.4 * n, abs=0.01 * n)
        assert high - low == pytest.approx(0.1 * n, rel=0.05)
        assert view.complaints == []


def nobody_did_it(shop: shops.Shop) -> shops.Shop:
    return replace(shop, deploys=[line for line in shop.deploys if shops.CULPRIT.encode() not in line])


def still_open(shop: shops.Shop) -> shops.Shop:
    until_ms = shop.onset_ms + 10 * shops.MINUTE_MS
    kept = {source: [event for event in events if event.ts_ms < until_ms] for source, events in shop.events.items()}
    return replace(shop, hours=(until_ms - shops.START_MS) / shops.HOUR_MS, events=kept)


def orders_stop(shop: shops.Shop) -> shops.Shop:
    return shop.with_events(orders=[event for event in shop.events["orders"] if event.ts_ms < shop.onset_ms])


def calm(shop: shops.Shop) -> shops.Shop:
    kept = {source: [event for event in events if event.ts_ms < shop.onset_ms] for source, events in shop.events.items()}
    return replace(shop, hours=(shop.onset_ms - shops.START_MS) / shops.HOUR_MS, events=kept)


#: Kinds of incidents: the shop they happen in, and what their page says.
KINDS: dict[str, tuple[Callable[[shops.Shop], shops.Shop], str]] = {
    "nobody did it": (nobody_did_it, "no known change did it"),
    "still open": (still_open, "did it|hurt"),
    "orders stop": (orders_stop, "orders"),
    "calm": (calm, "No incident was found"),
}


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_incident_has_a_page(browser: Browser, tmp_path: Path, kind: str) -> None:
    change, words = KINDS[kind]
    shop = change(shops.a_shop())
    found = run_case(open_case(shops.write(tmp_path / "case", shop, end_ms=shop.end_ms)), report=True)
    assert found.report is not None
    assert (kind == "calm") == (not found.incidents)
    assert (kind in {"still open", "orders stop"}) == any(incident["closed_at"] is None for incident in found.incidents)
    _is_well(browser, [found.report], tmp_path, words)


def test_a_source_that_cannot_be_read_is_a_gap_on_the_page(browser: Browser, tmp_path: Path) -> None:
    shop = shops.a_shop()
    case = shops.write(tmp_path / "case", shop, end_ms=shop.end_ms)
    whole = gzip.compress((case / "errors.jsonl").read_bytes())
    (case / "errors.jsonl").unlink()
    (case / "errors.jsonl.gz").write_bytes(whole[: 2 * len(whole) // 3])
    found = run_case(open_case(case), report=True)
    assert found.report is not None
    _is_well(browser, [found.report], tmp_path, "errors: nothing could be read")


def test_several_runs_stand_on_one_page_and_do_not_mix(browser: Browser, shown: Shown, tmp_path: Path) -> None:
    _is_well(browser, [shown, shown | {"name": "again"}], tmp_path, "again")
    with opened(browser, tmp_path / "report.html") as view:
        assert view.drawn() == 2 * plots(shown)


def _is_well(browser: Browser, reports: list[Shown], folder: Path, words: str) -> None:
    page = folder / "report.html"
    page.write_text(html_of(reports), encoding="utf-8")
    with opened(browser, page) as view:
        assert view.drawn() == sum(plots(report) for report in reports)
        view.page.locator("details").evaluate_all("(all) => all.forEach((each) => { each.open = true; })")
        assert re.search(words, view.page.inner_text("main")), view.page.inner_text("main")
        assert view.violations() == []
        assert view.complaints == []
