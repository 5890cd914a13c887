"""What is known of a change, and when."""

from __future__ import annotations

import contextlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rollguard.incidents.changes import Change, ChangeBook, ChangeRefusedError, sightings
from rollguard.incidents.records import ChangeSeen, Rollback
from tests.incidents.scenes import HOUR_MS, MINUTE_MS, START_MS, deploy

FINISHED_MS = START_MS + 4 * MINUTE_MS


def record(**fields: Any) -> bytes:
    usual = {"deploy_id": "chg-1", "service": "checkout", "region": "eu-west", "started_at": START_MS, "finished_at": FINISHED_MS}
    return json.dumps(usual | fields).encode()


def seen(**fields: Any) -> tuple[ChangeSeen, ...]:
    return sightings(record(**fields), environment="production")


def book_of(*known: ChangeSeen, lookback_ms: int = 72 * HOUR_MS, now_ms: int = START_MS + 240 * HOUR_MS) -> ChangeBook:
    book = ChangeBook(lookback_ms)
    for each in known:
        book.add(each)
    book.learn(now_ms)
    return book


def the_change(*known: ChangeSeen) -> Change:
    (change,) = book_of(*known).changes.values()
    return change


def test_a_record_becomes_two_sightings_and_the_first_does_not_know_the_finish() -> None:
    started, finished = seen()
    assert (started.stage, started.seen_ms, started.finished_ms) == ("started", START_MS, None)
    assert (finished.stage, finished.seen_ms, finished.finished_ms) == ("finished", FINISHED_MS, FINISHED_MS)


def test_a_record_without_a_finish_is_seen_once() -> None:
    (only,) = seen(finished_at=None)
    assert only.stage == "started"


def test_a_record_with_received_at_is_seen_only_then() -> None:
    received_ms = FINISHED_MS + HOUR_MS
    assert [each.seen_ms for each in seen(received_at=received_ms)] == [received_ms, received_ms]


def test_a_finish_announced_beforehand_is_not_known_before_it_happened() -> None:
    received_ms = START_MS + MINUTE_MS
    assert [each.seen_ms for each in seen(received_at=received_ms)] == [received_ms, FINISHED_MS]


def test_times_may_be_epoch_or_rfc_3339() -> None:
    assert seen(started_at="2026-03-02T10:00:00+01:00", finished_at="2026-03-02T09:04:00Z") == seen()


def test_other_environments_give_nothing() -> None:
    assert seen(environment="staging") == ()
    assert sightings(record(environment="staging"), environment="staging") != ()


def test_what_a_record_does_not_say_is_unknown_and_not_reversible() -> None:
    started, _ = seen()
    assert (started.ai_assisted, started.approvals, started.author, started.rollback) == ("unknown", None, None, Rollback())


@pytest.mark.parametrize("name", ["region", "from_version", "version", "author", "approvals", "ai_assisted", "rollback", "finished_at", "received_at"])
def test_null_is_as_good_as_left_out(name: str) -> None:
    whole = json.loads(record())
    without = {key: value for key, value in whole.items() if key != name}
    assert seen(**{name: None}) == sightings(json.dumps(without).encode(), environment="production")


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (b"", "truncated"),
        (b"\xff\xfe\x00", "malformed"),
        (b'{"deploy_id": "a"', "truncated"),
        (b"[]", "Expected `object`"),
        (b"[" * 50_000, "Expected `object`"),
        (b'{"deploy_id": "a", "service": "b", "started_at": ' + b"[" * 50_000, ""),
        (record(deploy_id=None), "deploy_id"),
        (record(deploy_id=""), "must not be empty"),
        (record(service=""), "must not be empty"),
        (record(started_at=None), "started_at"),
        (record(started_at=True), "started_at"),
        (record(started_at="yesterday"), "started_at 'yesterday' is not a time"),
        (record(started_at="2026-03-02T09:00:00"), "has no offset"),
        (record(finished_at="2026-03-02"), "has no offset"),
        (record(received_at="2026-03-02T09:00:00"), "received_at '2026-03-02T09:00:00' has no offset"),
        (record(started_at=START_MS // 1000, finished_at=None), "epoch times are in ms"),
        (record(started_at="1987-01-01T00:00:00Z"), "outside the years 2000 to 2100"),
        (record(started_at="0001-01-01T00:00:00+14:00"), "outside the years"),
        (record(started_at="9999-12-31T23:59:59-14:00"), "outside the years"),
        (record(started_at=10**30), "outside the years"),
        (record(started_at=10**400), "outside the years"),
        (record(started_at=0).replace(b": 0", b": " + b"9" * 5000), "out of range"),
        (record(finished_at=START_MS - 1), "is before started_at"),
        (record(change_kind="magic"), "change_kind"),
        (record(ai_assisted="maybe"), "ai_assisted"),
        (record(approvals="two"), "approvals"),
        (record(rollback={"supported": "yes"}), "rollback.supported"),
    ],
)
def test_what_cannot_be_used_is_refused_with_a_sentence(line: bytes, words: str) -> None:
    with pytest.raises(ChangeRefusedError, match=r"\S") as caught:
        sightings(line, environment="production")
    assert words in str(caught.value)
    assert len(str(caught.value)) < 300


