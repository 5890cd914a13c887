"""Who did it: what moves the posterior, and what must not."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rollguard.incidents.blame import Blame, Verdicts, weigh
from rollguard.incidents.changes import Change, Reach
from rollguard.incidents.records import ChangeKind, Rollback
from rollguard.incidents.scene import Scene, VersionContrast
from tests.incidents.scenes import HOUR_MS, MINUTE, MINUTE_MS, START, START_MS, Shop, deploy, played, regional

ONSET_MS = START_MS + MINUTE_MS
SIGMA_MS = 10_000.0
#: Evidence of a place that surely hurts, and of one that is surely well.
HURT, WELL = 8.0, -8.0


def change(deploy_id: str = "chg-1", *, started_ms: int = START_MS, minutes: float | None = 4.0, regions: tuple[str | None, ...] = (None,)) -> Change:
    done_ms = None if minutes is None else started_ms + round(minutes * MINUTE_MS)
    return Change(
        deploy_id=deploy_id,
        service="checkout",
        kind="code",
        from_version="1.0",
        version="2.0",
        rollback=Rollback(supported=True, to_version="1.0"),
        reach={region: Reach(started_ms, started_ms, done_ms) for region in regions},
    )


def scene(
    evidence: dict[str, float] | None = None,
    *,
    onsets: dict[str, int] | None = None,
    services: frozenset[str] = frozenset(),
    n_services: int = 2,
) -> Scene:
    evidence = {"eu-west": HURT, "us-east": HURT} if evidence is None else evidence
    hurt = [region for region, nats in evidence.items() if nats >= 1.0] or [""]
    return Scene(
        now_ms=ONSET_MS + 3 * MINUTE_MS,
        lookback_ms=72 * HOUR_MS,
        onset_ms={region: ((onsets or {}).get(region, ONSET_MS), SIGMA_MS) for region in hurt},
        evidence=evidence,
        first_services=services,
        services=services,
        n_services=n_services,
        measured=frozenset(onsets or ()),
    )


def blame_of(deploy_id: str, verdicts: Verdicts) -> Blame:
    return next(blame for blame in verdicts.suspects if blame.change.deploy_id == deploy_id)


def probability(suspect: Change, where: Scene, *contrasts: VersionContrast, others: tuple[Change, ...] = ()) -> float:
    return blame_of(suspect.deploy_id, weigh(where, [suspect, *others], {suspect.deploy_id: contrasts})).probability


REGIONS = ("eu-west", "us-east", "ap-south")
nats = st.floats(-1e6, 1e6) | st.sampled_from([0.0, HURT, WELL, 1e6, -1e6])
offsets_ms = st.integers(-80 * HOUR_MS, HOUR_MS) | st.integers(-10 * MINUTE_MS, 10 * MINUTE_MS)


@st.composite
def changes_of_a_shop(draw: st.DrawFn) -> list[Change]:
    found = []
    for number in range(draw(st.integers(0, 6))):
        each = change(
            f"chg-{number}",
            started_ms=ONSET_MS + draw(offsets_ms),
            minutes=draw(st.none() | st.floats(0.0, 3000.0)),
            regions=tuple(draw(st.sets(st.sampled_from([None, *REGIONS]), min_size=1))),
        )
        each.service = draw(st.sampled_from(["checkout", "payments", "search"]))
        found.append(each)
    return found


@st.composite
def scenes_of_a_shop(draw: st.DrawFn) -> Scene:
    evidence = {region: draw(nats) for region in draw(st.sets(st.sampled_from(REGIONS)))}
    services = draw(st.frozensets(st.sampled_from(["checkout", "payments"])))
    onsets = {region: ONSET_MS + draw(st.integers(0, 30 * MINUTE_MS)) for region in evidence}
    return replace(
        scene(evidence, onsets=draw(st.sampled_from([{}, onsets])), services=services, n_services=draw(st.integers(0, 9))),
        now_ms=ONSET_MS + draw(st.integers(0, HOUR_MS)),
        onset_ms={region: (onsets.get(region, ONSET_MS), draw(st.floats(1.0, 1e7))) for region in draw(st.sets(st.sampled_from([*REGIONS, ""])))},
    )


contrasts = st.builds(
    lambda new, old, new_hits, old_hits, usual: VersionContrast("promised_minutes", new * new_hits, new, old * old_hits, old, usual),
    st.floats(0.0, 1e9), st.floats(0.0, 1e9), st.floats(0.0, 1.0), st.floats(0.0, 1.0), st.floats(0.001, 1.0),
)  # fmt: skip


@given(scenes_of_a_shop(), changes_of_a_shop(), st.lists(contrasts, max_size=3))
def test_the_posterior_of_any_scene_sums_to_one(where: Scene, suspects: list[Change], seen: list[VersionContrast]) -> None:
    verdicts = weigh(where, suspects, {suspect.deploy_id: tuple(seen) for suspect in suspects[:2]})
    shares = [blame.probability for blame in verdicts.suspects]
    assert math.isclose(math.fsum([*shares, verdicts.no_change]), 1.0, rel_tol=1e-9)
    assert all(0.0 <= share <= 1.0 for share in shares)
    assert shares == sorted(shares, reverse=True)
    assert {blame.change.deploy_id for blame in verdicts.suspects} == {suspect.deploy_id for suspect in suspects}
    assert all(math.isfinite(blame.nats) and all(blame.reasons) for blame in verdicts.suspects)


@given(scenes_of_a_shop(), changes_of_a_shop(), st.randoms(use_true_random=False))
def test_the_order_of_the_changes_does_not_matter(where: Scene, suspects: list[Change], random: st.DataObject) -> None:
    shuffled = list(suspects)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert weigh(where, shuffled, {}) == weigh(where, suspects, {})


def test_no_change_did_it_when_there_is_none() -> None:
    assert weigh(scene(), [], {}) == Verdicts((), 1.0)


@given(scenes_of_a_shop(), changes_of_a_shop())
def test_no_change_is_always_among_the_suspects(where: Scene, suspects: list[Change]) -> None:
    assert weigh(where, suspects, {}).no_change > 0.0


def test_a_change_just_before_the_onset_is_guilty_and_one_from_yesterday_is_not() -> None:
    old = change("old", started_ms=START_MS - 24 * HOUR_MS)
    verdicts = weigh(scene(), [change(), old], {})
    assert verdicts.suspects[0].change.deploy_id == "chg-1"
    assert verdicts.suspects[0].probability > 0.9
    assert blame_of("old", verdicts).probability < 0.01
    assert weigh(scene(), [old], {}).no_change > 0.9


@pytest.mark.parametrize("regions", [(None,), ("eu-west",), ("us-east",), ("ap-south",)])
@pytest.mark.parametrize("late_ms", [90_000, 10 * MINUTE_MS, HOUR_MS])
def test_a_change_after_the_onset_gets_nothing_wherever_it_went(regions: tuple[str | None, ...], late_ms: int) -> None:
    # 90 s are nine errors of this onset.
    late = change(started_ms=ONSET_MS + late_ms, regions=regions)
    for evidence in ({"eu-west": HURT}, {"eu-west": HURT, "us-east": WELL, "ap-south": 0.0}, dict.fromkeys(map(str, range(30)), HURT), {"eu-west": 0.0}):
        assert probability(late, scene(evidence)) < 1e-9


def test_changes_after_the_onset_take_nothing_from_who_did_it() -> None:
    alone = probability(change(), scene())
    mending = tuple(change(f"mend-{i}", started_ms=ONSET_MS + (5 + i) * MINUTE_MS) for i in range(50))
    assert probability(change(), scene(), others=mending) == pytest.approx(alone, abs=1e-9)


@given(st.integers(9, 60), st.floats(1.5, 70.0))
def test_an_irrelevant_old_change_hardly_moves_the_posterior(n: int, hours: float) -> None:
    known = [change(), *(change(f"old-{i}", started_ms=START_MS - (2 + i) * HOUR_MS) for i in range(n))]
    before = weigh(scene(), known, {})
    after = weigh(scene(), [*known, change("one-more", started_ms=START_MS - round(hours * HOUR_MS))], {})
    assert abs(blame_of("chg-1", after).probability - blame_of("chg-1", before).probability) < 0.02
    assert blame_of("one-more", after).probability < 0.01


def test_blame_fades_the_longer_after_the_change_it_began_to_hurt() -> None:
    shares = [probability(change(minutes=2.0, started_ms=ONSET_MS - lag * MINUTE_MS), scene()) for lag in (1, 4, 10, 40, 200)]
    assert shares == sorted(shares, reverse=True)


def test_a_place_it_did_not_reach_and_that_is_well_speaks_for_it() -> None:
    regional_change = change(regions=("eu-west",))
    verdicts = weigh(scene({"eu-west": HURT, "us-east": WELL}), [regional_change], {})
    neutral = weigh(scene({"eu-west": HURT, "us-east": 0.0}), [regional_change], {})
    assert verdicts.suspects[0].place_nats > neutral.suspects[0].place_nats + 1.0
    assert any("us-east, which it did not reach, stayed well" in reason for reason in verdicts.suspects[0].reasons)


def test_a_place_it_did_not_reach_and_that_hurts_speaks_against_it() -> None:
    regional_change = change(regions=("eu-west",))
    verdicts = weigh(scene({"eu-west": HURT, "us-east": HURT}), [regional_change], {})
    neutral = weigh(scene({"eu-west": HURT, "us-east": 0.0}), [regional_change], {})
    assert verdicts.suspects[0].place_nats < neutral.suspects[0].place_nats - 1.0
    assert any("us-east hurts although it was not reached" in reason for reason in verdicts.suspects[0].reasons)


def test_a_place_it_reached_and_that_is_well_speaks_against_it() -> None:
    verdicts = weigh(scene({"eu-west": HURT, "us-east": WELL}), [change()], {})
    assert verdicts.suspects[0].place_nats < weigh(scene({"eu-west": HURT, "us-east": 0.0}), [change()], {}).suspects[0].place_nats
    assert any("us-east stayed well although it was reached" in reason for reason in verdicts.suspects[0].reasons)


def test_of_two_changes_the_one_that_reached_just_what_hurts_is_blamed() -> None:
    where = scene({"eu-west": HURT, "us-east": WELL, "ap-south": WELL})
    verdicts = weigh(where, [change("all"), change("eu", regions=("eu-west",))], {})
    assert verdicts.suspects[0].change.deploy_id == "eu"
    assert verdicts.suspects[0].probability > 0.9


def test_waves_that_hurt_one_after_another_speak_for_their_change() -> None:
    rolling = change(regions=())
    rolling.reach = {region: Reach(start, start, start + MINUTE_MS) for region, start in (("eu-west", START_MS), ("us-east", START_MS + 20 * MINUTE_MS))}
    in_step = {"eu-west": ONSET_MS, "us-east": ONSET_MS + 20 * MINUTE_MS}
    at_once = {"eu-west": ONSET_MS + 20 * MINUTE_MS, "us-east": ONSET_MS + 20 * MINUTE_MS}
    assert weigh(scene(onsets=in_step), [rolling], {}).suspects[0].waves_nats > 2.0
    assert weigh(scene(onsets=at_once), [rolling], {}).suspects[0].waves_nats < -2.0
    reasons = weigh(scene(onsets=in_step), [rolling], {}).suspects[0].reasons
    assert any("in the order and at the distance of its waves" in reason for reason in reasons)


def test_waves_say_nothing_of_a_change_that_went_everywhere_at_once_or_of_onsets_nobody_measured() -> None:
    onsets = {"eu-west": ONSET_MS, "us-east": ONSET_MS + 20 * MINUTE_MS}
    assert weigh(scene(onsets=onsets), [change()], {}).suspects[0].waves_nats == 0.0
    rolling = change(regions=("eu-west",))
    rolling.reach["us-east"] = Reach(START_MS + 20 * MINUTE_MS, START_MS + 20 * MINUTE_MS)
    assert weigh(scene(), [rolling], {}).suspects[0].waves_nats == 0.0


def test_a_worse_new_version_speaks_for_it_and_an_equal_one_a_little_against_it() -> None:
    worse = VersionContrast("promised_minutes", 300.0, 1000.0, 100.0, 2000.0, 0.05)
    equal = VersionContrast("promised_minutes", 300.0, 1000.0, 600.0, 2000.0, 0.05)
    better = VersionContrast("promised_minutes", 50.0, 1000.0, 600.0, 2000.0, 0.05)
    says = [weigh(scene(), [change()], {"chg-1": (each,)}).suspects[0].version_nats for each in (worse, equal, better)]
    assert says[0] == 6.0
    assert says[1] == says[2] == -1.0


@given(st.lists(contrasts, max_size=5))
def test_what_versions_say_is_bounded(seen: list[VersionContrast]) -> None:
    assert -1.0 <= weigh(scene(), [change()], {"chg-1": tuple(seen)}).suspects[0].version_nats <= 6.0


def test_the_service_that_hurt_first_is_likelier_than_one_without_a_symptom() -> None:
    mine = probability(change(), scene(services=frozenset({"checkout"})))
    theirs = probability(change(), scene(services=frozenset({"payments"})))
    assert mine > theirs


def test_no_service_is_held_against_a_change_where_events_name_none() -> None:
    assert weigh(scene(n_services=0), [change()], {}).suspects[0].service_nats == 0.0


KINDS: tuple[ChangeKind, ...] = ("code", "config", "flag", "migration", "infra")


@given(
    scenes_of_a_shop(),
    changes_of_a_shop(),
    st.sampled_from(KINDS),
    st.none() | st.integers(0, 9),
    st.sets(st.text(max_size=3)),
    st.sampled_from(["yes", "no", "unknown", "advised"]),
    st.booleans(),
)
def test_a_changes_own_looks_never_alter_the_posterior(
    where: Scene, suspects: list[Change], kind: ChangeKind, approvals: int | None, authors: set[str], ai_assisted: str, reversible: bool
) -> None:
    before = [(blame.change.deploy_id, blame.probability) for blame in weigh(where, suspects, {}).suspects]
    for suspect in suspects[::2]:
        suspect.kind, suspect.approvals, suspect.authors, suspect.ai_assisted = kind, approvals, authors, ai_assisted
        suspect.rollback = Rollback(supported=reversible, to_version="0.1")
    assert [(blame.change.deploy_id, blame.probability) for blame in weigh(where, suspects, {}).suspects] == before


def test_extremes_stay_finite() -> None:
    many = [change(f"chg-{i:05}", started_ms=START_MS - i * 25_000) for i in range(10_000)]
    verdicts = weigh(scene(), many, {})
    assert math.isclose(math.fsum([*(b.probability for b in verdicts.suspects), verdicts.no_change]), 1.0, rel_tol=1e-9)
    places = list(map(str, range(500)))
    for evidence in ({}, {"eu-west": 1e6}, {"eu-west": -1e6}, dict.fromkeys(places, -1e6), dict.fromkeys(places, 1e6), dict.fromkeys(places, HURT)):
        assert 0.0 <= probability(change(regions=("eu-west", None)), scene(evidence)) <= 1.0


def told(shop: Shop, known: list[object]) -> dict[int, dict[str, float]]:
    entries = played(shop, known)  # type: ignore[arg-type]
    return {entry.at_ms: {s.deploy_id: s.probability for s in entry.incident.suspects} for entry in entries if entry.incident is not None}


def test_a_change_known_only_later_gets_nothing_before() -> None:
    received_ms = START_MS + 8 * MINUTE_MS
    shop = Shop()
    signals = regional(shop)
    found = told(shop, [*signals, *deploy(received_at=received_ms)])
    assert any(at < received_ms for at in found)
    assert all(("chg-1" in suspects) == (at >= received_ms) for at, suspects in found.items())


def test_a_change_under_way_is_blamed_before_it_has_finished() -> None:
    shop = Shop()
    found = told(shop, [*regional(shop), *deploy(minutes=30)])
    assert found[min(found)]["chg-1"] > 0.9


def test_the_culprit_of_a_long_incident_does_not_age_out_of_the_look_back() -> None:
    shop = Shop()
    shop.settings = shop.settings.model_copy(update={"lookback_ms": HOUR_MS})
    entries = played(shop, [*regional(shop), *deploy()], last=START + 90 * MINUTE)
    last = next(entry.incident for entry in reversed(entries) if entry.incident is not None)
    assert last.suspects[0].deploy_id == "chg-1"


def test_of_services_that_began_together_the_one_that_stands_out_most_is_suspected_most() -> None:
    seen = replace(scene(services=frozenset({"checkout", "search"}), n_services=8), standing={"checkout": 60.0, "search": 20.0})
    suspects = [change("a"), replace(change("b"), service="search")]
    first, second = weigh(seen, suspects, {}).suspects
    assert (first.change.service, second.change.service) == ("checkout", "search")
    assert first.probability / second.probability == pytest.approx(3.0)


def test_services_whose_standing_is_not_known_share_the_suspicion() -> None:
    seen = replace(scene(services=frozenset({"checkout", "search"}), n_services=8), standing={"checkout": 60.0})
    first, second = weigh(seen, [change("a"), replace(change("b"), service="search")], {}).suspects
    assert first.probability == second.probability
