"""The trial of one change: from when it begins to reach a place, what follows is bet on having been hurt by it.

A change's time is known, so no start has to be searched for: the product of likelihood ratios since then is an e-process,
and the chance that it ever passes 1 / alpha while nothing is wrong is at most alpha. One number a change: the mean
over metrics, ways of pooling and sizes of effect.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from rollguard.config import Settings
from rollguard.detectors import SeriesName, Tick
from rollguard.incidents.books import Books
from rollguard.incidents.changes import Change
from rollguard.incidents.ratios import N_FACTORS, factors_of
from rollguard.incidents.tally import Cell, Layout, cells_of

__all__ = ["Trial"]

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

#: An effect is over once its best size has lost so many nats.
RETURN_NATS = 8.0


@dataclass(slots=True)
class Trial:
    """What speaks for one change having hurt something, since it began.

    Attributes
    ----------
    deploy_id : str
    cells : tuple of Cell
    factors : (n_cells, n_factors) float64
        Sizes of effect.
    next : int
        First bucket that has not been taken.
    nats : (n_cells, 2, n_factors) float64
        Log of the product of likelihood ratios; of a ratio also against its traffic, of others the same twice.
    low, low_at : (n_cells, n_factors) float64, int64
        The lowest that the smaller of the two has been, and the bucket after which: where an effect began, if one did.
    high, high_at : (n_cells, n_factors) float64, int64
        The highest, and its bucket: an effect that has lost much since is over.
    before : (3, n_cells) float64
        How far each hurt before the change came, see `Layout.hurt_before`, for the places it has reached.
    places : tuple
        Those, and the ones it has not.
    away : dict of SeriesName to int
        Series that it found hurt and that have not come back, with the cell that found each.
    alarmed : bool
        It has passed its bound once; it does so only once.
    """

    deploy_id: str
    cells: tuple[Cell, ...]
    factors: Floats
    next: int
    nats: Floats
    low: Floats
    low_at: Ints
    high: Floats
    high_at: Ints
    before: Floats
    places: tuple[tuple[str, ...], tuple[str, ...]] = ((), ())
    away: dict[SeriesName, int] = field(default_factory=dict)
    alarmed: bool = False

    @staticmethod
    def of(change: Change, books: Books, settings: Settings, first: int) -> Trial:
        """A trial of a change that begins at a bucket."""
        cells = cells_of(change, books, settings, first)
        kinds = [settings.metrics[cell.metric] for cell in cells]
        # Of a distribution events outside the usual range are counted: fewer of them hurt nobody.
        each = [factors_of("higher" if kind.kind == "distribution" else kind.worse, kind.smallest) for kind in kinds]
        n = len(cells)
        return Trial(
            deploy_id=change.deploy_id,
            cells=cells,
            factors=np.stack(each) if each else np.zeros((0, N_FACTORS)),
            next=first,
            nats=np.zeros((n, 2, N_FACTORS)),
            low=np.zeros((n, N_FACTORS)),
            low_at=np.full((n, N_FACTORS), first, dtype=np.int64),
            high=np.zeros((n, N_FACTORS)),
            high_at=np.full((n, N_FACTORS), first - 1, dtype=np.int64),
            before=np.ones((3, n)),
        )

    def reached(self, change: Change, books: Books, bucket_ms: int) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Regions that the change has reached by the start of the next bucket, and those it has not by its end."""
        starts = [(region, change.reach_at(region)) for region in books.regions]
        here, then = self.next * bucket_ms, (self.next + 1) * bucket_ms
        reached = tuple(region for region, reach in starts if reach is not None and reach.started_ms <= here)
        # A bucket in whose middle it came belongs to neither side.
        return reached, tuple(region for region, reach in starts if reach is None or reach.started_ms >= then)

    def lasts(self, change: Change, books: Books, bucket_ms: int) -> int:
        """Last bucket for which `reached` stays as it is now."""
        edges = [reach.started_ms for region in books.regions if (reach := change.reach_at(region)) is not None]
        later = [edge // bucket_ms for edge in edges] + [-(-edge // bucket_ms) for edge in edges]
        return min((bucket for bucket in later if bucket > self.next), default=1 << 60) - 1

    def take(self, ticks: list[Tick], layout: Layout, coming: Callable[[], list[Tick]]) -> None:
        """Take some buckets for which a layout holds; `coming` gives those that are known to follow, as far as it holds for them."""
        nats = self.nats[None] + np.add.accumulate(layout.log_ratios(ticks, self.factors, self.before, coming), axis=0)
        self.nats = nats[-1]
        for tick, now in zip(ticks, np.minimum.reduce(nats, axis=2), strict=True):
            lower, higher = now < self.low, now >= self.high
            np.copyto(self.low, now, where=lower)
            np.copyto(self.low_at, tick.bucket + 1, where=lower)
            np.copyto(self.high, now, where=higher)
            np.copyto(self.high_at, tick.bucket, where=higher)

    @property
    def bound(self) -> float:
        """No mean over sizes and cells is larger, in nats: a cheap look before the exact one."""
        return float(np.maximum.reduce(np.minimum.reduce(self.nats, axis=1), axis=None, initial=0.0))

    @property
    def log_cells(self) -> Floats:
        """(n_cells,) float64: each cell's own e-process, in nats."""
        return _log_mean(self.nats.min(axis=1))

    @property
    def log_value(self) -> float:
        """The e-process of the change, in nats."""
        bets = self.log_cells + np.log([cell.weight for cell in self.cells])
        top = float(bets.max(initial=-np.inf))
        return top if np.isinf(top) else top + float(np.log(np.add.accumulate(np.exp(bets - top))[-1]))

    def best(self, cell: int) -> tuple[float, int, float]:
        """Of a cell: the factor that fits best, the bucket since which, and its nats since then."""
        gained = self.nats[cell].min(axis=0) - self.low[cell]
        tilt = int(gained.argmax())
        return float(self.factors[cell, tilt]), int(self.low_at[cell, tilt]), float(gained[tilt])

    def over(self, cell: int) -> int | None:
        """Since which bucket a cell's effect is over; None while it lasts."""
        best = int(self.high[cell].argmax())
        lost = float(self.high[cell, best] - self.nats[cell, :, best].min())
        return int(self.high_at[cell, best]) + 1 if lost >= RETURN_NATS else None


def _log_mean(nats: Floats) -> Floats:
    """(n,) logarithm of the mean over the last axis of exponentials."""
    top = nats.max(axis=-1, keepdims=True, initial=-np.inf)
    total = np.add.accumulate(np.exp(nats - top), axis=-1)[..., -1]
    return np.asarray(top[..., 0] + np.log(total) - np.log(nats.shape[-1]), dtype=np.float64)
