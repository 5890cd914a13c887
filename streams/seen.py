"""Which ids the open buckets have seen, so that a copy counts once."""

from collections import Counter
from collections.abc import Iterable, Sequence
from operator import itemgetter

import numpy as np

from rollguard.streams.rows import Ints

__all__ = ["MAX_KINDS", "Seen"]

#: Kinds of measurement that an event may carry: their bits fit an int64 with room to spare.
MAX_KINDS = 28


class Seen:
    """Ids of the open buckets, each with the kinds of measurement that came with it.

    A copy has the time of its original, so an id lives and dies with its bucket, and is looked for there alone.
    """

    __slots__ = ("_buckets",)

    def __init__(self, known: Iterable[tuple[str, int, int]] = ()) -> None:
        self._buckets: dict[int, dict[str, int]] = {}
        for name, bucket, kinds in known:
            self._buckets.setdefault(bucket, {})[name] = kinds

    def take(self, ids: Sequence[str], bucket: Ints, kinds: Ints) -> Ints:
        """Take events in order of arrival.

        Parameters
        ----------
        ids : (n,) str
        bucket, kinds : (n,) int64
            Their buckets, and in bits which kinds of measurement they carry.

        Returns
        -------
        (n,) int64
            Bits: which kinds come for the first time; 0 is a copy.
        """
        if len(ids) == 0:
            return kinds
        first = int(bucket[0])
        if (bucket == first).all():
            return self._meet(first, ids, kinds)
        order = np.argsort(bucket, kind="stable")
        begins = np.flatnonzero(np.diff(bucket[order], prepend=bucket[order[0]] - 1)).tolist()
        # More than one, since their buckets differ.
        sorted_ids = itemgetter(*order.tolist())(ids)
        fresh = np.empty_like(kinds)
        for begin, end in zip(begins, [*begins[1:], len(ids)], strict=True):
            at = order[begin:end]
            fresh[at] = self._meet(int(bucket[at[0]]), sorted_ids[begin:end], kinds[at])
        return fresh

    def forget(self, frontier: int) -> None:
        """Drop the ids of every bucket before the frontier."""
        for bucket in [bucket for bucket in self._buckets if bucket < frontier]:
            del self._buckets[bucket]

    def known(self) -> list[tuple[str, int, int]]:
        """List id, bucket and kinds, sorted."""
        return sorted((name, bucket, kinds) for bucket, ids in self._buckets.items() for name, kinds in ids.items())

    def _meet(self, bucket: int, ids: Sequence[str], kinds: Ints) -> Ints:
        """Take events of one bucket; give what they bring that is new."""
        # Mostly all events of a source measure the same.
        alike = bool((kinds == kinds[0]).all())
        batch = dict.fromkeys(ids, int(kinds[0])) if alike else dict(zip(ids, kinds.tolist(), strict=True))
        seen = self._buckets.get(bucket)
        if len(batch) == len(ids):
            if seen is None:
                self._buckets[bucket] = batch
                return kinds
            if seen.keys().isdisjoint(batch):
                seen.update(batch)
                return kinds
        seen = self._buckets.setdefault(bucket, {})
        # Few are copies, and only of those there is anything to find out.
        known = seen.keys() & batch.keys()
        if len(batch) < len(ids):
            known |= {name for name, times in Counter(ids).items() if times > 1}
        had = {name: seen.get(name, 0) for name in known}
        seen.update(batch)
        fresh = kinds.copy()
        for at in [at for at, name in enumerate(ids) if name in known]:
            name, each = ids[at], int(kinds[at])
            fresh[at] = each & ~had[name]
            had[name] |= each
        seen.update(had)
        return fresh
