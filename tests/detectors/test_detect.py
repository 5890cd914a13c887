from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as runs
from hypothesis import strategies as st

from rollguard.config import Settings
from rollguard.detectors import Detect, Signal, Tick
from rollguard.streams import Key, SnapshotError
from tests.detectors.town import DAY, KEYS, PROMISED, QUICK, START, Town, plain, quiet, settings_of, signals_of

SETTINGS = settings_of()
#: Each run feeds two hours twice.
FEW = runs(max_examples=10)
#: Where the stories below begin: three quiet days are behind them, and it is noon.
NOON = START + 3 * DAY + DAY // 2


class Warm:
    """A snapshot that says little of itself where a test fails."""

    def __init__(self, snapshot: bytes) -> None:
        self.snapshot = snapshot

    def __repr__(self) -> str:
        return f"Warm({len(self.snapshot)} bytes)"

    def stage(self) -> Detect:
        return Detect.restore(SETTINGS, self.snapshot)


@pytest.fixture(scope="module")
def warm() -> Warm:
    """A stage that has seen three and a half quiet days, and signalled nothing in them."""
    detect = Detect(SETTINGS)
    town = quiet(1, START, NOON - START)
    assert signals_of(detect.feed(town.closed(SETTINGS))) == []
    return Warm(detect.snapshot())


def told(warm: Warm, town: Town) -> list[Signal | Tick]:
    return warm.stage().feed(town.closed(SETTINGS))


def fed(detect: Detect, town: Town, cuts: list[int]) -> list[Signal | Tick]:
    edges = [0, *sorted(set(cuts)), len(town)]
    return [record for low, high in pairwise(edges) if low < high for record in detect.feed(town.closed(detect.settings, low, high))]


def eventful() -> Town:
    """Two hours with everything in them: three keys that begin, missing buckets, an outlier, a fall that ends, absurd promises."""
    keys: tuple[Key, ...] = (*KEYS, ("cart", "ap", "1"), ("cart", "eu", "2"), ("search", "jp", "1"))
    town = quiet(2, NOON, 120, keys=keys)
    # The first speaks by its errors before it does by its orders; the second is a new version of a series known before; the third
    # begins in the middle of an epoch in which shares are looked at anew.
    for at, (orders, errors) in {4: (47, 32), 5: (32, 61), 6: (32, 33)}.items():
        town.orders[:orders, at] = 0
        town.promised[:orders, at] = 0
        town.errors[:errors, at] = 0
    town.missing = {("orders", 63), ("orders", 64), ("errors", 64), ("deliveries", 68)}
    town.orders[66, 1] = 10**6
    town.orders[70:90, 2] //= 4
    town.absurd[75:, 0] = 8
    return town


EVENTFUL = eventful()


def test_the_eventful_hours_hold_what_they_should(warm: Warm) -> None:
    records = told(warm, EVENTFUL)
    assert {str(each.series) for each in signals_of(records)} >= {"orders{service=checkout,region=eu}", "promised_minutes{service=cart,region=eu}"}
    assert signals_of(records, "returned")
    first, last = (record for record in (records[0], records[-1]) if isinstance(record, Tick))
    assert len(last.accounts[1].series) > len(first.accounts[1].series)


def test_both_watches_of_a_metric_number_their_series_alike(warm: Warm) -> None:
    """Whatever the numbers of the keys: a row of the one is named by the other."""
    stage = warm.stage()
    stage.feed(EVENTFUL.closed(SETTINGS))
    slow = [(m.fast.watch.tree.names, m.slow.watched.watch.tree.names) for m in stage.metrics if m.slow is not None]
    assert len(slow) == 3
    assert all(fast == hourly for fast, hourly in slow)


@FEW
@given(cuts=st.lists(st.integers(1, 119), max_size=8))
def test_batching_changes_nothing_after_the_warm_up(warm: Warm, cuts: list[int]) -> None:
    assert plain(fed(warm.stage(), EVENTFUL, cuts)) == plain(told(warm, EVENTFUL))


def test_one_bucket_at_a_time_is_the_same_as_all_at_once(warm: Warm) -> None:
    assert plain(fed(warm.stage(), EVENTFUL, list(range(1, 120)))) == plain(told(warm, EVENTFUL))


