from __future__ import annotations

import numpy as np

from rollguard.detectors.alarms import RETURN_NATS, Alarms
from rollguard.detectors.evidence import Floats

THRESHOLD = np.array([100.0, 100.0])


def alarms() -> Alarms:
    made = Alarms()
    made.grow(2, 3)
    return made


def leads(*rows: tuple[float, float, float]) -> Floats:
    return np.array(rows)


def test_a_series_leaves_once_when_it_passes_its_threshold() -> None:
    watch = alarms()
    lead = leads((5.0, 9.0, 1.0), (0.0, 0.0, 0.0))
    assert watch.step(1, np.array([99.0, 0.0]), lead, THRESHOLD)[0].tolist() == []
    assert watch.step(2, np.array([100.0, 0.0]), lead, THRESHOLD)[0].tolist() == [0]
    assert watch.step(3, np.array([999.0, 100.0]), lead, THRESHOLD)[0].tolist() == [1]
    assert watch.away.tolist() == [True, True]


def test_it_returns_when_its_best_tilt_has_lost_enough_and_says_since_when() -> None:
    watch = alarms()
    value = np.array([1e6, 0.0])
    none = (0.0, 0.0, 0.0)
    watch.step(1, value, leads((5.0, 20.0, 19.0), none), THRESHOLD)
    watch.step(2, value, leads((6.0, 25.0, 15.0), none), THRESHOLD)
    # The third has lost more, but the second is what fitted.
    assert watch.step(3, value, leads((6.0, 25.0 - RETURN_NATS + 0.1, -90.0), none), THRESHOLD)[1].tolist() == []
    left, returned, since = watch.step(4, value, leads((6.0, 25.0 - RETURN_NATS, -95.0), none), THRESHOLD)
    assert (left.tolist(), returned.tolist(), since.tolist()) == ([], [0], [3])
    assert watch.away.tolist() == [False, False]


def test_it_can_leave_again_and_begins_with_a_new_peak() -> None:
    watch = alarms()
    none = (0.0, 0.0, 0.0)
    watch.step(1, np.array([1e6, 0.0]), leads((0.0, 90.0, 0.0), none), THRESHOLD)
    watch.step(2, np.array([1e6, 0.0]), leads((0.0, 10.0, 0.0), none), THRESHOLD)
    assert watch.step(9, np.array([1e6, 0.0]), leads((0.0, 12.0, 0.0), none), THRESHOLD)[0].tolist() == [0]
    assert watch.step(10, np.array([1e6, 0.0]), leads((0.0, 11.0, 0.0), none), THRESHOLD)[1].tolist() == []


def test_who_left_and_returned_within_an_epoch_has_been_away_in_it() -> None:
    watch = alarms()
    none = (0.0, 0.0, 0.0)
    watch.step(1, np.array([1e6, 0.0]), leads((0.0, 90.0, 0.0), none), THRESHOLD)
    watch.step(2, np.array([0.0, 0.0]), leads((0.0, 10.0, 0.0), none), THRESHOLD)
    assert (watch.away.tolist(), watch.been_away.tolist()) == ([False, False], [True, False])
    watch.new_epoch()
    assert watch.been_away.tolist() == [False, False]


def test_growing_keeps_who_is_away() -> None:
    watch = alarms()
    watch.step(1, np.array([0.0, 1e6]), leads((0.0, 0.0, 0.0), (0.0, 30.0, 0.0)), THRESHOLD)
    watch.grow(4, 3)
    assert watch.away.tolist() == [False, True, False, False]
    assert watch.peak[1].tolist() == [0.0, 30.0, 0.0]
