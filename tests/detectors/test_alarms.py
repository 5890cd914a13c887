from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from rollguard.detectors.alarms import RETURN, Alarms
from rollguard.detectors.evidence import Floats, Singles

Ints = npt.NDArray[np.int64]
#: Nats.
THRESHOLD = float(np.log(100.0))
#: What a series has to lose before it is back.
LOSS = RETURN * THRESHOLD
#: Nats of three tilts of one kind.
Nats = tuple[float, float, float]
NONE: Nats = (0.0, 0.0, 0.0)


class Watch:
    """Alarms of two series or more, fed with what a bank would say of its tilts."""

    def __init__(self, n_series: int = 2) -> None:
        self.alarms = Alarms()
        self.alarms.grow(n_series)
        #: Rows that were asked for.
        self.asked: list[list[int]] = []

    def step(self, bucket: int, value: list[float], *, mass: dict[int, list[Nats]], nats: dict[int, list[Nats]]) -> tuple[list[int], list[int], list[int]]:
        def given(of: dict[int, list[Nats]], rows: Ints) -> Floats:
            self.asked.append(rows.tolist())
            return np.array([of[row] for row in rows.tolist()])

        values: Singles = np.array(value, dtype=np.float32)
        threshold = np.full(len(value), THRESHOLD)
        left, returned, since = self.alarms.step(bucket, values, threshold, lambda rows: given(mass, rows), lambda rows: given(nats, rows))
        return left.tolist(), returned.tolist(), since.tolist()


def left_with(*kinds: Nats) -> Watch:
    """The first of two series left in bucket 1, with these nats."""
    watch = Watch()
    assert watch.step(1, [1e6, 0.0], mass={0: list(kinds)}, nats={}) == ([0], [], [])
    return watch


def test_a_series_leaves_once_when_it_passes_its_threshold() -> None:
    watch = Watch()
    mass, nats = {0: [(5.0, 9.0, 1.0)], 1: [NONE]}, {0: [NONE], 1: [NONE]}
    assert watch.step(1, [99.0, 0.0], mass=mass, nats=nats)[0] == []
    assert watch.step(2, [100.1, 0.0], mass=mass, nats=nats)[0] == [0]
    assert watch.step(3, [999.0, 100.1], mass=mass, nats=nats)[0] == [1]
    assert watch.alarms.away.tolist() == [True, True]


def test_only_series_that_are_away_are_asked_for_their_tilts() -> None:
    watch = Watch(4)
    watch.step(1, [1.0, 1.0, 1.0, 1.0], mass={}, nats={})
    watch.step(2, [1.0, 1.0, 1e6, 1.0], mass={2: [(1.0, 9.0, 1.0)]}, nats={})
    watch.step(3, [1.0, 1.0, 1e6, 1.0], mass={}, nats={2: [NONE]})
    assert watch.asked == [[2], [2]]


def test_it_returns_when_its_best_tilt_has_lost_enough_and_says_since_when() -> None:
    watch = left_with((5.0, 20.0, 19.0))
    assert watch.step(2, [1e6, 0.0], mass={}, nats={0: [(1.0, 5.0, -4.0)]})[1] == []
    assert watch.step(3, [1e6, 0.0], mass={}, nats={0: [(0.0, 0.1 - LOSS, -105.0)]})[1] == []
    assert watch.step(4, [1e6, 0.0], mass={}, nats={0: [(0.0, -0.1, -5.0)]}) == ([], [0], [3])
    assert watch.alarms.away.tolist() == [False, False]


def test_it_is_not_back_while_a_tilt_half_as_strong_has_lost_less() -> None:
    """Where counts scatter more than they should, the strongest tilt may lose while weaker ones still gain."""
    watch = left_with((4.0, 20.0, 10.0))
    assert watch.step(2, [1e6, 0.0], mass={}, nats={0: [(0.0, -50.0, 1.0)]})[1] == []
    assert watch.step(3, [1e6, 0.0], mass={}, nats={0: [(0.0, 0.0, 0.1 - LOSS)]})[1] == []
    assert watch.alarms.away[0]
    assert watch.step(4, [1e6, 0.0], mass={}, nats={0: [(0.0, 0.0, -0.2)]}) == ([], [0], [2])


def test_a_tilt_that_had_its_best_before_the_best_one_had_does_not_hold_it() -> None:
    watch = left_with((4.0, 20.0, 19.0))
    assert watch.step(2, [1e6, 0.0], mass={}, nats={0: [(0.0, 2.0, -1.0)]})[1] == []
    assert watch.step(3, [1e6, 0.0], mass={}, nats={0: [(0.0, -LOSS, 0.0)]})[1] == [0]


