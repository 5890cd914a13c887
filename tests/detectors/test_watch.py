from __future__ import annotations

import numpy as np
import pytest

from rollguard.detectors.chunk import Chunk, KeyRows
from rollguard.detectors.watch import CountWatch, Ints, RatioWatch, ShareWatch, watch_for
from tests.detectors.town import settings_of

SETTINGS = settings_of(
    "bucket: 60s\nmetrics: {revenue: {kind: sum, source: orders, field: amount, worse: lower}}\nsources: {orders: {fields: {amount: amount}}}"
)
KEYS = (("cart", "eu", "1"), ("cart", "us", "1"), ("pay", "eu", "1"), ("cart", "eu", "2"))
Cell = tuple[int, int, int, int]


def columns(*cells: Cell) -> tuple[Ints, Ints, Ints, Ints]:
    """Bucket, key, bin and value of some rows."""
    bucket, key, fine, value = np.array(sorted(cells), dtype=np.int64).reshape(-1, 4).T
    return bucket, key, fine, value


def chunk(buckets: int = 5, /, *, missing: tuple[int, ...] = (), missing_other: tuple[int, ...] = (), **parts: tuple[Ints, Ints, Ints, Ints]) -> Chunk:
    gone, other = np.zeros(buckets, dtype=bool), np.zeros(buckets, dtype=bool)
    gone[list(missing)] = True
    other[list(missing_other)] = True
    nothing = np.zeros(buckets)
    return Chunk(0, buckets, KEYS, parts, missing=gone, missing_other=other, silent=nothing > 0.0, doubtful=nothing)


def named(watch: CountWatch | RatioWatch | ShareWatch, values: np.ndarray[tuple[int, ...], np.dtype[np.float64]]) -> dict[str, list[float]]:
    """Columns by name of series, without what is zero."""
    return {str(name): column.tolist() for name, column in zip(watch.tree.names, values.T, strict=True) if column.any()}


@pytest.mark.parametrize(("metric", "kind"), [("orders", CountWatch), ("revenue", CountWatch), ("errors", RatioWatch), ("promised_minutes", ShareWatch)])
def test_every_kind_of_metric_has_its_watch(metric: str, kind: type) -> None:
    watch = watch_for(metric, SETTINGS)
    assert isinstance(watch, kind)
    assert str(watch.tree.name(0)) == metric


def count_watch(metric: str = "orders") -> CountWatch:
    return CountWatch(metric, SETTINGS)


def test_events_are_added_up_into_every_series_they_belong_to() -> None:
    watch = count_watch()
    accounts = watch.load(chunk(3, count=columns((0, 0, 0, 5), (0, 1, 0, 2), (2, 3, 0, 1), (2, 2, 0, 4))))
    assert named(watch, accounts.observed) == {
        "orders": [7.0, 0.0, 5.0],
        "orders{service=cart}": [7.0, 0.0, 1.0],
        "orders{region=eu}": [5.0, 0.0, 5.0],
        "orders{service=cart,region=eu}": [5.0, 0.0, 1.0],
        "orders{region=us}": [2.0, 0.0, 0.0],
        "orders{service=cart,region=us}": [2.0, 0.0, 0.0],
        "orders{service=pay}": [0.0, 0.0, 4.0],
        "orders{service=pay,region=eu}": [0.0, 0.0, 4.0],
    }


def test_a_sum_adds_up_what_its_events_hold() -> None:
    watch = count_watch("revenue")
    accounts = watch.load(chunk(1, count=columns((0, 0, 0, 2)), sum=columns((0, 0, 0, 1999))))
    assert accounts.observed[0].tolist() == [1999.0] * 4


def test_a_missing_bucket_counts_nothing_even_where_events_came() -> None:
    watch = count_watch()
    accounts = watch.load(chunk(2, missing=(1,), count=columns((0, 0, 0, 5), (1, 0, 0, 3))))
    assert accounts.observed[:, 0].tolist() == [5.0, 0.0]


def test_series_are_numbered_as_they_appear_not_by_the_number_of_their_key() -> None:
    watch = count_watch()
    watch.load(chunk(5, count=columns((1, 2, 0, 1), (3, 0, 0, 1), (3, 1, 0, 1))))
    finest = [str(name) for name in watch.tree.names if len(name.labels) == 2]
    assert finest == ["orders{service=pay,region=eu}", "orders{service=cart,region=eu}", "orders{service=cart,region=us}"]
    assert [watch.n_known(bucket) for bucket in range(5)] == [1, 4, 4, 8, 8]


