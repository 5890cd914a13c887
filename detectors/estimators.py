"""Our detectors as river's: one series at a time, with `learn_one` and `score_one`, and the bank's numbers bit for bit.

A series alone is its own pooled series; in a bank of several, once a day is known, a small one also borrows from the others.
Each call of `learn_one` is one bucket; buckets follow each other without a pause, so a bucket that is missing is learnt as one
without its feature, or with NaN.

Examples
--------
>>> from river import stream
>>> counts = np.random.default_rng(1).poisson(20.0, 3000).astype(float)
>>> counts[-3:] = 60.0
>>> detector = CountDetector(on="orders", worse="higher")
>>> scores = []
>>> for x, _ in stream.iter_array(counts[:, None], feature_names=["orders"]):
...     scores.append(detector.score_one(x))
...     detector.learn_one(x)
>>> max(scores[:-3]) < 10.0 < scores[-1]
True
"""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from river import base

from rollguard.detectors.bank import EPOCH_MS, RateBank
from rollguard.detectors.evidence import Floats, factors_for
from rollguard.detectors.sharebank import ShareBank
from rollguard.detectors.shares import N_BINS
from rollguard.streams import bin_of

__all__ = ["CountDetector", "CountDriftDetector", "DistributionDetector", "RatioDetector"]

DIRECTIONS = ("higher", "lower", "both")
#: Above this log evidence a series is suspected, and its baseline learns nothing.
SUSPICION_NATS = 7.0


