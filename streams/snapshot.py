"""The versioned form in which a stage keeps its state: msgpack, with a digest, and the hash of the settings it was made under."""

from hashlib import blake2b
from typing import TypeVar

import msgspec
import numpy as np

from rollguard.config import Settings, settings_hash
from rollguard.streams.records import SnapshotError
from rollguard.streams.rows import Rows

__all__ = ["PackedRows", "packed", "packed_rows", "unpacked", "unpacked_rows"]

#: Raised with every change of what a snapshot holds, and the oldest that is still read.
VERSION, OLDEST = 2, 2
_Body = TypeVar("_Body", bound=msgspec.Struct)


class _Envelope(msgspec.Struct, frozen=True, kw_only=True):
    stage: str
    version: int
    settings: str
    digest: bytes
    body: msgspec.Raw


class PackedRows(msgspec.Struct, frozen=True, kw_only=True):
    """Columns as bytes, little-endian, of the widths named in `Rows`."""

    bucket: bytes
    measure: bytes
    key: bytes
    bin: bytes
    value: bytes


def packed_rows(rows: Rows) -> PackedRows:
    """Columns to bytes."""
    return PackedRows(
        bucket=rows.bucket.astype("<i8").tobytes(),
        measure=rows.measure.astype("<i2").tobytes(),
        key=rows.key.astype("<i4").tobytes(),
        bin=rows.bin.astype("<i2").tobytes(),
        value=rows.value.astype("<i8").tobytes(),
    )


def unpacked_rows(state: PackedRows, n_keys: int) -> Rows:
    """Bytes to columns.

    Raises
    ------
    SnapshotError
        If the columns do not fit each other, or name a key beyond `n_keys`.
    """
    try:
        rows = Rows(
            np.frombuffer(state.bucket, dtype="<i8").astype(np.int64),
            np.frombuffer(state.measure, dtype="<i2").astype(np.int16),
            np.frombuffer(state.key, dtype="<i4").astype(np.int32),
            np.frombuffer(state.bin, dtype="<i2").astype(np.int16),
            np.frombuffer(state.value, dtype="<i8").astype(np.int64),
        )
    except ValueError as error:
        raise SnapshotError(f"snapshot refused: a column is cut short ({error}). Read the log from its start.") from error
    lengths = {len(column) for column in (rows.bucket, rows.measure, rows.key, rows.bin, rows.value)}
    if len(lengths) > 1 or (len(rows) and not 0 <= int(rows.key.min()) <= int(rows.key.max()) < n_keys):
        raise SnapshotError("snapshot refused: its columns do not fit each other. Read the log from its start.")
    return rows


def packed(stage: str, settings: Settings, body: msgspec.Struct) -> bytes:
    """Seal a stage's state.

    Parameters
    ----------
    stage : str
        Which stage, of which partition.
    settings : Settings
        Those it ran under.
    body : Struct
        The state, of plain values.
    """
    encode = msgspec.msgpack.encode
    sealed = encode(body)
    return encode(_Envelope(stage=stage, version=VERSION, settings=settings_hash(settings), digest=_digest(sealed), body=msgspec.Raw(sealed)))


def unpacked(stage: str, settings: Settings, data: bytes, body: type[_Body]) -> _Body:
    """Open a sealed state.

    Raises
    ------
    SnapshotError
        If it is damaged, of another stage, version or settings.
    """
    try:
        envelope = msgspec.msgpack.decode(data, type=_Envelope)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise SnapshotError(f"{stage}: snapshot refused: it is damaged ({error}). Read the log from its start.") from error
    if envelope.version > VERSION:
        made = f"a newer Rollguard made it (format {envelope.version}; this one reads up to {VERSION})"
        raise SnapshotError(f"{stage}: snapshot refused: {made}. Run the newer version again; this one reads the log from its start.")
    if envelope.version < OLDEST:
        made = f"its format {envelope.version} is no longer read (from {OLDEST} on)"
        raise SnapshotError(f"{stage}: snapshot refused: {made}. Read the log from its start.")
    for what, found, expected in (
        ("stage", envelope.stage, stage),
        ("settings", envelope.settings, settings_hash(settings)),
    ):
        if found != expected:
            raise SnapshotError(f"{stage}: snapshot refused: its {what} is {found}, expected {expected}. Read the log from its start.")
    # A flipped bit in a number is a snapshot too, of a state that never was.
    if envelope.digest != _digest(envelope.body):
        raise SnapshotError(f"{stage}: snapshot refused: it is damaged (its digest does not fit). Read the log from its start.")
    try:
        return msgspec.msgpack.decode(envelope.body, type=body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise SnapshotError(f"{stage}: snapshot refused: it is damaged ({error}). Read the log from its start.") from error


def _digest(body: bytes | msgspec.Raw) -> bytes:
    return blake2b(body, digest_size=16).digest()
