"""False pages over months in which nothing is wrong: python -P bench/false_pages.py [MONTHS] [RATE].

Each month is a shop of the library's (days of the week, levels of the day, noise with a memory), counted every five minutes by somebody else: orders of
four regions, errors of seven services, as *points*. The first two days are learnt from. Every page is false; the budget is one in 30 days. The exact Poisson
interval is told beside the mean, and with how many days of history the pages came.
"""

from __future__ import annotations

import json
import platform
import sys
import tempfile
from pathlib import Path

import numpy as np
from scipy.stats import chi2

from rollguard.config import ms_of, rfc3339
from rollguard.replay import open_case, run_case
from rollguard.replay.simulation.shop import DAY_MS, REGIONS, SERVICES
from rollguard.replay.simulation.world import ERROR_RATE, ERRORS_USUAL, Dice, usual_rates

START_MS = ms_of("2026-01-05T00:00:00Z")
STEP_MIN, DAYS = 5, 32
CONFIG = """bucket: 5m
sources:
  orders: {points: {every: 5m, weight: n}, fields: {id: null, n: n, version: null}}
  errors: {points: {every: 5m, weight: n}, fields: {id: null, n: n, version: null}}
  deliveries: null
metrics: {promised_minutes: null, actual_minutes: null}
labels: {compare: []}
"""


def write(folder: Path, seed: int, rate: float) -> Path:
    """A month of points."""
    dice, chance = Dice("false_pages", seed), np.random.default_rng(seed)
    # Another month for each, so that all weekdays and seasons of the calendar come first.
    start_ms = START_MS + seed * (DAYS + 1) * DAY_MS
    per_minute = usual_rates(dice, (), start_ms, start_ms + DAYS * DAY_MS, rate)
    per_step = per_minute.reshape(len(REGIONS), -1, STEP_MIN).sum(axis=2)
    case = folder / f"month-{seed}"
    case.mkdir()
    (case / "case.yaml").write_text(f"name: month-{seed}\nstart: {rfc3339(start_ms)}\nend: {rfc3339(start_ms + DAYS * DAY_MS)}\n{CONFIG}", encoding="utf-8")
    shares = ERROR_RATE * ERRORS_USUAL / ERRORS_USUAL.sum()
    orders, errors = [], []
    for step in range(per_step.shape[1]):
        ts = start_ms + step * STEP_MIN * 60_000
        for place, region in enumerate(REGIONS):
            mean = per_step[place, step]
            orders.append(json.dumps({"ts": ts, "service": "checkout", "region": region, "n": int(chance.poisson(mean))}))
            for service, n in zip(SERVICES, chance.poisson(mean * shares).tolist(), strict=True):
                errors.append(json.dumps({"ts": ts, "service": service, "region": region, "n": n}))
    (case / "orders.jsonl").write_text("\n".join(orders) + "\n", encoding="utf-8")
    (case / "errors.jsonl").write_text("\n".join(errors) + "\n", encoding="utf-8")
    return case


def main() -> None:
    """Print the pages of each month and what they come to."""
    months = int(sys.argv[1]) if len(sys.argv) > 1 else 20
    rate = float(sys.argv[2]) if len(sys.argv) > 2 else 2.0
    print(f"{platform.machine()}, Python {platform.python_version()}: {months} months of {DAYS - 2} days, {rate:g} orders/s\n")
    pages, days_of = 0, []
    with tempfile.TemporaryDirectory() as folder:
        for seed in range(months):
            run = run_case(open_case(write(Path(folder), seed, rate)))
            start_ms = ms_of(run.summary["start"])
            at = [each["at"] for incident in run.incidents for each in incident["decisions"] if each["action"] == "page"]
            pages += len(at)
            days_of += [(ms_of(each) - start_ms) / DAY_MS for each in at]
            print(f"month {seed + 1:>2}: {len(at)} pages {' '.join(f'day {day:.1f}' for day in days_of[len(days_of) - len(at) :])}", flush=True)
    low, high = (chi2.ppf(0.025, 2 * pages) / 2 if pages else 0.0), chi2.ppf(0.975, 2 * pages + 2) / 2
    print(f"\n{pages} pages in {months} months: {pages / months:.2f} a month (95 %: {low / months:.2f} to {high / months:.2f}); budget 1.")
    print(f"After the first two weeks: {sum(day > 14 for day in days_of)} in {months * (DAYS - 14) / 30:.1f} months.")


if __name__ == "__main__":
    main()
