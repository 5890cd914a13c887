"""When an incident began: how likely each bucket is to be its first, from all series that hurt together.

A signal knows the onset of its own series, seen when it was raised. Series that began together have likelihoods that multiply,
place by place, and what is counted in the half hour after the signal sharpens them further.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from rollguard.incidents.books import Books
from rollguard.incidents.places import Symptom, region_row

__all__ = ["Moment", "Starts", "sharpest_first", "starts_of"]

Floats = npt.NDArray[np.float64]

#: Sizes of effect that a hurt series may have; each is as likely.
RISES = (1.25, 1.6, 2.5, 4.0, 8.0, 20.0)
FALLS = (0.85, 0.7, 0.5, 0.3, 0.1)
#: One series is worth no more than so many nats between two starts: its counts have heavier tails than their model.
CAP_NATS = 25.0


@dataclass(frozen=True, slots=True)
class Moment:
    """A bucket, and its standard error in buckets (at least half of one)."""

    bucket: int
    error: float


@dataclass(frozen=True, slots=True)
class Starts:
    """Log likelihood of each start, for every place.

    Attributes
    ----------
    first : int
        Bucket of the first start.
    nats : dict of str to (n_starts,) float64
        By region; up to a constant.
    """

    first: int
    nats: dict[str, Floats]

    def joint(self, shifts: dict[str, int]) -> Floats:
        """Log likelihood of each start, if every place named began so many buckets after it.

        Parameters
        ----------
        shifts : dict of str to int
            By region, in buckets.

        Returns
        -------
        (n_starts,) float64
        """
        n = len(next(iter(self.nats.values())))
        total = np.zeros(n)
        for region, shift in sorted(shifts.items()):
            # What would lie outside the curve counts as its end: after the last bucket nothing has begun yet.
            total += self.nats[region][np.clip(np.arange(n) + shift, 0, n - 1)]
        return total

    def moment(self, nats: Floats) -> Moment:
        """Most likely start and its error."""
        best = int(nats.argmax())
        mass = np.exp(nats - nats[best])
        square = float(np.add.accumulate(mass * (np.arange(len(nats)) - best) ** 2.0)[-1]) / float(np.add.accumulate(mass)[-1])
        return Moment(self.first + best, max(0.5, math.sqrt(square)))

    def moments(self) -> dict[str, Moment]:
        """When it began in every place: by its own series, or by all together where those are sharper and agree."""
        together = self.moment(self.joint(dict.fromkeys(self.nats, 0)))
        found = {}
        for region, nats in self.nats.items():
            own = self.moment(nats)
            agrees = abs(own.bucket - together.bucket) <= 2.0 * max(own.error, together.error)
            found[region] = together if agrees and together.error < own.error else own
        return found


def starts_of(books: Books, symptoms: Iterable[Symptom], regions: Sequence[str], span: range, told: dict[str, dict[str, Moment]]) -> Starts:
    """Weigh every bucket as the start, by the symptoms that began first.

    Parameters
    ----------
    books : Books
    symptoms : iterable of Symptom
        What hurts. Promises may turn wrong long before orders fall: a symptom that surely began later has no say.
    regions : sequence of str
        Where.
    span : range
        Buckets to weigh.
    told : dict of str to dict of str to Moment
        Onsets told by signals, by metric and region ("" for all together): for metrics whose accounts know less than their detector did.

    Returns
    -------
    Starts
    """
    found = [_told(told[each.metric], regions, span) if each.metric in told else _counted(books, each, regions, span) for each in symptoms]
    moments = [starts.moment(starts.joint(dict.fromkeys(regions, 0))) for starts in found]
    lead = sharpest_first(moments)
    mine = [starts for starts, moment in zip(found, moments, strict=True) if moment.bucket - lead.bucket <= 2.0 * (lead.error + moment.error)]
    return Starts(span.start, {region: np.add.accumulate(np.stack([starts.nats[region] for starts in mine]), axis=0)[-1] for region in regions})


def _counted(books: Books, symptom: Symptom, regions: Sequence[str], span: range) -> Starts:
    rows = {region: row for region in regions if (row := region_row(books, symptom, region)) is not None}
    observed, expected, variance = books.history(symptom.metric, tuple(rows.values()), span)
    curves = dict.fromkeys(regions, np.zeros(len(span)))
    for at, region in enumerate(rows):
        curves[region] = _series(observed[:, at], expected[:, at], variance[:, at], symptom.direction)
    return Starts(span.start, curves)


def _told(moments: dict[str, Moment], regions: Sequence[str], span: range) -> Starts:
    buckets = np.arange(span.start, span.stop)
    curves = {}
    for region in regions:
        moment = moments.get(region)
        if moment is None:
            # A place without a signal of its own began with the others, as far as is known.
            known = [moments[""]] if "" in moments else list(moments.values())
            moment = sharpest_first(known)
            moment = Moment(moment.bucket, 2.0 * moment.error)
        curves[region] = np.maximum(-((buckets - moment.bucket) ** 2.0) / (2.0 * max(moment.error, 1.0) ** 2), -CAP_NATS)
    return Starts(span.start, curves)


def sharpest_first(moments: Iterable[Moment]) -> Moment:
    """The sharpest of some moments, unless another surely came before it."""
    ordered = sorted(moments, key=lambda moment: (moment.error, moment.bucket))
    best = ordered[0]
    for moment in ordered[1:]:
        if moment.bucket + 2.0 * moment.error < best.bucket - 2.0 * best.error:
            best = moment
    return best


def _series(observed: Floats, expected: Floats, variance: Floats, direction: float) -> Floats:
    """Log likelihood of each start for one series, its effect being of any of some sizes."""
    mean = float(np.add.accumulate(expected)[-1])
    if mean <= 0.0:
        return np.zeros(len(observed))
    temper = max(float(np.add.accumulate(variance)[-1]) / mean, 1.0)
    factors = np.array(RISES if direction > 0 else FALLS)[:, None]
    each = (observed * np.log(factors) - expected * (factors - 1.0)) / temper
    since = np.add.accumulate(each[:, ::-1], axis=1)[:, ::-1]
    top = since.max(axis=0)
    total = top + np.log(np.add.accumulate(np.exp(since - top), axis=0)[-1])
    return np.maximum(np.asarray(total, dtype=np.float64) - float(total.max()), -CAP_NATS)