def test_a_bucket_before_a_series_was_first_seen_says_nothing_of_it() -> None:
    watch = count_watch()
    watch.load(chunk(5, count=columns((3, 0, 0, 7))))
    assert watch.bank.width.tolist() == [5.0, 2.0, 2.0, 2.0]


def test_versions_of_one_series_share_its_rows() -> None:
    rows = KeyRows(count_watch().tree)
    found = rows.of(np.array([0, 0]), np.array([0, 3]), KEYS)
    assert found[0].tolist() == found[1].tolist()
    assert rows.born.tolist()[1:] == [0, 0, 0]


def ratio_watch(on: str = "[region]") -> RatioWatch:
    return RatioWatch("errors", settings_of(f"bucket: 60s\nmetrics: {{errors: {{on: {on}}}}}"))


def test_errors_are_put_beside_the_orders_of_their_place() -> None:
    watch = ratio_watch()
    watch.load(chunk(1, k=columns((0, 0, 0, 1), (0, 1, 0, 2)), n=columns((0, 0, 0, 10), (0, 2, 0, 30), (0, 1, 0, 500))))
    trials = dict(zip(map(str, watch.tree.names), watch.odds.width.tolist(), strict=True))
    # A service's errors stand beside all orders of the place: its own orders need not exist.
    assert trials == {
        "errors": 540.0,
        "errors{service=cart}": 540.0,
        "errors{region=eu}": 40.0,
        "errors{service=cart,region=eu}": 40.0,
        "errors{region=us}": 500.0,
        "errors{service=cart,region=us}": 500.0,
    }


def test_without_labels_in_common_all_orders_are_the_trials() -> None:
    watch = ratio_watch("[]")
    watch.load(chunk(1, k=columns((0, 0, 0, 1)), n=columns((0, 1, 0, 10), (0, 2, 0, 30))))
    assert watch.odds.width.tolist() == [40.0] * 4


def test_missing_orders_leave_the_errors_own_count() -> None:
    watch = ratio_watch()
    accounts = watch.load(chunk(2, missing_other=(1,), k=columns((0, 0, 0, 1), (1, 0, 0, 2)), n=columns((0, 0, 0, 10))))
    assert accounts.observed[:, 0].tolist() == [1.0, 2.0]
    assert watch.odds.hits[0] == 1.0
    assert watch.count.hits[0] == 3.0


def test_a_ratio_has_no_more_evidence_than_the_lesser_of_its_two_sides() -> None:
    watch = ratio_watch()
    watch.load(chunk(1, k=columns((0, 0, 0, 1)), n=columns((0, 0, 0, 10))))
    watch.step(0)
    watch.count.recursion.sr[:, 0] = 9.0
    watch.load(chunk(1, k=columns((0, 0, 0, 1)), n=columns((0, 0, 0, 10))))
    assert watch.step(0)[0] < 9.0
    watch.odds.recursion.sr[:, 0] = 8.0
    assert watch.step(0)[0] == 9.0
    assert watch.mass(np.array([0])).shape == watch.nats(0, np.array([0])).shape == (1, 2, len(watch.odds.factors))
    watch.forget(np.array([0]))
    assert watch.count.value[0] == watch.odds.value[0] == 0.0


def test_a_distribution_is_split_by_version_once_its_bins_are_cut() -> None:
    watch = ShareWatch("promised_minutes", SETTINGS)
    watch.load(chunk(5, bins=columns((0, 0, 100, 900), (1, 3, 101, 100))))
    assert watch.split(0) is None
    watch.bank.baseline._cut()
    watch.bank.epoch = None
    watch.load(chunk(2, bins=columns((0, 0, 100, 8), (0, 0, 300, 2), (0, 3, 300, 1), (1, 1, 100, 4))))
    first, second = watch.split(0), watch.split(1)
    assert first is not None
    assert second is not None
    assert [first.keys[key] for key in first.key.tolist()] == [KEYS[0], KEYS[3]]
    assert first.trials.tolist() == [10.0, 1.0]
    assert first.hits.tolist()[1] == 1.0
    assert second.trials.tolist() == [4.0]
