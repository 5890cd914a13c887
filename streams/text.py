"""Lines as they stand in a file, one behind the other: taken apart only where one of them is asked for."""

from collections.abc import Iterator, Sequence
from typing import Self, overload

import numpy as np

from rollguard.streams.rows import Ints

__all__ = ["Text"]


class Text(Sequence[bytes]):
    r"""Some lines of a file.

    To make an object of bytes of each costs as much as a quarter of its decoding, and almost no line is ever asked for.

    Parameters
    ----------
    text : bytes
        Each line with its line end, a single newline; the last may go without.

    Attributes
    ----------
    text : bytes
        The same, with all line ends.
    ends : (n,) int64
        Where in it the newline of each line stands.

    Examples
    --------
    >>> lines = Text(b"one\ntwo\nthree")
    >>> len(lines), lines[1], list(lines[1:])
    (3, b'two', [b'two', b'three'])
    """

    __slots__ = ("ends", "text")

    def __init__(self, text: bytes) -> None:
        self.text = text if text.endswith(b"\n") or not text else text + b"\n"
        self.ends: Ints = np.flatnonzero(np.frombuffer(self.text, dtype=np.uint8) == ord("\n"))

    @classmethod
    def together(cls, parts: Sequence[Self]) -> Self:
        """Put texts one behind the other."""
        if len(parts) == 1:
            return parts[0]
        whole = cls(b"")
        whole.text = b"".join([part.text for part in parts])
        shifts = np.cumsum([0, *(len(part.text) for part in parts)]).tolist()
        whole.ends = np.concatenate([whole.ends, *(part.ends + shift for part, shift in zip(parts, shifts[:-1], strict=True))])
        return whole

    @property
    def starts(self) -> Ints:
        """Where each line begins, (n,) int64."""
        return np.concatenate([np.zeros(1, dtype=np.int64), self.ends + 1])[:-1]

    def __len__(self) -> int:
        return len(self.ends)

    def __iter__(self) -> Iterator[bytes]:
        return iter(self.text.split(b"\n")[:-1])

    @overload
    def __getitem__(self, at: int) -> bytes: ...
    @overload
    def __getitem__(self, at: slice) -> Sequence[bytes]: ...
    def __getitem__(self, at: int | slice) -> bytes | Sequence[bytes]:
        """Give one line, or some; those that follow one another are a text again."""
        if not isinstance(at, slice):
            at = range(len(self))[at]
            return self.text[int(self.ends[at - 1]) + 1 if at else 0 : int(self.ends[at])]
        chosen = range(len(self))[at]
        if chosen.step != 1 or not chosen:
            return [self[each] for each in chosen]
        begin = int(self.ends[chosen.start - 1]) + 1 if chosen.start else 0
        part = type(self)(b"")
        part.text = self.text[begin : int(self.ends[chosen.stop - 1]) + 1]
        part.ends = self.ends[chosen.start : chosen.stop] - begin
        return part