@given(st.binary(max_size=200) | st.dictionaries(st.text(max_size=8), st.text(max_size=8)).map(lambda d: json.dumps(d).encode()))
def test_any_line_gives_sightings_or_a_refusal(line: bytes) -> None:
    with contextlib.suppress(ChangeRefusedError):
        assert all(isinstance(each, ChangeSeen) for each in sightings(line, environment="production"))


def test_an_id_comes_from_all_that_is_said() -> None:
    assert [each.id for each in seen()] == [each.id for each in seen()]
    ids = [seen(**fields)[0].id for fields in ({}, {"author": "ann"}, {"author": "bob"}, {"approvals": 0}, {"region": None}, {"received_at": FINISHED_MS})]
    assert len(set(ids)) == len(ids)
    a, b = (deploy(deploy_id, regions=[region])[0].id for deploy_id, region in (("a/b", "c"), ("a", "b/c")))
    assert a != b


def test_regions_and_waves_of_one_deploy_are_one_change() -> None:
    change = the_change(*deploy(regions=("eu-west",)), *deploy(started=START_MS + 10 * MINUTE_MS, regions=("us-east",)))
    assert set(change.reach) == {"eu-west", "us-east"}
    assert change.started_ms == START_MS
    reach = change.reach_at("us-east")
    assert reach is not None
    assert (reach.started_ms, reach.finished_ms) == (START_MS + 10 * MINUTE_MS, START_MS + 14 * MINUTE_MS)
    assert change.reach_at("ap-south") is None


def test_a_second_wave_in_a_region_is_under_way_until_it_finishes() -> None:
    first = deploy()
    second = deploy(started=START_MS + 10 * MINUTE_MS)
    reach = the_change(*first, second[0]).reach_at("eu-west")
    assert reach is not None
    assert (reach.started_ms, reach.finished_ms) == (START_MS, None)
    reach = the_change(*first, *second).reach_at("eu-west")
    assert reach is not None
    assert (reach.started_ms, reach.finished_ms) == (START_MS, START_MS + 14 * MINUTE_MS)


def test_a_record_without_region_reaches_every_place_and_any_record_reaches_the_whole_shop() -> None:
    everywhere = the_change(*deploy(regions=[None]))
    assert everywhere.reach_at("ap-south") is not None
    regional = the_change(*deploy(regions=["eu-west"]))
    assert regional.reach_at("ap-south") is None
    assert regional.reach_at("") is not None


def test_a_change_may_have_reached_what_was_folded_into_the_rest() -> None:
    assert the_change(*deploy(regions=["a-small-place"])).reach_at("__other__") is not None


def test_a_region_named_beside_everywhere_was_reached_by_the_earlier_of_both() -> None:
    change = the_change(*deploy(regions=[None]), *deploy(started=START_MS + HOUR_MS, regions=["eu-west"]))
    reach = change.reach_at("eu-west")
    assert reach is not None
    assert (reach.started_ms, reach.finished_ms) == (START_MS, START_MS + HOUR_MS + 4 * MINUTE_MS)


def test_authors_are_a_set_and_the_fewest_approvals_count() -> None:
    change = the_change(
        *deploy(author="ann", approvals=2),
        *deploy(author="bob", approvals=1, regions=["us-east"]),
        *deploy(author=None, approvals=None, regions=["ap-south"]),
        *deploy(author="cyd", approvals=3),
    )
    assert change.authors == {"ann", "bob", "cyd"}
    assert change.approvals == 1