def test_batching_leaves_the_same_state_behind(warm: Warm) -> None:
    after = quiet(3, NOON + 120, 500, keys=EVENTFUL.keys)
    at_once, cut = warm.stage(), warm.stage()
    at_once.feed(EVENTFUL.closed(SETTINGS))
    fed(cut, EVENTFUL, list(range(1, 120, 7)))
    assert plain(at_once.feed(after.closed(SETTINGS))) == plain(fed(cut, after, [200, 203, 411]))


@FEW
@given(data=st.data())
def test_batching_changes_nothing_on_the_first_day(data: st.DataObject) -> None:
    n = 24
    keys: tuple[Key, ...] = tuple(("s", region, version) for region in "ab" for version in "12")
    cells = st.lists(st.lists(st.integers(0, 2), min_size=4, max_size=4), min_size=n, max_size=n)
    orders, errors = (np.array(data.draw(cells), dtype=np.int64) for _ in range(2))
    promised = np.repeat(orders[:, :, None], len(PROMISED), axis=2)
    missing = data.draw(st.sets(st.tuples(st.sampled_from(["orders", "errors", "deliveries"]), st.integers(0, n - 1)), max_size=4))
    town = Town(START + 2, keys, orders, errors, promised, np.zeros_like(orders), missing)
    cuts = data.draw(st.lists(st.integers(1, n - 1)))
    assert plain(fed(Detect(SETTINGS), town, cuts)) == plain(Detect(SETTINGS).feed(town.closed(SETTINGS)))


@FEW
@given(at=st.integers(1, 119))
def test_a_stage_restored_at_any_bucket_goes_on_as_if_never_stopped(warm: Warm, at: int) -> None:
    detect = warm.stage()
    before = detect.feed(EVENTFUL.closed(SETTINGS, 0, at))
    later = Detect.restore(SETTINGS, detect.snapshot())
    after = later.feed(EVENTFUL.closed(SETTINGS, at))
    assert plain([*before, *after]) == plain(told(warm, EVENTFUL))


def test_a_restored_stage_gives_the_same_snapshot(warm: Warm) -> None:
    assert warm.stage().snapshot() == warm.snapshot


def test_a_snapshot_under_other_settings_is_refused(warm: Warm) -> None:
    with pytest.raises(SnapshotError):
        Detect.restore(settings_of(QUICK + "warmup: 3d\n"), warm.snapshot)


@FEW
@given(until=st.integers(1, 119))
def test_a_prefix_of_the_buckets_gives_a_prefix_of_the_answer(warm: Warm, until: int) -> None:
    part = warm.stage().feed(EVENTFUL.closed(SETTINGS, 0, until))
    assert plain(told(warm, EVENTFUL))[: len(part)] == plain(part)


def test_every_bucket_ends_with_its_tick_and_signals_come_before_it(warm: Warm) -> None:
    records = told(warm, EVENTFUL)
    assert [record.bucket for record in records] == sorted(record.bucket for record in records)
    assert [record.bucket for record in records if isinstance(record, Tick)] == list(range(NOON, NOON + 120))
    assert all(isinstance(after, Tick) or after.bucket == before.bucket for before, after in pairwise(records) if isinstance(before, Signal))


def test_the_order_of_metrics_in_the_config_changes_nothing() -> None:
    turned = SETTINGS.model_copy(update={"metrics": dict(reversed(SETTINGS.metrics.items()))})
    town = quiet(4, START, 400)
    assert list(turned.metrics) != list(SETTINGS.metrics)
    assert plain(Detect(turned).feed(town.closed(turned))) == plain(Detect(SETTINGS).feed(town.closed(SETTINGS)))


@pytest.mark.parametrize(("seed", "orders"), [(5, 2.0), (6, 30.0), (7, 300.0)])
def test_quiet_days_give_no_signal(seed: int, orders: float) -> None:
    town = quiet(seed, START, 3 * DAY, orders=orders, errors=orders / 5.0)
    assert [str(each.series) for each in signals_of(Detect(SETTINGS).feed(town.closed(SETTINGS)))] == []


