"""The mixture Shiryaev-Roberts recursion of one bank, a bucket at a time for all its series."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from rollguard.detectors.evidence import Singles

__all__ = ["Recursion"]

Ints = npt.NDArray[np.int64]

#: Beyond this a statistic carries no further meaning; the cap keeps it finite.
CEILING = np.float32(1e30)


class Recursion:
    """R <- (1 + R) * L for each tilt; the mean over tilts is an e-detector.

    If no L has a mean above one before a change, then a stop at `mean(R) >= A` has a run length to a false alarm of at
    least A buckets.

    Parameters
    ----------
    n_tilts : int

    References
    ----------
    J. Shin, A. Ramdas, A. Rinaldo, "E-detectors", 2022 (arXiv 2203.03532).

    Examples
    --------
    >>> recursion = Recursion(2)
    >>> recursion.grow(1)
    >>> recursion.step(np.array([[2.0], [0.5]], dtype=np.float32)).tolist()
    [1.25]
    >>> recursion.step(np.array([[2.0], [0.5]], dtype=np.float32)).tolist()
    [3.375]
    """

    def __init__(self, n_tilts: int) -> None:
        self.n_tilts = n_tilts
        self.sr: Singles = np.zeros((n_tilts, 0), dtype=np.float32)

    def grow(self, extra: int) -> None:
        """Make room for more series."""
        self.sr = np.concatenate([self.sr, np.zeros((self.n_tilts, extra), dtype=np.float32)], axis=1)

    def step(self, ratio: Singles) -> Singles:
        """Take one bucket.

        Parameters
        ----------
        ratio : (n_tilts, n_series) float32
            Likelihood ratios of the bucket; 1 is evidence of nothing.

        Returns
        -------
        (n_series,) float32
            Value of each series' e-detector, at most `CEILING`.
        """
        sr = self.sr
        with np.errstate(over="ignore", under="ignore"):
            sr += 1.0
            sr *= ratio
            value = self.value()
        if float(value.max(initial=0.0)) > CEILING:
            rows = np.flatnonzero(value > CEILING)
            sr[:, rows] = np.minimum(sr[:, rows], CEILING)
            value[rows] = CEILING
        return value

    def through(self, ratios: Singles, states: Singles) -> Singles | None:
        """Look at many buckets without taking them.

        Parameters
        ----------
        ratios : (n_buckets, n_tilts, n_series) float32
            Likelihood ratios of the next buckets.
        states : (n_buckets, n_tilts, n_series) float32
            Becomes the statistics after each of them; may be `ratios` itself.

        Returns
        -------
        (n_buckets, n_series) float32 or None
            Value of each series' e-detector after each bucket, as `step` gives it. None: one is as high as `CEILING`, which only `step` knows
            how to keep finite.
        """
        before, spare = self.sr, np.empty_like(self.sr)
        with np.errstate(over="ignore", under="ignore", invalid="ignore"):
            for ratio, state in zip(ratios, states, strict=True):
                np.add(before, np.float32(1.0), out=spare)
                before = np.multiply(spare, ratio, out=state)
            # One column alone would be added up in pairs, see `value`.
            total: Singles = np.add.reduce(states, axis=1) if states.shape[2] != 1 else np.add.accumulate(states, axis=1)[:, -1].copy()
            total /= self.n_tilts
        return total if float(total.max(initial=0.0)) < CEILING else None

    def value(self) -> Singles:
        """(n_series,) float32: mean over tilts as it stands."""
        # One column alone would be added up in pairs, and end on other digits than among others.
        total: Singles = np.add.reduce(self.sr, axis=0) if self.sr.shape[1] != 1 else np.add.accumulate(self.sr, axis=0)[-1].copy()
        total /= self.n_tilts
        return total

    def forget(self, rows: Ints | npt.NDArray[np.bool_]) -> None:
        """Start again for these series."""
        self.sr[:, rows] = 0.0
