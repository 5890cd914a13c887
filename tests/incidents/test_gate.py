"""The gate: what is not known counts against a version, and nothing that was said twice counts twice."""

from __future__ import annotations

import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from rollguard.incidents import ChangeSeen, Command, GateAnswer, GateQuestion, Release, Rollback, answered, learnt, release_of
from tests.incidents.scenes import settings_with
from tests.incidents.test_approvals import PEOPLE

NOW_MS = 1_772_442_000_000
HOUR_MS = 3_600_000
SETTINGS = settings_with(PEOPLE)
NOTHING = Release(service="checkout", version="2.0")


def seen(region: str | None = "eu-west", *, author: str | None = "mallory", approvals: int | None = None, started_ms: int = NOW_MS - HOUR_MS) -> ChangeSeen:
    return ChangeSeen(
        seen_ms=started_ms,
        stage="started",
        deploy_id="chg-1",
        service="checkout",
        region=region,
        kind="code",
        from_version="1.0",
        version="2.0",
        started_ms=started_ms,
        finished_ms=None,
        author=author,
        approvals=approvals,
        ai_assisted="unknown",
        rollback=Rollback(supported=True, to_version="1.0"),
    )


def allow(by: str, at_ms: int = NOW_MS) -> Command:
    return Command(id=f"{by}-{at_ms}", verb="allow", at_ms=at_ms, by=by, service="checkout", version="2.0")


def of(*records: ChangeSeen | Command) -> Release:
    known = NOTHING
    for record in records:
        assert release_of(record) == ("checkout", "2.0")
        known = learnt(known, record)
    return known


def incident(**more: Any) -> dict[str, Any]:
    suspects = [{"deploy_id": "chg-1", "service": "checkout", "version": "2.0", "probability": 0.6}]
    whole = {"incident_id": "inc-1", "services": [], "symptoms": ["orders in eu-west: 50, 100 expected (-50 %)"], "metrics": ["orders"], "suspects": suspects}
    return whole | more


def ask(known: Release = NOTHING, *incidents: dict[str, Any], region: str | None = "us-east", settings: Any = SETTINGS, **more: Any) -> GateAnswer:
    question = GateQuestion(service="checkout", version="2.0", region=region, authors=more.pop("authors", ()))
    kept: dict[str, Any] = {"now_ms": NOW_MS, "frontier_ms": NOW_MS - 20_000, "undone": ""} | more
    return answered(question, known, incidents, settings, **kept)


def test_a_version_that_enough_persons_allow_goes_to_its_first_region() -> None:
    found = ask(of(allow("erin")), authors=("mallory",), region="eu-west")
    assert found == GateAnswer(
        answer="pass", reasons=("no open incident that checkout 2.0 may have caused", "1 of 1 approvals", "the data are fresh"), needs=1, has=1
    )


def test_what_reaches_more_than_one_region_needs_two() -> None:
    first = ask(of(seen(), allow("erin")))
    assert (first.answer, first.needs, first.has) == ("wait", 2, 1)
    assert "it reaches more than one region, which needs 2 approvals, and has 1: rollguard allow checkout 2.0 --as YOU" in first.reasons[0]
    assert ask(of(seen(), allow("erin"), allow("dana"))).answer == "pass"
    assert ask(of(allow("erin")), region=None, authors=("mallory",)).answer == "wait"
    assert ask(of(seen(approvals=2))).answer == "pass"


def test_nobody_knows_of_an_approval_that_was_not_said() -> None:
    found = ask(region="eu-west")
    assert (found.answer, found.has) == ("wait", 0)


@pytest.mark.parametrize(
    ("by", "authors", "words"),
    [
        ("dana", ("@Dana-GH",), "dana is an author of it"),
        ("robot", ("mallory",), "robot is a bot"),
        ("zoe", ("mallory",), "zoe is nobody that the config knows"),
        ("erin", (), "nobody says who its author is"),
    ],
)
def test_who_may_not_allow_it_does_not_count(by: str, authors: tuple[str, ...], words: str) -> None:
    found = ask(of(allow(by)), authors=authors, region="eu-west")
    assert (found.answer, found.has) == ("wait", 0)
    assert words in " ".join(found.reasons)


