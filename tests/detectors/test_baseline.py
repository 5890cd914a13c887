from __future__ import annotations

import copy
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as runs
from hypothesis import strategies as st

from rollguard.config import Place
from rollguard.detectors.baseline import FAST, Epoch, Memory, RateBaseline
from rollguard.detectors.calendar import SeriesClock
from rollguard.detectors.evidence import Floats, Singles

EPOCH_MS = 300_000
DAY = 288
LAG_EPOCHS = FAST.lag_ms // EPOCH_MS
FREEZE_EPOCHS = FAST.freeze_ms // EPOCH_MS
LEVEL_HALF_LIFE_EPOCHS = FAST.half_life_ms // EPOCH_MS
LEVEL_DECAY = 0.5 ** (1.0 / LEVEL_HALF_LIFE_EPOCHS)
WIDTH = 30.0


def daily(number: int) -> float:
    """Demand by time of day, 1 on average."""
    return 1.0 + 0.6 * float(np.sin(2.0 * np.pi * (number + 0.5) / DAY))


class Story:
    """A baseline that is fed epoch by epoch, as a bank does."""

    def __init__(self, n_series: int = 1, *, seed: int | None = None) -> None:
        self.baseline = RateBaseline(EPOCH_MS)
        self.baseline.grow(np.zeros(n_series, dtype=np.int64))
        self.rng = None if seed is None else np.random.default_rng(seed)
        self.number = 0

    def epoch(self, events: Floats, *, exposure: float = WIDTH, suspected: bool = False) -> None:
        """One epoch of so many events for each series."""
        n = self.baseline.n_series
        rate = self.baseline.rate(self.number)
        width = np.full(n, exposure, dtype=np.float32)
        expected = width * np.where(np.isnan(rate), np.float32(0.0), rate)
        self.baseline.learn(Epoch(self.number, events.astype(np.float32), width, expected, np.full(n, suspected)))
        self.number += 1

    def live(self, n: int, level: float | Floats, *, suspected: bool = False) -> None:
        """Some epochs around the daily curve; `level` is a mean number of events an epoch."""
        for _ in range(n):
            mean = np.broadcast_to(np.asarray(level, dtype=np.float64) * daily(self.number), (self.baseline.n_series,))
            events = mean.copy() if self.rng is None else self.rng.poisson(mean).astype(np.float64)
            self.epoch(events, suspected=suspected)

    def rates(self, n: int) -> Floats:
        """The next epochs' rates, an epoch in a row."""
        return np.stack([self.baseline.rate(self.number + k) for k in range(n)])


def truth(story: Story, n: int, level: float) -> Floats:
    return np.array([[level * daily(story.number + k) / WIDTH] for k in range(n)])


def test_a_series_without_a_past_has_no_rate() -> None:
    assert np.isnan(Story(2).baseline.rate(0)).all()
    assert RateBaseline(EPOCH_MS).rate(0).shape == (0,)


def test_level_and_time_of_day_are_learnt() -> None:
    story = Story(seed=1)
    story.live(5 * DAY, 100.0)
    assert np.abs(story.rates(DAY) / truth(story, DAY, 100.0) - 1.0).max() < 0.12
    assert np.abs(story.rates(DAY) / truth(story, DAY, 100.0) - 1.0).mean() < 0.03


@pytest.mark.parametrize("begin", [0, 50, 144, 230])
def test_the_first_profile_does_not_move_the_level(begin: int) -> None:
    """Whatever the hour at which the first day is full: the rate just after it is what it should be."""
    story = Story()
    story.number = begin
    story.live(DAY, 1000.0)
    assert story.baseline.days == 1
    assert story.rates(1) / truth(story, 1, 1000.0) == pytest.approx(np.ones((1, 1)), abs=0.1)


@given(epochs=st.lists(st.integers(0, 300), min_size=LAG_EPOCHS, max_size=LAG_EPOCHS), level=st.integers(1, 100))
@runs(max_examples=20)
def test_what_is_under_test_has_no_part_in_what_is_expected_of_it(epochs: list[int], level: int) -> None:
    """The rate of the next epochs is the same bit for bit, whatever the last nine held."""
    other, usual = Story(), Story()
    for each in (usual, other):
        each.live(DAY + 12, float(level))
    for events in epochs:
        before = usual.baseline.rate(usual.number).tobytes()
        usual.live(1, float(level))
        assert other.baseline.rate(other.number).tobytes() == before
        other.epoch(np.array([float(events)]))


