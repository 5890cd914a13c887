"""Figures of many cases: known answers, and what holds whatever was found."""

from __future__ import annotations

import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rollguard.replay.scoring import MEASURES, CaseOutcome, Label, Measured, check_bars, markdown_of, measure, score_of, split_of
from tests.replay_scoring.made import DAY, MIN, NOON, found, judged, label, some_labels


def figures(outcomes: list[CaseOutcome]) -> dict[str, Measured]:
    return {each.name: each for each in measure(outcomes)}


def value(name: str, *outcomes: CaseOutcome) -> Any:
    return figures(list(outcomes))[name].value


def test_known_answers_of_pages() -> None:
    hit = judged([label()], [found(), found(incident_id="again", paged_ms=NOON + 5 * MIN)], name="a-1")
    missed = judged([label(incident_id="i2")], [], name="b-1")
    unseeable = judged([label(oracle_s=4000.0)], [], name="c-1")
    quiet = judged([], [found(regions=("us",))], name="d-1")
    every = figures([hit, missed, unseeable, quiet])
    assert (every["recall"].value, every["recall"].n) == (0.5, 2)
    assert (every["precision"].value, every["precision"].n) == (0.5, 2)
    assert (every["repeats"].value, every["repeats"].n) == (10.0, 1)
    assert (every["false_pages_month"].value, every["false_pages_month"].n) == (0.25, 4.0)


def test_known_answers_of_delay() -> None:
    after = [judged([label(oracle_s=30.0)], [found(paged_ms=NOON + seconds * 1000)], name=f"a-{seconds}") for seconds in (30, 60, 300)]
    assert (value("delay", *after), value("delay_oracle", *after)) == (60.0, 2.0)
    assert value("delay_p95", *after) == pytest.approx(276.0)
    assert value("delay_oracle", judged([label(oracle_s=None)], [found()])) is None


def test_known_answers_of_blame() -> None:
    second = judged([label()], [found(suspects=(("chg-9", 0.6), ("chg-1", 0.4)), verdict="inconclusive")], name="a-1")
    provider = label(culprit=None, rollback=False)
    accused = judged([provider], [found(provider, verdict="guilty", suspects=(("chg-1", 1.0),))], name="b-1")
    every = figures([judged([label()], [found()], name="c-1"), second, accused])
    assert (every["top1"].value, every["top3"].value, every["convicted"].value) == (0.5, 1.0, 0.5)
    assert (every["false_blame"].value, every["false_blame"].n) == (1.0, 1)


def test_known_answers_of_rollbacks_and_orders() -> None:
    saved = judged([label()], [found(saved=60.0, orders_lost=110.0)], name="a-1")
    missed = judged([label(lost_orders=300.0)], [found(label(lost_orders=300.0), undone=(), orders_lost=240.0)], name="b-1")
    every = figures([saved, missed])
    assert (every["missed_rollbacks"].value, every["saved"].value, every["saved_share"].value) == (0.5, 60.0, 0.15)
    assert every["bill"].value == pytest.approx(-0.05)
    assert every["bill_size"].value == pytest.approx(0.15)


def test_more_is_never_saved_than_was_lost() -> None:
    generous = judged([label()], [found(saved=1_000.0)])
    assert (value("saved", generous), value("saved_share", generous)) == (100.0, 1.0)


def test_of_nothing_nothing_is_measured() -> None:
    assert {each.name for each in measure([]) if each.value is not None} == {"wrong_rollbacks"}
    assert value("precision", judged([], [])) is None
    assert "What went wrong" in markdown_of(score_of([]), "rollguard score")


@given(st.lists(some_labels(), min_size=1, max_size=4))
def test_whoever_finds_what_the_labels_say_reaches_every_bar(cases: list[list[Label]]) -> None:
    outcomes = [judged(labels, [found(each) for each in labels], name=f"case-{at}") for at, labels in enumerate(cases)]
    best = {"recall": 1, "precision": 1, "repeats": 0, "top1": 1, "top3": 1, "convicted": 1, "false_blame": 0, "wrong_blame": 0, "wrong_rollbacks": 0}
    best |= {"missed_rollbacks": 0, "saved_share": 1, "bill": 0, "bill_size": 0, "brier": 0, "calibration": 0, "false_pages_month": 0}
    for name, measured in figures(outcomes).items():
        if name in best and measured.value is not None:
            assert measured.value == pytest.approx(best[name], abs=1e-3), name
    states = {each.measured.name: each.state for each in check_bars(outcomes)}
    assert "broken" not in {state for name, state in states.items() if name != "delay_oracle"}
    assert [remark for each in outcomes for remark in each.remarks] == []


