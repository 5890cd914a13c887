"""When a change began: the posterior of its start, from the buckets that are kept for it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from rollguard.detectors.evidence import Singles

__all__ = ["Onset", "Recent", "onset_of"]

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Onset:
    """When a change began.

    Attributes
    ----------
    bucket : float
        Most likely first bucket.
    error : float
        Root of the posterior's mean square distance from it in buckets, at least half of one.
    nats : float
        Log likelihood ratio from the most likely start until now.
    """

    bucket: float
    error: float
    nats: float


class Recent:
    """The buckets of the epoch under way, of every series of a bank; older ones are known by the epochs that wait to be learnt.

    Parameters
    ----------
    per_epoch : int
        Buckets in an epoch.
    exposure : bool
        Whether buckets have an exposure of their own (misses); else it is one a bucket.
    """

    def __init__(self, per_epoch: int, *, exposure: bool) -> None:
        self.per_epoch = per_epoch
        self.hits: Singles = np.zeros((per_epoch, 0), dtype=np.float32)
        self.misses: Singles | None = np.zeros((per_epoch, 0), dtype=np.float32) if exposure else None
        #: Which bucket stands in each place; -1: none.
        self.bucket: Ints = np.full(per_epoch, -1, dtype=np.int64)

    def grow(self, extra: int) -> None:
        """Make room for more series."""
        more = np.zeros((self.per_epoch, extra), dtype=np.float32)
        self.hits = np.concatenate([self.hits, more], axis=1)
        if self.misses is not None:
            self.misses = np.concatenate([self.misses, more], axis=1)

    def take(self, start: int, hits: Singles, misses: Singles, present: Bools) -> None:
        """Keep some buckets of one epoch; missing ones are evidence of nothing and are not kept."""
        at = np.flatnonzero(present)
        place = (start + at) % self.per_epoch
        self.bucket[place] = start + at
        self.hits[place] = hits[at]
        if self.misses is not None:
            self.misses[place] = misses[at]

    def of(self, row: int, until: int) -> tuple[Ints, Floats, Floats]:
        """Buckets of an epoch up to and with `until`, ascending, with hits and exposure of one series."""
        known = np.flatnonzero((self.bucket >= until // self.per_epoch * self.per_epoch) & (self.bucket <= until))
        hits = self.hits[known, row].astype(np.float64)
        misses = np.ones(len(known)) if self.misses is None else self.misses[known, row].astype(np.float64)
        return self.bucket[known], hits, misses


def onset_of(recent: tuple[Ints, Floats, Floats], waited: tuple[Ints, Floats, Floats, int], weight: Floats, constant: Floats) -> tuple[int, Onset]:
    """Posterior of a change's first bucket and size, all starts and tilts being equally likely beforehand.

    Parameters
    ----------
    recent : buckets, hits and exposure
        Of the epoch under way, ascending.
    waited : first buckets, hits and exposure of whole epochs, and their length in buckets
        Those before it.
    weight, constant : (n_tilts,) float64
        Coefficients of the likelihood ratios.

    Returns
    -------
    int
        The most likely tilt.
    Onset
        Mode and spread over all tilts together: one tilt alone would be too sure of itself.

    Examples
    --------
    >>> buckets = np.arange(20)
    >>> hits = np.where(buckets < 12, 10.0, 20.0)
    >>> none = (np.zeros(0, dtype=np.int64), np.zeros(0), np.zeros(0), 30)
    >>> tilt, found = onset_of((buckets, hits, np.ones(20)), none, np.log([1.5, 2.0]), np.array([5.0, 10.0]))
    >>> tilt, found.bucket, found.error
    (1, 12.0, 0.5)
    """
    buckets, hits, exposure = recent
    first, old_hits, old_exposure, length = waited
    starts = np.concatenate([first, buckets]).astype(np.float64)
    if not len(starts):
        return 0, Onset(0.0, 1.0, 0.0)
    nats = np.concatenate([old_hits, hits]) * weight[:, None] - np.concatenate([old_exposure, exposure]) * constant[:, None]
    since = np.add.accumulate(nats[:, ::-1], axis=1)[:, ::-1]
    # An epoch holds as many starts as buckets; inside it they stand for its middle.
    width = np.concatenate([np.full(len(first), float(length)), np.ones(len(buckets))])
    middle = starts + (width - 1.0) / 2.0
    top = float(since.max())
    density = np.add.accumulate(np.exp(since - top), axis=0)[-1]
    mass = density * width
    mode = float(middle[int(density.argmax())])
    square = mass * ((middle - mode) ** 2 + (width**2 - 1.0) / 12.0)
    spread = float(np.add.accumulate(square)[-1]) / float(np.add.accumulate(mass)[-1])
    return int(since.max(axis=1).argmax()), Onset(mode, max(0.5, float(np.sqrt(spread))), top)
