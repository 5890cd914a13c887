"""One bucket for many series, against a bare numpy `R = (1 + R) * L` of as many likelihood ratios: python bench/bank.py [SIZE ...].

Everything that a bucket costs in a bank is in it: bounding, likelihood ratios, the recursion, sums for the baseline, peaks of
the own past, and the baseline's own update and new coefficients at the end of each epoch of thirty buckets. What the desk is
told beside it (the account of what was expected) is timed alone. Ratios of pairs from one run, A B A B; the median is told.
"""

import gc
import platform
import resource
import statistics
import sys
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from rollguard.detectors.bank import RateBank
from rollguard.detectors.baseline import Epoch
from rollguard.detectors.evidence import ratios_above, ratios_below
from rollguard.detectors.past import PastPeaks
from rollguard.detectors.sharebank import ShareBank
from rollguard.detectors.shares import N_BINS, ShareEpoch

BUCKET_MS = 10_000
EPOCH_MS = 300_000
EPOCH = 30
DAY = 288
PAIRS = 9
VARIETY = 7
SIZES = (1_000, 10_000, 100_000, 1_000_000)


@dataclass
class Subject:
    """A bank past its first day, stepped through one bucket at a time."""

    bank: RateBank | ShareBank
    load: Callable[[int], None]
    account: Callable[[], object]
    past: PastPeaks
    bucket: int

    def step(self) -> None:
        """One bucket, and the end of an epoch where it is one."""
        self.load(self.bucket)
        self.past.see(self.bank.step(self.bucket))
        self.bucket += 1
        if self.bucket % EPOCH == 0:
            n = self.bank.baseline.n_series
            self.past.close_epoch(EPOCH, np.full(n, 16.0), self.bank.power)
            self.bank.close_epoch(np.zeros(n, dtype=bool))


def bare(n_series: int, n_tilts: int) -> Callable[[], None]:
    """The recursion alone, as one would write it."""
    state = {"R": np.zeros((n_tilts, n_series), dtype=np.float32)}
    ratio = np.full((n_tilts, n_series), 0.9, dtype=np.float32)

    def step() -> None:
        state["R"] = (1 + state["R"]) * ratio

    return step


def _past(n_series: int) -> PastPeaks:
    past = PastPeaks(EPOCH_MS, above=7.0)
    past.grow(n_series)
    return past


def rates(n_series: int, *, odds: bool) -> Subject:
    """Counts of five a bucket that fall, or ratios of five to fifty that rise."""
    bank = RateBank(ratios_above(0.10) if odds else ratios_below(0.10), bucket_ms=BUCKET_MS, odds=odds, warmup_ms=EPOCH_MS * DAY)
    bank.grow(np.zeros(n_series, dtype=np.int64))
    rng = np.random.default_rng(7)
    # Nothing is wrong: a bucket that came again and again would be an alarm in thousands of series.
    observed = [rng.poisson(5.0, (1, n_series)).astype(np.float64) for _ in range(VARIETY)]
    exposure = [rng.poisson(50.0, (1, n_series)).astype(np.float64) if odds else np.ones((1, 1)) for _ in range(VARIETY)]
    there = np.ones(1, dtype=bool)
    width = np.full(n_series, EPOCH * (50.0 if odds else 1.0), dtype=np.float32)
    nobody = np.zeros(n_series, dtype=bool)
    for number in range(DAY + 1):
        events = rng.poisson(5.0 * EPOCH, n_series).astype(np.float32)
        bank.baseline.learn(Epoch(number, events, width, np.nan_to_num(bank.baseline.rate(number)) * width, nobody))
    return Subject(
        bank,
        lambda bucket: bank.load(bucket, observed[bucket % VARIETY], exposure[bucket % VARIETY], there),
        lambda: bank.accounts(observed[0], exposure[0]),
        _past(n_series),
        (DAY + 1) * EPOCH,
    )


