"""How often a series' evidence has risen without a cause: from that its threshold, where the model promises too much."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import numpy.typing as npt

from rollguard.detectors.evidence import Floats, Singles

__all__ = ["PastPeaks"]

Ints = npt.NDArray[np.int64]

DAY_MS = 86_400_000
#: The model is believed as if so many of its peaks had been seen, as high as it says, and so many, as often as it says.
PRIOR_HEIGHTS = 10.0
PRIOR_PEAKS = 2.0
HALF_LIFE_DAYS = 30.0


class PastPeaks:
    """Peaks of the evidence of many series, and thresholds that keep the promise all the same.

    Above a height the height of a right model's peaks falls off as exp(-nats), and they come as often as its run length
    says. Where they are higher (theta < 1) or come more often, the threshold is where the observed peaks, continued, come
    as rarely as was promised; it is never lower than the model's own.

    Parameters
    ----------
    epoch_ms : int
        Length of an epoch.
    above : float
        Nats. What rises higher is a peak: low enough that a right model has many in a month, high enough that they are rare events.

    Notes
    -----
    The peaks-over-threshold method with an exponential tail: J. Pickands, "Statistical inference using extreme order
    statistics", Annals of Statistics 3, 1975. A peak that was an incident counts, cut off at the threshold: nobody knows
    at once which ones were.
    """

    _COLUMNS: ClassVar[tuple[str, ...]] = ("high", "peak", "peaks", "excess", "buckets")

    def __init__(self, epoch_ms: int, above: float) -> None:
        self.above = above
        self.decay = 0.5 ** (epoch_ms / (HALF_LIFE_DAYS * DAY_MS))
        empty = np.zeros(0, dtype=np.float32)
        #: Largest value of the epoch under way, on the scale of the e-detector.
        self.high: Singles = empty
        #: Height in nats of the peak that a series stands on; 0: none.
        self.peak: Singles = empty
        self.peaks: Singles = empty
        self.excess: Singles = empty
        self.buckets: Singles = empty

    def grow(self, n_series: int) -> None:
        """Make room for more series."""
        more = np.zeros(max(n_series - len(self.high), 0), dtype=np.float32)
        for name in self._COLUMNS:
            setattr(self, name, np.concatenate([getattr(self, name), more]))

    def see(self, value: Singles) -> None:
        """Take the e-detector's values of a bucket."""
        np.maximum(self.high, value, out=self.high)

    def close_epoch(self, n_buckets: Ints | int, threshold: Floats) -> None:
        """Count the peaks that are over.

        Parameters
        ----------
        n_buckets : int or (n_series,) int64
            Buckets of the epoch in which each series could speak; 0: it could not.
        threshold : (n_series,) float64
            Nats; what is higher counts as this high.
        """
        spoke = np.asarray(n_buckets) > 0
        nats = np.log(np.maximum(self.high, np.float32(1.0)))
        above = (nats >= self.above) & spoke
        over = ~above & (self.peak > 0.0)
        height = np.minimum(self.peak, threshold)
        decay = np.float32(self.decay)
        self.peaks *= decay
        self.excess *= decay
        self.buckets *= decay
        self.peaks[over] += np.float32(1.0)
        self.excess[over] += (height[over] - self.above).astype(np.float32)
        self.buckets += np.asarray(n_buckets, dtype=np.float32)
        self.peak = np.where(above, np.maximum(self.peak, nats), np.float32(0.0))
        self.high[:] = 0.0

    def theta(self) -> Floats:
        """(n_series,) in (0, 1]: how fast the height of peaks falls off, of what the model says."""
        return np.minimum((PRIOR_HEIGHTS + self.peaks) / (PRIOR_HEIGHTS + self.excess.astype(np.float64)), 1.0)

    def thresholds(self, nominal: Floats, slack: Singles) -> Floats:
        """Thresholds that the own past demands.

        Parameters
        ----------
        nominal : (n_series,) float64
            What the run length alone demands, in nats, overshoot included.
        slack : (n_series,) float32
            See `overshoot`: a threshold of A has a run length of A / slack.

        Returns
        -------
        (n_series,) float64
            Nats, `nominal` at least.

        Examples
        --------
        >>> past = PastPeaks(300_000, above=7.0)
        >>> past.grow(1)
        >>> past.thresholds(np.array([14.0]), np.array([0.3], dtype=np.float32))
        array([14.])
        >>> past.peaks[:], past.excess[:], past.buckets[:] = 40.0, 100.0, 8640.0
        >>> past.thresholds(np.array([14.0]), np.array([0.3], dtype=np.float32)).round(1)
        array([24.1])
        """
        promised = slack.astype(np.float64) * np.exp(-self.above)
        seen = (PRIOR_PEAKS + self.peaks) / (PRIOR_PEAKS / promised + self.buckets)
        more = np.maximum(seen / promised, 1.0)
        raised: Floats = self.above + (nominal - self.above + np.log(more)) / self.theta()
        return np.maximum(raised, nominal)
