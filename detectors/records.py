"""What leaves the room."""

from __future__ import annotations

from typing import Literal

import msgspec
import numpy as np
import numpy.typing as npt

__all__ = ["Account", "SeriesName", "Signal", "Split", "Tick"]

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


class SeriesName(msgspec.Struct, frozen=True, kw_only=True, order=True):
    """A metric and the watched labels that single out one of its series; labels left out are pooled over.

    Examples
    --------
    >>> str(SeriesName(metric="orders", labels=(("region", "eu-west"),)))
    'orders{region=eu-west}'
    """

    metric: str
    labels: tuple[tuple[str, str], ...] = ()

    def __str__(self) -> str:
        inside = ",".join(f"{name}={value}" for name, value in self.labels)
        return f"{self.metric}{{{inside}}}" if inside else self.metric

    def label(self, name: str) -> str | None:
        """Value of a label, None when the series pools over it."""
        return next((value for key, value in self.labels if key == name), None)


class Signal(msgspec.Struct, frozen=True, kw_only=True):
    """Evidence that a series left its baseline, or came back to it.

    Attributes
    ----------
    kind : {"left", "returned"}
        What happened.
    series : SeriesName
        Whose evidence.
    bucket : int
        Bucket at whose end this became known.
    onset : int
        Most likely first bucket of the change (of the return, for "returned").
    onset_error : float
        Standard error of `onset`, in buckets.
    direction : str
        "higher", "lower", or how a distribution leans.
    evidence : float
        Log of the e-detector's value in nats.
    threshold : float
        What it had to pass, in nats.
    """

    kind: Literal["left", "returned"]
    series: SeriesName
    bucket: int
    onset: int
    onset_error: float
    direction: str
    evidence: float
    threshold: float

    @property
    def id(self) -> str:
        """Made from content: the same signal sent twice is one."""
        return f"{self.series}/{self.kind}/{self.bucket}"


class Split(msgspec.Struct, frozen=True, kw_only=True):
    """One bucket of a distribution, split by every label including the compare labels.

    Attributes
    ----------
    keys : tuple of tuple of str
        Label values (watched, then compare) that `key` indexes.
    key : (n,) int64
    hits, trials, expected : (n,) float64
        Events outside the usual range, events, and hits the baseline expected of them.
    """

    keys: tuple[tuple[str, ...], ...]
    key: Ints
    hits: Floats
    trials: Floats
    expected: Floats


class Account(msgspec.Struct, frozen=True, kw_only=True):
    """One closed bucket of one metric, for every watched series.

    Attributes
    ----------
    metric : str
    series : tuple of SeriesName
        What the columns speak of, in their order; the same object from bucket to bucket until a series is added.
    observed, expected, variance : (n_series,) float64
        Events (of a distribution: events outside its usual range), what the baseline expected, variance of the difference.
    error : (n_series,) float64
        Relative error of `expected`, which does not average out over buckets.
    missing : bool
        Nothing is known of this bucket; the columns are zero.
    silent : bool
        The bucket was closed without an event, by silence.
    events, doubtful : float
        Events of the metric's source that it is made of, and late events and refused lines of that source, which came meanwhile.
    unsettled : bool
        The partitions of a source of it have grown, or contradicted themselves, lately.
    split : Split or None
        Of distributions.
    """

    metric: str
    series: tuple[SeriesName, ...]
    observed: Floats
    expected: Floats
    variance: Floats
    error: Floats
    missing: bool
    silent: bool
    events: float = 0.0
    doubtful: float = 0.0
    unsettled: bool = False
    split: Split | None = None


class Tick(msgspec.Struct, frozen=True, kw_only=True):
    """A closed bucket: event time has come this far.

    Attributes
    ----------
    bucket : int
        The bucket that closed.
    accounts : tuple of Account
        One for each watched metric.
    ready : bool
        The warm-up is over for at least one series.
    appeared : tuple of tuple of str
        Label values (watched, then compare) of which an event was counted for the first time, of whatever source.
    """

    bucket: int
    accounts: tuple[Account, ...]
    ready: bool
    appeared: tuple[tuple[str, ...], ...] = ()