@pytest.mark.parametrize(
    "other",
    [
        {"rollback": {"supported": False, "to_version": "1.0"}},
        {"rollback": {}},
        {"rollback": None},
        {"rollback": {"supported": True, "to_version": "0.9"}},
        {"rollback": {"supported": True}},
        {"service": "payments"},
    ],
)
def test_records_that_disagree_about_going_back_make_a_change_irreversible(other: dict[str, Any]) -> None:
    assert the_change(*deploy()).rollback.supported
    assert not the_change(*deploy(), *deploy(regions=["us-east"], **other)).rollback.supported
    assert not the_change(*deploy(regions=["us-east"], **other), *deploy()).rollback.supported


def test_the_most_that_is_said_of_ai_stands() -> None:
    for weaker, stronger in (("unknown", "no"), ("no", "advised"), ("advised", "yes")):
        assert the_change(*deploy(ai_assisted=weaker), *deploy(ai_assisted=stronger)).ai_assisted == stronger
        assert the_change(*deploy(ai_assisted=stronger), *deploy(ai_assisted=weaker)).ai_assisted == stronger


@st.composite
def sightings_of_few_changes(draw: st.DrawFn) -> list[ChangeSeen]:
    some = st.sampled_from
    out: list[ChangeSeen] = []
    for _ in range(draw(st.integers(1, 5))):
        out += deploy(
            draw(some(["a", "b"])),
            started=START_MS + draw(some([0, 1, 5, 60])) * MINUTE_MS,
            minutes=draw(some([None, 0, 1, 7])),
            regions=[draw(some([None, "eu-west", "us-east"]))],
            service=draw(some(["checkout", "payments"])),
            change_kind=draw(some(["code", "config", "infra"])),
            from_version=draw(some([None, "1.0", "1.1"])),
            version=draw(some([None, "2.0", "2.1"])),
            author=draw(some([None, "ann", "bob"])),
            approvals=draw(some([None, 0, 1, 2])),
            ai_assisted=draw(some(["yes", "no", "unknown", "advised"])),
            rollback={"supported": draw(st.booleans()), "to_version": draw(some([None, "1.0", "0.9"]))},
            received_at=draw(some([None, START_MS + 3 * MINUTE_MS])),
        )
    return out


@given(sightings_of_few_changes(), st.randoms(use_true_random=False), st.booleans())
def test_order_and_repeats_change_nothing(known: list[ChangeSeen], random: Any, at_once: bool) -> None:
    want = book_of(*known)
    shuffled = known + [random.choice(known) for _ in range(3)]
    random.shuffle(shuffled)
    book = ChangeBook(want.lookback_ms)
    for each in shuffled:
        book.add(each)
        if at_once:
            # Also when each is used as soon as it comes.
            book.learn(START_MS + HOUR_MS * 24)
    book.learn(START_MS + HOUR_MS * 24)
    assert book.changes == want.changes
    assert book.last_seen_ms == want.last_seen_ms
    assert not book.waiting


def test_nothing_is_used_before_it_was_seen() -> None:
    started, finished = deploy()
    known: list[tuple[int | None, int | None, list[str]]] = []
    for now_ms in (START_MS - 1, START_MS, FINISHED_MS - 1, FINISHED_MS):
        book = book_of(started, finished, now_ms=now_ms)
        reach = book.changes["chg-1"].reach_at("eu-west") if book.changes else None
        known.append((book.last_seen_ms, reach.finished_ms if reach else None, list(book.changes)))
    assert known == [(None, None, []), (START_MS, None, ["chg-1"]), (START_MS, None, ["chg-1"]), (FINISHED_MS, FINISHED_MS, ["chg-1"])]


def test_suspects_are_the_changes_within_one_look_back_of_the_onset() -> None:
    book = book_of(*deploy("new"), *deploy("old", started=START_MS - 80 * HOUR_MS), *deploy("slow", started=START_MS - 80 * HOUR_MS, minutes=20 * 60))
    assert [change.deploy_id for change in book.suspects(START_MS)] == ["new", "slow"]
    assert [change.deploy_id for change in book.suspects(START_MS + 73 * HOUR_MS)] == []


def test_what_was_over_long_ago_is_forgotten() -> None:
    book = book_of(*deploy("new"), *deploy("old", started=START_MS - 80 * HOUR_MS))
    book.forget_before(START_MS - HOUR_MS)
    assert list(book.changes) == ["new"]