def test_of_a_version_without_an_author_one_of_them_may_be_the_author() -> None:
    assert ask(of(allow("erin"), allow("frank")), region="eu-west").answer == "pass"
    assert ask(of(allow("erin"), allow("frank")), region=None).answer == "wait"
    assert ask(of(allow("erin"), allow("frank"), allow("dana")), region=None).answer == "pass"


def test_an_incident_that_it_may_have_caused_blocks_it() -> None:
    known = of(seen(approvals=2))
    assert "chg-1 may have caused inc-1, which is open: orders in eu-west" in ask(known, incident()).reasons[0]
    assert ask(known, incident()).answer == "block"
    other = [{"deploy_id": "other", "service": "search", "version": "9", "probability": 0.9}]
    assert ask(known, incident(suspects=other)).answer == "pass"
    assert ask(known, incident(suspects=other, services=["checkout"])).answer == "wait"
    # Named by service and version, where its records have not come.
    assert ask(of(allow("erin")), incident(suspects=[{**other[0], "service": "checkout", "version": "2.0"}]), authors=("m",)).answer == "block"


def test_what_was_rolled_back_goes_no_further() -> None:
    assert ask(of(seen(approvals=2)), undone="inc-9").answer == "block"


def test_it_has_to_have_been_well_for_a_while_in_the_region_before() -> None:
    young = ask(of(seen(approvals=2, started_ms=NOW_MS - 60_000)))
    assert (young.answer, young.reasons) == ("wait", ("it reached eu-west only a while ago: 540 s more have to pass without an incident",))
    # The same region again, as a second wave does.
    assert ask(of(seen(approvals=2, started_ms=NOW_MS - 60_000)), region="eu-west").answer == "pass"


@pytest.mark.parametrize(("frontier_ms", "words"), [(None, "nothing is known of the shop yet"), (NOW_MS - 121_000, "is 121 s old")])
def test_while_nobody_knows_how_the_shop_is_nothing_goes_on(frontier_ms: int | None, words: str) -> None:
    found = ask(of(seen(approvals=2)), frontier_ms=frontier_ms)
    assert found.answer == "wait"
    assert words in found.reasons[0]


def test_a_freeze_holds_for_what_goes_forward_too() -> None:
    frozen = PEOPLE + "  freezes: [{from: 2026-03-02T00:00:00Z, to: 2026-03-03T00:00:00Z, services: [checkout], reason: the sale}]\n"
    assert ask(of(seen(approvals=2)), settings=settings_with(frozen)).reasons == ("nothing goes on now: the sale",)


RECORDS = st.lists(
    st.builds(
        seen,
        region=st.sampled_from(["eu-west", "us-east", None]),
        author=st.sampled_from(["mallory", "dana", None]),
        approvals=st.sampled_from([None, 0, 1, 2]),
        started_ms=st.integers(NOW_MS - HOUR_MS, NOW_MS),
    )
    | st.builds(allow, st.sampled_from(["dana", "erin", "frank", "robot", "zoe"]), st.integers(NOW_MS - HOUR_MS, NOW_MS)),
    max_size=8,
)


@given(RECORDS, st.integers())
def test_no_order_and_no_repeat_of_what_was_said_matters(records: list[ChangeSeen | Command], seed: int) -> None:
    others = records * 2
    random.Random(seed).shuffle(others)  # noqa: S311 - repeats itself
    assert of(*records) == of(*others)


@given(RECORDS, st.sampled_from(["eu-west", "us-east", None]), st.sampled_from([(), ("erin",)]))
def test_another_record_of_its_author_or_a_smaller_number_never_opens_it(
    records: list[ChangeSeen | Command], region: str | None, authors: tuple[str, ...]
) -> None:
    known = of(*records)
    found = ask(known, region=region, authors=authors)
    assert found.has <= max(known.approvals or 0, len({"dana", "erin", "frank"} & set(known.allowed_by)))
    if found.answer == "pass":
        assert found.has >= found.needs
        assert ask(known, incident(), region=region, authors=authors).answer == "block"
        assert ask(replace(known, allowed_by={}, approvals=None), region=region, authors=authors).answer == "wait"
