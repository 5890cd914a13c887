"""The label cap: which values of a label a metric keeps, whatever the order in which they come.

Of each label a metric keeps the values named in the settings, then those with the smallest hashes among all seen in this and earlier
buckets, up to `max_values`; the rest folds into `__other__`. The smallest of a union are among the smallest of its parts, so
folding in each partition, and again where partitions meet, gives what folding everything at once would give; and a value once
folded never comes back, so nothing but the kept ones need be remembered.

Compare labels begin anew at each multiple of the look-back: versions follow one another for ever, and it is the newest that matter.
"""

import hashlib
from bisect import insort
from collections.abc import Iterable, Sequence

import msgspec
import numpy as np

from rollguard.config import Labels, Settings
from rollguard.streams.measure import measures
from rollguard.streams.rows import Ints, Key, Rows

__all__ = ["OTHER", "CapState", "LabelCap", "stable_hash"]

OTHER = Labels.OTHER
_NEVER = 2**62


def stable_hash(value: str) -> int:
    """Hash that is the same in every process, of 64 bits.

    Examples
    --------
    >>> stable_hash("eu-west")
    3502873057162239812
    """
    return int.from_bytes(hashlib.blake2b(value.encode(), digest_size=8).digest(), "big")


class CapState(msgspec.Struct, frozen=True, kw_only=True):
    """What a cap remembers: kept values by (metric, label), sorted, and the span in which compare labels stand."""

    span: int
    kept: list[tuple[int, int, list[str]]]


