"""How large a report is, and how smoothly a chart of many points moves in a real Chromium: python -P bench/report.py CASE...

Size: of the page of each case's replay. Smooth: a chart is zoomed in and out again and again, one step a frame; the time that drawing takes in a
frame is told for a thousand to a hundred thousand points, as median and worst, and as a share of the 16.7 ms that a frame has at 60 a second.
"""

from __future__ import annotations

import platform
import shutil
import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any

from playwright.sync_api import sync_playwright

from rollguard.replay import html_of, open_case, run_case

FRAMES, FRAME_MS = 60, 1000 / 60
ZOOM = """async ([box, frames]) => {
    const plot = box.plot, { min, max } = plot.scales.x, times = [];
    for (let frame = 0; frame < frames; frame++) {
        const share = 0.25 + 0.2 * Math.sin(frame / 6);
        await new Promise((done) => requestAnimationFrame(() => {
            const began = performance.now();
            plot.setScale("x", { min: min + share * (max - min), max: max - share * (max - min) });
            queueMicrotask(() => { times.push(performance.now() - began); done(); });
        }));
    }
    return times;
}"""


def main() -> None:
    """Print both tables."""
    print(f"{platform.machine()}, Python {platform.python_version()}")
    print(f"\n{'case':<16}{'days':>6}{'incidents':>11}{'kB':>7}")
    reports = []
    for path in sys.argv[1:]:
        run = run_case(open_case(Path(path)), report=True)
        report: dict[str, Any] = run.report or {}
        reports.append(report)
        overview = report["overview"]
        days = (overview["end_s"] - overview["start_s"]) / 86_400
        print(f"{run.name:<16}{days:>6.1f}{len(run.incidents):>11}{len(html_of([report]).encode()) / 1024:>7.0f}")
    hurt = next((report for report in reports if report["incidents"]), None)
    if hurt is None:
        sys.exit("no case with an incident: nothing to draw")
    print(f"\n{'points':>8}{'median ms':>11}{'worst ms':>10}{'of a frame':>12}")
    with sync_playwright() as playwright, tempfile.TemporaryDirectory() as folder:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        for n in (1_000, 10_000, 100_000):
            page = browser.new_page(viewport={"width": 1200, "height": 900})
            file = Path(folder) / f"{n}.html"
            file.write_text(html_of([_with_points(hurt, n)]), encoding="utf-8")
            page.goto(file.as_uri())
            box = page.locator(".plot.whole")
            box.scroll_into_view_if_needed()
            page.wait_for_function("() => document.querySelector('.plot.whole canvas')")
            times = page.evaluate(ZOOM, [box.element_handle(), FRAMES])
            print(f"{n:>8,}{statistics.median(times):>11.1f}{max(times):>10.1f}{statistics.median(times) / FRAME_MS:>12.0%}")


def _with_points(report: dict[str, Any], n: int) -> dict[str, Any]:
    incident = report["incidents"][0]
    row = incident["charts"][0]
    whole = row["whole"] | {"step_s": 1, "observed": [50 + at % 17 for at in range(n)], "expected": [50 + at % 7 for at in range(n)], "spread": [5] * n}
    return report | {"incidents": [incident | {"charts": [{"metric": row["metric"], "whole": whole, "parts": [], "outside": False}]}]}


if __name__ == "__main__":
    main()