def shares(n_series: int) -> Subject:
    """Distributions of six events a bucket that grow; all together are one more series."""
    bank = ShareBank("higher", bucket_ms=BUCKET_MS, warmup_ms=0)
    bank.grow(np.zeros(n_series + 1, dtype=np.int64), np.stack([np.zeros(n_series, dtype=np.int64), np.arange(1, n_series + 1)], axis=1))
    rng = np.random.default_rng(7)
    bank.baseline.learn_fine(np.arange(100), np.full(100, 10))
    bank.baseline.seen_epochs = bank.baseline.epochs_per_day - 1
    nobody = np.zeros(n_series + 1, dtype=bool)
    for _ in range(24):
        parts = rng.poisson(0.5 * EPOCH, (N_BINS, n_series)).astype(np.float32)
        bank.baseline.learn(ShareEpoch(bank.baseline.pool(parts).astype(np.float32), nobody))
    counts = [rng.poisson(0.5, (1, N_BINS, n_series)).astype(np.float32) for _ in range(VARIETY)]
    there = np.ones(1, dtype=bool)
    return Subject(
        bank,
        lambda bucket: bank.load(bucket, counts[bucket % VARIETY], there),
        lambda: bank.accounts(counts[0]),
        _past(n_series + 1),
        (DAY + 1) * EPOCH,
    )


def held(thing: object, seen: set[int] | None = None) -> int:
    """Bytes of all arrays that something keeps."""
    seen = set() if seen is None else seen
    if id(thing) in seen:
        return 0
    seen.add(id(thing))
    if isinstance(thing, np.ndarray):
        return thing.nbytes if thing.base is None else held(thing.base, seen)
    if isinstance(thing, dict):
        return sum(held(each, seen) for each in thing.values())
    if isinstance(thing, (list, tuple, deque)):
        return sum(held(each, seen) for each in thing)
    names = [*getattr(thing, "__dict__", {}), *getattr(type(thing), "__slots__", ())]
    return sum(held(getattr(thing, name), seen) for name in names) if type(thing).__module__.startswith("rollguard") else 0


def timed(step: Callable[[], object], times: int) -> float:
    """Seconds of one."""
    began = time.perf_counter()
    for _ in range(times):
        step()
    return (time.perf_counter() - began) / times


def measure(kind: str, n_series: int) -> None:
    """One row of the table."""
    subject = shares(n_series) if kind == "distributions" else rates(n_series, odds=kind == "ratios")
    n_tilts = subject.bank.recursion.n_tilts
    alone = bare(n_series, n_tilts)
    for _ in range(EPOCH * 12):
        subject.step()
    ours, theirs = [], []
    for _ in range(PAIRS):
        ours.append(timed(subject.step, EPOCH))
        theirs.append(timed(alone, EPOCH))
    ratio = statistics.median(a / b for a, b in zip(ours, theirs, strict=True))
    logs: npt.NDArray[np.float32] = np.full((n_tilts, n_series), 0.1, dtype=np.float32)
    room = np.empty_like(logs)
    exp = timed(lambda: np.exp(logs, out=room), EPOCH) / statistics.median(ours)
    account = timed(subject.account, EPOCH) / statistics.median(theirs)
    each = statistics.median(ours) / n_series * 1e9
    kept = (held(subject.bank) + held(subject.past)) / n_series
    print(f"| {kind} | {n_series:,} | {n_tilts} | {ratio:.1f} x | {account:.1f} x | {each:.0f} | {100 * exp:.0f} % | {kept / 1000:.2f} kB |", flush=True)


def main() -> None:
    """Print the table."""
    print(f"{platform.machine()}, Python {platform.python_version()}, numpy {np.__version__}: python bench/bank.py")
    print()
    print("| kind | series | tilts | one bucket, of a bare recursion | its account | ns a series | share of exp | kept a series |")
    print("|---|---|---|---|---|---|---|---|")
    for kind in ("counts", "ratios", "distributions"):
        for size in [int(size) for size in sys.argv[1:]] or SIZES:
            measure(kind, size)
            gc.collect()
    print()
    print(f"Most memory in use at any moment: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6:.2f} GB.")


if __name__ == "__main__":
    main()
