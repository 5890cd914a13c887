"""When evidence becomes a signal, and when it is over."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from rollguard.detectors.evidence import Floats, Singles

__all__ = ["Alarms"]

Bools = npt.NDArray[np.bool_]
Ints = npt.NDArray[np.int64]

#: A series is suspected, and its baseline stands still, above this part of its threshold in nats.
SUSPICION = 0.45
#: A series has returned once its strong tilts have lost so large a part of the threshold in nats from their peaks: where
#: evidence rises without a cause, it also falls without one.
RETURN = 0.5


class Alarms:
    """Which series of a metric are away from their baseline.

    A series leaves when its log evidence passes its threshold. It returns when the tilt that fitted best, and each that
    was half as strong and has had its best since, has lost `RETURN` of the threshold: the same likelihoods, read the other way; the bucket of the peak is
    when it came back. Where two kinds of evidence had to agree, one that is back is enough.
    """

    def __init__(self) -> None:
        self.away: Bools = np.zeros(0, dtype=bool)
        #: Series that were away at any time since `new_epoch`.
        self.been_away: Bools = np.zeros(0, dtype=bool)
        #: Series that are away, and for each (kind, tilt): nats now, at its best, and when that was.
        self.rows: Ints = np.zeros(0, dtype=np.int64)
        self.lead: Floats = np.zeros((0, 1, 1))
        self.peak: Floats = np.zeros((0, 1, 1))
        self.peak_at: Ints = np.zeros((0, 1, 1), dtype=np.int64)

    def grow(self, n_series: int) -> None:
        """Make room for more series."""
        more = np.zeros(max(n_series - len(self.away), 0), dtype=bool)
        self.away = np.concatenate([self.away, more])
        self.been_away = np.concatenate([self.been_away, more])

    def new_epoch(self) -> None:
        """Forget who has returned."""
        self.been_away = self.away.copy()

    def step(self, bucket: int, value: Singles, threshold: Floats, mass: Callable[[Ints], Floats], nats: Callable[[Ints], Floats]) -> tuple[Ints, Ints, Ints]:
        """Take one bucket.

        Parameters
        ----------
        bucket : int
        value : (n_series,) float32
            Value of the e-detector.
        threshold : (n_series,) float64
            Nats; the value is compared on its own scale.
        mass : callable
            Log of each tilt's statistic, (n_rows, n_kinds, n_tilts) float64, of some rows.
        nats : callable
            Log likelihood ratios of the bucket, in the same shape.

        Returns
        -------
        left : (n,) int64
            Rows that left their baseline in this bucket.
        returned : (m,) int64
            Rows that are back.
        since : (m,) int64
            First bucket in which each of those was back.
        """
        none = np.zeros(0, dtype=np.int64)
        returned, since = none, none
        if len(self.rows):
            self.lead = self.lead + nats(self.rows)
            higher = self.lead >= self.peak
            self.peak = np.where(higher, self.lead, self.peak)
            self.peak_at = np.where(higher, bucket, self.peak_at)
            best = self.peak.argmax(axis=2)[:, :, None]
            # Where counts scatter more than they should, a strong tilt may lose while weaker ones still gain: that is not back yet.
            # What had its best before the best tilt had is no part of it.
            latest = self.peak_at > np.take_along_axis(self.peak_at, best, axis=2)
            strong = (self.peak >= 0.5 * self.peak.max(axis=2, keepdims=True)) & latest
            np.put_along_axis(strong, best, values=True, axis=2)
            lost = np.where(strong, self.peak - self.lead, np.inf).min(axis=2)
            kind = lost.argmax(axis=1)
            back = lost.max(axis=1) >= np.where(np.isfinite(threshold[self.rows]), RETURN * threshold[self.rows], np.inf)
            returned = self.rows[back]
            since = np.take_along_axis(self.peak_at, best, axis=2)[:, :, 0][back, kind[back]] + 1
            self.away[returned] = False
            self._keep(~back)
        with np.errstate(divide="ignore"):
            above = np.log(value) >= threshold
        left = np.flatnonzero(above & ~self.away) if above.any() else none
        left = left[~np.isin(left, returned)]
        if len(left):
            self.away[left] = True
            found = mass(left)
            at = np.full(found.shape, bucket, dtype=np.int64)
            together = bool(len(self.rows))
            self.rows = np.concatenate([self.rows, left])
            self.lead = np.concatenate([self.lead, found]) if together else found
            self.peak = np.concatenate([self.peak, found]) if together else found
            self.peak_at = np.concatenate([self.peak_at, at]) if together else at
        self.been_away |= self.away
        return left, returned, since

    def release(self, rows: Ints) -> Ints:
        """Take some series for returned; those of them that were away."""
        gone = np.isin(self.rows, rows)
        released = self.rows[gone]
        self.away[released] = False
        self.been_away[released] = False
        self._keep(~gone)
        return released

    def _keep(self, which: Bools) -> None:
        self.rows, self.lead, self.peak, self.peak_at = self.rows[which], self.lead[which], self.peak[which], self.peak_at[which]
