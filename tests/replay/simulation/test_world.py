"""Customers come as they do in shops: by the hour, by the day, with noise that has a memory; and versions are mixed while they roll out."""

from __future__ import annotations

import numpy as np
import pytest

from rollguard.replay.simulation.plan import Plan, Surge
from rollguard.replay.simulation.shop import DAY_MS, HOUR_MS, MINUTE_MS, OFFSET_H, REGIONS, SHARE, Change
from rollguard.replay.simulation.world import Dice, make_events, usual_rates

#: Monday, 5 January 2026.
MONDAY_MS = 1_767_571_200_000
WEEKS = 8
DICE = Dice("test", 1)


@pytest.fixture(scope="module")
def rates() -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    return usual_rates(DICE, (), MONDAY_MS, MONDAY_MS + WEEKS * 7 * DAY_MS, 2.0)


Rates = np.ndarray[tuple[int, ...], np.dtype[np.float64]]


def test_the_rate_is_what_was_asked_for_on_an_average_day(rates: Rates) -> None:
    assert rates.sum(axis=0).mean() == pytest.approx(120.0, rel=0.03)
    assert rates.mean(axis=1) / rates.mean() / 4 == pytest.approx(SHARE, rel=0.06)


@pytest.mark.parametrize("region", range(len(REGIONS)))
def test_the_evening_is_busy_and_the_night_is_not_by_local_time(rates: Rates, region: int) -> None:
    by_hour = rates[region].reshape(-1, 24, 60).mean(axis=(0, 2))
    local = (np.arange(24) + OFFSET_H[region]) % 24
    assert 15 <= local[by_hour.argmax()] <= 21
    assert local[by_hour.argmin()] <= 7
    assert by_hour.max() > 2 * by_hour.min()


def test_saturdays_are_busier_than_tuesdays(rates: Rates) -> None:
    by_day = rates.sum(axis=0).reshape(WEEKS, 7, -1).mean(axis=(0, 2))
    assert by_day[5] > 1.05 * by_day[1]


def test_noise_has_a_memory_and_midnight_is_no_step(rates: Rates) -> None:
    steps = np.diff(np.log(rates[0]))
    assert np.abs(steps).max() < 0.05
    smooth = np.convolve(np.log(rates[0]), np.full(241, 1 / 241), mode="valid")
    noise = np.log(rates[0])[120:-120] - smooth
    lagged = {lag: float(np.corrcoef(noise[:-lag], noise[lag:])[0, 1]) for lag in (5, 120)}
    assert lagged[5] > 0.5
    assert lagged[5] > lagged[120] + 0.3


def test_a_surge_comes_and_goes_where_it_is_and_nowhere_else() -> None:
    end_ms = MONDAY_MS + DAY_MS
    surge = Surge(regions=(2,), since_ms=MONDAY_MS + 6 * HOUR_MS, until_ms=MONDAY_MS + 9 * HOUR_MS, factor=2.0, grows_ms=30 * MINUTE_MS)
    with_it, without = (usual_rates(DICE, surges, MONDAY_MS, end_ms, 2.0) for surges in ((surge,), ()))
    factor = with_it / without
    assert (factor[[0, 1, 3]] == 1.0).all()
    assert (factor[2, : 6 * 60] == 1.0).all()
    assert factor[2, 7 * 60] == pytest.approx(2.0)
    assert (factor[2, 9 * 60 :] == 1.0).all()


def test_versions_are_mixed_while_a_change_rolls_through_a_place() -> None:
    began_ms, done_ms = MONDAY_MS + 10 * HOUR_MS, MONDAY_MS + 12 * HOUR_MS
    change = Change("chg-1", "checkout", "code", "4.1.0", "4.2.0", (("eu-west", began_ms, done_ms),), ("dev1",), 2, "no", True)
    made = make_events(DICE, Plan(changes=(change,)), MONDAY_MS, MONDAY_MS + DAY_MS, 2.0)
    new = made.order_versions.codes == made.order_versions.texts.index("4.2.0")
    here, ts_ms = made.orders.region == 0, made.orders.ts_ms
    assert not new[~here].any()
    assert not new[ts_ms < began_ms].any()
    assert new[here & (ts_ms >= done_ms)].all()
    for quarter in range(4):
        low_ms = began_ms + quarter * 30 * MINUTE_MS
        assert new[here & (ts_ms >= low_ms) & (ts_ms < low_ms + 30 * MINUTE_MS)].mean() == pytest.approx((quarter + 0.5) / 4, abs=0.06)
    assert (made.delivery_versions.codes != made.delivery_versions.texts.index("4.2.0")).all()


def test_streams_of_chance_have_nothing_in_common() -> None:
    names = [("a", 1, "x"), ("a", 1, "y"), ("a", 2, "x"), ("b", 1, "x")]
    drawn = {Dice(kind, seed)(name).random() for kind, seed, name in names}
    assert len(drawn) == len(names)
    assert Dice("a", 1)("x").random() in drawn
