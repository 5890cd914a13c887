"""Which ids the open buckets have seen, so that a copy counts once."""

from collections import Counter
from collections.abc import Iterable, Sequence

from rollguard.streams.rows import Ints

__all__ = ["MAX_KINDS", "Seen"]

#: Kinds of measurement that an event may carry: a bucket's number and their bits share an int64.
MAX_KINDS = 28
_KINDS = (1 << MAX_KINDS) - 1
#: Ids of closed buckets are thrown away together, when there are so many times more ids than were left the last time, and so many more besides.
TIMES, MANY = 3, 16_384


class Seen:
    """Ids of the open buckets, each with the kinds of measurement that came with it.

    A copy has the time of its original, so an id lives and dies with its bucket.
    """

    __slots__ = ("_first", "_left", "_one", "_several")

    def __init__(self, known: Iterable[tuple[str, int, int]] = ()) -> None:
        # Nearly every id lives in one bucket: its bucket and kinds, as one number. The others stand aside, by id and bucket.
        self._one: dict[str, int] = {}
        self._several: dict[tuple[str, int], int] = {}
        #: First bucket still open, as in `_one`; what lies before it is as good as forgotten.
        self._first = -(2**62)
        self._left = 0
        for name, bucket, kinds in known:
            self._meet(name, bucket, kinds)

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
        batch = dict(zip(ids, (bucket << MAX_KINDS | kinds).tolist(), strict=True))
        if len(batch) == len(ids) and self._one.keys().isdisjoint(batch):
            self._one.update(batch)
            return kinds
        again = self._one.keys() & batch.keys()
        again |= {name for name, times in Counter(ids).items() if times > 1}
        for name in again:
            del batch[name]
        fresh = kinds.copy()
        for at in [at for at, name in enumerate(ids) if name in again]:
            fresh[at] = self._meet(ids[at], int(bucket[at]), int(kinds[at]))
        self._one.update(batch)
        return fresh

    def forget(self, frontier: int) -> None:
        """Drop the ids of every bucket before the frontier."""
        self._first = frontier << MAX_KINDS
        if self._several or len(self._one) > TIMES * self._left + MANY:
            self._drop()
        aside, self._several = self._several, {}
        for (name, bucket), kinds in aside.items():
            # One that stood aside moves up when the bucket before it has closed.
            if bucket >= frontier:
                self._meet(name, bucket, kinds)

    def known(self) -> list[tuple[str, int, int]]:
        """List id, bucket and kinds, sorted."""
        one = [(name, packed >> MAX_KINDS, packed & _KINDS) for name, packed in self._one.items() if packed >= self._first]
        return sorted([*one, *((name, bucket, kinds) for (name, bucket), kinds in self._several.items())])

    def _meet(self, name: str, bucket: int, kinds: int) -> int:
        """Take one event; give what it brings that is new."""
        packed = self._one.setdefault(name, bucket << MAX_KINDS)
        if packed < self._first:
            packed = self._one[name] = bucket << MAX_KINDS
        if packed >> MAX_KINDS == bucket:
            had = packed & _KINDS
            self._one[name] = packed | kinds
        else:
            had = self._several.get((name, bucket), 0)
            self._several[name, bucket] = had | kinds
        return kinds & ~had

    def _drop(self) -> None:
        """Throw away the ids of closed buckets."""
        self._one = {name: packed for name, packed in self._one.items() if packed >= self._first}
        self._left = len(self._one)
