"""The record into which an event decodes: objects in objects, a column for each field."""

import datetime
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from operator import attrgetter
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from rollguard.config import Epoch
from rollguard.streams.layout import EARLIEST_MS, LATEST_MS, LIMIT, PER_SECOND, Field

__all__ = ["Shape", "time_type"]

_Whole = Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)]
_Number = Annotated[float, Meta(ge=-LIMIT, le=LIMIT)]
_Name = str | _Whole
_Getter = Callable[[Any], Any]


@cache
def time_type(epoch: Epoch) -> Any:
    """Type of an event time as a decoder takes it: a number of that unit, with a fraction only of seconds, or RFC 3339."""
    units = PER_SECOND[epoch]
    bounds = Meta(ge=EARLIEST_MS // 1000 * units, lt=LATEST_MS // 1000 * units)
    whole = Annotated[int, bounds] | Annotated[datetime.datetime, Meta(tz=True)]
    return whole | Annotated[float, bounds] if epoch == "s" else whole


def _type_of(field: Field) -> Any:
    if field.use == "time":
        return time_type(field.epoch)
    return {"id": _Name, "label": _Name, "number": _Number, "filter": str | int | float | bool, "sieve": Any}[field.use]


@dataclass(frozen=True, slots=True)
class _Leaf:
    """A field: its last key, and how to take it from the record."""

    key: str
    at: int
    required: bool
    get: _Getter


@dataclass(frozen=True, slots=True)
class _Node:
    """An object of an event: the record of what is read of it, and how to take that from the record around it."""

    key: str
    record: type[msgspec.Struct]
    required: bool
    leaves: tuple[_Leaf, ...]
    inner: tuple["_Node", ...]
    get: _Getter


class Shape:
    """Where the fields of an event stand, as a record that msgspec decodes.

    Parameters
    ----------
    fields : sequence of Field
    ways : sequence of tuple of str
        The keys that lead to each, at least one; none of them goes on from the end of another.
    """

    __slots__ = ("_fields", "_root", "_types", "_ways")

    def __init__(self, fields: Sequence[Field], ways: Sequence[tuple[str, ...]]) -> None:
        self._ways = tuple(ways)
        self._fields = [(at, field, way) for at, (field, way) in enumerate(zip(fields, ways, strict=True))]
        self._types = {at: _type_of(field) for at, field, _ in self._fields}
        self._root = _node("", "", 0, self._fields, self._types)

    @property
    def record(self) -> type[msgspec.Struct]:
        """Type of the record."""
        return self._root.record

    @property
    def flat(self) -> bool:
        """Whether all fields stand at the top."""
        return not self._root.inner

    def narrowed(self, known: Mapping[int, Iterable[str]]) -> type[msgspec.Struct]:
        """Type of a record that is like it, but takes for some fields, by their place, no other texts than those known."""
        literals = {at: Literal.__getitem__(tuple(sorted(texts))) for at, texts in known.items()}
        return _node("", "", 0, self._fields, self._types | literals).record

    def columns(self, records: list[Any]) -> tuple[list[list[Any]], Counter[str]]:
        """Take records apart: a column for each field, and how often each key must stand in their events at least."""
        columns: list[list[Any]] = [[] for _ in self._ways]
        present: Counter[str] = Counter()
        _gather(self._root, records, columns, present)
        return columns, present

    def put(self, values: Iterable[tuple[int, object]]) -> dict[str, Any]:
        """Put values of fields where they stand: what converts to the record."""
        whole: dict[str, Any] = {}
        for at, value in values:
            *way, key = self._ways[at]
            here = whole
            for step in way:
                here = here.setdefault(step, {})
            here[key] = value
        return whole


def _node(name: str, key: str, depth: int, below: list[tuple[int, Field, tuple[str, ...]]], types: Mapping[int, Any]) -> _Node:
    leaves: list[_Leaf] = []
    members: list[tuple[str, Any, Any]] = []
    groups: dict[str, list[tuple[int, Field, tuple[str, ...]]]] = {}
    for at, field, way in below:
        if len(way) > depth + 1:
            groups.setdefault(way[depth], []).append((at, field, way))
        else:
            leaves.append(_Leaf(way[depth], at, field.required, attrgetter(f"f{at}")))
            members.append(_member(f"f{at}", way[depth], types[at], required=field.required))
    inner = tuple(_node(f"o{at}", step, depth + 1, group, types) for at, (step, group) in enumerate(groups.items()))
    members += [_member(f"o{at}", node.key, node.record, required=node.required) for at, node in enumerate(inner)]
    # JSON has no cycles; and records without __eq__ are told from None by identity, which is fast.
    record = msgspec.defstruct("Event", members, kw_only=True, gc=False, eq=False)
    required = any(leaf.required for leaf in leaves) or any(node.required for node in inner)
    return _Node(key, record, required, tuple(leaves), inner, attrgetter(name))


def _member(name: str, key: str, kind: Any, *, required: bool) -> tuple[str, Any, Any]:
    if required:
        return name, kind, msgspec.field(name=key)
    return name, kind | None if kind is not Any else Any, msgspec.field(name=key, default=None)


def _gather(node: _Node, records: list[Any], columns: list[list[Any]], present: Counter[str]) -> None:
    for leaf in node.leaves:
        column = columns[leaf.at] = list(map(leaf.get, records))
        present[leaf.key] += len(column) - (0 if leaf.required else column.count(None))
    for inner in node.inner:
        around = list(map(inner.get, records))
        missing = 0 if inner.required else around.count(None)
        present[inner.key] += len(around) - missing
        if missing:
            nothing = inner.record()
            around = [nothing if record is None else record for record in around]
        _gather(inner, around, columns, present)
