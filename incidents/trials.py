"""All changes on trial: who is, for how long, and what of it becomes a signal."""

from __future__ import annotations

import math
from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from functools import partial
from itertools import islice

import numpy as np

from rollguard.config import Settings
from rollguard.detectors import SeriesName, Signal, Tick
from rollguard.incidents.books import Books
from rollguard.incidents.changes import ChangeBook
from rollguard.incidents.tally import Layout
from rollguard.incidents.trial import Trial

__all__ = ["Trials"]

MINUTE_MS = 60_000
#: A change is on trial for so long after it was last heard of; what it does later is left to the detectors.
TRIAL_MS = 2 * 3_600_000
#: For so long it is looked at in every bucket, then once a minute.
YOUNG_MS = 30 * MINUTE_MS
#: Of several places that hurt together, those that say as much by themselves are named.
PLACE_NATS = 2.0
#: So many ticks that are known to come are worked out along with one.
AHEAD = 60


@dataclass(frozen=True, slots=True)
class _Held:
    """A trial's layout, for how many series and changes it was made, and until which bucket the change's places stay as they are."""

    layout: Layout
    n_series: int
    heard: int
    until: int


class Trials:
    """Puts every change on trial from when it began.

    Parameters
    ----------
    settings : Settings
    """

    _derived = ("coming", "layouts")

    def __init__(self, settings: Settings) -> None:
        self.log_bound = -math.log(settings.budget.per_change)
        self.trials: dict[str, Trial] = {}
        self.until: dict[str, int] = {}
        self.young: dict[str, int] = {}
        self.heard = 0
        self._rederive()

    def _rederive(self) -> None:
        self.layouts: dict[str, _Held] = {}
        #: Ticks that are known to follow the one that is taken, in their order: what each says by itself is worked out for many at once.
        self.coming: Sequence[Tick] = ()

    def step(self, tick: Tick, books: Books, changes: ChangeBook, settings: Settings, taken: AbstractSet[SeriesName]) -> list[tuple[str, Signal]]:
        """Take a tick that the books have.

        Parameters
        ----------
        tick : Tick
        books : Books
        changes : ChangeBook
        settings : Settings
        taken : set of SeriesName
            Series that are away already, by whatever signal.

        Returns
        -------
        list of tuple of str and Signal
            Each with the change on whose trial it was found, in the order of these and of their ids.
        """
        if changes.heard != self.heard:
            self.heard = changes.heard
            self._summon(tick, books, changes, settings)
        signals: list[tuple[str, Signal]] = []
        held = set(taken)
        per_minute = max(MINUTE_MS // settings.bucket_ms, 1)
        for deploy_id, until in list(self.until.items()):
            trial = self.trials[deploy_id]
            if tick.bucket > until and not trial.away:
                del self.until[deploy_id]
                self.layouts.pop(deploy_id, None)
            elif tick.bucket <= self.young[deploy_id] or tick.bucket % per_minute == 0:
                self._go_on(trial, changes, books, settings, tick.bucket)
                found = [*self._returned(trial, tick.bucket), *self._left(trial, books, tick.bucket, held)]
                signals += [(deploy_id, signal) for signal in found]
        return sorted(signals, key=lambda each: (each[0], each[1].id))

    def is_sure(self, deploy_id: str) -> bool:
        """Whether a trial has shown enough to act, not only to page: 1 / alpha squared."""
        trial = self.trials.get(deploy_id)
        return trial is not None and trial.bound >= 2.0 * self.log_bound and trial.log_value >= 2.0 * self.log_bound

    def hand_over(self, series: SeriesName) -> None:
        """A detector has seen a series leave, and will say when it is back."""
        for trial in self.trials.values():
            trial.away.pop(series, None)

    def forget(self, changes: ChangeBook) -> None:
        """Drop trials of changes that are forgotten."""
        self.trials = {name: trial for name, trial in self.trials.items() if name in changes.changes}
        self.until = {name: until for name, until in self.until.items() if name in self.trials}
        self.young = {name: until for name, until in self.young.items() if name in self.trials}

    def _summon(self, tick: Tick, books: Books, changes: ChangeBook, settings: Settings) -> None:
        """Begin the trials of changes that were just heard of, or go on with those that reach another place."""
        bucket_ms = settings.bucket_ms
        for deploy_id, change in sorted(changes.changes.items()):
            last = change.touched_ms // bucket_ms
            until = last + min(TRIAL_MS, settings.lookback_ms) // bucket_ms
            if until < tick.bucket or until == self.until.get(deploy_id) or not tick.ready:
                continue
            trial = self.trials.get(deploy_id)
            if trial is None:
                self.trials[deploy_id] = trial = Trial.of(change, books, settings, -(-change.started_ms // bucket_ms))
            elif deploy_id not in self.until:
                # It was adjourned; what happened meanwhile was nobody's concern.
                trial.next = max(trial.next, last)
            self.until[deploy_id] = until
            self.young[deploy_id] = last + YOUNG_MS // bucket_ms

    def _go_on(self, trial: Trial, changes: ChangeBook, books: Books, settings: Settings, now: int) -> None:
        while trial.next <= now:
            held = self._layout(trial, changes, books, settings)
            until = min(now, held.until)
            ticks = books.between(trial.next, until)
            if ticks and held.layout.reached:
                trial.take(ticks, held.layout, partial(self._foreseen, until, held.until))
            trial.next = until + 1

    def _foreseen(self, since: int, until: int) -> list[Tick]:
        """Some ticks that come after a bucket, up to another one."""
        return [tick for tick in islice(self.coming, AHEAD) if since < tick.bucket <= until]

    def _layout(self, trial: Trial, changes: ChangeBook, books: Books, settings: Settings) -> _Held:
        held = self.layouts.get(trial.deploy_id)
        if held is not None and (held.n_series, held.heard) == (books.n_series, changes.heard) and trial.next <= held.until:
            return held
        change = changes.changes[trial.deploy_id]
        places = trial.reached(change, books, settings.bucket_ms)
        if held is None or held.n_series != books.n_series or places != (held.layout.reached, held.layout.control):
            layout = Layout(trial.cells, books, settings, *places)
        else:
            layout = held.layout
        self.layouts[trial.deploy_id] = held = _Held(layout, books.n_series, changes.heard, trial.lasts(change, books, settings.bucket_ms))
        if places != trial.places:
            trial.places = places
            trial.before = layout.hurt_before(change, books, settings)
        return held

    def _left(self, trial: Trial, books: Books, bucket: int, taken: set[SeriesName]) -> list[Signal]:
        # One alarm a change: once all it was about is back, or others watch it, the trial has had its say.
        if trial.bound < self.log_bound or (trial.alarmed and not trial.away):
            return []
        value = trial.log_value
        if not trial.alarmed and value < self.log_bound:
            return []
        known = {trial.cells[at].metric for at in trial.away.values()}
        bets = trial.log_cells
        weighed = bets + np.log([cell.weight for cell in trial.cells])
        best: dict[str, int] = {}
        for at, cell in enumerate(trial.cells):
            if cell.metric not in best or weighed[at] > weighed[best[cell.metric]]:
                best[cell.metric] = at
        foremost = int(weighed.argmax())
        signals = []
        for metric, at in sorted(best.items()):
            # What the others say counts by itself: the mean has passed its bound, not each of them.
            speaks = bets[at] >= self.log_bound or (at == foremost and not trial.alarmed)
            for number in self._places(trial, at) if speaks and metric not in known else []:
                series = _series(books, trial, number)
                # Of a change that becomes known late, what it did may be over by then.
                if series not in taken and trial.over(number) is None:
                    trial.away[series] = number
                    taken.add(series)
                    signals.append(self._signal(trial, number, series, bucket, value))
        trial.alarmed = True
        return signals

    def _places(self, trial: Trial, at: int) -> list[int]:
        """Cells that are one series each, in place of one that adds up some places."""
        cell = trial.cells[at]
        reached, control = trial.places
        if cell.region is not None or not control:
            return [at]
        alone = [
            (trial.best(i)[2], i) for i, each in enumerate(trial.cells) if (each.metric, each.service) == (cell.metric, cell.service) and each.region in reached
        ]
        if not alone:
            return [at]
        return [i for nats, i in alone if nats >= PLACE_NATS] or [max(alone)[1]]

    def _returned(self, trial: Trial, bucket: int) -> list[Signal]:
        signals = []
        for series, cell in list(trial.away.items()):
            back = trial.over(cell)
            if back is not None:
                del trial.away[series]
                signals.append(self._signal(trial, cell, series, bucket, float(trial.log_cells[cell]), back=back))
        return signals

    def _signal(self, trial: Trial, cell: int, series: SeriesName, bucket: int, value: float, *, back: int | None = None) -> Signal:
        factor, onset, nats = trial.best(cell)
        return Signal(
            kind="left" if back is None else "returned",
            series=series,
            bucket=bucket,
            onset=min(onset, bucket) if back is None else back,
            onset_error=max(0.5, 2.0 * (bucket - onset + 1) / max(nats, 1.0)) if back is None else 0.5,
            direction="higher" if factor > 1.0 else "lower",
            evidence=value,
            threshold=self.log_bound,
        )


def _series(books: Books, trial: Trial, at: int) -> SeriesName:
    cell = trial.cells[at]
    labels = {name: value for name, value in (("service", cell.service), ("region", cell.region)) if value is not None}
    row = books.row(cell.metric, **labels)
    return SeriesName(metric=cell.metric, labels=tuple(labels.items())) if row is None else books.series(cell.metric)[row]