def test_a_tilt_that_never_was_strong_does_not_hold_it() -> None:
    watch = left_with((9.9, 20.0, -3.0))
    assert watch.step(2, [1e6, 0.0], mass={}, nats={0: [(5.0, -LOSS, 0.0)]})[1] == []
    watch = left_with((4.0, 20.0, -3.0))
    assert watch.step(2, [1e6, 0.0], mass={}, nats={0: [(5.0, -LOSS, 0.0)]})[1] == [0]


@pytest.mark.parametrize("kind", [0, 1])
def test_where_two_kinds_had_to_agree_one_that_is_back_is_enough(kind: int) -> None:
    watch = left_with((0.0, 20.0, 0.0), (0.0, 30.0, 0.0))
    both: list[Nats] = [(0.0, 3.0, 0.0), (0.0, 3.0, 0.0)]
    watch.step(2, [1e6, 0.0], mass={}, nats={0: both})
    both[kind] = (0.0, -LOSS, 0.0)
    assert watch.step(3, [1e6, 0.0], mass={}, nats={0: both}) == ([], [0], [3])


def test_a_series_that_is_back_does_not_leave_in_the_same_bucket() -> None:
    watch = left_with((0.0, 20.0, 0.0))
    assert watch.step(2, [1e6, 0.0], mass={}, nats={0: [(0.0, -90.0, 0.0)]}) == ([], [0], [2])


def test_it_can_leave_again_and_begins_with_a_new_peak() -> None:
    watch = left_with((0.0, 90.0, 0.0))
    watch.step(2, [1e6, 0.0], mass={}, nats={0: [(0.0, -80.0, 0.0)]})
    assert watch.step(9, [1e6, 0.0], mass={0: [(0.0, 12.0, 0.0)]}, nats={})[0] == [0]
    assert watch.step(10, [1e6, 0.0], mass={}, nats={0: [(0.0, -1.0, 0.0)]})[1] == []


def test_who_left_and_returned_within_an_epoch_has_been_away_in_it() -> None:
    watch = left_with((0.0, 90.0, 0.0))
    watch.step(2, [0.0, 0.0], mass={}, nats={0: [(0.0, -80.0, 0.0)]})
    assert (watch.alarms.away.tolist(), watch.alarms.been_away.tolist()) == ([False, False], [True, False])
    watch.alarms.new_epoch()
    assert watch.alarms.been_away.tolist() == [False, False]


def test_growing_keeps_who_is_away() -> None:
    watch = Watch()
    watch.step(1, [0.0, 1e6], mass={1: [(0.0, 30.0, 0.0)]}, nats={})
    watch.alarms.grow(4)
    assert watch.alarms.away.tolist() == [False, True, False, False]
    watch.step(2, [0.0, 0.0, 0.0, 1e6], mass={3: [(0.0, 12.0, 0.0)]}, nats={1: [NONE]})
    assert watch.alarms.rows.tolist() == [1, 3]
    assert watch.alarms.peak[:, 0].tolist() == [[0.0, 30.0, 0.0], [0.0, 12.0, 0.0]]
    # The one that came first goes first; the other is left as it was.
    assert watch.step(3, [0.0, 0.0, 0.0, 0.0], mass={}, nats={1: [(0.0, -30.0, 0.0)], 3: [NONE]}) == ([], [1], [2 + 1])
    assert watch.alarms.rows.tolist() == [3]


@pytest.mark.parametrize(("times", "back"), [(1.0, [0]), (2.0, []), (np.inf, [])])
def test_where_the_threshold_is_higher_more_has_to_be_lost(times: float, back: list[int]) -> None:
    """Where evidence rises without a cause it also falls without one."""
    watch = left_with((0.0, 20.0, 0.0))
    nats = np.array([[[0.0, -LOSS - 0.1, 0.0]]])
    returned = watch.alarms.step(2, np.zeros(2, dtype=np.float32), np.full(2, times * THRESHOLD), lambda rows: nats[rows], lambda rows: nats[rows])[1]
    assert returned.tolist() == back


def test_who_is_released_is_back_at_once_and_nobody_else() -> None:
    watch = Watch(3)
    mass = {row: [(0.0, 30.0, 0.0)] for row in range(3)}
    watch.step(1, [1e6, 0.0, 1e6], mass=mass, nats={})
    assert watch.alarms.release(np.array([1, 2])).tolist() == [2]
    assert watch.alarms.rows.tolist() == [0]
    assert (watch.alarms.away.tolist(), watch.alarms.been_away.tolist()) == ([True, False, False], [True, False, False])
    assert watch.step(2, [0.0, 0.0, 0.0], mass={}, nats={0: [(0.0, -30.0, 0.0)]}) == ([], [0], [2])