class OneSeries:
    """A bank of one series, fed one bucket after the other. All that is asked of banks stands here.

    Parameters
    ----------
    bank : RateBank or ShareBank
        Without series yet.
    bucket_ms : int
        Length of a bucket.
    first : int
        Number of the first bucket, since 1970: it tells the time of day.
    """

    def __init__(self, bank: RateBank | ShareBank, bucket_ms: int, first: int) -> None:
        self.bank = bank
        self.bucket = first
        self.per_epoch = max(1, EPOCH_MS // bucket_ms)
        self.nats = 0.0
        alone = np.zeros(1, dtype=np.int64)
        if isinstance(bank, RateBank):
            bank.grow(alone)
        else:
            bank.grow(alone, alone[:, None])

    def rate(self, hits: float, exposure: float) -> None:
        """Take a bucket of a rate: events, and 1 for counts, misses for odds. NaN: missing."""
        if not isinstance(self.bank, RateBank):
            raise TypeError(self.bank)
        self.bank.load(self.bucket, np.array([[hits]]), np.array([[exposure]]), np.array([not math.isnan(hits)]))
        self._step()

    def values(self, values: Floats, weights: Floats) -> None:
        """Take a bucket of a distribution: values, and how often each came. None at all: nothing happened."""
        if not isinstance(self.bank, ShareBank):
            raise TypeError(self.bank)
        fine = bin_of(values).astype(np.int64)
        counts = np.zeros((1, N_BINS, 1), dtype=np.float32)
        if self.bank.baseline.cut is None:
            self.bank.baseline.learn_fine(fine, weights.astype(np.int64))
        else:
            counts[0, :, 0] = np.bincount(self.bank.baseline.coarse(fine), weights=weights, minlength=N_BINS)
        self.bank.load(self.bucket, counts, np.array([True]))
        self._step()

    def nothing(self) -> None:
        """Take a bucket that is missing."""
        if isinstance(self.bank, RateBank):
            self.rate(math.nan, 0.0)
        else:
            self.bank.load(self.bucket, np.zeros((1, N_BINS, 1), dtype=np.float32), np.array([False]))
            self._step()

    def forget(self) -> None:
        """Start the evidence again."""
        self.bank.forget(np.zeros(1, dtype=np.int64))
        self.nats = 0.0

    def _step(self) -> None:
        value = float(self.bank.step(self.bucket)[0])
        self.nats = math.log(value) if value > 1.0 and self.bank.ready[0] else 0.0
        self.bucket += 1
        if self.bucket % self.per_epoch == 0:
            self.bank.close_epoch(np.array([self.nats >= SUSPICION_NATS]))


class _Detector(base.AnomalyDetector):
    """What the three detectors share. Their scores are nats: the logarithm of the e-detector, 0 at least."""

    series: OneSeries

    def learn_one(self, x: dict[base.typing.FeatureName, Any]) -> None:
        """Take a bucket in.

        Parameters
        ----------
        x
            Features of the bucket. Without ours, or with NaN in them, it is missing.
        """
        self._take(self.series, x)

    def score_one(self, x: dict[base.typing.FeatureName, Any]) -> float:
        """Evidence that the series has changed, if this were the next bucket.

        Parameters
        ----------
        x
            As for `learn_one`.

        Returns
        -------
        Nats, >= 0; 0 before the warm-up is over.
        """
        ahead = copy.deepcopy(self.series)
        self._take(ahead, x)
        return ahead.nats

    def _take(self, series: OneSeries, x: Mapping[base.typing.FeatureName, Any]) -> None:
        raise NotImplementedError


class CountDetector(_Detector):
    """Counts per bucket against a baseline of their own past: negative binomial, with the day's profile.

    Parameters
    ----------
    on
        Name of the feature that holds the count, >= 0.
    worse
        Direction to look in: `higher`, `lower` or `both`.
    smallest
        Smallest relative change to look for; 0.1 is a tenth.
    bucket_ms
        Length of a bucket in milliseconds, a part of 5 minutes or a multiple of it.
    warmup_ms
        Length of history before there are scores, in milliseconds.
    first
        Number of the first bucket since 1970, which tells the time of day.

    Examples
    --------
    >>> detector = CountDetector(warmup_ms=3_600_000)
    >>> for _ in range(120):
    ...     detector.learn_one({"count": 20})
    >>> detector.score_one({"count": 20}), detector.score_one({"count": 90}) > 5.0
    (0.0, True)
    """

    def __init__(
        self, on: str = "count", *, worse: str = "both", smallest: float = 0.1, bucket_ms: int = 60_000, warmup_ms: int = 86_400_000, first: int = 0
    ) -> None:
        self.on = on
        self.worse = worse
        self.smallest = smallest
        self.bucket_ms = bucket_ms
        self.warmup_ms = warmup_ms
        self.first = first
        bank = RateBank(_factors(worse, smallest), bucket_ms=bucket_ms, odds=False, warmup_ms=warmup_ms)
        self.series = OneSeries(bank, bucket_ms, first)

    def _take(self, series: OneSeries, x: Mapping[base.typing.FeatureName, Any]) -> None:
        count = _number(x, self.on)
        series.rate(count, 1.0)


class RatioDetector(_Detector):
    """Hits among trials against a baseline of their past odds: binomial, so that a bucket of more trials says more.

    Parameters
    ----------
    on
        Name of the feature that holds the hits, >= 0.
    trials
        Name of the feature that holds all trials, hits among them.
    worse, smallest, bucket_ms, warmup_ms, first
        As of `CountDetector`.

    Examples
    --------
    >>> detector = RatioDetector(warmup_ms=3_600_000)
    >>> for _ in range(120):
    ...     detector.learn_one({"hits": 20, "trials": 1000})
    >>> detector.score_one({"hits": 60, "trials": 3000}), detector.score_one({"hits": 60, "trials": 1000}) > 5.0
    (0.0, True)
    """

    def __init__(
        self,
        on: str = "hits",
        trials: str = "trials",
        *,
        worse: str = "higher",
        smallest: float = 0.1,
        bucket_ms: int = 60_000,
        warmup_ms: int = 86_400_000,
        first: int = 0,
    ) -> None:
        self.on = on
        self.trials = trials
        self.worse = worse
        self.smallest = smallest
        self.bucket_ms = bucket_ms
        self.warmup_ms = warmup_ms
        self.first = first
        bank = RateBank(_factors(worse, smallest), bucket_ms=bucket_ms, odds=True, warmup_ms=warmup_ms)
        self.series = OneSeries(bank, bucket_ms, first)

    def _take(self, series: OneSeries, x: Mapping[base.typing.FeatureName, Any]) -> None:
        hits, trials = _number(x, self.on), _number(x, self.trials)
        if hits > trials:
            msg = f"{self.on}: {hits:g} hits among {trials:g} trials"
            raise ValueError(msg)
        if math.isnan(hits) or math.isnan(trials):
            series.nothing()
        else:
            series.rate(hits, trials - hits)


class DistributionDetector(_Detector):
    """Values of a bucket against the shares that bins cut at quantiles of the first day have had: location, spread and tails.

    Parameters
    ----------
    on
        Name of the feature that holds the bucket's values: one number, a sequence of numbers, or a mapping of each value to
        how often it came.
    worse, bucket_ms, warmup_ms, first
        As of `CountDetector`. The first day is used to cut the bins, however short the warm-up.

    Examples
    --------
    >>> detector = DistributionDetector(on="minutes", bucket_ms=3_600_000)
    >>> rng = np.random.default_rng(2)
    >>> for _ in range(24 * 5):
    ...     detector.learn_one({"minutes": rng.normal(35.0, 5.0, 100)})
    >>> usual, late = rng.normal(35.0, 5.0, 100), rng.normal(50.0, 5.0, 100)
    >>> detector.score_one({"minutes": usual}) < 5.0 < detector.score_one({"minutes": late})
    True
    """

    def __init__(self, on: str = "values", *, worse: str = "both", bucket_ms: int = 60_000, warmup_ms: int = 172_800_000, first: int = 0) -> None:
        self.on = on
        self.worse = worse
        self.bucket_ms = bucket_ms
        self.warmup_ms = warmup_ms
        self.first = first
        _check(worse)
        self.series = OneSeries(ShareBank(worse, bucket_ms=bucket_ms, warmup_ms=warmup_ms), bucket_ms, first)

    def _take(self, series: OneSeries, x: Mapping[base.typing.FeatureName, Any]) -> None:
        found = x.get(self.on)
        if isinstance(found, Mapping):
            pairs = [(float(value), float(times)) for value, times in found.items()]
        elif isinstance(found, (Sequence, np.ndarray)):
            pairs = [(float(value), 1.0) for value in found]
        else:
            pairs = [] if found is None else [(float(found), 1.0)]
        known = [(value, times) for value, times in pairs if math.isfinite(value) and math.isfinite(times)]
        # None of its values can be used: then nothing is known of the bucket. An empty one is known to be empty.
        if found is None or (pairs and not known):
            series.nothing()
            return
        values, times = np.array(known, dtype=np.float64).reshape(-1, 2).T
        series.values(values, times)


class CountDriftDetector(base.DriftDetector):
    """Counts per bucket as a drift detector with a promised run length; after a drift the evidence starts again.

    Parameters
    ----------
    run_length
        Buckets to a false alarm, on average, at least. 129,600 minutes are 90 days.
    worse, smallest, bucket_ms, warmup_ms, first
        As of `CountDetector`.

    Examples
    --------
    >>> detector = CountDriftDetector(warmup_ms=3_600_000)
    >>> for count in [20] * 120 + [90] * 5:
    ...     detector.update(count)
    ...     if detector.drift_detected:
    ...         print(detector.series.bucket)
    ...         break
    121
    """

    def __init__(
        self,
        run_length: float = 129_600.0,
        *,
        worse: str = "both",
        smallest: float = 0.1,
        bucket_ms: int = 60_000,
        warmup_ms: int = 86_400_000,
        first: int = 0,
    ) -> None:
        super().__init__()
        self.run_length = run_length
        self.worse = worse
        self.smallest = smallest
        self.bucket_ms = bucket_ms
        self.warmup_ms = warmup_ms
        self.first = first
        bank = RateBank(_factors(worse, smallest), bucket_ms=bucket_ms, odds=False, warmup_ms=warmup_ms)
        self.series = OneSeries(bank, bucket_ms, first)

    def update(self, x: float) -> None:
        """Take the count of the next bucket; NaN: it is missing."""
        if self._drift_detected:
            self.series.forget()
        self.series.rate(_number({"x": x}, "x"), 1.0)
        self._drift_detected = self.series.nats >= math.log(self.run_length)

    @classmethod
    def _unit_test_params(cls) -> Iterator[dict[str, Any]]:
        yield {"run_length": 1000.0}


def _factors(worse: str, smallest: float) -> Floats:
    _check(worse)
    if not smallest > 0.0:
        msg = f"smallest: {smallest} is not above 0"
        raise ValueError(msg)
    return factors_for(worse, smallest)


def _check(worse: str) -> None:
    if worse not in DIRECTIONS:
        msg = f"worse: {worse!r} is none of {', '.join(DIRECTIONS)}"
        raise ValueError(msg)


def _number(x: Mapping[base.typing.FeatureName, Any], name: str) -> float:
    found = x.get(name)
    number = math.nan if found is None else float(found)
    if number < 0.0:
        msg = f"{name}: {number:g} is no count"
        raise ValueError(msg)
    return number if math.isfinite(number) else math.nan
