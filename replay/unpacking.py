"""Compressed bytes in, plain ones out: all that can be had of a file, however it ends."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Generator, Iterable, Iterator
from typing import Any

from rollguard.config import RollguardError

__all__ = ["DamagedError", "MissingExtraError", "gunzip", "unzstd"]

#: Largest piece handed out, so that a small file that unpacks to much needs little memory.
LARGEST = 1 << 20


class DamagedError(RollguardError):
    """A file cannot be read to its end; its text says why, to follow "the file breaks off:"."""

    code = "damaged"


class MissingExtraError(RollguardError):
    """A form of file needs a library that is not installed.

    Parameters
    ----------
    name : str
        Of the file.
    form : str
        Its suffix.
    """

    code = "usage"

    def __init__(self, name: str, form: str) -> None:
        super().__init__(f"{name}: {form} files need the extra [files]. Install it: pip install 'rollguard[files]'.")


def gunzip(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """Unpack gzip, member by member.

    Parameters
    ----------
    pieces : iterable of bytes
        Of the file, of any size.

    Yields
    ------
    bytes
        What they hold, up to the very byte at which they break off.

    Raises
    ------
    DamagedError
        After what could be unpacked: the file is cut off, damaged, or no gzip.

    Examples
    --------
    >>> import gzip
    >>> b"".join(gunzip([gzip.compress(b"one "), gzip.compress(b"two")]))
    b'one two'
    """
    # Unlike the library's GzipFile, which drops up to a buffer of good bytes when it meets damage.
    return _members(pieces, "gzip", lambda: zlib.decompressobj(wbits=31), _inflate)


def unzstd(pieces: Iterable[bytes], name: str) -> Iterator[bytes]:
    """Unpack Zstandard, frame by frame; like `gunzip`, but it ends at the last whole block before the damage.

    Parameters
    ----------
    pieces : iterable of bytes
        Small ones: each is unpacked at once.
    name : str
        Of the file, for the message that a library is missing.

    Raises
    ------
    DamagedError
    MissingExtraError
    """
    try:
        import zstandard  # noqa: PLC0415 - an extra
    except ImportError:
        raise MissingExtraError(name, ".zst") from None

    def decompress(engine: Any, data: bytes) -> Generator[bytes, None, bytes]:
        try:
            out = engine.decompress(data)
        except zstandard.ZstdError as error:
            raise zlib.error(str(error)) from error
        for start in range(0, len(out), LARGEST):
            yield out[start : start + LARGEST]
        rest: bytes = engine.unused_data
        return rest

    return _members(pieces, "Zstandard", lambda: zstandard.ZstdDecompressor().decompressobj(), decompress)


def _members(pieces: Iterable[bytes], form: str, new: Callable[[], Any], decompress: Callable[[Any, bytes], Generator[bytes, None, bytes]]) -> Iterator[bytes]:
    engine = new()
    any_bytes = any_output = whole = False
    for piece in pieces:
        any_bytes = True
        data = piece
        while data:
            if whole:
                # A member may be followed by zeros up to the end of a block, and by another member.
                data = data.lstrip(b"\0")
                if not data:
                    break
                engine, whole = new(), False
            try:
                for out in (unpacking := _Returned(decompress(engine, data))):
                    any_output = any_output or bool(out)
                    yield out
            except zlib.error as error:
                problem = "its compressed data is damaged" if any_output else f"it is not {form}, or damaged"
                raise DamagedError(problem) from error
            data = unpacking.value
            whole = bool(engine.eof)
    if not whole:
        raise DamagedError("it ends in the middle of its compressed data" if any_bytes else f"it is empty, which no {form} file is")


class _Returned:
    """A generator whose return value can be had after it was iterated over."""

    def __init__(self, generator: Generator[bytes, None, bytes]) -> None:
        self.generator = generator
        self.value = b""

    def __iter__(self) -> Iterator[bytes]:
        self.value = yield from self.generator


def _inflate(engine: Any, data: bytes) -> Generator[bytes, None, bytes]:
    """Feed an engine; what it leaves of the data belongs to the next member."""
    while True:
        before = engine.copy()
        try:
            out = engine.decompress(data, LARGEST)
        except zlib.error:
            # What the engine had unpacked of this piece is lost with the exception: up to the bad byte, have it again.
            for at in range(len(data)):
                yield before.decompress(data[at : at + 1])
            raise
        yield out
        data = engine.unconsumed_tail
        if engine.eof or (not data and len(out) < LARGEST):
            break
    rest: bytes = engine.unused_data
    return rest
