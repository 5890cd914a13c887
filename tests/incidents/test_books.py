"""What was counted against what was expected."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from hypothesis import given
from hypothesis import strategies as st

from rollguard.detectors import Account, SeriesName, Split, Tick
from rollguard.incidents.books import UNASKED, Books, Sums, VersionSums

METRICS = ("orders", "promised_minutes")
KEEP = 30


def tick(bucket: int, random: np.random.Generator, n_series: int) -> Tick:
    """A tick of whole numbers, so that sums are exact in any order."""

    def column() -> npt.NDArray[np.float64]:
        return random.integers(0, 100, n_series).astype(np.float64)

    keys = tuple((f"region-{i}", version) for i in range(n_series) for version in ("1.0", "2.0"))
    accounts = tuple(
        Account(
            metric=metric,
            series=tuple(SeriesName(metric=metric, labels=(("region", f"region-{i}"),) if i else ()) for i in range(n_series)),
            observed=column(),
            expected=column(),
            variance=column(),
            error=np.ones(n_series),
            missing=bool(random.integers(2)),
            silent=bool(random.integers(2)),
            split=Split(keys=keys, key=np.arange(n_series), hits=column(), trials=column(), expected=column()) if metric != "orders" else None,
        )
        for metric in METRICS[: 1 + int(random.integers(2))]
    )
    return Tick(bucket=bucket, accounts=accounts, ready=True)


def as_lists(sums: Sums) -> tuple[Any, ...]:
    columns = [getattr(sums, name).tolist() for name in ("observed", "expected", "variance", "slack")]
    # Series that are known by now but were not in the span are zeros at the end.
    stripped = [column[: max((i + 1 for i, value in enumerate(column) if value), default=0)] for column in columns]
    return (*stripped, sums.buckets, sums.missing, sums.silent)


def by_hand(ticks: list[Tick], metric: str, first: int, last: int) -> Sums:
    sums = Sums(0)
    for each in ticks:
        if first <= each.bucket <= last:
            for account in each.accounts:
                if account.metric == metric:
                    sums.add(account)
    return sums


def splits_by_hand(ticks: list[Tick], metric: str, first: int) -> VersionSums:
    sums = VersionSums()
    for each in ticks:
        for account in each.accounts:
            if each.bucket >= first and account.metric == metric and account.split is not None:
                sums.add(account.split)
    return sums


@given(st.integers(0, 2**32), st.lists(st.sampled_from([0, 0, 0, 0, 1, 5]), min_size=1, max_size=80), st.data())
def test_running_sums_equal_a_fresh_sum_and_windows_equal_one_by_hand(seed: int, gaps: list[int], data: st.DataObject) -> None:
    random = np.random.default_rng(seed)
    books, ticks, bucket, asked = Books(KEEP), list[Tick](), 100, set[tuple[str, int]]()
    for at, gap in enumerate(gaps):
        bucket += 1 + gap
        ticks.append(tick(bucket, random, 1 + at // 20))
        books.add(ticks[-1])
        if random.integers(4) == 0:
            # Asked for while all of it was kept; carried on from then.
            asked.add((METRICS[int(random.integers(2))], max(ticks[-KEEP:][0].bucket, bucket + int(random.integers(-25, 4)))))
        for metric, first in asked:
            assert as_lists(books.since(metric, first)) == as_lists(by_hand(ticks, metric, first, bucket))
            want, got = splits_by_hand(ticks, metric, first), books.versions_since(metric, first)
            assert (got.hits, got.trials, got.expected) == (want.hits, want.trials, want.expected)
    first, last = (data.draw(st.integers(90, bucket + 5)) for _ in range(2))
    for metric in METRICS:
        assert as_lists(books.window(metric, first, last)) == as_lists(by_hand(ticks[-KEEP:], metric, first, last))


def test_sums_are_carried_on_past_what_is_kept() -> None:
    random = np.random.default_rng(1)
    books, ticks = Books(KEEP), [tick(bucket, random, 2) for bucket in range(200)]
    for each in ticks:
        books.add(each)
        books.since("orders", 10)
    assert as_lists(books.since("orders", 10)) == as_lists(by_hand(ticks, "orders", 10, 199))
    assert len(books.ticks) == KEEP


def test_any_number_of_sums_is_carried_on_while_asked_for_and_forgotten_when_not() -> None:
    random = np.random.default_rng(2)
    books, ticks = Books(KEEP), [tick(bucket, random, 2) for bucket in range(UNASKED + 300)]
    for each in ticks[:150]:
        books.add(each)
        for first in range(min(each.bucket, 120)):
            books.since("orders", first)
    assert as_lists(books.since("orders", 3)) == as_lists(by_hand(ticks, "orders", 3, 149))
    for each in ticks[150:]:
        books.add(each)
        books.since("orders", 5)
        books.versions_since("orders", 5)
    assert list(books._running) == [("orders", 5)]
    assert list(books._running_versions) == [("orders", 5)]


def test_empty_books_know_nothing() -> None:
    books = Books(KEEP)
    assert books.now is None
    assert (books.regions, books.services) == (("",), ())
    assert books.row("orders") is None
    assert books.since("orders", 3).buckets == books.window("orders", 0, 9).buckets == 0
    assert books.versions_since("orders", 3).hits == {}


def test_series_are_found_by_their_labels_in_any_order_and_new_ones_are_learnt() -> None:
    random = np.random.default_rng(3)
    books = Books(KEEP)
    books.add(tick(1, random, 1))
    regions = [books.regions]
    books.add(tick(2, random, 3))
    regions.append(books.regions)
    assert regions == [("",), ("region-1", "region-2")]
    assert (books.row("orders"), books.row("orders", region="region-2"), books.row("orders", region="elsewhere")) == (0, 2, None)
    name = SeriesName(metric="errors", labels=(("service", "checkout"), ("region", "eu-west")))
    zero = np.zeros(1)
    account = Account(metric="errors", series=(name,), observed=zero, expected=zero, variance=zero, error=zero, missing=False, silent=False)
    books.add(Tick(bucket=3, accounts=(account,), ready=False))
    assert books.row("errors", region="eu-west", service="checkout") == books.row("errors", service="checkout", region="eu-west") == 0
    assert books.services == ("checkout",)


def test_what_ran_in_a_place_before_is_kept_however_long_ago_it_came() -> None:
    books = Books(10)
    books.appeared = {("a", "eu", "1"): 0, ("a", "eu", "2"): 50, ("a", "eu", "3"): 200, ("a", "us", "1"): 10}
    books.forget_before(100, 2)
    # Without the second version the third would be the first that was ever seen there.
    assert books.appeared == {("a", "eu", "2"): 50, ("a", "eu", "3"): 200, ("a", "us", "1"): 10}
