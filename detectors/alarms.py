"""When evidence becomes a signal, and when it is over."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from rollguard.detectors.evidence import Floats

__all__ = ["Alarms"]

Bools = npt.NDArray[np.bool_]
Ints = npt.NDArray[np.int64]

#: A series is suspected, and its baseline stands still, above this log evidence.
SUSPICION_NATS = 7.0
#: A series has returned once its best tilt has lost so many nats from its peak.
RETURN_NATS = 8.0


class Alarms:
    """Which series of a metric are away from their baseline.

    A series leaves when its log evidence passes its threshold. It returns when the tilt that fitted best has since
    lost `RETURN_NATS`: the same likelihoods, read the other way; the bucket of the peak is when it came back.

    Attributes
    ----------
    away : (n_series,) bool
        Series that have left and not returned.
    been_away : (n_series,) bool
        Series that were away at any time since `new_epoch`.
    """

    def __init__(self) -> None:
        self.away: Bools = np.zeros(0, dtype=bool)
        self.been_away: Bools = np.zeros(0, dtype=bool)
        self.peak: Floats = np.zeros((0, 0))
        self.peak_at: Ints = np.zeros((0, 0), dtype=np.int64)

    def grow(self, n_series: int, n_tilts: int) -> None:
        """Make room for more series."""
        extra = n_series - len(self.away)
        if extra <= 0:
            return
        self.away = np.concatenate([self.away, np.zeros(extra, dtype=bool)])
        self.been_away = np.concatenate([self.been_away, np.zeros(extra, dtype=bool)])
        self.peak = np.concatenate([self.peak.reshape(-1, n_tilts), np.zeros((extra, n_tilts))])
        self.peak_at = np.concatenate([self.peak_at.reshape(-1, n_tilts), np.zeros((extra, n_tilts), dtype=np.int64)])

    def new_epoch(self) -> None:
        """Forget who has returned."""
        self.been_away = self.away.copy()

    def step(self, bucket: int, value: Floats, lead: Floats, threshold: Floats) -> tuple[Ints, Ints, Ints]:
        """Take one bucket.

        Parameters
        ----------
        bucket : int
        value : (n_series,) float64
            Value of the e-detector.
        lead : (n_series, n_tilts) float64
            Nats of each tilt since its onset.
        threshold : (n_series,) float64
            On the scale of `value`.

        Returns
        -------
        left : (n,) int64
            Rows that left their baseline in this bucket.
        returned : (m,) int64
            Rows that are back.
        since : (m,) int64
            First bucket in which each of those was back.
        """
        left = np.flatnonzero(~self.away & (value >= threshold))
        if len(left):
            self.away[left] = True
            self.peak[left] = lead[left]
            self.peak_at[left] = bucket
        self.been_away |= self.away
        rows = np.flatnonzero(self.away)
        if not len(rows):
            return left, rows, rows
        now = lead[rows]
        higher = now >= self.peak[rows]
        self.peak[rows] = np.where(higher, now, self.peak[rows])
        self.peak_at[rows] = np.where(higher, bucket, self.peak_at[rows])
        best = self.peak[rows].argmax(axis=1)
        lost = self.peak[rows, best] - now[np.arange(len(rows)), best]
        back = rows[lost >= RETURN_NATS]
        since = self.peak_at[back, best[lost >= RETURN_NATS]] + 1
        self.away[back] = False
        return left, back, since