def test_hours_of_a_sale_are_a_surge_and_weeks_of_it_are_the_new_normal() -> None:
    story = Story()
    story.live(3 * DAY, 100.0)
    assert story.baseline.surge()[0] == pytest.approx(1.0, abs=0.05)
    story.live(DAY // 4, 200.0)
    assert story.baseline.surge()[0] > 1.5
    story.live(21 * DAY, 200.0)
    assert story.baseline.surge()[0] < 1.15
    story.live(DAY, 100.0)
    assert story.baseline.surge()[0] == 1.0


def test_a_change_enters_only_after_the_lag_and_then_slowly() -> None:
    story, still = Story(), Story()
    for each in (story, still):
        each.live(2 * DAY, 1000.0)
    for each, level in ((story, 800.0), (still, 1000.0)):
        each.live(LAG_EPOCHS, level)
    assert story.rates(1).tobytes() == still.rates(1).tobytes()
    for each, level in ((story, 800.0), (still, 1000.0)):
        each.live(LEVEL_HALF_LIFE_EPOCHS, level)
    assert story.rates(1)[0, 0] / still.rates(1)[0, 0] == pytest.approx(0.88, abs=0.03)


def test_a_slow_decline_is_not_normal_before_the_lag_is_over() -> None:
    story, still = Story(), Story()
    for each in (story, still):
        each.live(2 * DAY, 1000.0)
    for k in range(24):
        story.live(1, 1000.0 * 0.98**k)
        still.live(1, 1000.0)
    # After two hours the orders are down by two fifths, and what is expected of them by a fiftieth.
    assert 0.96 < story.rates(1)[0, 0] / still.rates(1)[0, 0] < 1.0


def test_one_wild_epoch_moves_the_level_no_further_than_a_bad_one() -> None:
    story, still = Story(), Story()
    for each in (story, still):
        each.live(2 * DAY, 100.0)
    expected = float(story.baseline.rate(story.number)[0]) * WIDTH
    story.epoch(np.array([1e6]))
    still.epoch(np.array([expected]))
    for each in (story, still):
        each.live(LAG_EPOCHS, 100.0)
    reach = 0.5 * expected + 4.0 * np.sqrt(expected + 1.0)
    # An epoch in the day's peak weighs up to twice as much as an average one.
    most = 2.0 * reach * (1.0 - LEVEL_DECAY) / expected
    assert 0.0 < story.rates(1)[0, 0] / still.rates(1)[0, 0] - 1.0 <= most < 0.03


def test_one_wild_epoch_does_not_blind() -> None:
    """Band and temper a day after a million events: a little above what they were, not many times."""
    story, still = Story(seed=2), Story(seed=2)
    for each in (story, still):
        each.live(3 * DAY, 50.0)
    story.epoch(np.array([1e6]))
    story.number -= 1
    story.live(DAY, 50.0)
    still.live(DAY, 50.0)
    wild, usual = story.baseline.error(), still.baseline.error()
    assert wild.scatter[0] < usual.scatter[0] + 0.2
    assert wild.relative[0] < usual.relative[0] + 0.03


def test_a_suspected_series_stands_still_and_is_let_go_after_twelve_hours() -> None:
    story, still = Story(), Story()
    for each in (story, still):
        each.live(2 * DAY, 1000.0)
    story.live(FREEZE_EPOCHS, 500.0, suspected=True)
    still.live(FREEZE_EPOCHS, 1000.0)
    assert story.rates(1)[0, 0] / still.rates(1)[0, 0] == pytest.approx(1.0, abs=0.01)
    story.live(2 * LEVEL_HALF_LIFE_EPOCHS, 500.0, suspected=True)
    still.live(2 * LEVEL_HALF_LIFE_EPOCHS, 1000.0)
    assert story.rates(1)[0, 0] / still.rates(1)[0, 0] < 0.65


def test_an_accepted_level_is_the_normal_at_once() -> None:
    held, accepted = Story(), Story()
    for each in (held, accepted):
        each.live(2 * DAY, 1000.0)
        each.live(20, 500.0, suspected=True)
    accepted.baseline.accept(np.array([True]))
    assert accepted.rates(1)[0, 0] / held.rates(1)[0, 0] == pytest.approx(0.5, abs=0.02)
    for each in (held, accepted):
        each.live(LEVEL_HALF_LIFE_EPOCHS, 500.0, suspected=each is held)
    assert accepted.rates(1) == pytest.approx(truth(accepted, 1, 500.0), rel=0.05)


def test_what_happened_under_suspicion_is_not_learnt_once_it_is_over() -> None:
    """Half an hour of nothing, found and ended before the lag would have let it in."""
    story, still = Story(), Story()
    for each in (story, still):
        each.live(2 * DAY, 1000.0)
    story.live(6, 0.0, suspected=True)
    still.live(6, 1000.0)
    for each in (story, still):
        each.live(4 * LAG_EPOCHS, 1000.0)
    assert story.rates(1)[0, 0] / still.rates(1)[0, 0] == pytest.approx(1.0, abs=0.002)


def test_a_missing_epoch_teaches_nothing() -> None:
    story, still = Story(), Story()
    for each in (story, still):
        each.live(2 * DAY, 200.0)
    for _ in range(30):
        story.epoch(np.zeros(1), exposure=0.0)
    still.live(30, 200.0)
    for each in (story, still):
        each.live(20, 200.0)
    assert story.rates(1)[0, 0] / still.rates(1)[0, 0] == pytest.approx(1.0, abs=0.01)
    assert story.baseline.columns["epochs"][0] == still.baseline.columns["epochs"][0] - 30


def test_no_exposure_at_all_gives_no_rate_and_no_warning() -> None:
    story = Story()
    for _ in range(2 * DAY):
        story.epoch(np.zeros(1), exposure=0.0)
    assert np.isnan(story.baseline.rate(story.number)).all()
    assert np.isfinite(story.baseline.error().relative).all()


def test_a_silent_series_is_rare_not_impossible() -> None:
    story = Story()
    for _ in range(2 * DAY):
        story.epoch(np.zeros(1))
    assert 0.0 < story.rates(1)[0, 0] < 0.001


def test_a_small_series_borrows_the_time_of_day_from_all_together() -> None:
    small = Story(2, seed=3)
    small.live(2 * DAY, np.array([1000.0, 0.3]))
    profile = small.baseline.day.factors
    assert np.corrcoef(profile[:, 0], profile[:, 1])[0, 1] > 0.95


def test_a_large_series_keeps_its_own_time_of_day() -> None:
    story = Story(2)
    for _ in range(4 * DAY):
        story.epoch(np.array([1000.0 * daily(story.number), 500.0 * (2.0 - daily(story.number))]))
    assert np.corrcoef(story.baseline.day.factors[:, 0], story.baseline.day.factors[:, 1])[0, 1] < -0.95


def test_a_young_baseline_is_wide_and_narrows() -> None:
    story = Story(seed=4)
    found = []
    for days in (1, 1, 4):
        story.live(days * DAY, 2000.0)
        found.append(float(story.baseline.error().relative[0]))
    assert found[0] == pytest.approx(0.1)  # what was seen before it began, and the days it has not seen
    assert found == sorted(found, reverse=True)
    assert found[-1] < 0.03


@pytest.mark.parametrize(("days_before", "error"), [(3, 0.04), (20, 0.0)])
def test_a_weekend_and_the_day_after_are_known_worse_until_the_week_is_known(days_before: int, error: float) -> None:
    story = Story(2)
    story.live(days_before * DAY, 2000.0)
    for day in range(days_before, days_before + 7):
        # 1 January 1970 was a Thursday.
        expected = error if (3 + day) % 7 in {5, 6, 0} else 0.0
        assert story.baseline.weekend(day * DAY + 100).tolist() == pytest.approx([expected] * 2), day


def test_each_place_has_its_own_weekend_and_odds_of_the_moment_have_none() -> None:
    clock = SeriesClock({"far": Place(time_zone="Pacific/Auckland")})
    baseline = RateBaseline(EPOCH_MS, clock=clock)
    baseline.grow(np.zeros(2, dtype=np.int64), [None, "far"])
    # Friday afternoon is Saturday morning there.
    assert baseline.weekend(DAY + 200).tolist() == pytest.approx([0.0, 0.04])
    odds = RateBaseline(EPOCH_MS, random_exposure=True)
    odds.grow(np.zeros(1, dtype=np.int64))
    assert {float(odds.weekend(day * DAY)[0]) for day in range(7)} == {0.0}


def test_the_band_covers_a_level_that_wanders() -> None:
    story = Story(seed=5)
    wander = np.random.default_rng(5)
    state = 0.0
    for _ in range(6 * DAY // 12):
        state = 0.7 * state + wander.normal(0.0, 0.07)
        story.live(12, 3000.0 * float(np.exp(state)))
    assert 0.06 < story.baseline.error().relative[0] < 0.2


def test_scatter_beyond_chance_tempers() -> None:
    story = Story(seed=6)
    gamma = np.random.default_rng(6)
    for _ in range(4 * DAY):
        mean = 100.0 * daily(story.number) * gamma.gamma(50.0) / 50.0
        story.epoch(gamma.poisson(mean, 1).astype(np.float64))
    # Variance over mean of one epoch is 1 + 100 / 50.
    assert story.baseline.error().scatter[0] == pytest.approx(3.0, abs=0.8)


def test_a_small_series_cannot_be_known_better_than_its_events_allow() -> None:
    """However exact the large one has been whose record it borrows."""
    story = Story(2, seed=7)
    story.live(6 * DAY, np.array([50_000.0, 1.0]))
    relative = story.baseline.error().relative
    # As near as a record of a day and a half lets the prior of 0.08 go.
    assert relative[0] < 0.03
    assert relative[1] ** 2 >= 1.0 / (2.0 * story.baseline.columns["level_events"][1] + 1.0)
    assert relative[1] > 0.07


def test_a_new_series_disturbs_no_other_for_its_first_day() -> None:
    alone, joined = Story(2, seed=8), Story(2, seed=8)
    for each in (alone, joined):
        each.live(2 * DAY + 7, 100.0)
    joined.baseline.grow(np.zeros(3, dtype=np.int64))
    for _ in range(DAY - 12):
        assert np.isnan(joined.baseline.rate(joined.number)[2]) or joined.baseline.rate(joined.number)[2] > 0.0
        events = np.random.default_rng(alone.number).poisson(100.0, 2).astype(np.float64)
        alone.epoch(events)
        joined.epoch(np.append(events, 7.0))
        for found, usual in zip((joined.baseline.rate(joined.number), *_error(joined)), (alone.baseline.rate(alone.number), *_error(alone)), strict=True):
            assert found[:2].tobytes() == usual.tobytes()


def _error(story: Story) -> tuple[Singles, Singles]:
    error = story.baseline.error()
    return error.relative, error.scatter


def test_a_series_that_begins_at_noon_does_not_take_its_afternoon_for_a_day() -> None:
    story = Story()
    story.live(3 * DAY + DAY // 2, 1000.0)
    story.baseline.grow(np.zeros(2, dtype=np.int64))
    story.live(DAY + LAG_EPOCHS, np.array([1000.0, 500.0]))
    profile = story.baseline.day.factors
    assert np.abs(profile[:, 1] / profile[:, 0] - 1.0).max() < 0.1


def test_growing_to_fewer_series_changes_nothing() -> None:
    story = Story(3)
    story.baseline.grow(np.zeros(2, dtype=np.int64))
    assert story.baseline.n_series == 3


def test_an_epoch_is_not_changed_by_learning_it() -> None:
    five, width = np.array([5.0], dtype=np.float32), np.array([30.0], dtype=np.float32)
    epoch = Epoch(0, five, width, five, np.array([False]))
    copy = replace(epoch, observed=epoch.observed.copy(), exposure=epoch.exposure.copy(), expected=epoch.expected.copy())
    baseline = RateBaseline(EPOCH_MS)
    baseline.grow(np.zeros(1, dtype=np.int64))
    baseline.learn(epoch)
    assert [epoch.observed.tolist(), epoch.exposure.tolist(), epoch.expected.tolist()] == [
        copy.observed.tolist(),
        copy.exposure.tolist(),
        copy.expected.tolist(),
    ]


#: 5 January 1970 was a Monday: numbers of epochs from which the weeks below begin.
MONDAY = 4 * DAY


def weekly(number: int) -> float:
    """Two thirds on a weekend, by UTC."""
    return 2.0 / 3.0 if (number // DAY + 3) % 7 >= 5 else 1.0


def weeks(n: float, *, series: int = 1) -> Story:
    story = Story(series)
    story.number = MONDAY
    for _ in range(int(n * 7 * DAY)):
        story.epoch(np.full(series, 1000.0 * daily(story.number) * weekly(story.number)))
    return story


@pytest.fixture(scope="module")
def known_weeks() -> list[Story]:
    """At the beginning of the Saturday of the first, the second and the third week."""
    return [weeks(n + 5.0 / 7.0) for n in range(3)]


def test_a_week_counts_once_it_has_been_seen_twice(known_weeks: list[Story]) -> None:
    """In the third week a weekend's fall is expected; in the second it is not yet."""
    ratios = [float((story.rates(48) / truth(story, 48, 1000.0)).mean()) for story in known_weeks]
    assert ratios[0] > 0.93
    assert ratios[1] > 0.93
    assert ratios[2] == pytest.approx(2.0 / 3.0, abs=0.07)


def test_on_monday_the_weekend_is_over() -> None:
    story = weeks(3.0)
    assert story.rates(48) == pytest.approx(truth(story, 48, 1000.0), rel=0.1)


def test_a_small_series_borrows_the_week_from_all_together() -> None:
    story = Story(2)
    story.number = MONDAY
    for _ in range(int(2.75 * 7 * DAY)):
        story.epoch(np.array([1000.0, 0.2]) * daily(story.number) * weekly(story.number))
    assert story.baseline.week.own[1] < 0.5
    at = story.baseline.clock.at(story.number * EPOCH_MS)
    factors = story.baseline.week.factor(at)
    assert factors[1] == pytest.approx(factors[0], abs=0.1)
    assert factors[1] < 0.8


#: In Berlin clocks are set forward on 29 March 2026 at 1 o'clock UTC.
JUMP_MS = 1_774_746_000_000


def berlin(number: int) -> float:
    """Demand by the clock on the wall in Berlin, around the jump."""
    local = number + (24 if number * EPOCH_MS >= JUMP_MS else 12)
    return 1.0 + 0.9 * float(np.sin(2.0 * np.pi * (local + 0.5) / DAY))


def lived_over_the_jump(clock: SeriesClock | None) -> Floats:
    """Rates of the day after the jump over what they should be, after five days of learning before it, of a place and of all."""
    story = Story()
    story.baseline = RateBaseline(EPOCH_MS, clock=clock)
    story.baseline.grow(np.zeros(2, dtype=np.int64), [None, "eu"])
    story.number = JUMP_MS // EPOCH_MS - 5 * DAY
    while story.number * EPOCH_MS < JUMP_MS:
        story.epoch(np.full(2, 1000.0 * berlin(story.number)))
    return np.array([story.baseline.rate(story.number + k)[1] * WIDTH / (1000.0 * berlin(story.number + k)) for k in range(96)])


def test_a_place_whose_clock_jumps_keeps_its_day_by_the_clock_on_the_wall() -> None:
    by_the_wall = lived_over_the_jump(SeriesClock({"eu": Place(time_zone="Europe/Berlin")}))
    by_the_sun = lived_over_the_jump(None)
    assert np.abs(by_the_wall - 1.0).max() < 0.02
    assert np.abs(by_the_sun - 1.0).max() > 0.1


def test_a_holiday_is_a_sunday_to_the_week() -> None:
    clock = SeriesClock({"eu": Place(time_zone="Europe/Berlin", holidays="DE")})
    clock.grow([None, "eu"])
    # 3 October 2025, a Friday, at noon UTC.
    at = clock.at(1_759_492_800_000)
    assert np.broadcast_to(at.weekday, 2).tolist() == [4, 6]


def test_a_level_let_go_after_a_long_freeze_comes_back_at_once_when_its_counts_do() -> None:
    """A day's outage, longer than a freeze: the new normal is learnt, and the old one is not forgotten."""
    story, still = Story(), Story()
    for each in (story, still):
        each.live(2 * DAY, 1000.0)
    story.live(FREEZE_EPOCHS + LEVEL_HALF_LIFE_EPOCHS, 200.0, suspected=True)
    still.live(FREEZE_EPOCHS + LEVEL_HALF_LIFE_EPOCHS, 1000.0)
    assert story.rates(1)[0, 0] / still.rates(1)[0, 0] < 0.75
    for each in (story, still):
        # Its first hours back are suspected: they are not what it has learnt of late.
        each.live(LAG_EPOCHS + 2, 1000.0, suspected=each is story)
    assert story.rates(12) == pytest.approx(still.rates(12), rel=0.03)


def test_a_level_that_stays_away_is_forgotten_in_the_end() -> None:
    story, still = Story(), Story()
    story.live(2 * DAY, 1000.0)
    still.live(2 * DAY, 200.0)
    story.live(FREEZE_EPOCHS + LAG_EPOCHS + 2, 200.0, suspected=True)
    still.live(FREEZE_EPOCHS + LAG_EPOCHS + 2, 200.0)
    assert story.baseline.columns["parted"][0] > 0.0
    for each in (story, still):
        each.live(7 * DAY + 2, 200.0)
    assert story.baseline.columns["parted"][0] == 0.0
    # The hours of the freeze still stand in the day's profile, at the level that was then expected.
    assert story.rates(1) == pytest.approx(still.rates(1), rel=0.15)


def test_a_wild_hour_moves_the_day_no_further_than_a_bad_one() -> None:
    """It is clipped: half as much again, in one day of five. What would not be learnt at all could never be learnt, where a day swings more."""
    story, still = Story(), Story()
    for each in (story, still):
        each.live(3 * DAY, 100.0)
    for _ in range(12):
        for each in (story, still):
            each.epoch(np.array([1e6 if each is story else 100.0 * daily(each.number)]))
    for each in (story, still):
        each.live(DAY + LAG_EPOCHS, 100.0)
    apart = story.baseline.day.factors / still.baseline.day.factors
    assert np.abs(apart / np.median(apart) - 1.0).max() < 0.3


def test_one_empty_day_moves_the_day_and_the_week_hardly() -> None:
    """Of true zeros under suspicion, as orders that stop: they are found within minutes."""
    story, still = Story(), Story()
    for each in (story, still):
        each.live(4 * DAY, 1000.0)
    for number in range(DAY):
        story.epoch(np.zeros(1), suspected=number > 0)
    still.live(DAY, 1000.0)
    for each in (story, still):
        each.live(72, 1000.0)
    assert story.rates(DAY) == pytest.approx(still.rates(DAY), rel=0.15)


EVENTS = st.lists(st.tuples(st.sampled_from([0.0, 3.0, 90.0, 100.0, 110.0, 1e6]), st.sampled_from([0.0, WIDTH]), st.booleans()), min_size=1, max_size=40)


@given(events=EVENTS, at=st.integers(0, 39), random_exposure=st.booleans())
@runs(max_examples=15)
def test_a_copy_made_anywhere_goes_on_as_if_it_were_the_first_and_only_the_past_counts(
    events: list[tuple[float, float, bool]], at: int, random_exposure: bool
) -> None:
    """Rates and errors of each epoch, told before it is learnt."""

    def told(story: Story, some: list[tuple[float, float, bool]]) -> list[bytes]:
        found = []
        for count, exposure, suspected in some:
            found.append(b"".join(each.tobytes() for each in (story.baseline.rate(story.number), *_error(story))))
            story.epoch(np.array([count, 5.0]) if exposure else np.zeros(2), exposure=exposure, suspected=suspected)
        return found

    story = Story(2)
    story.baseline = RateBaseline(EPOCH_MS, Memory(lag_ms=4 * EPOCH_MS, freeze_ms=8 * EPOCH_MS), random_exposure=random_exposure)
    story.baseline.grow(np.zeros(2, dtype=np.int64))
    # Just before the day is over, so that profiles are made anew on the way.
    for number in range(DAY - 20):
        story.epoch(np.array([100.0, 5.0]), suspected=number % 50 == 0)
    whole = told(copy.deepcopy(story), events)
    first = told(story, events[:at])
    assert [*first, *told(copy.deepcopy(story), events[at:])] == whole
