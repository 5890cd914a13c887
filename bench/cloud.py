"""Real series, judged on the half of time that nothing was tuned on: python bench/cloud.py FOLDER.

FOLDER holds Microsoft's cloud-monitoring-dataset: hourly and per-minute CSV files with expert labels. Each file is one
series of a bank: baseline, dead band, threshold calibrated on its own past, as shipped. Labelled spans are cut out as
missing. On the second half of time: alarms against the nominal, and how many injected changes of +-50 % are found.
"""

import copy
import csv
import math
import platform
import statistics
import sys
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import numpy.typing as npt
from rich.console import Console
from rich.progress import track

from rollguard.detectors.alarms import SUSPICION, Alarms
from rollguard.detectors.bank import RateBank
from rollguard.detectors.baseline import Memory
from rollguard.detectors.evidence import ratios_above, ratios_below
from rollguard.detectors.past import PastPeaks
from rollguard.detectors.watched import PEAK

Floats = npt.NDArray[np.float64]

HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS
#: One false alarm of one series in so many days: about what each half of time holds.
NOMINAL_DAYS = 14
#: More alarms than so many times the nominal are too many.
MOST = 3
#: Changes that are injected at so many moments of the second half, and have so long to be found.
CHANGES = (0.5, 1.5)
INJECTIONS = 5
HORIZON_HOURS = 24
FACTORS = np.concatenate([ratios_below(0.25), ratios_above(0.25)])


@dataclass
class Series:
    """One file."""

    name: str
    first: int
    bucket_ms: int
    values: Floats  # NaN: missing, or labelled
    labelled: npt.NDArray[np.bool_]


