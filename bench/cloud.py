"""Real series, judged on the half of time that nothing was tuned on: python bench/cloud.py FOLDER.

FOLDER holds Microsoft's cloud-monitoring-dataset: hourly and per-minute CSV files with expert labels. Each file is one
series of a bank: baseline, dead band, threshold calibrated on its own past, as shipped. Labelled spans are cut out as
missing. On the second half of time: alarms against the nominal, and how many injected changes of +-50 % are found.
"""

import csv
import math
import sys
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import numpy.typing as npt

from rollguard.detectors.alarms import SUSPICION_NATS, Alarms
from rollguard.detectors.bank import RateBank
from rollguard.detectors.baseline import Memory
from rollguard.detectors.evidence import ratios_above, ratios_below
from rollguard.detectors.past import PastPeaks

Floats = npt.NDArray[np.float64]

HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS
#: One false alarm of one series in so many days.
NOMINAL_DAYS = 30
#: A labelled span is cut out with so many hours behind it.
AFTER_HOURS = 1
FACTORS = np.concatenate([ratios_below(0.25), ratios_above(0.25)])


@dataclass
class Series:
    """One file."""

    name: str
    first: int
    bucket_ms: int
    values: Floats  # NaN: missing, or labelled
    labelled: npt.NDArray[np.bool_]


def read(path: Path) -> Series | None:
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


def alarms(series: Series, since: int, until: int, inject: tuple[int, float] | None = None) -> tuple[list[int], float]:
    """Buckets of alarms from `since` on, and the series' dead band at the end."""
    bucket_ms = series.bucket_ms
    hourly = bucket_ms >= HOUR_MS
    memory = Memory(3 * DAY_MS, DAY_MS, 3 * DAY_MS) if hourly else Memory()
    bank = RateBank(FACTORS, bucket_ms=bucket_ms, odds=False, warmup_ms=5 * DAY_MS if hourly else 2 * DAY_MS, memory=memory)
    bank.grow(np.zeros(1, dtype=np.int64))
    past = PastPeaks(bank.baseline.epoch_ms, above=3.0 if hourly else 5.0)
    past.grow(1)
    watch = Alarms()
    watch.grow(1)
    nominal = math.log(NOMINAL_DAYS * DAY_MS / bucket_ms)
    threshold = np.full(1, np.inf)
    values = series.values[:until]
    known = values[: len(values) // 4]
    known = known[~np.isnan(known)]
    whole = bool((np.mod(known, 1.0) == 0.0).all())
    scale = 1.0 if whole else 1000.0 / max(float(np.median(known[known > 0.0])) if (known > 0.0).any() else 1.0, 1e-12)
    found = []
    for at, value in enumerate(values.tolist()):
        x = value * scale
        if inject is not None and at >= inject[0]:
            x *= inject[1]
        bucket = series.first + at
        there = np.array([not (math.isnan(value) or series.labelled[at])])
        bank.load(bucket, np.array([[0.0 if math.isnan(x) else x]]), there[:, None].astype(np.float64), there)
        e = bank.step(bucket)
        if there[0]:
            past.see(e)
        left, back, _ = watch.step(bucket, e, np.exp(threshold), lambda rows: bank.mass(rows)[:, None, :], lambda rows, b=bucket: bank.nats(b, rows)[:, None, :])
        if len(left) and at >= since:
            found.append(at)
        if len(back):
            bank.forget(back)
        if (bucket + 1) % bank.buckets_per_epoch == 0:
            ready = bank.ready.copy()
            slack = bank.slack
            plain = nominal + np.log(slack)
            past.close_epoch(np.where(ready, bank.buckets_per_epoch, 0), past.thresholds(plain, slack))
            threshold = np.where(ready, past.thresholds(plain, slack), np.inf)
            bank.close_epoch((e >= math.exp(SUSPICION_NATS)) | watch.been_away)
            watch.new_epoch()
    return found, float(bank.error[0]), float(past.theta()[0]), float(threshold[0]), float(bank.scatter[0])


if __name__ == "__main__":
    ok = 0; n = 0
    for path in sorted(Path(sys.argv[1]).rglob("*.csv")):
        s = read(path)
        half = len(s.values) // 2
        days = (len(s.values) - half) * s.bucket_ms / DAY_MS
        f, err, theta, thr, sc = alarms(s, half, len(s.values))
        rate = len(f) / days * NOMINAL_DAYS
        n += 1; ok += rate <= 3
        print(f"{s.name:14s} {s.bucket_ms//60000:3d}min days {days:5.1f} alarms {len(f):3d} rate/nominal {rate:5.1f} err {err:.2f} scatter {sc:.1f} theta {theta:.2f} thr {thr:.1f}", flush=True)
    print(ok, n)
