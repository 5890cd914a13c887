"""What later decisions depend on: the budget, cool-downs, and which version is known good."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rollguard.config import Policy
from rollguard.incidents.changes import Change, ChangeBook
from rollguard.incidents.history import Ailing, History
from tests.incidents.scenes import HOUR_MS, MINUTE_MS, START_MS, deploy

POLICY = Policy()
CHECKOUT = frozenset({"checkout"})


def book_of(*known: Any) -> ChangeBook:
    book = ChangeBook(72 * HOUR_MS)
    for each in known:
        book.add(each)
    book.learn(START_MS + 1000 * HOUR_MS)
    return book


def good(*others: Any, history: History | None = None, open_ones: tuple[Ailing, ...] = (), **fields: Any) -> bool:
    book = book_of(*deploy(**fields), *others)
    return (history or History()).known_good(book.changes["chg-1"], book, POLICY, open_ones)


def test_a_version_that_was_live_for_an_hour_without_incident_is_known_good() -> None:
    assert good()
    assert good(deploy("chg-0", started=START_MS - HOUR_MS - 5 * MINUTE_MS)[-1])


@pytest.mark.parametrize(
    "fields",
    [
        {"rollback": {}},
        {"rollback": {"supported": True}},
        {"rollback": {"supported": True, "to_version": "0.9"}},
        {"from_version": None},
        {"from_version": "1.1"},
    ],
)
def test_only_the_version_that_was_replaced_is_known_good(fields: dict[str, Any]) -> None:
    assert not good(**fields)


@pytest.mark.parametrize(
    "other",
    [
        {"started": START_MS - 30 * MINUTE_MS},
        {"started": START_MS - 2 * HOUR_MS, "minutes": 90},
        {"started": START_MS - 2 * HOUR_MS, "minutes": 150},
        {"started": START_MS - 2 * HOUR_MS, "minutes": None},
        {"started": START_MS - 30 * MINUTE_MS, "regions": [None]},
        {"started": START_MS - 30 * MINUTE_MS, "regions": ["us-east", "eu-west"]},
        {"started": START_MS},
    ],
)
def test_another_change_of_the_service_there_within_the_hour_or_still_under_way_makes_it_unknown(other: dict[str, Any]) -> None:
    assert not good(*deploy("chg-0", **other))


@pytest.mark.parametrize(
    "other",
    [
        {"started": START_MS - 30 * MINUTE_MS, "service": "payments"},
        {"started": START_MS - 30 * MINUTE_MS, "regions": ["us-east"]},
        {"started": START_MS - 3 * HOUR_MS},
        {"started": START_MS + MINUTE_MS},
    ],
)
def test_changes_of_other_services_places_and_times_do_not_matter(other: dict[str, Any]) -> None:
    assert good(*deploy("chg-0", **other))


@pytest.mark.parametrize(
    ("onset_min", "closed_min", "services", "expected"),
    [
        (-50, -30, CHECKOUT, False),
        (-300, -30, CHECKOUT, False),
        (-30, 30, CHECKOUT, False),
        (-300, None, CHECKOUT, False),
        (-300, -61, CHECKOUT, True),
        (1, 30, CHECKOUT, True),
        (1, None, CHECKOUT, True),
        (-30, 30, frozenset({"payments"}), True),
        (-30, None, frozenset[str](), True),
    ],
)
def test_an_incident_of_the_service_within_the_hour_makes_it_not_good(onset_min: int, closed_min: int | None, services: frozenset[str], expected: bool) -> None:
    ill = Ailing(START_MS + onset_min * MINUTE_MS, None if closed_min is None else START_MS + closed_min * MINUTE_MS, services)
    assert good(open_ones=(ill,)) is expected
    assert good(history=History(closed=[ill])) is expected


def test_the_budget_and_cool_down_run_out_at_their_times() -> None:
    history = History()
    (change,) = book_of(*deploy()).changes.values()
    history.add_rollback(change, START_MS, POLICY)
    assert history.rollbacks_left(START_MS, POLICY) == POLICY.max_rollbacks - 1
    assert history.rollbacks_left(START_MS + POLICY.max_rollbacks_per_ms, POLICY) == POLICY.max_rollbacks
    assert history.cooling("checkout", START_MS + POLICY.cool_down_ms - 1)
    assert not history.cooling("checkout", START_MS + POLICY.cool_down_ms)
    assert not history.cooling("payments", START_MS)


times = st.integers(-400, 400).map(lambda hours: START_MS + hours * HOUR_MS)


@st.composite
def histories(draw: st.DrawFn) -> tuple[History, ChangeBook]:
    known = [seen for i, at in enumerate(draw(st.lists(times, max_size=8))) for seen in deploy(f"chg-{i}", started=at, minutes=draw(st.integers(0, 600)))]
    history = History()
    history.rolled_back = {f"chg-{i}": at for i, at in enumerate(draw(st.lists(times, max_size=12)))}
    history.cooling_until_ms = draw(st.dictionaries(st.sampled_from(["checkout", "payments"]), times))
    history.closed = [Ailing(at - draw(st.integers(0, HOUR_MS)), at, CHECKOUT) for at in draw(st.lists(times, max_size=8))]
    return history, book_of(*known)


@given(histories(), times, st.integers(0, 400))
def test_forgetting_changes_no_answer_about_any_suspect(made: tuple[History, ChangeBook], now_ms: int, later_hours: int) -> None:
    history, book = made
    lookback = book.lookback_ms
    book.forget_before(now_ms - 2 * lookback - POLICY.known_good_ms)
    then_ms = now_ms + later_hours * HOUR_MS

    def answers() -> tuple[Any, ...]:
        suspects: list[Change] = book.suspects(then_ms)
        return (
            [history.known_good(change, book, POLICY) for change in suspects],
            [change.deploy_id in history.rolled_back for change in suspects],
            history.rollbacks_left(then_ms, POLICY),
            [history.cooling(service, then_ms) for service in ("checkout", "payments")],
        )

    before = answers()
    history.forget(book, now_ms, POLICY)
    assert answers() == before
