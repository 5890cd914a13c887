"""How often a series' evidence has risen without a cause: from that its temper and its threshold, where the model promises too much."""

from __future__ import annotations

import math
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from rollguard.detectors.evidence import Floats, Singles
from rollguard.detectors.sums import totals

__all__ = ["PastPeaks"]

Ints = npt.NDArray[np.int64]

DAY_MS = 86_400_000
#: The model is believed as if so many of its peaks had been seen, as high as it says (fewer where there is but one series), and so
#: many, as often as it says.
PRIOR_HEIGHTS = 3.0
PRIOR_ALONE = 1.0
PRIOR_PEAKS = 1.0
#: A series has as much say in what is believed of the others as if it had so many peaks at most.
MOST_SAY = 10.0
#: A peak of others weighs so much of one's own in what is believed beforehand, which is worth so many at most.
SAY_OF_OTHERS = 0.25
MOST_PRIOR = 20.0
HALF_LIFE_DAYS = 30.0
#: One peak beyond the threshold in so many days is taken for an incident, not for the model's fault.
FORGIVEN_DAYS = 30.0
#: Evidence is tempered to so little at least.
LEAST_HONESTY = 0.01


class PastPeaks:
    """Peaks of the evidence of many series, and what they say of the model.

    Above a height the height of a right model's peaks falls off as exp(-nats), and they come as often as its run length
    says. Where they are higher, the evidence is tempered: multiplied by `honesty`, so that its peaks fall off as they
    should. Where they still come more often, the threshold rises by the logarithm of how much more often.

    Parameters
    ----------
    epoch_ms : int
        Length of an epoch.
    above : float
        Nats of tempered evidence. What rises higher is a peak: low enough that a right model has many in a month, high
        enough that they are rare events.

    Notes
    -----
    The peaks-over-threshold method with an exponential tail: J. Pickands, "Statistical inference using extreme order
    statistics", Annals of Statistics 3, 1975. A peak beyond the threshold now and then is an incident; where they come more
    often, they count, cut off at the threshold: nobody knows at once which ones were incidents. A likelihood ratio to a
    power below one still has a mean of one at most (Jensen).
    """

    _COLUMNS: ClassVar[tuple[str, ...]] = ("high", "peak", "peaks", "heights", "excess", "buckets", "since")

    def __init__(self, epoch_ms: int, above: float) -> None:
        self.above = above
        self.decay = 0.5 ** (epoch_ms / (HALF_LIFE_DAYS * DAY_MS))
        empty = np.zeros(0, dtype=np.float32)
        #: Largest value of the epoch under way, on the scale of the e-detector.
        self.high: Singles = empty
        #: Height in nats of the peak that a series stands on; 0: none.
        self.peak: Singles = empty
        self.peaks: Singles = empty
        self.heights: Singles = empty
        self.excess: Singles = empty
        self.buckets: Singles = empty
        #: Epochs since a peak was last taken for an incident, counted on from the beginning.
        self.since: Singles = empty
        self.forgiven_epochs = FORGIVEN_DAYS * DAY_MS / epoch_ms

    def grow(self, n_series: int) -> None:
        """Make room for more series."""
        more = np.zeros(max(n_series - len(self.high), 0), dtype=np.float32)
        for name in self._COLUMNS:
            setattr(self, name, np.concatenate([getattr(self, name), more]))
        self.since[len(self.since) - len(more) :] = self.forgiven_epochs

    def see(self, value: Singles) -> None:
        """Take the e-detector's values of a bucket."""
        np.maximum(self.high, value, out=self.high)

    def close_epoch(self, n_buckets: Ints | int, threshold: Floats, honesty: Singles) -> None:
        """Count the peaks that are over.

        Parameters
        ----------
        n_buckets : int or (n_series,) int64
            Buckets of the epoch in which each series could speak; 0: it could not.
        threshold : (n_series,) float64
            Nats; what is higher counts as this high.
        honesty : (n_series,) float32
            By which the evidence of this epoch was tempered.
        """
        nats = np.log(np.maximum(self.high, np.float32(1.0)))
        above = (nats >= self.above) & (np.asarray(n_buckets) > 0)
        over = ~above & (self.peak > 0.0)
        passed = over & (self.peak >= threshold)
        incident = passed & (self.since >= self.forgiven_epochs)
        self.since = np.where(incident, np.float32(0.0), self.since + np.float32(1.0))
        over &= ~incident
        decay = np.float32(self.decay)
        for name in ("peaks", "heights", "excess", "buckets"):
            setattr(self, name, getattr(self, name) * decay)
        self.peaks[over] += np.float32(1.0)
        # How high one is that was cut off is not known: it has its part in the sum, not in the number (a censored exponential).
        self.heights[over & ~passed] += np.float32(1.0)
        beyond = np.maximum(np.minimum(self.peak, threshold) - self.above, 0.0) / honesty
        self.excess[over] += beyond[over].astype(np.float32)
        self.buckets += np.asarray(n_buckets, dtype=np.float32)
        self.peak = np.where(above, np.maximum(self.peak, nats), np.float32(0.0))
        self.high[:] = 0.0

    def honesty(self) -> Singles:
        """(n_series,) in (0, 1]: how fast the height of peaks falls off, of what the untempered model says.

        A series is believed to be like all of its metric until it has peaks of its own, and no more is taken from it than one
        standard error allows.

        Examples
        --------
        >>> past = PastPeaks(300_000, above=7.0)
        >>> past.grow(2)
        >>> past.peaks[:], past.heights[:], past.excess[:] = (35.0, 0.0), (35.0, 0.0), (75.0, 0.0)
        >>> past.honesty().round(2)
        array([0.56, 1.  ], dtype=float32)
        """
        # One unsteady series of many must not stand for them all.
        say = np.float32(MOST_SAY) / np.maximum(self.peaks, np.float32(MOST_SAY))
        heights, excess, others = self._sum(say * self.heights), self._sum(say * self.excess), self._sum(say * self.peaks) - float(self.peaks.max(initial=0.0))
        prior = PRIOR_HEIGHTS
        if len(say) < 2:
            # One that stands alone has none that vouch for it.
            found = np.divide(np.float32(PRIOR_ALONE) + self.heights, np.float32(PRIOR_ALONE) + self.excess)
        else:
            pooled = min((prior + heights + math.sqrt(prior + heights)) / (prior + excess), 1.0)
            # What many peaks of others have shown is believed more firmly.
            weight = max(prior, min(prior + SAY_OF_OTHERS * others, MOST_PRIOR))
            seen = np.float32(weight) + self.heights
            found = np.divide(seen + np.sqrt(seen), np.float32(weight / pooled) + self.excess)
        honest: Singles = np.clip(found, np.float32(LEAST_HONESTY), np.float32(1.0))
        return honest

    def more_often(self, slack: Singles) -> Floats:
        """(n_series,) >= 1: how many times as often peaks come as the model says; on the scale of thresholds.

        Parameters
        ----------
        slack : (n_series,) float32
            See `overshoot`: a threshold of A has a run length of A / slack.
        """
        promised = slack.astype(np.float64) * np.exp(-self.above) * self.buckets
        pooled = (PRIOR_PEAKS + self._sum(self.peaks)) / (PRIOR_PEAKS + self._sum(promised))
        more: Floats = np.maximum((PRIOR_PEAKS * pooled + self.peaks) / (PRIOR_PEAKS + promised), 1.0)
        return more

    def _sum(self, column: npt.NDArray[np.floating[Any]]) -> float:
        return float(totals(column[None, :].astype(np.float64))[0])
