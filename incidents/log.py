"""The log that the desk reads, as bytes: one record each, and an id made from what it says."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
import numpy as np

from rollguard.config import RollguardError
from rollguard.detectors import Account, SeriesName, Signal, Split, Tick
from rollguard.incidents.records import ChangeSeen, Command, Kill, Probe, Pulse, RolledBack

__all__ = ["LogCodec", "LogError", "LogRecord"]

LogRecord = ChangeSeen | Command | Kill | Probe | Pulse | RolledBack | Signal | Tick

#: Lists of names that are remembered, so that ticks share them; more would be a log that is not ours.
MOST_NAMES = 4096


class LogError(RollguardError):
    """Bytes that are no record of the log; says why."""

    code = "wire"


class _Split(msgspec.Struct, frozen=True, kw_only=True):
    keys: msgspec.Raw
    key: bytes
    hits: bytes
    trials: bytes
    expected: bytes


class _Account(msgspec.Struct, frozen=True, kw_only=True):
    metric: str
    series: msgspec.Raw
    observed: bytes
    expected: bytes
    variance: bytes
    error: bytes
    missing: bool
    silent: bool
    events: float
    doubtful: float
    unsettled: bool
    split: _Split | None


class _Tick(msgspec.Struct, frozen=True, kw_only=True, tag="tick", tag_field="record"):
    bucket: int
    ready: bool
    accounts: list[_Account]
    appeared: tuple[tuple[str, ...], ...] = ()


class _Signal(msgspec.Struct, frozen=True, kw_only=True, tag="signal", tag_field="record"):
    it: Signal


class _Change(msgspec.Struct, frozen=True, kw_only=True, tag="change", tag_field="record"):
    it: ChangeSeen


class _Kill(msgspec.Struct, frozen=True, kw_only=True, tag="kill", tag_field="record"):
    it: Kill


class _Pulse(msgspec.Struct, frozen=True, kw_only=True, tag="pulse", tag_field="record"):
    it: Pulse


class _Probe(msgspec.Struct, frozen=True, kw_only=True, tag="probe", tag_field="record"):
    it: Probe


class _Command(msgspec.Struct, frozen=True, kw_only=True, tag="command", tag_field="record"):
    it: Command


class _RolledBack(msgspec.Struct, frozen=True, kw_only=True, tag="rolled_back", tag_field="record"):
    it: RolledBack


#: How a record stands in the log that is written as it is.
_TAGGED: dict[type, Callable[..., msgspec.Struct]] = {
    ChangeSeen: _Change, Command: _Command, Kill: _Kill, Probe: _Probe, Pulse: _Pulse, RolledBack: _RolledBack, Signal: _Signal,
}  # fmt: skip
_DECODER = msgspec.msgpack.Decoder(_Tick | _Signal | _Change | _Command | _Kill | _Probe | _Pulse | _RolledBack)
_SERIES = msgspec.msgpack.Decoder(tuple[SeriesName, ...])
_KEYS = msgspec.msgpack.Decoder(tuple[tuple[str, ...], ...])
_encode = msgspec.msgpack.encode


class LogCodec:
    """Writes and reads records of the signals log. Ticks of one decoder share their names, so that none is looked up twice."""

    def __init__(self) -> None:
        #: Bytes of names that were written last, by the names themselves; and names by their bytes.
        self._written: dict[int, tuple[object, msgspec.Raw]] = {}
        self._series: dict[bytes, tuple[SeriesName, ...]] = {}
        self._keys: dict[bytes, tuple[tuple[str, ...], ...]] = {}

    @staticmethod
    def id_of(record: LogRecord) -> str:
        """Made from content, so that a repeat is known as one.

        Examples
        --------
        >>> LogCodec.id_of(Pulse(at_ms=1772442000000))
        'pulse/1772442000000'
        """
        match record:
            case Signal() | ChangeSeen():
                return record.id
            case Tick():
                return f"tick/{record.bucket}"
            case Kill():
                return f"kill/{'on' if record.on else 'off'}"
            case Pulse() | Probe():
                return f"{type(record).__name__.lower()}/{record.at_ms}"
            case Command():
                return f"command/{record.id}"
            case RolledBack():
                return f"rolled_back/{record.incident_id}/{record.outcome}"

    def encode(self, record: LogRecord) -> bytes:
        """Write a record."""
        if isinstance(record, Tick):
            accounts = [self._account(account) for account in record.accounts]
            return _encode(_Tick(bucket=record.bucket, ready=record.ready, accounts=accounts, appeared=record.appeared))
        return _encode(_TAGGED[type(record)](it=record))

    def decode(self, value: bytes) -> LogRecord:
        """Read a record.

        Raises
        ------
        LogError
            If it is none.
        """
        try:
            found = _DECODER.decode(value)
            if not isinstance(found, _Tick):
                record: LogRecord = found.it
                return record
            accounts = tuple(self._read(account) for account in found.accounts)
            return Tick(bucket=found.bucket, ready=found.ready, accounts=accounts, appeared=found.appeared)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, ValueError) as error:
            raise LogError(f"no record of the signals log: {error}") from error

    def _account(self, account: Account) -> _Account:
        split = account.split
        return _Account(
            metric=account.metric,
            series=self._names(account.series),
            observed=account.observed.astype("<f8").tobytes(),
            expected=account.expected.astype("<f8").tobytes(),
            variance=account.variance.astype("<f8").tobytes(),
            error=account.error.astype("<f8").tobytes(),
            missing=account.missing,
            silent=account.silent,
            events=account.events,
            doubtful=account.doubtful,
            unsettled=account.unsettled,
            split=None
            if split is None
            else _Split(
                keys=self._names(split.keys),
                key=split.key.astype("<i8").tobytes(),
                hits=split.hits.astype("<f8").tobytes(),
                trials=split.trials.astype("<f8").tobytes(),
                expected=split.expected.astype("<f8").tobytes(),
            ),
        )

    def _names(self, names: tuple[object, ...]) -> msgspec.Raw:
        known = self._written.get(id(names))
        if known is None or known[0] is not names:
            if len(self._written) >= MOST_NAMES:
                self._written.clear()
            known = self._written[id(names)] = (names, msgspec.Raw(_encode(names)))
        return known[1]

    def _read(self, account: _Account) -> Account:
        raw = bytes(account.series)
        series = self._series.get(raw)
        if series is None:
            if len(self._series) >= MOST_NAMES:
                self._series.clear()
            series = self._series[raw] = _SERIES.decode(raw)
        columns = [np.frombuffer(each, dtype="<f8").astype(np.float64) for each in (account.observed, account.expected, account.variance, account.error)]
        if any(len(column) != len(series) for column in columns):
            raise ValueError(f"the columns of {account.metric} do not fit its {len(series)} series")
        return Account(
            metric=account.metric,
            series=series,
            observed=columns[0],
            expected=columns[1],
            variance=columns[2],
            error=columns[3],
            missing=account.missing,
            silent=account.silent,
            events=account.events,
            doubtful=account.doubtful,
            unsettled=account.unsettled,
            split=None if account.split is None else self._read_split(account.split),
        )

    def _read_split(self, split: _Split) -> Split:
        raw = bytes(split.keys)
        keys = self._keys.get(raw)
        if keys is None:
            if len(self._keys) >= MOST_NAMES:
                self._keys.clear()
            keys = self._keys[raw] = _KEYS.decode(raw)
        key = np.frombuffer(split.key, dtype="<i8").astype(np.int64)
        columns = [np.frombuffer(each, dtype="<f8").astype(np.float64) for each in (split.hits, split.trials, split.expected)]
        if any(len(column) != len(key) for column in columns) or (len(key) and not 0 <= int(key.min()) <= int(key.max()) < len(keys)):
            raise ValueError("the columns of a split do not fit its keys")
        return Split(keys=keys, key=key, hits=columns[0], trials=columns[1], expected=columns[2])
