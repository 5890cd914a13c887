"""Records to columns: each way through their objects, and what stands at its end."""

import json
import re
from collections.abc import Iterable, Iterator
from typing import Any

import msgspec

__all__ = ["Column", "columns", "path_text", "paths_of"]

#: Objects in objects are followed so deep, and so many ways at most: a map with an id as key would give one for each record.
DEEPEST = 6
MOST = 500
#: JMESPath that is longer is refused in a config.
LONGEST = 150
_UNREADABLE = re.compile(r'["\\\x00-\x1f\x7f-\x9f]')
_PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")

Scalar = str | int | float | bool


class Column(msgspec.Struct, frozen=True, kw_only=True):
    """What some records hold at one place.

    Attributes
    ----------
    way : tuple of str
        The keys that lead there.
    values : list of scalars
        Of the records that have one, in their order.
    of : int
        Records that were looked at, > 0.
    """

    way: tuple[str, ...]
    values: list[Any]
    of: int

    @property
    def share(self) -> float:
        """Share of the records that have a value, 0..1."""
        return len(self.values) / self.of

    @property
    def distinct(self) -> int:
        """How many values differ; 7 and "7" are one, as in a label."""
        return len({str(each) for each in self.values})

    def all_are(self, *kinds: type) -> bool:
        """Whether each value is exactly of one of some types: a flag is no whole number."""
        return {type(each) for each in self.values} <= set(kinds)


def columns(records: Iterable[dict[str, Any]]) -> list[Column]:
    """Take records apart.

    Returns
    -------
    list of Column
        By their ways: the order of keys in a record means nothing.

    Examples
    --------
    >>> [(each.way, each.values, each.share) for each in columns([{"a": {"b": 1}, "c": None}, {"c": "x"}])]
    [(('a', 'b'), [1], 0.5), (('c',), ['x'], 0.5)]
    """
    found: dict[tuple[str, ...], list[Any]] = {}
    n = 0
    for record in records:
        n += 1
        for way, value in _leaves(record, ()):
            if way in found or len(found) < MOST:
                found.setdefault(way, []).append(value)
    return [Column(way=way, values=values, of=n) for way, values in sorted(found.items())]


def _leaves(value: dict[str, Any], way: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Scalar]]:
    for key, inner in sorted(value.items()):
        if not key or _UNREADABLE.search(key) or len(way) >= DEEPEST:
            continue
        here = (*way, key)
        if isinstance(inner, dict):
            yield from _leaves(inner, here)
        elif isinstance(inner, (str, int, float, bool)) and sum(map(len, here)) + 3 * len(here) <= LONGEST:
            yield here, inner


def path_text(way: tuple[str, ...]) -> str:
    """Write a way as JMESPath.

    Examples
    --------
    >>> path_text(("order", "shop-id", "name"))
    'order."shop-id".name'
    """
    return ".".join(key if _PLAIN.fullmatch(key) else json.dumps(key, ensure_ascii=False) for key in way)


def paths_of(records: Iterable[dict[str, Any]]) -> Iterator[tuple[str, Scalar]]:
    """Each value of some records with the way to it: the key itself at the top, a path below.

    Examples
    --------
    >>> list(paths_of([{"a": {"b": 1}, "shop-id": 2}]))
    [('a.b', 1), ('shop-id', 2)]
    """
    for record in records:
        for way, value in _leaves(record, ()):
            yield way[0] if len(way) == 1 else path_text(way), value
