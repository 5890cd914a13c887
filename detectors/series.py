"""Which series a metric's events belong to: all together, each label value alone, and the finest ones."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from rollguard.detectors.records import SeriesName

__all__ = ["SeriesTree"]

Ints = npt.NDArray[np.int64]


class SeriesTree:
    """Rows of one metric's watched series; row 0 is all of them together.

    Parameters
    ----------
    metric : str
    watched : tuple of str
        Names of the watched labels.

    Examples
    --------
    >>> tree = SeriesTree("orders", ("service", "region"))
    >>> tree.rows(("checkout", "eu-west"))
    (0, 1, 2, 3)
    >>> tree.rows(("checkout", "us-east"))
    (0, 1, 4, 5)
    >>> [str(name) for name in tree.names][2:4]
    ['orders{region=eu-west}', 'orders{service=checkout,region=eu-west}']
    """

    def __init__(self, metric: str, watched: tuple[str, ...]) -> None:
        self.metric = metric
        self.watched = watched
        self.levels: list[int] = [0]
        self.parents: list[int] = [0]
        #: Rows of each finest series' events, as in `rows`, in the order in which they were added.
        self.paths: list[tuple[int, ...]] = [] if watched else [(0,)]
        self._names: list[SeriesName] = [SeriesName(metric=metric)]
        self._frozen: tuple[SeriesName, ...] = tuple(self._names)
        self._row: dict[tuple[tuple[str, str], ...], int] = {(): 0}

    @property
    def names(self) -> tuple[SeriesName, ...]:
        """Names of all rows."""
        return self.first_names(len(self._names))

    def first_names(self, n: int) -> tuple[SeriesName, ...]:
        """Names of the first rows; the same object as long as their number is the same."""
        if len(self._frozen) != n:
            self._frozen = tuple(self._names[:n])
        return self._frozen

    @property
    def part_of(self) -> Ints:
        """(n_series,) int64: number of a finest series' path, by its row; 0 for other rows."""
        number = np.zeros(len(self._names), dtype=np.int64)
        number[[path[-1] for path in self.paths]] = np.arange(len(self.paths))
        return number

    @property
    def regions(self) -> list[str | None]:
        """Region of each row, None for one that pools over them."""
        return [name.label("region") for name in self._names]

    def name(self, row: int) -> SeriesName:
        """Name of a row."""
        return self._names[row]

    def find(self, name: SeriesName) -> int | None:
        """Row of a series; None: it has not been seen."""
        return self._row.get(name.labels)

    @property
    def n_levels(self) -> int:
        """How many ways of pooling there are: all, each label alone, and the finest."""
        return len(self.watched) + (2 if len(self.watched) > 1 else 1)

    def rows(self, values: tuple[str, ...]) -> tuple[int, ...]:
        """Rows that an event with these label values counts in; new ones are added.

        Parameters
        ----------
        values : tuple of str
            Values of the watched labels, in their order.

        Returns
        -------
        tuple of int
            `n_levels` rows.
        """
        known = len(self._names)
        pairs = tuple(zip(self.watched, values, strict=True))
        found = [0]
        for level, pair in enumerate(pairs, start=1):
            found.append(self._find((pair,), level, 0))
        if len(pairs) > 1:
            # A place has its own day, so the finest series borrow their profile from it.
            place = next((row for row, pair in zip(found[1:], pairs, strict=True) if pair[0] == "region"), found[1])
            found.append(self._find(pairs, len(pairs) + 1, place))
        path = tuple(found)
        if path[-1] >= known:
            self.paths.append(path)
        return path

    def level_sizes(self) -> Ints:
        """How many series share each row's level, for every row."""
        levels = np.array(self.levels, dtype=np.int64)
        return np.bincount(levels, minlength=self.n_levels)[levels]

    def _find(self, labels: tuple[tuple[str, str], ...], level: int, parent: int) -> int:
        row = self._row.get(labels)
        if row is None:
            row = len(self._names)
            self._row[labels] = row
            self._names.append(SeriesName(metric=self.metric, labels=labels))
            self.levels.append(level)
            self.parents.append(parent)
        return row
