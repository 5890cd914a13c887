"""The state of a stage as bytes: arrays, plain values and objects of an allow-list, never pickle.

What is shared inside a state (a tuple of names that a thousand ticks point to) is written once.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import fields, is_dataclass
from typing import Any, TypeVar

import msgspec
import numpy as np

from rollguard.config import Settings
from rollguard.streams.records import SnapshotError
from rollguard.streams.snapshot import packed, unpacked

__all__ = ["StateCodec"]

T = TypeVar("T")
_PLAIN = (bool, int, float, str)
_SEQUENCES: dict[str, type] = {"list": list, "tuple": tuple, "deque": deque, "set": set, "frozenset": frozenset}


class _Body(msgspec.Struct, frozen=True, kw_only=True):
    root: Any
    shared: list[Any]


class StateCodec:
    """Writes and reads objects of some types.

    Parameters
    ----------
    stage : str
        Name of the stage whose snapshots these are.
    types : iterable of type
        Classes that may occur. A class takes part with its dataclass or msgspec fields, else with all its attributes
        but those it names in `_derived`, which its `_rederive()` makes again.
    """

    def __init__(self, stage: str, types: Iterable[type]) -> None:
        self.stage = stage
        self.types = {cls.__name__: cls for cls in types}

    def dump(self, value: object, settings: Settings) -> bytes:
        """Snapshot of a value under some settings.

        Raises
        ------
        TypeError
            For a value of a type that is not on the list: a mistake in the stage, found by its first test.
        """
        writer = _Writer(self.types)
        root = writer.write(value)
        return packed(self.stage, settings, _Body(root=root, shared=writer.shared))

    def load(self, data: bytes, settings: Settings, kind: type[T]) -> T:
        """The value again.

        Raises
        ------
        SnapshotError
            If it is damaged, or of another stage, version or settings.
        """
        body = unpacked(self.stage, settings, data, _Body)
        try:
            value = _Reader(self.types, body.shared).read(body.root)
        except (KeyError, IndexError, TypeError, ValueError) as error:
            msg = f"{self.stage}: snapshot refused: it is damaged ({error!r}). Read the log from its start."
            raise SnapshotError(msg) from error
        if not isinstance(value, kind):
            msg = f"{self.stage}: snapshot refused: it holds no {kind.__name__}. Read the log from its start."
            raise SnapshotError(msg)
        return value


def _attributes(value: object) -> list[str]:
    cls = type(value)
    if isinstance(value, msgspec.Struct):
        return list(cls.__struct_fields__)  # type: ignore[attr-defined]
    if is_dataclass(cls):
        return [field.name for field in fields(cls)]
    derived = getattr(cls, "_derived", ())
    names = [name for base in cls.__mro__ for name in getattr(base, "__slots__", ())]
    return sorted({*names, *getattr(value, "__dict__", {})} - set(derived) - {"__dict__", "__weakref__"})


class _Writer:
    def __init__(self, types: dict[str, type]) -> None:
        self.types = types
        self.shared: list[Any] = []
        self.seen: dict[int, int] = {}
        self.alike: dict[bytes, int] = {}
        self.alive: list[object] = []

    def write(self, value: Any) -> Any:
        if value is None or type(value) in _PLAIN:
            return value
        if isinstance(value, np.generic):
            return value.item()
        if isinstance(value, (list, dict, deque, set)):
            return self._body(value)
        # Everything else is written once and referred to by its place.
        at = self.seen.get(id(value))
        if at is None:
            body = self._body(value)
            at = len(self.shared)
            if isinstance(value, tuple):
                # Equal tuples are one: whether two are the same object depends on when a stage was last restored.
                at = self.alike.setdefault(msgspec.msgpack.encode(body), at)
            if at == len(self.shared):
                self.shared.append(body)
            self.seen[id(value)] = at
            self.alive.append(value)
        return {"@": at}

    def _body(self, value: Any) -> Any:
        if isinstance(value, np.ndarray):
            return {"a": value.dtype.str, "s": list(value.shape), "d": np.ascontiguousarray(value).tobytes()}
        if isinstance(value, dict):
            return {"m": [[self.write(key), self.write(item)] for key, item in value.items()]}
        for name, cls in _SEQUENCES.items():
            if type(value) is cls:
                several: Any = value
                items: list[Any] = sorted(several, key=repr) if cls in {set, frozenset} else list(several)
                extra = {"n": value.maxlen} if isinstance(value, deque) else {}
                return {"q": name, "i": [self.write(item) for item in items]} | extra
        name = type(value).__name__
        if self.types.get(name) is not type(value):
            msg = f"{type(value)!r} is not on the list of this snapshot"
            raise TypeError(msg)
        return {"o": name, "f": {key: self.write(getattr(value, key)) for key in _attributes(value)}}


class _Reader:
    def __init__(self, types: dict[str, type], shared: list[Any]) -> None:
        self.types = types
        self.shared = shared
        self.made: dict[int, Any] = {}

    def read(self, data: Any) -> Any:
        if not isinstance(data, dict):
            return data
        if "@" in data:
            at = data["@"]
            if at not in self.made:
                self.made[at] = self._make(self.shared[at])
            return self.made[at]
        return self._make(data)

    def _make(self, data: dict[str, Any]) -> Any:
        if "a" in data:
            # A copy, since what is read from bytes cannot be written to.
            return np.frombuffer(data["d"], dtype=np.dtype(data["a"])).reshape(data["s"]).copy()
        if "m" in data:
            return {self.read(key): self.read(item) for key, item in data["m"]}
        if "q" in data:
            items = [self.read(item) for item in data["i"]]
            return deque(items, maxlen=data["n"]) if data["q"] == "deque" else _SEQUENCES[data["q"]](items)
        cls = self.types[data["o"]]
        values = {key: self.read(item) for key, item in data["f"].items()}
        if issubclass(cls, msgspec.Struct) or is_dataclass(cls):
            return cls(**values)
        made = cls.__new__(cls)
        for key, item in values.items():
            setattr(made, key, item)
        rederive = getattr(made, "_rederive", None)
        if rederive is not None:
            rederive()
        return made