@given(some_labels())
def test_a_false_page_lowers_precision_and_nothing_else_of_the_pages(labels: list[Label]) -> None:
    right = [found(each) for each in labels]
    stray = found(incident_id="stray", onset_ms=NOON - DAY, opened_ms=NOON - DAY, paged_ms=NOON - DAY, closed_ms=NOON - DAY + MIN, verdict="no_change")
    stray = found(**{name: getattr(stray, name) for name in stray.__struct_fields__} | {"undone": (), "suspects": (), "no_change": 1.0})
    before, after = figures([judged(labels, right)]), figures([judged(labels, [*right, stray])])
    changed = {name for name in before if before[name].value != after[name].value}
    assert changed <= {"precision", "false_pages_month", "false_blame"}
    assert after["precision"].value is not None
    assert after["precision"].value < (1.0 if before["precision"].value is None else before["precision"].value)


@given(st.lists(some_labels(), min_size=2, max_size=4), st.integers(0, 99))
def test_the_order_of_cases_makes_no_difference(cases: list[list[Label]], seed: int) -> None:
    outcomes = [judged(labels, [found(each, paged_ms=each.onset_ms + at * MIN) for each in labels], name=f"case-{at}") for at, labels in enumerate(cases)]
    mixed = random.Random(seed).sample(outcomes, len(outcomes))  # noqa: S311 - chance of a test
    assert score_of(mixed) == score_of(outcomes)


@given(st.lists(st.tuples(some_labels(), st.integers(-5, 100), st.floats(0, 1)), min_size=1, max_size=4))
def test_every_interval_contains_its_figure(cases: list[tuple[list[Label], int, float]]) -> None:
    outcomes = []
    for at, (labels, minutes, share) in enumerate(cases):
        suspects = (("chg-0", share), ("chg-1", 1 - share))
        incidents = [found(each, paged_ms=each.onset_ms + minutes * MIN, suspects=suspects, no_change=0.0, orders_lost=share * 100) for each in labels]
        outcomes.append(judged(labels, incidents, name=f"case-{at}"))
    for measured in measure(outcomes):
        if measured.value is not None and measured.low is not None and measured.high is not None:
            assert measured.low <= measured.value + 1e-12, measured
            assert measured.high >= measured.value - 1e-12, measured


def test_half_of_the_cases_is_unseen_and_neither_half_counts_in_the_other() -> None:
    names = [f"kind{kind}-{seed}" for kind in range(20) for seed in range(20)]
    unseen = sum(split_of(name) == "unseen" for name in names)
    assert 160 <= unseen <= 240
    outcomes = [judged([label()], [found()] if split_of(name) == "seen" else [], name=name) for name in names]
    both = score_of(outcomes)
    assert [(part.name, part["recall"].value) for part in both.parts[1:]] == [("seen", 1.0), ("unseen", 0.0)]
    assert score_of(outcomes, split="unseen").parts[0]["recall"].n == unseen


def test_a_bar_breaks_by_its_figure_and_false_pages_by_their_upper_bound() -> None:
    poor = [judged([label(oracle_s=10.0)], [found(label(oracle_s=10.0))], name="a-1"), *(judged([], [found()], name=f"b-{at}") for at in range(30))]
    states = {(each.measured.name, each.kind): each.state for each in check_bars(poor)}
    assert states["precision", None] == states["delay_oracle", None] == states["false_blame", None] == states["wrong_rollbacks", None] == "broken"
    assert states["recall", None] == "held"
    assert states["top3", "petshop"] == "not judged"
    # Thirty months, one false page in each: 1.0, and at most 1.4.
    assert states["false_pages_month", None] == "held"


def test_a_bar_is_not_judged_where_nothing_was_measured() -> None:
    states = {(each.measured.name, each.kind): each.state for each in check_bars([judged([], [])])}
    assert set(states.values()) == {"not judged"}


def test_real_issues_have_a_bar_of_their_own() -> None:
    petshop = label(culprit="chg-1")
    outcome = judged([petshop], [found(petshop, suspects=(("chg-9", 1.0),), undone=())], name="petshop-1")
    changed = type(outcome)(**{name: getattr(outcome, name) for name in outcome.__struct_fields__} | {"kind": "petshop"})
    states = {(each.measured.name, each.kind): each.state for each in check_bars([changed])}
    assert (states["top3", "petshop"], states["top3", None]) == ("broken", "not judged")


def test_every_measure_has_a_name_of_its_own() -> None:
    assert len({each.name for each in MEASURES}) == len(MEASURES)
