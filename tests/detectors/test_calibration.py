"""What a series promises, what its past says of that, and what it can show: against the budget, the stage itself and simulated changes."""

from __future__ import annotations

import math

import numpy as np
import pytest

from rollguard.config import Settings
from rollguard.detectors import Calibration, Detect, Direction, Signal, limits
from rollguard.detectors.budget import log_thresholds
from rollguard.detectors.calibration import MONTH_MS, WITHIN_MS
from tests.detectors.town import DAY, KEYS, MINUTES, PROMISED, START, Town, curve, quiet, settings_of, signals_of

#: Orders and errors alone, two days of warm-up.
COUNTS = settings_of("bucket: 60s\nmetrics: {actual_minutes: null, promised_minutes: null}\n")
MINUTE_MS = 60_000
#: The same in buckets of a quarter of an hour: after more than eight days the slow watch may speak.
WEEK = settings_of("bucket: 15m\nmetrics: {actual_minutes: null, promised_minutes: null}\n")
SHARES = settings_of("bucket: 60s\nmetrics: {actual_minutes: null, errors: null}\n")
#: Three and a half days are behind every story below, and it is noon.
NOON = START + 3 * DAY + DAY // 2

Found = dict[tuple[str, str], Calibration]


def by_name(detect: Detect) -> Found:
    return {(str(each.series), each.watch): each for each in detect.calibration()}


def after(settings: Settings, town: Town) -> Detect:
    detect = Detect(settings)
    detect.feed(town.closed(settings))
    return detect


def unsteady(seed: int, start: int, n: int) -> Town:
    """A town where one place loses four in ten of its orders for a few minutes, some times a day, and all else is chance."""
    town, rng = quiet(seed, start, n), np.random.default_rng(seed)
    low = np.zeros(n, dtype=bool)
    for at in rng.integers(0, n - 6, 24):
        low[at : at + 6] = True
    town.orders[low, 1] = rng.poisson(18.0 * curve(start, n)[low, 0])
    return town


@pytest.fixture(scope="module")
def week() -> Detect:
    """A stage whose slow watch speaks as well."""
    rng = np.random.default_rng(1)
    n = 8 * 96 + 12
    orders, none = rng.poisson(450.0, (n, len(KEYS))), np.zeros((n, len(KEYS), len(MINUTES)), dtype=np.int64)
    return after(WEEK, Town(START, KEYS, orders, rng.poisson(90.0, orders.shape), none, none[:, :, 0]))


@pytest.fixture(scope="module")
def warm() -> bytes:
    """A stage after three and a half days in which one place was unsteady."""
    return after(COUNTS, unsteady(2, START, NOON - START)).snapshot()


@pytest.fixture(scope="module")
def warm_shares() -> bytes:
    return after(SHARES, quiet(3, START, NOON - START)).snapshot()