def test_orders_that_halve_in_one_place_are_found_there_and_nowhere_else(warm: Warm) -> None:
    town = quiet(8, NOON, 60)
    # Each order halves the promise with it; errors stay, so that errors per order double in that region.
    rng = np.random.default_rng(8)
    for at in (1, 3):
        town.orders[10:, at] = rng.binomial(town.orders[10:, at], 0.5)
        town.promised[10:, at] = rng.multinomial(town.orders[10:, at], PROMISED)
    left = signals_of(told(warm, town))
    assert {str(each.series) for each in left} >= {"orders{region=us}", "orders{service=cart,region=us}", "orders{service=checkout,region=us}"}
    assert {each.series.label("region") for each in left} <= {"us", None}
    assert {each.series.metric for each in left} == {"orders"}
    assert {each.direction for each in left} == {"lower"}
    first = min(left, key=lambda each: each.bucket)
    assert first.bucket - NOON - 10 <= 4
    assert abs(first.onset - NOON - 10) <= 2


def test_three_times_the_errors_over_the_same_traffic_are_found(warm: Warm) -> None:
    town = quiet(9, NOON, 30)
    town.errors[10:] += np.random.default_rng(9).poisson(12.0, (20, 4))
    left = signals_of(told(warm, town))
    assert {each.series.metric for each in left} == {"errors"}
    assert min(each.bucket for each in left) - NOON - 10 <= 2
    assert len({each.series for each in left}) == 9


def test_a_sale_moves_nothing(warm: Warm) -> None:
    town = quiet(10, NOON, 180)
    busy = quiet(11, NOON, 180, orders=90.0, errors=18.0)
    for mine, theirs in ((town.orders, busy.orders), (town.errors, busy.errors), (town.promised, busy.promised)):
        mine[30:] = theirs[30:]
    assert signals_of(told(warm, town)) == []


def test_when_orders_stop_their_errors_do_not_signal(warm: Warm) -> None:
    town = quiet(12, NOON, 60)
    town.orders[10:] = 0
    town.promised[10:] = 0
    left = signals_of(told(warm, town))
    assert {each.series.metric for each in left} == {"orders"}
    assert min(each.bucket for each in left) - NOON - 10 <= 1


def test_absurd_promises_are_found_within_two_buckets(warm: Warm) -> None:
    town = quiet(13, NOON, 20)
    town.absurd[10:, 0] = town.promised[10:, 0, 5]
    town.promised[10:, 0, 5] = 0
    left = signals_of(told(warm, town))
    assert {each.series.metric for each in left} == {"promised_minutes"}
    found = next(each for each in left if str(each.series) == "promised_minutes{service=cart,region=eu}")
    assert found.bucket - NOON - 10 <= 1


def test_the_onset_of_absurd_promises_is_their_first_bucket(warm: Warm) -> None:
    town = quiet(13, NOON, 20)
    town.absurd[10:, 0] = town.promised[10:, 0, 5]
    town.promised[10:, 0, 5] = 0
    found = next(each for each in signals_of(told(warm, town)) if str(each.series) == "promised_minutes{service=cart,region=eu}")
    assert abs(found.onset - NOON - 10) <= 2


def test_a_mix_of_places_that_shifts_is_no_change_of_their_promises() -> None:
    """Regions with different delivery times and opposite days: pooled over them, the distribution swings every day."""
    town = quiet(14, START, 3 * DAY)
    rng = np.random.default_rng(14)
    day = 0.8 * np.sin(2.0 * np.pi * np.arange(len(town)) / DAY)
    for at, (_, region, _) in enumerate(KEYS):
        town.orders[:, at] = rng.poisson(30.0 * (1.0 + (day if region == "eu" else -day)))
        shares = np.roll(PROMISED, 2 if region == "eu" else 0)
        town.promised[:, at] = rng.multinomial(town.orders[:, at], shares)
    assert signals_of(Detect(SETTINGS).feed(town.closed(SETTINGS))) == []


