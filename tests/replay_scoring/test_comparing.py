from __future__ import annotations

import pytest

from rollguard.replay.scoring import comparison_of, differences, score_of
from tests.replay_scoring.made import MIN, NOON, found, judged, label


def told(old: list[object], new: list[object]) -> list[tuple[bool, str]]:
    return [(good, what) for good, _, what in differences(judged([label()], old), judged([label()], new))]  # type: ignore[arg-type]


def test_the_same_results_have_no_difference() -> None:
    assert told([found()], [found()]) == []


def test_each_thing_that_changed_is_told_with_whether_it_is_better() -> None:
    assert told([], [found()])[0] == (True, "i1: missed → paged")
    assert told([found()], [])[0] == (False, "i1: paged → missed")
    assert told([found()], [found(paged_ms=NOON + 3 * MIN)]) == [(False, "i1: paged after 60 s → 180 s")]
    assert told([found()], [found(paged_ms=NOON + 65_000)]) == [], "a bucket more or less is no change"
    assert (True, "i1: chg-1: suspect 2 → suspect 1") in told([found(suspects=(("chg-9", 0.6), ("chg-1", 0.4)), verdict="inconclusive")], [found()])
    assert told([found()], [found(undone=())]) == [(False, "i1: rollback decided → missed")]
    assert told([found()], [found(orders_lost=130.0)]) == [(False, "i1: bill off by 0.0 % → 30.0 %")]
    assert told([found(), found(incident_id="stray", regions=("us",), metrics=("errors",), verdict="no_change", undone=())], [found()]) == [
        (True, "false pages: 1 → 0")
    ]


def test_cases_of_one_name_whose_labels_differ_are_not_compared() -> None:
    old, new = (score_of([judged([label(lost_orders=lost)], [], name="a-1"), judged([label()], [], name="b-1")]) for lost in (74.0, 149.0))
    text = comparison_of(old, new, names=("main", "mine"))
    assert text.startswith("main → mine, 1 cases: ")
    assert "Labelled in another way in mine, and not compared: a-1." in text


def test_only_cases_that_both_have_are_compared() -> None:
    old = score_of([judged([label()], [], name="a-1"), judged([label()], [found()], name="gone-1")])
    new = score_of([judged([label()], [found()], name="a-1"), judged([label()], [], name="new-1")])
    text = comparison_of(old, new, names=("main", "mine"))
    assert text.startswith("main → mine, 1 cases: 1 better, 0 worse.")
    assert "| page recall | 0.0 % | 100.0 % | +100.0 points | better, may be chance |" in text
    assert "Only in main, and not compared: gone-1." in text
    assert "Only in mine, and not compared: new-1." in text


@pytest.mark.parametrize(("better", "worse", "chance"), [(5, 0, True), (6, 0, False), (8, 1, False), (7, 2, True), (0, 6, False)])
def test_what_a_coin_would_often_do_may_be_chance(better: int, worse: int, chance: bool) -> None:
    names = [f"a-{at}" for at in range(better + worse)]
    # Cases that are equal in both, however many, say nothing of what changed.
    equal = [judged([label()], [found()], name=f"b-{at}") for at in range(40)]
    sides = [[judged([label()], [found()] if (at < better) is new else [], name=name) for at, name in enumerate(names)] for new in (False, True)]
    [line] = [each for each in comparison_of(*(score_of([*side, *equal]) for side in sides)).splitlines() if each.startswith("| page recall ")]
    assert ("may be chance" in line) is chance
    assert ("better" in line) is (better > worse)


def test_one_case_that_gains_more_than_many_lose_may_be_chance() -> None:
    delays = [[60, *[60] * 9], [3, *[61] * 9]]
    sides = [[judged([label()], [found(paged_ms=NOON + s * 1000, saved=100.0 - s)], name=f"a-{at}") for at, s in enumerate(side)] for side in delays]
    [line] = [each for each in comparison_of(*map(score_of, sides)).splitlines() if each.startswith("| orders saved |")]
    assert line.endswith("| better, may be chance |"), "nine of ten got worse"


def test_of_probabilities_the_intervals_say_what_may_be_chance() -> None:
    sides = [[judged([label()], [found(suspects=(("chg-1", said),), no_change=1.0 - said)], name=f"a-{at}") for at in range(60)] for said in (0.8, 1.0)]
    [line] = [each for each in comparison_of(*map(score_of, sides)).splitlines() if each.startswith("| calibration error ")]
    assert line.endswith("| better |")