def read(path: Path) -> Series:
    """The series of a file on its own grid."""
    times, values, labels = [], [], []
    with path.open(encoding="utf-8-sig") as file:
        for row in list(csv.reader(file))[1:]:
            times.append(round(datetime.fromisoformat(row[0].replace("Z", "+00:00")).replace(tzinfo=UTC).timestamp() * 1000))
            values.append(float(row[1]) if row[1].strip() else math.nan)
            labels.append(row[2].strip() not in {"", "0", "0.0"})
    steps = np.diff(times)
    bucket = int(np.median(steps))
    first = times[0] // bucket
    grid = np.full(times[-1] // bucket - first + 1, math.nan)
    marked = np.zeros(len(grid), dtype=bool)
    at = np.array(times) // bucket - first
    grid[at], marked[at] = values, labels
    return Series(path.stem, first, bucket, grid, marked)


class Watcher:
    """One series under watch, bucket by bucket, as `Watched` does it with thousands."""

    def __init__(self, series: Series) -> None:
        bucket_ms = series.bucket_ms
        hourly = bucket_ms >= HOUR_MS
        # What `rollguard check` advises for buckets of an hour: the memory of the slow watch.
        memory = Memory(3 * DAY_MS, DAY_MS, 2 * DAY_MS) if hourly else Memory()
        self.bank = RateBank(FACTORS, bucket_ms=bucket_ms, odds=False, warmup_ms=(5 if hourly else 2) * DAY_MS, memory=memory)
        self.bank.grow(np.zeros(1, dtype=np.int64))
        self.nominal = math.log(NOMINAL_DAYS * DAY_MS / bucket_ms)
        self.past = PastPeaks(self.bank.baseline.epoch_ms, above=PEAK * self.nominal)
        self.past.grow(1)
        self.alarms = Alarms()
        self.alarms.grow(1)
        self.threshold = np.full(1, np.inf)
        self.known = 0

    def feed(self, bucket: int, value: float) -> bool:
        """Whether it alarms in a bucket; NaN: missing."""
        bank, there = self.bank, not math.isnan(value)
        bank.load(bucket, np.array([[value if there else 0.0]]), np.array([[float(there)]]), np.array([there]))
        e = bank.step(bucket)
        if there:
            self.past.see(e)
            self.known += 1
        left, back, _ = self.alarms.step(bucket, e, self.threshold, lambda rows: bank.mass(rows)[:, None, :], lambda rows: bank.nats(bucket, rows)[:, None, :])
        if len(back):
            bank.forget(back)
        if (bucket + 1) % bank.buckets_per_epoch == 0:
            self._close(e)
        return bool(len(left))

    def _close(self, e: npt.NDArray[np.float32]) -> None:
        bank, past = self.bank, self.past
        ready, slack = bank.ready, bank.slack
        suspected = np.log(np.maximum(e, 1e-30)) >= SUSPICION * self.threshold
        past.close_epoch(np.where(ready, self.known, 0), self.threshold, bank.power)
        bank.honesty = past.honesty()
        self.threshold = np.where(ready, self.nominal + np.log(slack) + np.log(past.more_often(slack)), np.inf)
        bank.close_epoch(suspected | self.alarms.been_away)
        self.alarms.new_epoch()
        self.known = 0


@dataclass
class Judged:
    """What came of one series."""

    alarms: int
    days: float
    found: dict[float, list[float]]  # by factor, hours until each injected change was found; infinite: not
    honesty: float


def judged(series: Series) -> Judged:
    """Alarms on the second half, and the injected changes that are found there."""
    n = len(series.values)
    half = n // 2
    quarter = series.values[: n // 4]
    known = quarter[quarter > 0.0]
    whole = bool((np.mod(quarter[~np.isnan(quarter)], 1.0) == 0.0).all())
    # A count is taken as it is; a measured value in units of a thousandth of what is usual, as an operator sets `scale`.
    values = series.values * (1.0 if whole or not len(known) else 1000.0 / float(np.median(known)))
    values[series.labelled] = math.nan
    horizon = round(HORIZON_HOURS * HOUR_MS / series.bucket_ms)
    starts = set(np.linspace(half, n - horizon - 1, INJECTIONS).round().astype(int).tolist()) if n - horizon > half else set()
    watcher = Watcher(series)
    alarms = 0
    found: dict[float, list[float]] = {factor: [] for factor in CHANGES}
    for at, value in enumerate(values.tolist()):
        if at in starts:
            for factor, hours in found.items():
                hours.append(_until_found(copy.deepcopy(watcher), series, values[at : at + horizon] * factor, at))
        alarms += watcher.feed(series.first + at, value) and at >= half
    # A label-free span is what is judged: labelled buckets are missing, and so are not part of it.
    days = int(np.count_nonzero(~np.isnan(values[half:]))) * series.bucket_ms / DAY_MS
    return Judged(alarms, days, found, float(watcher.past.honesty()[0]))


def _until_found(watcher: Watcher, series: Series, values: Floats, first: int) -> float:
    """Hours until a change is found; one that begins while the series is away already is none that could be found: NaN."""
    if watcher.alarms.away.any():
        return math.nan
    for at, value in enumerate(values.tolist()):
        if watcher.feed(series.first + first + at, value):
            return (at + 1) * series.bucket_ms / HOUR_MS
    return math.inf


def main() -> None:
    """Print the table."""
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else "../shared/data/ms-cloud-monitoring")
    paths = sorted(folder.rglob("*.csv"))
    if not paths:
        sys.exit(f"bench/cloud.py: no CSV file in {folder}. Expected the folder of Microsoft's cloud-monitoring-dataset.")
    print(f"{platform.machine()}, Python {platform.python_version()}, numpy {np.__version__}: python bench/cloud.py")
    print()
    print(f"| series | bucket | days judged | alarms | of the nominal, one in {NOMINAL_DAYS} days | honesty | -50 % found | +50 % found | median hours |")
    print("|---|---|---|---|---|---|---|---|---|")
    good = 0
    every: dict[float, list[float]] = {factor: [] for factor in CHANGES}
    for path in track(paths, console=Console(stderr=True), description="series", transient=True):
        series = read(path)
        result = judged(series)
        ratio = result.alarms * NOMINAL_DAYS / max(result.days, 1e-9)
        good += ratio <= MOST
        cells = []
        hours = [each for factor in CHANGES for each in result.found[factor] if not math.isnan(each)]
        for factor in CHANGES:
            tried = [each for each in result.found[factor] if not math.isnan(each)]
            every[factor] += tried
            cells.append(f"{sum(map(math.isfinite, tried))} of {len(tried)}")
        median = statistics.median(hours) if hours else math.nan
        told = f"{median:.1f}" if math.isfinite(median) else "-"
        minutes = series.bucket_ms // 60_000
        print(f"| {series.name} | {minutes} min | {result.days:.1f} | {result.alarms} | {ratio:.1f} | {result.honesty:.2f} | {' | '.join(cells)} | {told} |")
    print()
    print(f"At most {MOST} x the nominal: {good} of {len(paths)} series ({100 * good / len(paths):.0f} %).")
    for factor, tried in every.items():
        print(f"A change by {100 * (factor - 1):+.0f} % found within {HORIZON_HOURS} h: {sum(map(math.isfinite, tried))} of {len(tried)}.")


if __name__ == "__main__":
    main()
