"""Each condition of an automatic rollback, by name."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rollguard.config import Mode
from rollguard.incidents.policy import CONDITIONS, VERSION_GROUNDS_NATS, Facts, judge

#: All is well: may be rolled back, on the first kind of grounds.
GOOD = Facts(
    mode=Mode.AUTO,
    verdict="guilty",
    suspect="chg-1",
    probability=0.95,
    second_probability=0.05,
    needed_probability=0.8,
    needed_lead=0.5,
    away=True,
    sure=True,
    symptom_before=False,
    unreached_well=("us-east",),
    version_nats=0.0,
    reaches_all=False,
    within_window=False,
    sources=("orders",),
    rivals=(),
    reversible=True,
    to_version="1.0",
    target_known_good=True,
    rolled_back_before=False,
    rollbacks_left=3,
    cool_down=False,
    kill_switch=False,
    stale_ms=0,
    missing=(),
    only_silence=False,
    feed_silent=False,
    trust="",
    freeze="",
    protected=False,
    executor=True,
    compares=True,
)
#: The other two kinds of grounds.
BY_VERSION: dict[str, Any] = {"unreached_well": (), "version_nats": VERSION_GROUNDS_NATS}
BY_EVERYWHERE: dict[str, Any] = {"unreached_well": (), "reaches_all": True, "within_window": True, "sources": ("deliveries", "orders")}

#: For each condition, every way in which one fact alone breaks it, and words of the sentence.
BREAKS: dict[str, list[tuple[dict[str, Any], str]]] = {
    "mode": [
        ({"mode": Mode.APPROVE}, "a person has to confirm"),
        ({"mode": Mode.ADVISE}, "a person acts"),
        ({"mode": Mode.OBSERVE}, "the mode is observe"),
    ],
    "trust": [({"trust": "3 of 4 judged verdicts were right"}, "auto is not earned: 3 of 4")],
    "verdict": [
        ({"verdict": "inconclusive"}, "the verdict is inconclusive"),
        ({"verdict": "no_change"}, "the verdict is no change"),
        ({"verdict": ""}, "the verdict is"),
        ({"probability": 0.79}, "80 % is needed"),
        ({"needed_probability": 0.99}, "99 % is needed"),
    ],
    "lead": [
        ({"second_probability": 0.46}, "its lead over the second suspect is 49 %, 50 % is needed"),
        ({"needed_lead": 0.96}, "96 % is needed"),
        ({"second_probability": float("nan")}, "50 % is needed"),
    ],
    "away": [({"away": False}, "everything has come back")],
    "sure": [({"sure": False}, "not yet to act")],
    "absent_before": [({"symptom_before": True}, "was there before the change")],
    "grounds": [
        ({"unreached_well": ()}, "no grounds"),
        ({"unreached_hurt": ("ap-south",)}, "ap-south hurts although it was not reached"),
        ({"disputed": "inc-2 hurts"}, "inc-2 hurts"),
    ],
    "target": [
        ({"to_version": None}, "no version to go back to"),
        ({"target_known_good": False}, "version 1.0 is not known to be good"),
    ],
    "reversible": [({"reversible": False}, "not declared reversible (unknown is no)")],
    "once": [({"rolled_back_before": True}, "was rolled back before")],
    "budget": [({"rollbacks_left": 0}, "used up"), ({"rollbacks_left": -2}, "used up")],
    "cool_down": [({"cool_down": True}, "cooling down")],
    "kill_switch": [({"kill_switch": True}, "the kill switch is on")],
    "freeze": [({"freeze": "frozen: Black Friday"}, "nothing is rolled back now: frozen: Black Friday")],
    "protected": [({"protected": True}, "Rollguard does not touch itself")],
    "executor": [({"executor": False}, "no target carries out")],
    "compares": [({"compares": False}, "does not compare by itself")],
    "data": [
        ({"stale_ms": 60_001}, "60 s old"),
        ({"missing": ("orders",)}, "orders is missing or uncertain"),
        ({"only_silence": True}, "only silence"),
        ({"feed_silent": True}, "the change feed is silent"),
    ],
}
FLIPS = [(name, flip, words) for name, flips in BREAKS.items() for flip, words in flips]


def passing() -> st.SearchStrategy[Facts]:
    """Facts that pass, on any grounds."""
    return st.builds(
        lambda grounds, probability, second, left, stale_ms, suspect: replace(
            GOOD, probability=probability, second_probability=second, rollbacks_left=left, stale_ms=stale_ms, suspect=suspect, **grounds
        ),
        st.sampled_from([{}, BY_VERSION, BY_EVERYWHERE]),
        st.floats(0.9, 1.0),
        st.floats(0.0, 0.3),
        st.integers(1, 1000),
        st.integers(0, 60_000),
        st.text(max_size=9),
    )


@given(passing())
def test_good_facts_pass_and_every_condition_says_so(facts: Facts) -> None:
    judgement = judge(facts)
    assert judgement.blocked_by == judgement.failed == ()
    assert len(judgement.reasons) == len(CONDITIONS)
    assert all(judgement.reasons)


@pytest.mark.parametrize(("name", "flip", "words"), FLIPS)
def test_one_bad_fact_fails_its_condition_alone_with_its_sentence(name: str, flip: dict[str, Any], words: str) -> None:
    judgement = judge(replace(GOOD, **flip))
    assert judgement.failed == (name,)
    (sentence,) = judgement.blocked_by
    assert words in sentence
    assert len(judgement.reasons) == len(CONDITIONS) - 1


@given(passing(), st.sampled_from([each for each in FLIPS if each[0] != "grounds"]))
def test_one_bad_fact_blocks_any_passing_judgement(facts: Facts, flip: tuple[str, dict[str, Any], str]) -> None:
    name, bad, _ = flip
    needed = {"needed_probability": 1.01, "needed_lead": 1.01}
    worse = replace(facts, **{key: needed.get(key, value) for key, value in bad.items()})
    if bad.keys() == {"second_probability"}:
        worse = replace(worse, second_probability=facts.probability)
    assert name in judge(worse).failed


def test_every_condition_has_been_broken_here() -> None:
    assert list(BREAKS) == [name for name, _ in CONDITIONS]


def test_every_fact_has_been_broken_here() -> None:
    broken = {key for _, flip, _ in FLIPS for key in flip} | {key for flip, _ in UNGROUNDED for key in flip}
    # Versions have their own test below; a name is neither good nor bad.
    broken |= {"version_nats", "suspect"}
    assert broken == set(Facts.__slots__)


@pytest.mark.parametrize("grounds", [{}, BY_VERSION, BY_EVERYWHERE])
def test_there_are_three_kinds_of_grounds(grounds: dict[str, Any]) -> None:
    judgement = judge(replace(GOOD, **grounds))
    assert not judgement.failed
    assert sum(sentence.startswith("grounds: ") for sentence in judgement.reasons) == 1


#: What takes away the grounds of one that went everywhere, or compares too weakly.
UNGROUNDED: list[tuple[dict[str, Any], str]] = [
    ({"reaches_all": False}, "no place it did not reach is surely well"),
    ({"within_window": False}, "outside the change's own window"),
    ({"sources": ("deliveries",)}, "only deliveries shows it, two different sources are needed"),
    ({"sources": ()}, "only no source shows it"),
    ({"rivals": ("chg-2",)}, "chg-2 reached the same place within 10 min"),
    ({"own_symptom": False}, "its own service shows no symptom"),
]


@pytest.mark.parametrize(("flip", "words"), UNGROUNDED)
def test_one_that_went_everywhere_needs_its_window_two_sources_and_no_rival(flip: dict[str, Any], words: str) -> None:
    judgement = judge(replace(GOOD, **(BY_EVERYWHERE | flip)))
    assert judgement.failed == ("grounds",)
    assert words in judgement.blocked_by[0]


def test_what_is_no_number_convinces_nobody() -> None:
    assert judge(replace(GOOD, probability=float("nan"))).failed == ("verdict", "lead")


def test_a_weak_comparison_of_versions_is_no_grounds() -> None:
    assert judge(replace(GOOD, **BY_VERSION | {"version_nats": VERSION_GROUNDS_NATS - 0.01})).failed == ("grounds",)
    assert judge(replace(GOOD, unreached_well=(), version_nats=float("nan"))).failed == ("grounds",)


names = st.lists(st.sampled_from(["orders", "errors", "deliveries"]), unique=True).map(tuple)
any_facts = st.builds(
    Facts,
    mode=st.sampled_from(Mode),
    verdict=st.sampled_from(["guilty", "guilty", "no_change", "inconclusive"]),
    suspect=st.just("chg-1"),
    probability=st.floats(0.0, 1.0),
    second_probability=st.floats(0.0, 1.0),
    needed_probability=st.just(0.8),
    needed_lead=st.just(0.5),
    away=st.booleans(),
    sure=st.booleans(),
    symptom_before=st.booleans(),
    unreached_well=names,
    version_nats=st.floats(-1.0, 6.0),
    reaches_all=st.booleans(),
    within_window=st.booleans(),
    sources=names,
    rivals=names,
    reversible=st.booleans(),
    to_version=st.sampled_from([None, "1.0"]),
    target_known_good=st.booleans(),
    rolled_back_before=st.booleans(),
    rollbacks_left=st.integers(-1, 3),
    cool_down=st.booleans(),
    kill_switch=st.booleans(),
    stale_ms=st.integers(0, 200_000),
    missing=names,
    only_silence=st.booleans(),
    feed_silent=st.booleans(),
    trust=st.sampled_from(["", "0 of 0 judged"]),
    freeze=st.sampled_from(["", "frozen: sale"]),
    protected=st.booleans(),
    executor=st.booleans(),
    compares=st.booleans(),
    unreached_hurt=names,
    own_symptom=st.booleans(),
    disputed=st.sampled_from(["", "inc-2 hurts in the same way, and chg-2 is suspected of that"]),
)
#: The worst that each fact can be.
WORST: dict[str, Any] = {
    "mode": Mode.OBSERVE,
    "verdict": "inconclusive",
    "probability": 0.0,
    "second_probability": 1.0,
    "needed_probability": 1.0,
    "needed_lead": 1.0,
    "away": False,
    "symptom_before": True,
    "unreached_well": (),
    "version_nats": -1.0,
    "reaches_all": False,
    "within_window": False,
    "sources": (),
    "rivals": ("chg-2",),
    "unreached_hurt": ("ap-south",),
    "own_symptom": False,
    "disputed": "inc-2 hurts in the same way, and chg-2 is suspected of that",
    "reversible": False,
    "to_version": None,
    "target_known_good": False,
    "rolled_back_before": True,
    "rollbacks_left": 0,
    "cool_down": True,
    "kill_switch": True,
    "stale_ms": 10**9,
    "missing": ("orders",),
    "only_silence": True,
    "feed_silent": True,
    "trust": "0 of 0 judged",
    "freeze": "frozen: sale",
    "protected": True,
    "executor": False,
    "compares": False,
}


@given(any_facts, st.sets(st.sampled_from(sorted(WORST))))
def test_worse_facts_never_unblock(facts: Facts, worsened: set[str]) -> None:
    worse = replace(facts, **{name: WORST[name] for name in worsened})
    assert set(judge(facts).failed) <= set(judge(worse).failed)


@given(any_facts)
def test_every_condition_has_a_sentence_and_blocks_if_and_only_if_it_fails(facts: Facts) -> None:
    judgement = judge(facts)
    held = {name: check(facts) for name, check in CONDITIONS}
    assert judgement.failed == tuple(name for name, (ok, _) in held.items() if not ok)
    assert judgement.blocked_by == tuple(sentence for ok, sentence in held.values() if not ok)
    assert judgement.reasons == tuple(sentence for ok, sentence in held.values() if ok)
    assert all(sentence.strip() == sentence and sentence for _, sentence in held.values())
