"""A series against its siblings: what moves all of them alike (a storm, a sale, a holiday) cancels in its share of them.

A share alone would not do: where a sibling has a sale, our share falls. So a fall of the share counts only as far as our own
counts fall too, and those need no dead band for it: the share has one.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from rollguard.detectors.bank import RateBank
from rollguard.detectors.evidence import Floats, Singles

__all__ = ["Siblings"]

Bools = npt.NDArray[np.bool_]
Ints = npt.NDArray[np.int64]

#: Siblings are looked at where the share's error has been so much smaller than the series' own, and until it is as large.
WORTH_IT = 0.7


class Siblings:
    """Evidence of many series from their share of all together.

    The smaller of two e-detectors is one, as long as one of them is; so is the mean of that with the series' own.

    Parameters
    ----------
    own : RateBank
        Counts of each series; row 0 is all together.
    share : RateBank
        Odds; of a series against all others.

    Attributes
    ----------
    used : (n_series,) bool
        Series whose past shows that it cuts their variance; it changes at the end of an epoch only.
    """

    def __init__(self, own: RateBank, share: RateBank) -> None:
        self.share = share
        self.loose = own.companion(band_per_error=0.0)
        self.used: Bools = np.zeros(0, dtype=bool)

    def grow(self, parents: Ints, regions: list[str | None]) -> None:
        """Make room for more series, as `RateBank.grow`, after the own bank has."""
        self.share.grow(parents, regions)
        self.loose.grow(parents, regions)
        self.used = np.concatenate([self.used, np.zeros(len(parents) - len(self.used), dtype=bool)])

    def load(self, start: int, observed: Floats, exposure: Floats, present: Bools) -> None:
        """Take in buckets, as `RateBank.load`."""
        others = np.maximum(observed[:, :1] - observed, 0.0) * exposure
        hits = observed * exposure
        # All together have no siblings, and no profile of the day for others to borrow.
        others[:, 0] = hits[:, 0] = 0.0
        self.share.load(start, hits, others, present)
        self.loose.load(start, observed, exposure, present)

    def step(self, bucket: int, own: Singles) -> Singles:
        """Value of each series' e-detector, given what its own says."""
        return self._together(own, self.share.step(bucket), self.loose.step(bucket))

    def ahead(self, bucket: int, own: Singles) -> Singles | None:
        """What `step` would give for some of the next buckets, see `Bank.ahead`."""
        share, loose = self.share.ahead(bucket), self.loose.ahead(bucket)
        return None if share is None or loose is None else self._together(own, share, loose)

    def settle(self, bucket: int) -> None:
        """Take the buckets up to one that was looked at."""
        self.share.settle(bucket)
        self.loose.settle(bucket)

    def _together(self, own: Singles, share: Singles, loose: Singles) -> Singles:
        return np.where(self.used, np.float32(0.5) * (own + np.minimum(share, loose)), own)

    def close_epoch(self, suspected: Bools, own: RateBank) -> None:
        """End an epoch, before the own bank does."""
        known = self.share.ready & own.ready
        known[:1] = False
        limit = np.where(self.used, np.float32(1.0), np.float32(WORTH_IT)) * own.error
        self.used = known & (self.share.error < limit)
        self.share.close_epoch(suspected)
        self.loose.close_epoch(suspected)

    def forget(self, rows: Ints) -> None:
        """Start the evidence of these series again."""
        self.share.forget(rows)
        self.loose.forget(rows)

    def temper(self, honesty: Singles) -> None:
        """Multiply the evidence of each series by so much, from the next epoch on."""
        self.share.honesty = self.loose.honesty = honesty

    def kinds(self, own: Floats, loose: Floats, share: Floats, rows: Ints) -> Floats:
        """(n_rows, 2, n_tilts) of two kinds that have to agree: where siblings are not looked at, the own twice."""
        used = self.used[rows][:, None]
        return np.stack([np.where(used, loose, own), np.where(used, share, own)], axis=1)
