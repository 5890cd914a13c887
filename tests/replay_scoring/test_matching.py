from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rollguard.replay.scoring import Found, Label, match
from tests.replay_scoring.made import MIN, NOON, found, label, some_labels


def given_to(labels: list[Label], incidents: list[Found]) -> tuple[dict[str, list[str]], list[str]]:
    matches, stray = match(labels, incidents)
    return {each.label.incident_id: [one.incident_id for one in each.found] for each in matches}, [each.incident_id for each in stray]


@pytest.mark.parametrize(
    ("over", "belongs"),
    [
        ({}, True),
        ({"paged_ms": NOON - 1}, False),
        ({"paged_ms": NOON}, True),
        ({"paged_ms": NOON + 90 * MIN}, True),
        ({"paged_ms": NOON + 90 * MIN + 1}, False),
        ({"onset_ms": NOON - 120 * MIN}, True),
        ({"onset_ms": NOON + 65 * MIN, "paged_ms": NOON + 70 * MIN}, True),
        ({"onset_ms": NOON + 66 * MIN, "paged_ms": NOON + 70 * MIN}, False),
        ({"metrics": ("errors",)}, True),
        ({"regions": ("us",)}, True),
        ({"metrics": ("errors",), "regions": ("us",)}, False),
        ({"metrics": ("errors",), "regions": ()}, True),
        ({"paged_ms": None, "opened_ms": NOON - 1}, False),
        ({"paged_ms": None, "opened_ms": NOON + MIN}, True),
    ],
)
def test_an_incident_belongs_to_a_label_by_time_and_place(over: dict[str, Any], belongs: object) -> None:
    assert given_to([label()], [found(**over)]) == (({"i1": ["inc-i1"]}, []) if belongs else ({"i1": []}, ["inc-i1"]))


def test_a_gap_is_found_only_by_who_doubts_the_data() -> None:
    gap = label(culprit=None, is_gap=True)
    assert given_to([gap], [found(gap)]) == ({"i1": ["inc-i1"]}, [])
    assert given_to([gap], [found(gap, doubts=())]) == ({"i1": []}, ["inc-i1"])


def test_of_two_at_once_each_gets_the_one_that_is_most_like_it() -> None:
    one, other = label(), label(incident_id="i2", metrics=("errors",), regions=("us",), services=("search",))
    assert given_to([one, other], [found(other), found(one)])[0] == {"i1": ["inc-i1"], "i2": ["inc-i2"]}


def test_a_label_left_with_nothing_gets_one_of_another_that_has_two() -> None:
    one, other = label(), label(incident_id="i2", regions=("us",), services=())
    both = [found(one), found(one, incident_id="inc-also", paged_ms=NOON + 9 * MIN)]
    matched, stray = given_to([one, other], both)
    assert (sorted(map(len, matched.values())), stray) == ([1, 1], [])


def test_what_a_label_has_beyond_the_first_page_comes_after_it() -> None:
    late, unpaged = found(incident_id="inc-late", paged_ms=NOON + 20 * MIN), found(incident_id="inc-quiet", paged_ms=None, opened_ms=NOON)
    assert given_to([label()], [late, unpaged, found()])[0] == {"i1": ["inc-i1", "inc-late", "inc-quiet"]}


@given(some_labels(), st.randoms(use_true_random=False))
def test_neither_order_matters(labels: list[Label], random: object) -> None:
    incidents = [found(each) for each in labels] + [found(incident_id="inc-x", regions=(), paged_ms=NOON + 33 * MIN)]
    expected = given_to(labels, incidents)
    random.shuffle(labels)  # type: ignore[attr-defined]
    random.shuffle(incidents)  # type: ignore[attr-defined]
    assert given_to(labels, incidents) == expected


@given(some_labels())
def test_nothing_is_lost_and_nothing_is_given_twice(labels: list[Label]) -> None:
    incidents = [found(each) for each in labels] + [found(each, incident_id=f"again-{each.incident_id}") for each in labels]
    matched, stray = given_to(labels, incidents)
    assert sorted([name for names in matched.values() for name in names] + stray) == sorted(each.incident_id for each in incidents)
