"""What each series promises, what its own past says of that promise, and the smallest change that it can show in time."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, cast

import msgspec
import numpy as np

from rollguard.config import Kind, Settings, Worse
from rollguard.detectors.bank import BAND_PER_ERROR, RateBank
from rollguard.detectors.budget import log_thresholds
from rollguard.detectors.evidence import Floats, Reals
from rollguard.detectors.limits import DEEPEST_FALL, LARGEST_RISE, Direction, divergences, mean_delay
from rollguard.detectors.model_watch import ModelWatch
from rollguard.detectors.past import PRIOR_PEAKS, PastPeaks
from rollguard.detectors.records import SeriesName
from rollguard.detectors.sharebank import LEAST_LEAN, ShareBank
from rollguard.detectors.shares import QUANTILES, SHARE_DECAY, TILT_NAMES
from rollguard.detectors.watch import CountWatch, RatioWatch, ShareWatch
from rollguard.detectors.watched import Watched
from rollguard.streams import bin_middle

__all__ = ["MONTH_MS", "Calibration", "WatchName", "calibrated"]

WatchName = Literal["fast", "slow"]

MINUTE_MS = 60_000
MONTH_MS = 30 * 86_400_000
#: Sizes of a change that are tried lie so far apart: an answer is at most this much too large.
STEP = 1.01
#: Spread of the logarithm of a distribution's values where its quantiles do not tell.
SPREAD = 0.5
#: Standard deviations between the quantiles .1 and .9 of a normal distribution.
TENTHS = 2.0 * 1.2815515655446004
LOW_TENTH, HIGH_TENTH = QUANTILES.index(0.1), QUANTILES.index(0.9)
#: Tilts that move a distribution as a whole.
LOCATION = (TILT_NAMES.index("higher"), TILT_NAMES.index("lower"))


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
    smallest : float
        Relative size of the smallest change that is looked for, > 0.
    scatter : float
        Variance of counts relative to Poisson (of a distribution: to the multinomial), >= 1.
    error : float
        Relative error that the baseline has shown; the dead band is `BAND_PER_ERROR` times it.
    trials_per_minute, odds_scatter, odds_error : float or None
        Of a ratio: hits and misses, and scatter and error of its odds.
    spread : float or None
        Of a distribution: standard deviation of the logarithm of its values.
    honesty : float
        By which evidence is multiplied, in (0, 1]; see `PastPeaks`.
    threshold : float or None
        Nats; None before it is ready.
    run_length : float
        Logarithm of the buckets to a false alarm that the threshold stands for: what the budget demands, and what the own past adds.
    promised : float
        False alarms a month that the budget allows it; 0 before it is ready.
    measured : float
        Those that its own past leads one to expect if its model were believed as it is, neither tempered nor held to a higher threshold.
    alarms : float
        Alarms in its past, each worth half as much after thirty days.
    model : str or None
        The river model that watches in place of ours.
    refused, renewed : int
        How often that model said nothing of a value, and how often it was built anew for that; see `ForeignBank`.
    """

    series: SeriesName
    watch: WatchName
    kind: Kind
    worse: Worse
    bucket_ms: int
    ready: bool
    per_minute: float
    smallest: float
    scatter: float
    error: float
    trials_per_minute: float | None = None
    odds_scatter: float | None = None
    odds_error: float | None = None
    spread: float | None = None
    honesty: float
    threshold: float | None
    run_length: float
    promised: float
    measured: float
    alarms: float
    model: str | None = None
    refused: int = 0
    renewed: int = 0

    @property
    def directions(self) -> tuple[Direction, ...]:
        """Where a change hurts."""
        return ("higher", "lower") if self.worse == "both" else (self.worse,)

    def smallest_change(self, within_ms: int, direction: Direction) -> float | None:
        """The smallest relative change in a direction that is seen in so many milliseconds on average.

        Parameters
        ----------
        within_ms : int
        direction : {"higher", "lower"}

        Returns
        -------
        float or None
            0.1 is a tenth more or less, as in `limits.smallest_change`; never less than what is looked for (for a fall, as many times less
            as a rise would be more). None: no change is, or the series may not speak yet, or a river model watches it, of which nobody
            knows that.
        """
        if not self.ready or self.model is not None:
            return None
        most = LARGEST_RISE if direction == "higher" else DEEPEST_FALL / (1.0 - DEEPEST_FALL)
        n = max(math.ceil(math.log(most / self.smallest) / math.log(STEP)), 0) + 1
        rises = range(n)
        at = bisect_left(rises, True, key=lambda k: self._shows(min(self.smallest * STEP**k, most), direction, within_ms / self.bucket_ms))  # noqa: FBT003 - the key's value that is sought
        if at == n:
            return None
        rise = min(self.smallest * STEP**at, most)
        return rise if direction == "higher" else rise / (1.0 + rise)

    def _shows(self, rise: float, direction: Direction, within: float) -> bool:
        size = rise if direction == "higher" else rise / (1.0 + rise)
        # A power of a likelihood ratio has so much less of its drift.
        return all(mean_delay(self.run_length, self.honesty * forward, self.honesty * backward) <= within for forward, backward in self._tests(size, direction))

    def _tests(self, size: float, direction: Direction) -> Iterator[tuple[float, float]]:
        """Divergences of each test that has to see a change."""
        rate = self.per_minute * self.bucket_ms / MINUTE_MS
        band = BAND_PER_ERROR * self.error
        if self.spread is not None:
            times = abs(math.log1p(size if direction == "higher" else -size))
            yield divergences("distribution", size, rate, direction, scatter=self.scatter, band=max(band, math.expm1(LEAST_LEAN * times)), spread=self.spread)[
                -1
            ]
            return
        yield divergences("count", size, rate, direction, scatter=self.scatter, band=band)[-1]
        if self.trials_per_minute is not None and self.odds_scatter is not None and self.odds_error is not None:
            trials = self.trials_per_minute * self.bucket_ms / MINUTE_MS
            yield divergences("ratio", size, rate, direction, scatter=self.odds_scatter, band=BAND_PER_ERROR * self.odds_error, trials=trials)[-1]


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
    found = _numbers_of(of.usual if isinstance(of, ModelWatch) else of)
    nominal = log_thresholds(settings, watched.n_metrics, tree)
    more_often = np.log(watched.past.more_often(of.slack))
    ready = of.ready & np.isfinite(watched.threshold)
    a_month = MONTH_MS / settings.bucket_ms
    alone = _alone(watched.past, nominal + np.log(of.slack), of.honesty.astype(np.float64), of.slack.astype(np.float64), watched.buckets_per_epoch)

    def column(values: Reals | None, row: int) -> float | None:
        return None if values is None else float(values[row])

    return [
        Calibration(
            series=name,
            watch=watch,
            kind=metric.kind,
            worse=metric.worse,
            bucket_ms=settings.bucket_ms,
            ready=bool(ready[row]),
            per_minute=float(found.rate[row]) * MINUTE_MS / settings.bucket_ms,
            smallest=metric.smallest if found.smallest is None else found.smallest,
            scatter=float(found.scatter[row]),
            error=float(found.error[row]),
            trials_per_minute=None if found.trials is None else float(found.trials[row]) * MINUTE_MS / settings.bucket_ms,
            odds_scatter=column(found.odds_scatter, row),
            odds_error=column(found.odds_error, row),
            spread=found.spread,
            honesty=float(of.honesty[row]),
            threshold=float(watched.threshold[row]) if ready[row] else None,
            run_length=float(nominal[row] + more_often[row]),
            promised=a_month * math.exp(-float(nominal[row])) if ready[row] else 0.0,
            measured=a_month * float(alone[row]) if ready[row] else 0.0,
            alarms=max(float(watched.past.peaks[row] - watched.past.heights[row]), 0.0),
            model=None if model is None else model.recipe.name,
            refused=0 if model is None else int(model.refused[row]),
            renewed=0 if model is None else int(model.renewed[row]),
        )
        for row, name in enumerate(tree.first_names(n))
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
    """What a metric's baselines say of its series, each (n_series,), in buckets."""

    rate: Reals
    scatter: Reals
    error: Reals
    smallest: float | None = None
    trials: Reals | None = None
    odds_scatter: Reals | None = None
    odds_error: Reals | None = None
    spread: float | None = None


def _numbers_of(watch: object) -> _Numbers:
    if isinstance(watch, RatioWatch):
        count, odds = watch.count.baseline.error(), watch.odds.baseline.error()
        hits, chances = _usual(watch.count), _usual(watch.odds)
        trials = hits + np.divide(hits, chances, out=np.zeros_like(hits), where=chances > 0.0)
        return _Numbers(hits, count.scatter, count.relative, trials=trials, odds_scatter=odds.scatter, odds_error=odds.relative)
    if isinstance(watch, CountWatch):
        error = watch.bank.baseline.error()
        return _Numbers(_usual(watch.bank), error.scatter, error.relative)
    return _shares(cast("ShareWatch", watch).bank)


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


def _shares(bank: ShareBank) -> _Numbers:
    baseline, n = bank.baseline, bank.baseline.n_series
    if baseline.cut is None:
        # Bins are cut after a day: until then nothing is known of any series.
        return _Numbers(np.zeros(n), np.ones(n), np.zeros(n), 1.0, spread=SPREAD)
    spread = _spread(bin_middle(baseline.cut[[LOW_TENTH, HIGH_TENTH]].astype(np.int16)))
    tilts = baseline.tilts()
    moving = np.isin(tilts.names, LOCATION)
    lean = (baseline.lean(baseline.shares())[moving] * tilts.step[moving, None]).max(axis=0)
    counted = np.zeros(n)
    for each in baseline.counts:
        counted += each
    # A day of everything was there at the cut, and all fades since; a series' own first days weigh less, so the mean is that of all, divided.
    kept = SHARE_DECAY ** float(baseline.epochs[0])
    days_all = float(counted[0]) / (kept * baseline.epochs_per_day + (1.0 - kept) / (1.0 - SHARE_DECAY)) / bank.buckets_per_epoch
    now = baseline.volume().astype(np.float64)
    part = now / now[0] if now[0] > 0.0 else counted / max(counted[0], 1.0)
    return _Numbers(
        days_all * part,
        baseline.scatter(),
        np.expm1(spread * lean.astype(np.float64)),
        math.expm1(spread * float(tilts.step[moving].min())),
        spread=spread,
    )


def _spread(tenths: Floats) -> float:
    """Standard deviation of the logarithm of values, from their quantiles .1 and .9."""
    low, high = tenths.tolist()
    if low * high <= 0.0:
        return SPREAD
    # A bin is 5 % wide: what lies in one is spread within it.
    return max(abs(math.log(high / low)) / TENTHS, 0.02)
