"""Thousands of series of one metric, each watched by a river model of its own; the model's scores become evidence like ours.

A model is guarded: it is shown no missing value and none beyond a clip, and what it raises is counted. Its scores are calibrated on
the same series' own past (`conformal`), so that thresholds mean the same as for our own banks.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from rollguard.detectors.adapters import HARMLESS, Adapter, Frame, adapter_of, tried
from rollguard.detectors.conformal import KAPPAS, Calibration, correlation_time
from rollguard.detectors.recipe import ModelError, Recipe, span_of

__all__ = ["Bets", "Cell", "ForeignBank"]

Bools = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

EPOCH_MS = 300_000
#: Values of its past that a model is built from; four of its own spans, if that is more.
MEMORY = 4096
#: Values a model must have before it is built for the first time; three of its own spans, if that is more. Half of them are for learning alone.
FEWEST = 256
#: Longest span a model may have, in values.
LONGEST = 20_160
#: A model may be built in every so many-th bucket, rows one after the other.
BETWEEN = 64
_STAGGER = 37
#: A model that cannot say anything of so many values in a row is built anew.
PATIENCE = 16
#: Scores that are worth fewer independent ones than this are no calibration: they follow each other too closely, or still drift.
INDEPENDENT = 20
#: A series is learnt from again after so many epochs (12 hours) under suspicion, as our own baselines do.
FREEZE_EPOCHS = 144
#: A bet loses this many nats in each bucket on its way to an onset: what a drift detector says once is over after an hour of 10 s.
ALLOWANCE = 8.0 / 360.0
CEILING = 1e120


class Bets:
    """Shiryaev-Roberts statistics of the bets of `conformal.KAPPAS`, and Page's statistic for the onset. The mean over bets is an e-detector.

    Parameters
    ----------
    n_series : int

    References
    ----------
    J. Shin, A. Ramdas, A. Rinaldo, "E-detectors", 2022 (arXiv 2203.03532).
    """

    def __init__(self, n_series: int) -> None:
        self.sr: Floats = np.zeros((n_series, len(KAPPAS)))
        self.lead: Floats = np.zeros((n_series, len(KAPPAS)))
        self.onset: Ints = np.zeros((n_series, len(KAPPAS)), dtype=np.int64)

    def grow(self, extra: int) -> None:
        """Make room for more series."""
        more = Bets(extra)
        self.sr = np.concatenate([self.sr, more.sr])
        self.lead = np.concatenate([self.lead, more.lead])
        self.onset = np.concatenate([self.onset, more.onset])

    def step(self, bucket: int, nats: Floats, spoken: Bools) -> Floats:
        """Take the bets of one bucket.

        Parameters
        ----------
        bucket : int
        nats : (n_series, n_bets) float64
        spoken : (n_series,) bool
            False: the bucket says nothing of the series, whose state stays as it is.

        Returns
        -------
        (n_series,) float64
            Mean over bets of the Shiryaev-Roberts statistics.
        """
        rows = spoken[:, None]
        self.sr = np.where(rows, np.minimum((1.0 + self.sr) * np.exp(nats), CEILING), self.sr)
        self.onset = np.where(rows & (self.lead <= 0.0), bucket, self.onset)
        self.lead = np.where(rows, np.maximum(self.lead, 0.0) + nats - ALLOWANCE, self.lead)
        value: Floats = self.sr.sum(axis=1) / self.sr.shape[1]
        return value

    def forget(self, rows: Bools | Ints) -> None:
        """Start again for these series."""
        self.sr[rows] = 0.0
        self.lead[rows] = 0.0


class Cell:
    """One series' model, what it is built from, and its calibration.

    Models have insides of any kind, so the state that is kept is what they were fed: `kept`, the values they were last built from,
    and `recent`, those since. The rest is made from them, always in the same way.

    Attributes
    ----------
    kept, gaps : list of float, list of int
        Values learnt, and how many buckets without one lay before each. At most `memory` of them.
    tail : int
        Buckets without a value after the last of `kept`.
    recent, frozen : list of float, list of bool
        Clipped values since; NaN: missing. Frozen: the value was judged and not learnt.
    built : bool
        A model has been built from `kept`.
    seen : int
        Buckets since the series began, missing ones too.
    """

    _derived = ("adapter", "calibration", "debt", "frame", "in_row", "settled", "temper")

    def __init__(self, recipe: Recipe, worse: str, memory: int, fewest: int, warmup: int) -> None:
        self.recipe = recipe
        self.worse = worse
        self.memory = memory
        self.fewest = fewest
        self.warmup = warmup
        self.kept: list[float] = []
        self.gaps: list[int] = []
        self.tail = 0
        self.recent: list[float] = []
        self.frozen: list[bool] = []
        self.built = False
        self.seen = 0
        self._rederive()

    def _rederive(self) -> None:
        self.debt = 0
        self.in_row = 0
        self._build()
        for value, frozen in zip(self.recent, self.frozen, strict=True):
            self._show(value, frozen=frozen)

    @property
    def ready(self) -> bool:
        """The model is built, and scores enough are known to judge the next by."""
        return self.settled and len(self.calibration) >= self.fewest // 4

    def build_if_due(self) -> bool:
        """Build the model from its past again, if that has grown enough since the last time."""
        learnt = sum(not frozen and not math.isnan(value) for value, frozen in zip(self.recent, self.frozen, strict=True))
        enough = self.seen >= self.warmup and len(self.kept) + learnt >= self.fewest
        grown = learnt >= min(max(len(self.kept), 1), self.memory // 2)
        due = enough and (grown or not self.built)
        if due or len(self.recent) >= self.memory // 2:
            self._compact()
            self.built = self.built or due
            self._build()
            return self.built
        return False

    def feed(self, value: float, *, frozen: bool) -> tuple[tuple[float, ...] | None, int, bool]:
        """Take the next value.

        Parameters
        ----------
        value : float
            NaN: missing.
        frozen : bool
            Judge the value, but learn nothing from it.

        Returns
        -------
        nats : tuple of float, or None
            What each bet wins; None: nothing can be said.
        refusals : int
            1 if the model failed, else 0.
        renewed : bool
            It failed once too often, and was built anew without a past.
        """
        self.seen += 1
        known = self.frame.clipped(value) if self.built and math.isfinite(value) else value
        self.recent.append(known if math.isfinite(known) else math.nan)
        self.frozen.append(frozen)
        return self._show(self.recent[-1], frozen=frozen)

    def _show(self, value: float, *, frozen: bool) -> tuple[tuple[float, ...] | None, int, bool]:
        if not self.built:
            return None, 0, False
        if math.isnan(value):
            self.debt += 1
            return None, 0, False
        ready = self.ready
        score = self._judged(value, self.debt, learn=not frozen)
        self.debt = int(frozen)
        if math.isnan(score):
            self.in_row += 1
            renewed = self.in_row >= PATIENCE
            if renewed:
                self._renew()
            return None, 1, renewed
        self.in_row = 0
        nats = tuple(each / self.temper for each in self.calibration.bets(score)) if ready else None
        if not frozen:
            self.calibration.add(score)
        return nats, 0, False

    def _judged(self, value: float, pause: int, *, learn: bool) -> float:
        """Score of a value after a pause of some buckets, then learnt; NaN if the model fails at any of it."""
        try:
            self.adapter.hold(pause)
            score = self.adapter.score(self.frame, value)
        except Exception:  # noqa: BLE001 - a model of somebody else's may raise anything; the caller counts it
            score = math.nan
        if learn:
            try:
                self.adapter.learn(self.frame, value)
            except Exception:  # noqa: BLE001 - the same
                score = math.nan
        return score

    def _build(self) -> None:
        self.frame = Frame.of(self.kept)
        self._renew()
        if not self.built:
            return
        in_order: list[float] = []
        for at, (value, gap) in enumerate(zip(self.kept, self.gaps, strict=True)):
            score = self._judged(self.frame.clipped(value), gap, learn=True)
            # Scores of a model that has hardly seen anything are not of the kind that it gives later.
            if at >= len(self.kept) // 2 and not math.isnan(score):
                self.calibration.add(score)
                in_order.append(score)
        self.debt = self.tail
        self._settle(in_order)

    def _settle(self, scores: list[float]) -> None:
        # Those of the side that hurts also alone: beside as many that are all alike, a drift of theirs is not seen.
        hurting = [score for score in scores if score != HARMLESS]
        times = correlation_time(scores), correlation_time(hurting)
        self.temper = max(times)
        self.settled = len(scores) >= INDEPENDENT * times[0] and (times[1] == 1.0 or len(hurting) >= INDEPENDENT * times[1])

    def _renew(self) -> None:
        """A model without a past."""
        self.adapter: Adapter = adapter_of(self.recipe.make(), self.worse)
        self.calibration = Calibration(self.memory // 2)
        self.debt = 0
        self.in_row = 0
        self.temper = 1.0
        self.settled = False

    def _compact(self) -> None:
        for value, frozen in zip(self.recent, self.frozen, strict=True):
            if frozen or math.isnan(value):
                # A pause longer than its memory has no more to tell a model.
                self.tail = min(self.tail + 1, self.memory)
            else:
                self.kept.append(value)
                self.gaps.append(self.tail)
                self.tail = 0
        del self.kept[: -self.memory], self.gaps[: -self.memory]
        self.recent, self.frozen = [], []


class ForeignBank:
    """River models that watch the series of one metric, one each.

    What a model sees is measured by the series' own past (`adapters.Frame`): an anomaly detector gets one feature, `value`, from 0 to 1,
    where 0.5 is the median and the ends are eight robust standard deviations away; a detector of a target and a forecaster get multiples
    of the median; a drift detector gets standard deviations from it; a binary one, whether the value lies on the side that hurts.

    Parameters
    ----------
    name, arguments : str, mapping of str to object
        As in `Recipe`.
    worse : {"higher", "lower", "both"}
        Direction that hurts; nothing is made of a score whose value lies on the other side.
    bucket_ms : int
        Length of a bucket.
    warmup_ms : int
        How long a series must have been seen before it gives evidence.

    Attributes
    ----------
    refused : (n_series,) int64
        How often each series' model raised something or gave no finite score: evidence of nothing.
    renewed : (n_series,) int64
        How often it failed so many times in a row that it was built anew.

    Raises
    ------
    ModelError
        If there is no such model, if its arguments will not do, or if it fails on plain values.

    Notes
    -----
    The value of a series is an e-detector if its scores are exchangeable while nothing has changed: then a stop at `value >= A` has a
    run length to a false alarm of about A buckets at least. Scores of real series follow each other, and then it is not: half an hour
    of high scores is one event, not thirty. Evidence is therefore divided by the scores' correlation time (`conformal.correlation_time`),
    measured each time that the model is built. That makes false alarms rare again, but it is no proof; tests/detectors/test_foreign.py
    measures it on autoregressive counts. A season that the model does not know makes its scores depend on the hour, and nothing here mends it.

    A model costs what river costs, from 1 to 5,000 microseconds a series and bucket, three times over, since it is built from its memory
    again and again; a series keeps 70 to 200 kB. This is for tens or hundreds of series, not for 100,000.

    Examples
    --------
    >>> bank = ForeignBank("river.anomaly.GaussianScorer", {}, "higher", bucket_ms=60_000, warmup_ms=0)
    >>> bank.grow(1)
    >>> values = np.random.default_rng(1).normal(10.0, 1.0, (2000, 1))
    >>> values[-3:] = 15.0
    >>> bank.load(0, values)
    >>> found = [float(bank.step(bucket)[0]) for bucket in range(2000)]
    >>> max(found[:-3]) < 2000.0, found[-1] > 1e5
    (True, True)
    """

    def __init__(self, name: str, arguments: Mapping[str, object], worse: str, *, bucket_ms: int, warmup_ms: int) -> None:
        self.recipe = Recipe(name, arguments)
        self.worse = worse
        self.warmup = -(-warmup_ms // bucket_ms)
        span = span_of(self.recipe.make())
        if span > LONGEST:
            raise ModelError(name, f"it looks back {span} values", f"at most {LONGEST}")
        tried(self.recipe, worse)
        self.memory = max(MEMORY, 4 * span)
        self.fewest = max(FEWEST, 3 * span)
        self.cells: list[Cell] = []
        self.bets = Bets(0)
        self.refused: Ints = np.zeros(0, dtype=np.int64)
        self.renewed: Ints = np.zeros(0, dtype=np.int64)
        self.suspected: Bools = np.zeros(0, dtype=bool)
        self.frozen_epochs: Ints = np.zeros(0, dtype=np.int64)
        self._rederive()

    _derived = ("last", "start", "values")

    def _rederive(self) -> None:
        self.start = 0
        self.values: Floats = np.zeros((0, 0))
        self.last: Floats = np.zeros((0, 0))

    def grow(self, n_series: int) -> None:
        """Make room for more series, `n_series` in all; a new one starts without a past."""
        extra = n_series - len(self.cells)
        if extra <= 0:
            return
        self.cells += [Cell(self.recipe, self.worse, self.memory, self.fewest, self.warmup) for _ in range(extra)]
        self.bets.grow(extra)
        self.refused = np.concatenate([self.refused, np.zeros(extra, dtype=np.int64)])
        self.renewed = np.concatenate([self.renewed, np.zeros(extra, dtype=np.int64)])
        self.suspected = np.concatenate([self.suspected, np.zeros(extra, dtype=bool)])
        self.frozen_epochs = np.concatenate([self.frozen_epochs, np.zeros(extra, dtype=np.int64)])

    def load(self, start: int, values: Floats) -> None:
        """Take in some buckets; `step` then goes through them.

        Parameters
        ----------
        start : int
            Index of the first bucket.
        values : (n_buckets, n_series) float64
            One value a bucket. NaN: the bucket is missing, or says nothing of the series.
        """
        self.start = start
        self.values = values.copy()

    def step(self, bucket: int) -> Floats:
        """Take the next loaded bucket.

        Returns
        -------
        (n_series,) float64
            Value of each series' e-detector (not its logarithm); 0 before it is ready.
        """
        spoken = np.zeros(len(self.cells), dtype=bool)
        nats = np.zeros((len(self.cells), len(KAPPAS)))
        for row, (cell, value) in enumerate(zip(self.cells, self.values[bucket - self.start].tolist(), strict=True)):
            # Not all rows in the same bucket: building a model is as much work as thousands of buckets.
            if (bucket + row * _STAGGER) % BETWEEN == 0:
                cell.build_if_due()
            won, refusals, renewed = cell.feed(value, frozen=bool(self.suspected[row]))
            self.refused[row] += refusals
            self.renewed[row] += renewed
            if won is not None:
                spoken[row] = True
                nats[row] = won
        self.last = np.where(spoken[:, None], nats - ALLOWANCE, 0.0)
        # What was gathered by a model that has since been lost is worth nothing.
        self.bets.forget(~self.ready)
        return self.bets.step(bucket, nats, spoken)

    def close_epoch(self, suspected: Bools) -> None:
        """End an epoch of `EPOCH_MS`: models learn nothing of series under suspicion, for 12 hours at most.

        Parameters
        ----------
        suspected : (n_series,) bool
        """
        self.frozen_epochs = np.where(suspected, self.frozen_epochs + 1, 0)
        self.suspected = suspected & (self.frozen_epochs <= FREEZE_EPOCHS)

    @property
    def ready(self) -> Bools:
        """(n_series,) bool: series whose model is built and calibrated."""
        return np.array([cell.ready for cell in self.cells], dtype=bool)

    @property
    def lead(self) -> Floats:
        """(n_series, n_bets) float64: nats gathered by each bet since its own onset."""
        return self.bets.lead

    def best(self, row: int) -> tuple[int, int, float]:
        """Best bet of a series, its onset (a bucket) and its nats since then."""
        bet = int(self.bets.lead[row].argmax())
        return bet, int(self.bets.onset[row, bet]), float(self.bets.lead[row, bet])

    def mass(self, rows: Ints) -> Floats:
        """(n_rows, n_bets) float64: log of each bet's statistic."""
        return np.log(np.maximum(self.bets.sr[rows], 1e-30))

    def nats(self, rows: Ints) -> Floats:
        """(n_rows, n_bets) float64: what each bet won in the last bucket, less its allowance; 0 where nothing was said."""
        return self.last[rows]

    def describe(self, bet: int) -> str:  # noqa: ARG002 - all bets are on the same direction
        """Direction in one word."""
        return {"higher": "higher", "lower": "lower"}.get(self.worse, "unusual")

    def forget(self, rows: Ints) -> None:
        """Start the evidence of these series again."""
        self.bets.forget(rows)