def shown(each: Calibration, direction: Direction) -> dict[int, float | None]:
    return {one.within_ms // MINUTE_MS: one.change for one in each.shown if one.direction == direction}


def test_what_all_series_promise_is_the_budget(week: Detect) -> None:
    promised = {watch: sum(each.promised for each in week.calibration() if each.watch == watch) for watch in ("fast", "slow")}
    share = WEEK.baseline.slow_share
    assert all(each.ready for each in week.calibration())
    assert promised == {"fast": pytest.approx(1.0 - share), "slow": pytest.approx(share)}
    assert WEEK.budget.per_ms == MONTH_MS


def test_every_series_of_every_watch_has_one_record(week: Detect) -> None:
    records = week.calibration()
    assert len({(each.series, each.watch) for each in records}) == len(records) == 2 * 2 * 9
    assert {each.kind for each in records} == {"count", "ratio"}


def test_before_it_is_ready_a_series_promises_and_shows_nothing() -> None:
    early = after(COUNTS, quiet(1, START, DAY)).calibration()
    assert early
    for each in early:
        assert not each.ready
        assert (each.threshold, each.promised, each.measured, each.shown) == (None, 0.0, 0.0, ())


def test_a_stage_that_has_seen_nothing_has_no_record() -> None:
    assert Detect(COUNTS).calibration() == ()


def test_looking_changes_nothing_and_survives_a_restart(warm: bytes) -> None:
    detect = Detect.restore(COUNTS, warm)
    before = detect.snapshot()
    first = detect.calibration()
    assert detect.snapshot() == before
    assert Detect.restore(COUNTS, before).calibration() == first == detect.calibration()


def test_usual_volumes_are_those_of_a_whole_day(week: Detect) -> None:
    found = by_name(week)
    assert found["orders", "fast"].per_minute == pytest.approx(120.0, rel=0.03)
    assert found["orders{region=eu}", "slow"].per_minute == pytest.approx(60.0, rel=0.03)
    assert found["errors{service=cart,region=eu}", "fast"].per_minute == pytest.approx(6.0, rel=0.05)


def test_usual_volumes_of_distributions_are_known_too(warm_shares: bytes) -> None:
    found = by_name(Detect.restore(SHARES, warm_shares))
    assert found["promised_minutes", "fast"].per_minute == pytest.approx(120.0, rel=0.1)
    assert found["promised_minutes{region=us}", "fast"].per_minute == pytest.approx(60.0, rel=0.1)


def test_a_series_that_is_unsteady_is_trusted_less_and_measures_more_than_it_promises(warm: bytes) -> None:
    found = by_name(Detect.restore(COUNTS, warm))
    unsteady, calm = found["orders{service=cart,region=us}", "fast"], found["orders{service=checkout,region=us}", "fast"]
    assert unsteady.honesty < 0.65
    # Half of what is watched is unsteady with it, and what is believed of one is believed of all until it has shown itself.
    assert calm.honesty > 1.1 * unsteady.honesty
    # Two dozen spells in three and a half days, cut off where one was an alarm.
    assert 3.0 < unsteady.measured < 30.0 / 3.5 * 24.0
    assert calm.measured < 0.5 * unsteady.measured
    assert unsteady.promised == calm.promised
    for within, size in shown(calm, "lower").items():
        worse = shown(unsteady, "lower")[within]
        assert size is not None
        assert worse is None or worse > 1.1 * size


def test_a_right_model_measures_no_more_than_it_promises(week: Detect) -> None:
    ratios = [math.log(each.measured / each.promised) for each in week.calibration() if each.watch == "fast" and each.honesty > 0.99]
    assert len(ratios) >= 9
    # Peaks of one epoch are one, so a right model is seen to do a little better than promised.
    assert math.log(0.05) < float(np.median(ratios)) < 0.0
    assert max(ratios) < math.log(5.0)


def test_thresholds_are_those_of_the_stage(warm: bytes) -> None:
    detect = Detect.restore(COUNTS, warm)
    before = by_name(detect)
    town = quiet(5, NOON, 5)
    town.orders[:, :] //= 20
    signals = signals_of(detect.feed(town.closed(COUNTS)))
    assert len(signals) >= 5
    for signal in signals:
        assert signal.threshold == before[str(signal.series), "fast"].threshold


def test_the_threshold_holds_what_the_budget_demands(week: Detect) -> None:
    for m in week.metrics:
        nominal = log_thresholds(week.fast, len(week.metrics), m.fast.watch.tree)
        for each, nats in zip([each for each in week.calibration() if each.series.metric == m.name and each.watch == "fast"], nominal.tolist(), strict=True):
            assert each.promised == pytest.approx(MONTH_MS / WEEK.bucket_ms * math.exp(-nats))
            assert each.threshold is not None
            # Overshoot lowers it, a past that comes too often raises it.
            assert nats - 3.5 < each.threshold < nats + 3.0


def test_more_time_shows_smaller_changes_and_so_do_more_events(week: Detect) -> None:
    found = by_name(week)
    for metric, direction in (("orders", "lower"), ("errors", "higher")):
        names = [metric, f"{metric}{{region=eu}}", f"{metric}{{service=cart,region=eu}}"]
        sizes = [shown(found[name, "fast"], "lower" if direction == "lower" else "higher") for name in names]
        for each in sizes:
            assert list(each) == [span // MINUTE_MS for span in WITHIN_MS["fast"]]
            in_order = [math.inf if size is None else size for size in each.values()]
            assert in_order == sorted(in_order, reverse=True)
        for within in sizes[0]:
            over = [math.inf if (size := each[within]) is None else size for each in sizes]
            assert over == sorted(over)


def test_the_slow_watch_shows_in_a_day_what_the_fast_one_cannot_in_an_hour(week: Detect) -> None:
    found = by_name(week)
    name = "orders{service=cart,region=eu}"
    slow, fast = shown(found[name, "slow"], "lower")[1440], shown(found[name, "fast"], "lower")[60]
    assert slow is not None
    assert fast is not None
    assert slow < fast


def test_nothing_is_shown_sooner_than_a_known_size_and_rate_allow(week: Detect) -> None:
    for each in week.calibration():
        if each.kind != "count":
            continue
        for one in each.shown:
            best = limits.smallest_change(
                "count",
                rate=each.per_minute * each.bucket_ms / MINUTE_MS,
                threshold=math.log(MONTH_MS / each.bucket_ms / each.promised),
                within=one.within_ms / each.bucket_ms,
                direction=one.direction,
                scatter=each.scatter,
                band=2.0 * each.error,
            )
            if one.change is None:
                continue
            assert best is not None
            assert one.change > 0.95 * best


def test_what_is_not_looked_for_is_not_told() -> None:
    coarse = settings_of("bucket: 60s\nmetrics: {orders: {smallest: 0.5}, errors: null, actual_minutes: null, promised_minutes: null}\n")
    (change,) = [
        each.shown[-1].change for each in after(coarse, quiet(1, START, 3 * DAY)).calibration() if str(each.series) == "orders" and each.watch == "fast"
    ]
    assert change == pytest.approx(1.0 / 3.0)


def delays(settings: Settings, warm: bytes, town_of: dict[int, Town], name: str) -> float:
    """Mean number of buckets until a series is told of; towns begin where the change does."""
    found = []
    for town in town_of.values():
        records = Detect.restore(settings, warm).feed(town.closed(settings))
        left = [each.bucket for each in records if isinstance(each, Signal) and each.kind == "left" and str(each.series) == name]
        found.append(left[0] - town.start + 1 if left else len(town))
    return float(np.mean(found))


@pytest.mark.parametrize(("name", "within"), [("orders", 5), ("orders{region=eu}", 15), ("errors", 15)])
def test_a_change_of_that_size_is_seen_in_about_that_time(warm: bytes, name: str, within: int) -> None:
    each = by_name(Detect.restore(COUNTS, warm))[name, "fast"]
    direction: Direction = "lower" if each.series.metric == "orders" else "higher"
    size = shown(each, direction)[within]
    assert size is not None
    # At midnight or noon of the town's day the rate is a usual one; the change comes at noon.
    times = 1.0 - size if direction == "lower" else 1.0 + size
    towns = {}
    for seed in range(16):
        town = quiet(50 + seed, NOON, 4 * within)
        rng = np.random.default_rng(seed)
        columns = [0, 2] if "eu" in name else [0, 1, 2, 3]
        counts, mean = (town.orders, 30.0) if direction == "lower" else (town.errors, 6.0)
        counts[:, columns] = rng.poisson(mean * times * np.ones((len(town), len(columns))))
        towns[seed] = town
    assert 0.6 * within <= delays(COUNTS, warm, towns, name) <= 1.5 * within


def test_what_siblings_show_is_counted() -> None:
    """An hour's weather is the same for all places, and makes each one's own baseline err; the change is in one of them."""

    def swaying(seed: int, start: int, n: int, orders: tuple[float, ...] = (30.0, 30.0, 30.0, 30.0)) -> Town:
        town = quiet(seed, start, n)
        weather = np.repeat(np.random.default_rng(9).normal(0.0, 0.15, 24 * 4), 60)[start - START :][:n]
        town.orders = np.random.default_rng(seed).poisson(np.array(orders) * curve(start, n) * np.exp(weather)[:, None])
        return town

    settings, within = settings_of("bucket: 60s\nmetrics: {actual_minutes: null, promised_minutes: null, errors: null}\n"), 15
    detect = after(settings, swaying(2, START, NOON - START))
    name = "orders{service=cart,region=eu}"
    each = by_name(detect)[name, "fast"]
    size = shown(each, "lower")[within]
    assert each.error > 0.1
    assert size is not None
    # Its own past alone would show nothing within twice its error.
    assert size < 2.0 * each.error + 0.15
    towns = {seed: swaying(100 + seed, NOON, 4 * within, (30.0 * (1.0 - size), 30.0, 30.0, 30.0)) for seed in range(12)}
    assert 0.6 * within <= delays(settings, detect.snapshot(), towns, name) <= 1.5 * within


@pytest.mark.parametrize("direction", ["higher", "lower"])
def test_so_is_a_distribution_that_is_moved(warm_shares: bytes, direction: Direction) -> None:
    name, within = "promised_minutes{service=cart,region=eu}", 5
    size = shown(by_name(Detect.restore(SHARES, warm_shares))[name, "fast"], direction)[within]
    assert size is not None
    times = 1.0 + size if direction == "higher" else 1.0 - size
    moved = np.exp(-0.5 * ((np.log(MINUTES) - np.log(35.0 * times)) / 0.3) ** 2)
    towns = {}
    for seed in range(12):
        town = quiet(80 + seed, NOON, 4 * within)
        town.promised = np.random.default_rng(seed).multinomial(town.orders, PROMISED)
        town.promised[:, 0] = np.random.default_rng(seed).multinomial(town.orders[:, 0], moved / moved.sum())
        towns[seed] = town
    assert 0.6 * within <= delays(SHARES, warm_shares, towns, name) <= 1.5 * within


def test_of_a_river_model_its_refusals_are_told_and_nothing_is_promised_of_sizes() -> None:
    text = "bucket: 60s\nwarmup: 4h\nlabels: {watched: [region]}\n"
    text += "metrics: {errors: null, actual_minutes: null, promised_minutes: null, orders: {model: {name: river.anomaly.GaussianScorer}}}\n"
    detect = after(settings_of(text), quiet(1, START, DAY // 3))
    records = detect.calibration()
    assert {each.model for each in records} == {"river.anomaly.GaussianScorer"}
    assert {each.watch for each in records} == {"fast"}
    assert any(each.ready for each in records)
    for each in records:
        assert (each.shown, each.honesty, each.refused, each.renewed) == ((), 1.0, 0, 0)
    bank = detect.metrics[0].fast.watch
    bank.model.refused[0], bank.model.renewed[1] = 3, 2  # type: ignore[attr-defined]
    assert [(each.refused, each.renewed) for each in detect.calibration()][:2] == [(3, 0), (0, 2)]