@pytest.mark.parametrize("source", ["orders", "errors", "deliveries"])
def test_a_missing_stretch_holds_what_was_known(warm: Warm, source: str) -> None:
    """Ten hours of nothing are evidence of nothing: what was gathered before them goes on behind them."""
    hours = 10
    town = quiet(15, NOON, 60 * hours + 120)
    gone = slice(20, 20 + 60 * hours)
    arrays = {"orders": (town.orders,), "errors": (town.errors,), "deliveries": (town.promised,)}[source]
    for each in arrays:
        each[gone] = 0
    town.missing = {(source, at) for at in range(gone.start, gone.stop)}
    detect = warm.stage()
    assert signals_of(detect.feed(town.closed(SETTINGS, 0, 20))) == []
    watch = next(m.fast.watch for m in detect.metrics if m.source == source)
    rows = np.arange(len(watch.tree.parents))
    before = watch.mass(rows)
    assert signals_of(detect.feed(town.closed(SETTINGS, 20, 20 + 60 * hours))) == []
    assert watch.mass(rows).tobytes() == before.tobytes()
    assert signals_of(detect.feed(town.closed(SETTINGS, 20 + 60 * hours))) == []


def outlier(town: Town, metric: str) -> None:
    {"orders": town.orders, "errors": town.errors, "promised_minutes": town.absurd}[metric][5, 2] = 10**6


@pytest.mark.parametrize("metric", ["orders", "errors", "promised_minutes"])
@pytest.mark.parametrize("hours", [1, 8])
def test_one_wild_bucket_blinds_nothing(warm: Warm, metric: str, hours: int) -> None:
    """A million events in one minute; an hour, and eight, later a real change is found as it would have been without."""
    n = 60 * hours

    def story(*, wild: bool) -> list[Signal]:
        town = quiet(16, NOON, n + 30)
        rng = np.random.default_rng(16)
        if wild:
            outlier(town, metric)
        if metric == "orders":
            town.orders[n:, 2] = rng.binomial(town.orders[n:, 2], 0.4)
        elif metric == "errors":
            town.errors[n:, 2] += rng.poisson(12.0, 30)
        else:
            town.absurd[n:, 2] = town.promised[n:, 2, 5] // 2
        return [each for each in signals_of(told(warm, town)) if each.bucket >= NOON + n and each.series.metric == metric]

    usual, wild = story(wild=False), story(wild=True)
    name = f"{metric}{{service=checkout,region=eu}}"
    when = {str(each.series): each.bucket for each in usual}
    assert {str(each.series): each.bucket for each in wild}[name] - when[name] <= 2


#: Nothing at all from the sixth minute on for a day, and when a real change begins, hours after its end.
EMPTY, LATER = slice(6, 6 + DAY), 6 + DAY + 480


@pytest.fixture(scope="module")
def empty_days(warm: Warm) -> dict[str, list[Signal]]:
    """What is signalled without an empty day, with a day of true zeros of all sources, and with one of missing buckets."""
    found = {}
    for kind in ("none", "zero", "missing"):
        town = quiet(22, NOON, LATER + 40)
        rng = np.random.default_rng(22)
        if kind != "none":
            for each in (town.orders, town.errors, town.promised):
                each[EMPTY] = 0
        if kind == "missing":
            town.missing = {(source, at) for source in ("orders", "errors", "deliveries") for at in range(EMPTY.start, EMPTY.stop)}
        town.orders[LATER:, 3] = rng.binomial(town.orders[LATER:, 3], 0.4)
        town.errors[LATER:, 0] += rng.poisson(12.0, 40)
        town.promised[LATER:, 0] = rng.multinomial(town.orders[LATER:, 0], np.roll(PROMISED, 3))
        found[kind] = signals_of(told(warm, town))
    return found


CHANGED = ["orders{service=checkout,region=us}", "errors{service=cart,region=eu}", "promised_minutes{service=cart,region=eu}"]


@pytest.mark.parametrize("name", CHANGED)
def test_a_day_of_missing_buckets_blinds_nothing(empty_days: dict[str, list[Signal]], name: str) -> None:
    usual, after = ({str(each.series): each.bucket for each in empty_days[kind]} for kind in ("none", "missing"))
    assert usual[name] >= NOON + LATER
    assert abs(after[name] - usual[name]) <= 3


def test_in_a_day_of_missing_buckets_and_after_it_nobody_speaks(empty_days: dict[str, list[Signal]]) -> None:
    assert min(each.bucket for each in empty_days["missing"]) >= NOON + LATER


