"""What each series promises, what its own past says of that promise, and the smallest change that it can show in time."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from statistics import NormalDist
from typing import Literal, cast

import msgspec
import numpy as np
import numpy.typing as npt

from rollguard.config import Kind, Settings, Worse
from rollguard.detectors.bank import BAND_PER_ERROR, RateBank
from rollguard.detectors.budget import log_thresholds
from rollguard.detectors.evidence import Coefficients, Floats, Reals, bin_constants, count_coefficients, odds_coefficients
from rollguard.detectors.limits import DEEPEST_FALL, LARGEST_RISE, Direction, mean_delay
from rollguard.detectors.model_watch import ModelWatch
from rollguard.detectors.past import PRIOR_PEAKS, PastPeaks
from rollguard.detectors.records import SeriesName
from rollguard.detectors.sharebank import LEAST_LEAN, ShareBank
from rollguard.detectors.shares import QUANTILES, SHARE_DECAY, TILT_NAMES
from rollguard.detectors.watch import CountWatch, RatioWatch, ShareWatch
from rollguard.detectors.watched import Watched
from rollguard.streams import bin_middle

__all__ = ["MONTH_MS", "WITHIN_MS", "Calibration", "Shown", "WatchName", "calibrated"]

WatchName = Literal["fast", "slow"]
Ints = npt.NDArray[np.int64]
#: Nats a bucket gives on average, of every series, if its rate (of a distribution: its values) is so many times the usual.
Drift = Callable[[Floats], Floats]

MINUTE_MS = 60_000
MONTH_MS = 30 * 1440 * MINUTE_MS
#: Times within which a change shall be seen, for each watch.
WITHIN_MS: dict[WatchName, tuple[int, ...]] = {"fast": (5 * MINUTE_MS, 15 * MINUTE_MS, 60 * MINUTE_MS), "slow": (1440 * MINUTE_MS,)}
#: Sizes of a change that are tried lie so far apart: an answer is at most this much too large.
STEP = 1.01
#: Spread of the logarithm of a distribution's values where its quantiles do not tell.
SPREAD = 0.5
#: Standard deviations between the quantiles .1 and .9 of a normal distribution.
NORMAL = NormalDist()
TENTHS = NORMAL.inv_cdf(0.9) - NORMAL.inv_cdf(0.1)
LOW_TENTH, HIGH_TENTH = QUANTILES.index(0.1), QUANTILES.index(0.9)
#: Tilts that move a distribution as a whole.
LOCATION = (TILT_NAMES.index("higher"), TILT_NAMES.index("lower"))


class Shown(msgspec.Struct, frozen=True, kw_only=True):
    """The smallest change that a series shows in some time.

    Attributes
    ----------
    direction : {"higher", "lower"}
        Where to; one that hurts.
    within_ms : int
        So soon it is seen on average.
    change : float or None
        Relative: 0.1 is a tenth more or less. Never less than what is looked for. None: no change is seen in that time.
    """

    direction: Direction
    within_ms: int
    change: float | None


class Calibration(msgspec.Struct, frozen=True, kw_only=True):
    """One series under one of its watches.

    Attributes
    ----------
    series : SeriesName
    watch : {"fast", "slow"}
        On the configured bucket, or on hours.
    kind, worse : str
        Of the metric.
    bucket_ms : int
        Of the watch.
    ready : bool
        Seen for long enough to speak.
    per_minute : float
        Events of a usual minute, over the day: of a ratio its hits, of a sum its units.
    scatter : float
        Variance of counts relative to Poisson (of a distribution: to the multinomial), >= 1.
    error : float
        Relative error that the baseline has shown; the dead band is `BAND_PER_ERROR` times it. Of a ratio scatter and error are those of
        the worse of its two tests.
    honesty : float
        By which evidence is multiplied, in (0, 1]; see `PastPeaks`.
    threshold : float or None
        Nats; None before it is ready.
    promised : float
        False alarms a month that the budget allows it; 0 before it is ready.
    measured : float
        Those that its own past leads one to expect if its model were believed as it is, neither tempered nor held to a higher threshold.
    alarms : float
        Alarms in its past, each worth half as much after thirty days.
    shown : tuple of Shown
        Of each direction that hurts and each of `WITHIN_MS`. Without any: it may not speak yet, or a river model watches it, of which
        nobody knows that.
    model : str or None
        The river model that watches in place of ours.
    refused, renewed : int
        How often that model said nothing of a value, and how often it was built anew for that; see `ForeignBank`.

    Notes
    -----
    A change is seen in time if the tilt that likes it best gains enough nats a bucket: with the coefficients of the bank itself at the rate of a
    usual hour, so dead band, scatter, grid of tilts and honesty are those in use. What is enough follows from `limits.mean_delay`, where a
    mixture of so many tilts needs their logarithm more than one tilt alone. tests/detectors/test_calibration.py measures what is left.
    """

    series: SeriesName
    watch: WatchName
    kind: Kind
    worse: Worse
    bucket_ms: int
    ready: bool
    per_minute: float
    scatter: float
    error: float
    honesty: float
    threshold: float | None
    promised: float
    measured: float
    alarms: float
    shown: tuple[Shown, ...]
    model: str | None = None
    refused: int = 0
    renewed: int = 0


def calibrated(watch: WatchName, watched: Watched, settings: Settings) -> list[Calibration]:
    """One record a series of a watched metric, in the order of its tree.

    Parameters
    ----------
    watch : {"fast", "slow"}
    watched : Watched
    settings : Settings
        Of that watch.
    """
    of, tree, n = watched.watch, watched.watch.tree, len(watched.threshold)
    if not n:
        return []
    metric, model = settings.metrics[of.metric], of.model if isinstance(of, ModelWatch) else None
    honesty, slack = of.honesty, of.slack
    found = _numbers_of(of.usual if isinstance(of, ModelWatch) else of, honesty, metric.smallest)
    nominal = log_thresholds(settings, watched.n_metrics, tree)
    ready = of.ready & np.isfinite(watched.threshold)
    shown = {}
    if model is None:
        run_length = np.where(ready, nominal + np.log(watched.past.more_often(slack)), np.inf)
        directions: tuple[Direction, ...] = ("higher", "lower") if metric.worse == "both" else (metric.worse,)
        within = [(span, span / settings.bucket_ms) for span in WITHIN_MS[watch]]
        shown = {(each, span): _smallest(found, each, _needed(run_length + found.mixed, buckets)) for each in directions for span, buckets in within}
    a_month = MONTH_MS / settings.bucket_ms
    alone = _alone(watched.past, nominal + np.log(slack), honesty.astype(np.float64), slack.astype(np.float64), watched.buckets_per_epoch)
    return [
        Calibration(
            series=tree.name(row),
            watch=watch,
            kind=metric.kind,
            worse=metric.worse,
            bucket_ms=settings.bucket_ms,
            ready=bool(ready[row]),
            per_minute=float(found.rate[row]) * MINUTE_MS / settings.bucket_ms,
            scatter=float(found.scatter[row]),
            error=float(found.error[row]),
            honesty=float(honesty[row]),
            threshold=float(watched.threshold[row]) if ready[row] else None,
            promised=a_month * math.exp(-float(nominal[row])) if ready[row] else 0.0,
            measured=a_month * float(alone[row]) if ready[row] else 0.0,
            alarms=max(float(watched.past.peaks[row] - watched.past.heights[row]), 0.0),
            shown=tuple(
                Shown(direction=direction, within_ms=span, change=float(sizes[row]) if np.isfinite(sizes[row]) else None)
                for (direction, span), sizes in shown.items()
                if ready[row]
            ),
            model=None if model is None else model.recipe.name,
            refused=0 if model is None else int(model.refused[row]),
            renewed=0 if model is None else int(model.renewed[row]),
        )
        for row in range(n)
    ]


def _alone(past: PastPeaks, threshold: Floats, honesty: Floats, slack: Floats, buckets_per_epoch: int) -> Floats:
    """(n_series,) alarms a bucket if the evidence were not tempered, nor the threshold raised.

    Peaks of tempered evidence above `past.above` have been counted; they continue with the slope that their heights have had.
    """
    promised = slack * math.exp(-past.above)
    seen = (PRIOR_PEAKS + past.peaks) / (PRIOR_PEAKS / promised + past.buckets)
    slope = past.honesty().astype(np.float64)
    # A nat of tempered evidence is more of the model's own.
    beyond = slope * (threshold - past.above / honesty)
    # A peak ends with an epoch below, so there is no more than one in two.
    found: Floats = np.minimum(seen * np.exp(-beyond), 0.5 / buckets_per_epoch)
    return found


@dataclass(frozen=True, slots=True)
class _Numbers:
    """What a metric's baselines say of its series, in buckets.

    Attributes
    ----------
    rate, scatter, error : (n_series,) float
    smallest : float
        Size of the smallest rise that is looked for.
    mixed : (n_series,) float64
        Logarithm of how many statistics the e-detector is the mean of: each has to rise so much higher.
    drift : Drift
        Of the statistic that rises fastest.
    """

    rate: Reals
    scatter: Reals
    error: Reals
    smallest: float
    mixed: Floats
    drift: Drift


def _needed(run_length: Floats, buckets: float) -> Floats:
    """(n_series,) nats a bucket with which a change is seen in so many buckets; infinite if it cannot be."""

    @cache
    def needed(nats: float) -> float:
        if not math.isfinite(nats) or buckets < 1.0:
            return math.inf
        low, high = math.log(1e-9), math.log(1e3)
        for _ in range(40):
            middle = 0.5 * (low + high)
            drift = math.exp(middle)
            low, high = (low, middle) if mean_delay(nats, drift, drift) <= buckets else (middle, high)
        return math.exp(high)

    return np.array([needed(nats) for nats in run_length.tolist()])


def _smallest(numbers: _Numbers, direction: Direction, needed: Floats) -> Floats:
    """(n_series,) the smallest change in a direction that gains what is needed; infinite: there is none."""
    most = LARGEST_RISE if direction == "higher" else DEEPEST_FALL / (1.0 - DEEPEST_FALL)
    n = max(math.ceil(math.log(most / numbers.smallest) / math.log(STEP)), 0) + 1
    rises = np.minimum(numbers.smallest * STEP ** np.arange(n, dtype=np.float64), most)
    times = 1.0 + rises if direction == "higher" else 1.0 / (1.0 + rises)
    low, high = np.zeros(len(needed), dtype=np.int64), np.full(len(needed), n, dtype=np.int64)
    while (low < high).any():
        middle = np.minimum((low + high) // 2, n - 1)
        enough = numbers.drift(times[middle]) >= needed
        high = np.where(enough & (low < high), middle, high)
        low = np.where(~enough & (low < high), middle + 1, low)
    found: Floats = np.where(high < n, np.abs(times[np.minimum(high, n - 1)] - 1.0), np.inf)
    return found


def _numbers_of(watch: object, honesty: Reals, smallest: float) -> _Numbers:
    if isinstance(watch, RatioWatch):
        count, odds = watch.count.baseline.error(), watch.odds.baseline.error()
        hits = _usual(watch.count)
        both = _slower(_counts(watch.count, hits, honesty), _odds(watch.odds, hits, honesty))
        worse = np.maximum(count.scatter, odds.scatter), np.maximum(count.relative, odds.relative)
        return _Numbers(hits, *worse, smallest, _log_of(len(watch.count.factors), len(hits)), both)
    if isinstance(watch, CountWatch):
        error, rate, siblings = watch.bank.baseline.error(), _usual(watch.bank), watch.siblings
        own = _counts(watch.bank, rate, honesty)
        beside = _slower(_counts(siblings.loose, rate, honesty), _odds(siblings.share, rate, honesty))
        # Where siblings are looked at, it is the mean of both.
        mixed = _log_of(len(watch.bank.factors), len(rate)) + np.where(siblings.used, math.log(2.0), 0.0)
        return _Numbers(
            rate, error.scatter, error.relative, smallest, mixed, lambda times: np.maximum(own(times), np.where(siblings.used, beside(times), -np.inf))
        )
    return _shares(cast("ShareWatch", watch).bank, honesty)


def _log_of(number: int, n_series: int) -> Floats:
    return np.full(n_series, math.log(number))


def _usual(bank: RateBank) -> Floats:
    """(n_series,) rate of a usual bucket: the level, at the mean of its day."""
    c, factors = bank.baseline.columns, bank.baseline.day.factors
    day = np.zeros(factors.shape[1])
    for slot in factors:
        day += slot
    exposure = c["level_exposure"].astype(np.float64)
    level = np.divide(c["level_events"] + 0.5, exposure, out=np.zeros_like(exposure), where=exposure > 0.0)
    usual: Floats = level * (day / len(factors))
    return usual


def _counts(bank: RateBank, rate: Floats, honesty: Reals) -> Drift:
    error, safe = bank.baseline.error(), np.where(rate > 0.0, rate, 1.0)
    power, band = np.asarray(honesty, dtype=np.float32), bank.band_per_error * error.relative
    return _linear(count_coefficients(safe, band, (error.scatter - 1.0) / safe, bank.factors, power=power), rate, np.ones_like(rate))


def _odds(bank: RateBank, hits: Floats, honesty: Reals) -> Drift:
    """The same of hits against others, which stay as they are."""
    error, odds = bank.baseline.error(), _usual(bank)
    safe = np.where(odds > 0.0, odds, 1.0)
    others = hits / safe
    tempered = np.divide(error.scatter, honesty, dtype=np.float32)
    return _linear(odds_coefficients(safe, bank.band_per_error * error.relative, tempered, bank.factors, others), hits, others)


def _slower(one: Drift, other: Drift) -> Drift:
    """Both have to see it."""
    return lambda times: np.minimum(one(times), other(times))


def _linear(coefficients: Coefficients, hits: Floats, exposure: Floats) -> Drift:
    taken = coefficients.constant * exposure
    return lambda times: np.asarray((coefficients.weight * (hits * times) - taken).max(axis=0), dtype=np.float64)


def _shares(bank: ShareBank, honesty: Reals) -> _Numbers:
    baseline, n = bank.baseline, bank.baseline.n_series
    if baseline.cut is None:
        # Bins are cut after a day: until then nothing is known of any series.
        return _Numbers(np.zeros(n), np.ones(n), np.zeros(n), 1.0, np.zeros(n), np.zeros_like)
    spread = _spread(bin_middle(baseline.cut[[LOW_TENTH, HIGH_TENTH]].astype(np.int16)))
    shares, tilts = baseline.shares(), baseline.tilts()
    moving, lean = np.isin(tilts.names, LOCATION), baseline.lean(shares)
    constants = bin_constants(shares, tilts.factors, np.maximum(np.float32(LEAST_LEAN), np.float32(BAND_PER_ERROR) * lean))
    rate, scatter = _share_rate(bank), baseline.scatter()
    told = rate * honesty / scatter
    below = np.array([[NORMAL.inv_cdf(min(max(share, 1e-9), 1.0 - 1e-9)) for share in row] for row in np.cumsum(shares, axis=0)[:-1].tolist()])

    def drift(times: Floats) -> Floats:
        # Every value times so much: on the scale of normal scores, the whole distribution is moved.
        edges = below - np.log(times) / spread
        reached = np.array([[NORMAL.cdf(edge) for edge in row] for row in edges.tolist()]).reshape(edges.shape)
        after = np.diff(reached, axis=0, prepend=0.0, append=1.0)
        return np.asarray(told * (tilts.factors.astype(np.float64) @ after - constants).max(axis=0), dtype=np.float64)

    error = np.expm1(spread * (lean[moving] * tilts.step[moving, None]).max(axis=0).astype(np.float64))
    return _Numbers(rate, scatter, error, math.expm1(spread * float(tilts.step[moving].min())), _log_of(len(tilts.of), n), drift)


def _share_rate(bank: ShareBank) -> Floats:
    """(n_series,) events of a usual bucket."""
    baseline = bank.baseline
    counted = np.zeros(baseline.n_series)
    for each in baseline.counts:
        counted += each
    # A day of everything was there at the cut, and all fades since. A series' own first days weigh less, so the mean is that of all, divided.
    kept = SHARE_DECAY ** float(baseline.epochs[0])
    everything = float(counted[0]) / (kept * baseline.epochs_per_day + (1.0 - kept) / (1.0 - SHARE_DECAY)) / bank.buckets_per_epoch
    now = baseline.volume().astype(np.float64)
    rate: Floats = everything * (now / now[0] if now[0] > 0.0 else counted / max(float(counted[0]), 1.0))
    return rate


def _spread(tenths: Sequence[float] | Floats) -> float:
    """Standard deviation of the logarithm of values, from their quantiles .1 and .9.

    Examples
    --------
    >>> round(_spread([20.0, 40.0]), 3), _spread([-1.0, 40.0])
    (0.27, 0.5)
    """
    low, high = (float(each) for each in tenths)
    if low * high <= 0.0:
        return SPREAD
    # A bin is 5 % wide: what lies in one is spread within it.
    return max(abs(math.log(high / low)) / TENTHS, 0.02)
