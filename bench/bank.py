"""One bucket for many series, against a bare numpy `R = (1 + R) * L` of as many likelihood ratios: python bench/bank.py.

Everything that a bucket costs in the bank is in it: bounding, likelihood ratios, the recursion, sums for the baseline, and
the baseline's own update and new coefficients at the end of each epoch of thirty buckets. Ratios of pairs from one run,
A B A B; the median is told.
"""

import platform
import resource
import statistics
import sys
import time
from collections.abc import Callable

import numpy as np

from rollguard.detectors.bank import RateBank
from rollguard.detectors.evidence import ratios_below
from rollguard.detectors.sharebank import ShareBank
from rollguard.detectors.shares import N_BINS

BUCKET_MS = 10_000
EPOCH = 30
FACTORS = ratios_below(0.10)


def bare(n_series: int, n_tilts: int) -> Callable[[], None]:
    """The recursion alone, as one would write it."""
    state = {"R": np.zeros((n_tilts, n_series), dtype=np.float32)}
    ratio = np.full((n_tilts, n_series), 0.9, dtype=np.float32)

    def step() -> None:
        state["R"] = (1 + state["R"]) * ratio

    return step


def rates(n_series: int, *, odds: bool) -> tuple[Callable[[int], None], int]:
    """A bank of counts or ratios, past its warm-up; steps through one bucket."""
    bank = RateBank(FACTORS, bucket_ms=BUCKET_MS, odds=odds, warmup_ms=600_000)
    bank.grow(np.zeros(n_series, dtype=np.int64))
    rng = np.random.default_rng(7)
    observed = rng.poisson(5.0, (1, n_series)).astype(np.float64)
    exposure = rng.poisson(50.0, (1, n_series)).astype(np.float64) if odds else np.ones((1, 1))
    there = np.ones(1, dtype=np.bool_)
    none = np.zeros(n_series, dtype=np.bool_)

    def step(bucket: int) -> None:
        bank.load(bucket, observed, exposure, there)
        bank.step(bucket)
        if bucket % EPOCH == EPOCH - 1:
            bank.close_epoch(none)

    return step, len(FACTORS)


def shares(n_series: int) -> tuple[Callable[[int], None], int]:
    """A bank of distributions, past its warm-up; steps through one bucket."""
    bank = ShareBank("higher", bucket_ms=BUCKET_MS, warmup_ms=0)
    bank.grow(np.zeros(n_series, dtype=np.int64), np.stack([np.zeros(n_series, dtype=np.int64), np.arange(n_series)], axis=1))
    rng = np.random.default_rng(7)
    bank.baseline.learn_fine(np.arange(100), np.full(100, 10))
    bank.baseline.seen_epochs = bank.baseline.epochs_per_day - 1
    bank.warmup_epochs = 0
    counts = rng.poisson(0.5, (1, N_BINS, n_series)).astype(np.float32)
    there = np.ones(1, dtype=np.bool_)
    none = np.zeros(n_series, dtype=np.bool_)

    def step(bucket: int) -> None:
        bank.load(bucket, counts, there)
        bank.step(bucket)
        if bucket % EPOCH == EPOCH - 1:
            bank.close_epoch(none)

    return step, len(bank.names)


def measure(kind: str, n_series: int) -> None:
    """One row of the table."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    step, n_tilts = shares(n_series) if kind == "distributions" else rates(n_series, odds=kind == "ratios")
    alone = bare(n_series, n_tilts)
    bucket = 0
    for _ in range(EPOCH * 12):
        step(bucket)
        bucket += 1
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    ours, theirs = [], []
    for _ in range(7):
        began = time.perf_counter()
        for _ in range(EPOCH):
            step(bucket)
            bucket += 1
        middle = time.perf_counter()
        for _ in range(EPOCH):
            alone()
        ours.append((middle - began) / EPOCH)
        theirs.append((time.perf_counter() - middle) / EPOCH)
    ratio = statistics.median(a / b for a, b in zip(ours, theirs, strict=True))
    each = statistics.median(ours) / n_series * 1e9
    logs = np.zeros((n_tilts, n_series), dtype=np.float32)
    began = time.perf_counter()
    for _ in range(EPOCH):
        np.exp(logs, out=logs)
        logs[:] = 0.0
    exp = (time.perf_counter() - began) / EPOCH / statistics.median(ours)
    print(f"| {kind} | {n_series:,} | {n_tilts} | {ratio:.1f} x | {each:.0f} | {100 * exp:.0f} % | {grown * 1024 / n_series / 1000:.2f} kB |")


def main() -> None:
    """Print the table."""
    print(f"{platform.processor() or platform.machine()}, Python {platform.python_version()}, numpy {np.__version__}: python bench/bank.py")
    print()
    print("| kind | series | tilts | one bucket, of a bare recursion | ns a series | share of exp | memory a series, at its peak |")
    print("|---|---|---|---|---|---|---|")
    sizes = [int(size) for size in sys.argv[1:]] or [1_000, 10_000, 100_000, 1_000_000]
    for kind in ("counts", "ratios", "distributions"):
        for size in sizes:
            measure(kind, size)


if __name__ == "__main__":
    main()
