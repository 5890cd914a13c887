from __future__ import annotations

import math

import pytest

from rollguard.replay.scoring import Undo
from tests.replay_scoring.made import MIN, NOON, found, judged, label


def test_a_perfect_answer_leaves_nothing_to_say() -> None:
    outcome = judged([label()], [found()])
    [one] = outcome.labels
    assert (one.paged_s, one.rank, one.blamed, one.rolled_back, one.saved, one.billed) == (60.0, 1, "chg-1", True, 100.0, 100.0)
    assert (outcome.right_pages, outcome.false_pages, outcome.wrong_rollbacks, outcome.remarks) == (1, (), (), ())


def test_what_was_missed_is_told_with_what_an_oracle_needs() -> None:
    outcome = judged([label()], [])
    assert outcome.labels[0].paged_s is None
    assert outcome.remarks == ("missed i1 (orders in eu; an oracle needs 60 s)",)


@pytest.mark.parametrize(("oracle_s", "counts"), [(None, True), (1800.0, True), (1801.0, False), (math.inf, False)])
def test_only_what_an_oracle_finds_within_half_an_hour_can_be_missed(oracle_s: float | None, counts: object) -> None:
    assert judged([label(oracle_s=oracle_s)], []).labels[0].can_be_missed is counts


def test_what_needs_no_page_cannot_be_missed_and_a_page_about_it_is_false() -> None:
    outcome = judged([label(page=False, culprit=None, rollback=False)], [found()])
    assert not outcome.labels[0].can_be_missed
    assert [each.why for each in outcome.false_pages] == ["i1 is labelled as nothing to be told of"]


def test_a_page_before_the_onset_is_false_and_the_incident_is_missed() -> None:
    outcome = judged([label()], [found(paged_ms=NOON - MIN, onset_ms=NOON - 2 * MIN)])
    assert [each.why for each in outcome.false_pages] == ["orders in eu: 60 s before i1 began"]
    assert outcome.labels[0].paged_s is None
    assert outcome.falsely_blamed == (), "whoever swallowed the real incident may blame its culprit"


def test_a_page_of_the_data_counts_as_right_where_only_the_data_were_wrong() -> None:
    gap = label(culprit=None, rollback=False, is_gap=True, page=False)
    outcome = judged([gap], [found(gap)])
    assert (outcome.right_pages, outcome.false_pages) == (1, ())
    [false] = judged([gap], [found(gap, doubts=())]).false_pages
    assert false.why == "orders in eu: told as a fault of the shop, but only the data of i1 were in doubt"


def test_further_pages_about_the_same_are_repeats_and_not_false() -> None:
    outcome = judged([label()], [found(), found(incident_id="inc-2", paged_ms=NOON + 30 * MIN), found(incident_id="inc-3", paged_ms=None)])
    assert (outcome.labels[0].repeats, outcome.right_pages, outcome.false_pages) == (1, 1, ())


def test_an_innocent_blamed_on_any_page_counts() -> None:
    other = (("chg-9", 0.95), ("chg-1", 0.03))
    outcome = judged([label()], [found(), found(incident_id="inc-2", paged_ms=NOON + 30 * MIN, suspects=other)])
    assert (outcome.labels[0].wrongly_blamed, outcome.labels[0].blamed) == (True, "chg-9")
    assert "wrong blame: chg-9 is called guilty of i1, which chg-1 did" in outcome.remarks
    early = found(paged_ms=NOON - MIN, onset_ms=NOON - 2 * MIN, suspects=other, undone=())
    stray = judged([label()], [early])
    assert (stray.falsely_blamed, stray.innocent) == (("inc-i1: chg-9 is called guilty, though chg-1 did it",), 1)


def test_the_rank_is_among_the_changes_and_a_carrier_is_as_good_as_the_culprit() -> None:
    suspects = (("chg-9", 0.5), ("chg-1", 0.3), ("chg-2", 0.1))
    assert judged([label()], [found(suspects=suspects)]).labels[0].rank == 2
    assert judged([label(carriers=("chg-9",))], [found(suspects=suspects)]).labels[0].rank == 1
    assert judged([label()], [found(suspects=suspects[:1])]).labels[0].rank is None


def test_who_is_called_guilty_though_another_did_it_is_wrongly_blamed() -> None:
    outcome = judged([label()], [found(suspects=(("chg-9", 0.9), ("chg-1", 0.1)))])
    assert outcome.labels[0].wrongly_blamed
    assert "wrong blame: chg-9 is called guilty of i1, which chg-1 did" in outcome.remarks


def test_of_two_at_once_the_other_culprit_is_a_wrong_rank_but_nobody_innocent() -> None:
    other = label(incident_id="i2", culprit="chg-2", regions=("us",))
    outcome = judged([label(), other], [found(suspects=(("chg-2", 0.9), ("chg-1", 0.1)), undone=())])
    assert (outcome.labels[0].rank, outcome.labels[0].wrongly_blamed) == (2, False)
    assert any("missed i2" in each and "inc-i1 was open then" in each for each in outcome.remarks)


def test_a_guilty_verdict_where_none_is_guilty_is_false_blame() -> None:
    provider = label(culprit=None, rollback=False)
    blamed = found(provider, verdict="guilty", suspects=(("chg-1", 0.9),), no_change=0.1)
    assert (judged([provider], [blamed]).innocent, len(judged([provider], [blamed]).falsely_blamed)) == (1, 1)
    assert len(judged([], [blamed]).falsely_blamed) == 1
    assert judged([provider], [found(provider)]).falsely_blamed == ()


@pytest.mark.parametrize(
    ("over", "undo", "why"),
    [
        ({}, Undo(at_ms=NOON + MIN, deploy_id="chg-1"), ""),
        ({"carriers": ("chg-9",)}, Undo(at_ms=NOON + MIN, deploy_id="chg-9"), ""),
        ({}, Undo(at_ms=NOON + MIN, deploy_id="chg-9"), "it did nothing then"),
        ({}, Undo(at_ms=NOON - MIN, deploy_id="chg-1"), "it did nothing then"),
        ({}, Undo(at_ms=NOON + 91 * MIN, deploy_id="chg-1"), "it did nothing then"),
        ({"rollback": False}, Undo(at_ms=NOON + MIN, deploy_id="chg-1"), "it did it, but is labelled as not to be rolled back"),
    ],
)
def test_a_rollback_is_right_only_of_who_did_it_and_may_be_undone(over: dict[str, object], undo: Undo, why: str) -> None:
    outcome = judged([label(**over)], [found(undone=(undo,))])
    assert [each.split("): ")[1] for each in outcome.wrong_rollbacks] == ([why] if why else [])
    assert outcome.rollbacks == 1


def test_a_rollback_that_was_due_and_did_not_come_is_told() -> None:
    outcome = judged([label()], [found(undone=(), verdict="inconclusive")])
    assert not outcome.labels[0].rolled_back
    assert outcome.remarks == ("missed rollback of chg-1 in i1: the verdict is inconclusive",)
    held = found(undone=(), blocked=("the verdict is guilty", "it was rolled back before"))
    assert judged([label()], [held]).remarks == ("missed rollback of chg-1 in i1: the verdict is guilty; it was rolled back before",)


def test_the_bill_of_an_incident_that_was_told_in_parts_is_their_sum() -> None:
    outcome = judged([label()], [found(orders_lost=40.0), found(incident_id="inc-2", orders_lost=50.0)])
    assert outcome.labels[0].billed == 90.0