@pytest.mark.parametrize("name", CHANGED)
def test_a_day_of_true_zeros_blinds_nothing(empty_days: dict[str, list[Signal]], name: str) -> None:
    """Orders have stopped, which is signalled; hours after they are back, a fall is found a few minutes later than without."""
    usual, after = ({str(each.series): each.bucket for each in empty_days[kind] if each.bucket >= NOON + LATER} for kind in ("none", "zero"))
    assert abs(after[name] - usual[name]) <= 8


def test_before_the_warm_up_nothing_is_said() -> None:
    town = quiet(17, START, 2 * DAY - 20)
    town.orders[DAY + 300 :] //= 4
    town.errors[DAY + 300 :] *= 5
    town.absurd[DAY + 300 :] = 9
    records = Detect(SETTINGS).feed(town.closed(SETTINGS))
    assert not [record for record in records if isinstance(record, Signal)]
    assert not any(record.ready for record in records if isinstance(record, Tick))


def test_a_series_that_begins_neither_alarms_nor_makes_the_others_alarm(warm: Warm) -> None:
    keys: tuple[Key, ...] = (*KEYS, ("search", "eu", "1"), ("checkout", "ap", "1"))
    town = quiet(18, NOON, 2 * DAY + 300, keys=keys)
    for part in (town.orders, town.errors, town.promised):
        part[:100, 4:] = 0
    # Its delivery times are its own.
    town.promised[100:, 5] = np.random.default_rng(18).multinomial(town.orders[100:, 5], np.roll(PROMISED, 3))
    records = told(warm, town)
    # Where it is a tenth of all, all together do have more errors; but then they have more orders too.
    assert signals_of(records) == []
    last = records[-1]
    assert isinstance(last, Tick)
    observed = {str(name): n for name, n in zip(last.accounts[1].series, last.accounts[1].expected, strict=True)}
    assert observed["orders{service=checkout,region=ap}"] > 0.0


def test_a_new_series_has_no_place_in_the_buckets_before_it(warm: Warm) -> None:
    """However many buckets are closed at once."""
    ticks = [record for record in told(warm, EVENTFUL) if isinstance(record, Tick)]
    known = [{str(name) for name in tick.accounts[1].series} for tick in ticks]
    assert ["orders{region=ap}" in names for names in known] == [False] * 47 + [True] * 73
    assert all(len(account.observed) == len(account.series) == len(account.error) for tick in ticks for account in tick.accounts)


def test_a_signal_is_over_when_its_series_is_back(warm: Warm) -> None:
    town = quiet(19, NOON, 180)
    town.orders[20:80] = np.random.default_rng(19).binomial(town.orders[20:80], 0.5)
    town.promised[20:80] = town.promised[20:80] // 2
    records = told(warm, town)
    back = {str(each.series): each for each in signals_of(records, "returned")}
    assert back.keys() == {str(each.series) for each in signals_of(records)}
    assert abs(back["orders"].onset - NOON - 80) <= 2
    # Each tilt at least half as strong as the best has to lose: the smallest of them, by a tenth, takes the longest.
    assert back["orders"].bucket - NOON - 80 <= 12


def test_a_slow_decline_is_found(warm: Warm) -> None:
    """Half of the orders go within three hours: slower than the level could be quick, quicker than it learns."""
    town = quiet(20, NOON, 240)
    kept = np.clip(1.0 - np.arange(240) / 360.0, 0.5, 1.0)[:, None]
    town.orders = np.random.default_rng(20).binomial(town.orders, kept)
    left = signals_of(told(warm, town))
    assert "orders" in {str(each.series) for each in left}
    assert min(each.bucket for each in left) < NOON + 120


def test_the_settings_of_the_shop_are_taken_as_they_are() -> None:
    """A ten seconds' bucket, all four metrics: one hour of it, cut anywhere, is the same."""
    settings: Settings = settings_of("")
    town = quiet(21, 20_000 * 8640, 360, orders=1.0, errors=0.2)
    assert plain(fed(Detect(settings), town, [1, 17, 30, 200])) == plain(Detect(settings).feed(town.closed(settings)))