class LabelCap:
    """Folds label values beyond the cap; feed it buckets in their order.

    Parameters
    ----------
    settings : Settings
        Metrics, labels, and the look-back.
    """

    __slots__ = ("_kept", "_metric_of", "_n_labels", "_n_watched", "_pinned", "_room", "_span", "_span_buckets")

    def __init__(self, settings: Settings) -> None:
        labels = settings.labels
        names = (*labels.watched, *labels.compare)
        known = measures(settings)
        numbers = {name: at for at, name in enumerate(sorted({each.metric for each in known}))}
        self._metric_of = np.array([numbers[each.metric] for each in known], dtype=np.int64)
        self._n_watched = len(labels.watched)
        self._n_labels = len(names)
        self._pinned = [frozenset(labels.keep.get(name, ())) | {OTHER} for name in names]
        self._room = [max(0, labels.max_values - len(pinned - {OTHER})) for pinned in self._pinned]
        self._span_buckets = max(1, settings.lookback_ms // settings.bucket_ms)
        self._span = -_NEVER
        self._kept: dict[tuple[int, int], dict[str, int]] = {}

    def copy(self) -> "LabelCap":
        """Make another that remembers the same, for a look ahead."""
        other = object.__new__(LabelCap)
        for name in self.__slots__:
            setattr(other, name, getattr(self, name))
        other._kept = {place: dict(kept) for place, kept in self._kept.items()}
        return other

    def state(self) -> CapState:
        """Give what it remembers."""
        return CapState(span=self._span, kept=[(metric, label, sorted(kept)) for (metric, label), kept in sorted(self._kept.items()) if kept])

    def resume(self, state: CapState) -> None:
        """Remember what another did."""
        self._span = state.span
        self._kept = {(metric, label): {value: stable_hash(value) for value in values} for metric, label, values in state.kept}

    def fold(self, rows: Rows, keys: Sequence[Key]) -> tuple[Rows, Sequence[Key]]:
        """Fold what the cap does not keep.

        Parameters
        ----------
        rows : Rows
            Sorted by bucket; none of a bucket before those folded earlier.
        keys : sequence of keys
            What the rows' `key` means.

        Returns
        -------
        Rows, sequence of keys
            Rows of the same cells, some with another key, not added up yet; and what their `key` means, perhaps longer.
        """
        if len(rows) == 0:
            return rows, keys
        spans = rows.bucket // self._span_buckets
        parts: list[Rows] = []
        for span in np.unique(spans).tolist():
            if span != self._span:
                self._span = span
                self._kept = {place: kept for place, kept in self._kept.items() if place[1] < self._n_watched}
            start, end = np.searchsorted(spans, [span, span + 1]).tolist()
            part, keys = self._fold_span(rows.take(slice(start, end)), keys)
            parts.append(part)
        return Rows.together(parts), keys

    def fold_counts(self, counts: dict[Key, int]) -> dict[Key, int]:
        """Fold keys of running totals: of all values seen in them, each label keeps those the cap would."""
        for label in range(self._n_labels):
            values = {key[label] for key in counts} - self._pinned[label]
            if len(values) <= self._room[label]:
                continue
            kept = self._pinned[label].union(sorted(values, key=lambda value: (stable_hash(value), value))[: self._room[label]])
            folded: dict[Key, int] = {}
            for key, count in counts.items():
                name = key if key[label] in kept else (*key[:label], OTHER, *key[label + 1 :])
                folded[name] = folded.get(name, 0) + count
            counts = folded
        return counts

    def _fold_span(self, rows: Rows, keys: Sequence[Key]) -> tuple[Rows, Sequence[Key]]:
        metric = self._metric_of[rows.measure]
        cells = np.flatnonzero(np.bincount(metric * len(keys) + rows.key))
        flags: Ints | None = None
        for number in np.unique(cells // len(keys)).tolist():
            codes = (cells[cells // len(keys) == number] % len(keys)).tolist()
            for label in range(self._n_labels):
                kept = self._kept.setdefault((number, label), {})
                new = {keys[code][label] for code in codes}.difference(kept, self._pinned[label])
                if len(kept) + len(new) <= self._room[label]:
                    kept.update((value, stable_hash(value)) for value in new)
                    continue
                mine = np.flatnonzero(metric == number)
                until = self._crowd_out(rows.take(mine), keys, codes, label, new)
                flags = np.zeros(len(rows), dtype=np.int64) if flags is None else flags
                flags[mine] |= (rows.bucket[mine] >= until[rows.key[mine]]).astype(np.int64) << label
        if flags is None or not flags.any():
            return rows, keys
        return _folded(rows, keys, flags, self._n_labels)

    def _crowd_out(self, rows: Rows, keys: Sequence[Key], codes: Iterable[int], label: int, new: set[str]) -> Ints:
        """(n_keys,) the bucket from which each key folds, by a label that has become too many."""
        metric = int(self._metric_of[rows.measure[0]])
        kept = self._kept[metric, label]
        names = sorted(new)
        place = {name: at for at, name in enumerate(names)}
        value_of = np.full(len(keys), len(names), dtype=np.int64)
        codes = list(codes)
        value_of[codes] = [place.get(keys[code][label], len(names)) for code in codes]
        first = np.full(len(names) + 1, _NEVER, dtype=np.int64)
        np.minimum.at(first, value_of[rows.key], rows.bucket)

        room = self._room[label]
        ranked = sorted((hashed, value) for value, hashed in kept.items())
        gone: dict[str, int] = {}
        for bucket, name in sorted(zip(first[:-1].tolist(), names, strict=True)):
            entry = (stable_hash(name), name)
            if len(ranked) >= room and (not ranked or entry > ranked[-1]):
                gone[name] = bucket
                continue
            insort(ranked, entry)
            if len(ranked) > room:
                gone[ranked.pop()[1]] = bucket
        self._kept[metric, label] = {value: hashed for hashed, value in ranked}
        until = np.full(len(keys), _NEVER, dtype=np.int64)
        until[codes] = [gone.get(keys[code][label], _NEVER) for code in codes]
        return until


def _folded(rows: Rows, keys: Sequence[Key], flags: Ints, n_labels: int) -> tuple[Rows, Sequence[Key]]:
    """Give the flagged rows keys in which each flagged label is `__other__`."""
    where = np.flatnonzero(flags)
    pairs, back = np.unique((rows.key[where].astype(np.int64) << n_labels) | flags[where], return_inverse=True)
    longer = list(keys)
    places: dict[Key, int] = {}
    codes: list[int] = []
    for pair in pairs.tolist():
        key = keys[pair >> n_labels]
        name = tuple(OTHER if pair >> label & 1 else value for label, value in enumerate(key))
        at = places.setdefault(name, len(longer))
        if at == len(longer):
            longer.append(name)
        codes.append(at)
    key_column = rows.key.copy()
    key_column[where] = np.array(codes, dtype=np.int32)[back]
    return rows.with_keys(key_column), longer
