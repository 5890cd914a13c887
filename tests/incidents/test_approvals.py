"""Persons and plans: who may approve what, how many have to, and that nothing happens before they did."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rollguard.incidents import Command, Decision, Desk, Entry, Kill, LogRecord, RolledBack
from rollguard.incidents.approvals import APPROVABLE, needed_of
from rollguard.incidents.policy import CONDITIONS
from rollguard.incidents.trust import LEAST_JUDGED, Record, lower_bound
from tests.incidents.scenes import KNOWN, MINUTE, START, Shop, at_ms, decisions, deploy, regional, settings_with

PEOPLE = """
respond:
  people:
    dana: {secret: env:DANA, aliases: [dana-gh]}
    erin: {secret: env:ERIN}
    frank: {secret: env:FRANK}
    robot: {secret: env:ROBOT, bot: true}
  targets: {all: {kind: kubernetes, url: "https://k8s", secret: env:K8S}}
  target: all
"""
SAID = KNOWN + 2


def shop_of(text: str = "mode: approve\n") -> Shop:
    return Shop(settings=settings_with(PEOPLE + text))


def plan_of(entries: Iterable[Entry]) -> str:
    """Hash of the plan that was proposed last."""
    return next(each.plan.hash for each in reversed(decisions(entries, "hold")) if each.plan is not None)


class Told:
    """A desk that has been told of a regional culprit, until some minutes after it is known."""

    def __init__(self, shop: Shop, *, live: bool = True, **fields: Any) -> None:
        self.shop = shop
        self.desk = Desk(shop.settings, live=live)
        self.log = list(shop.log(START, START + 60 * MINUTE, [*regional(shop), *deploy(**fields)]))
        self.at = 0
        self.entries: list[Entry] = []
        self.go(SAID)

    def go(self, bucket: int) -> list[Entry]:
        """Go on until a bucket has had its tick."""
        found: list[Entry] = []
        while self.at < len(self.log):
            record = self.log[self.at]
            if getattr(record, "bucket", 0) > bucket:
                break
            found += self.desk.feed([record])
            self.at += 1
        self.entries += found
        return found

    def say(self, verb: Any, by: str = "dana", plan: str | None = None, **more: Any) -> list[Entry]:
        """A person says something."""
        command = Command(
            id=f"{verb}-{by}-{len(self.entries)}",
            verb=verb,
            at_ms=more.pop("at_ms", at_ms(SAID)),
            by=by,
            incident_id=more.pop("incident_id", self.entries[0].incident_id),
            plan=(plan_of(self.entries) if plan is None else plan) if verb in {"approve", "reject"} else "",
            **more,
        )
        found = self.desk.feed([command])
        self.entries += found
        return found


def rollbacks(entries: Iterable[Entry]) -> list[Decision]:
    return decisions(entries, "rollback")


def test_nothing_happens_before_a_person_approves_and_then_exactly_the_plan_does() -> None:
    told = Told(shop_of())
    (hold,) = [each for each in decisions(told.entries, "hold") if each.plan is not None]
    assert hold.needs == 1
    assert hold.plan is not None
    assert (hold.plan.service, hold.plan.expected_version, hold.plan.to_version, hold.plan.places) == ("checkout", "2.0", "1.0", ("eu-west",))
    assert rollbacks(told.go(SAID + 5)) == []
    told.say("approve")
    (rollback,) = rollbacks(told.go(SAID + 6))
    assert rollback.plan == hold.plan
    assert rollback.reasons[0].startswith("approved by dana, who set aside: the mode is approve")
    told.go(START + 60 * MINUTE)
    assert len(rollbacks(told.entries)) == 1


@pytest.mark.parametrize(
    ("by", "author", "words"),
    [
        ("dana", "dana", "dana is an author of chg-1"),
        ("dana", "DANA-GH ", "dana is an author"),
        ("dana", "\uff44ana", "dana is an author"),
        ("dana", "@Dana", "dana is an author"),
        ("robot", "dev1", "a bot approves nothing"),
        ("mallory", "dev1", "nobody that the config knows"),
    ],
)
def test_an_author_a_bot_and_a_stranger_approve_nothing(by: str, author: str, words: str) -> None:
    told = Told(shop_of(), author=author)
    told.say("approve", by)
    assert words in decisions(told.entries, "hold")[-1].blocked_by[0]
    told.go(SAID + MINUTE)
    assert rollbacks(told.entries) == []


def test_an_author_whose_name_only_looks_like_somebody_takes_two_to_approve() -> None:
    # A Cyrillic letter: whoever that is may be dana.
    told = Told(shop_of(), author="d\u0430na")
    told.say("approve", "dana")
    assert rollbacks(told.go(SAID + 3)) == []
    told.say("approve", "erin")
    assert len(rollbacks(told.go(SAID + 4))) == 1


def test_two_who_have_to_approve_are_two_persons() -> None:
    told = Told(shop_of("mode: approve\nservices: {checkout: {approvals: 2}}\n"))
    told.say("approve", "dana")
    told.say("approve", "dana")
    assert decisions(told.entries, "hold")[-1].blocked_by == ("1 more has to approve it",)
    assert rollbacks(told.go(SAID + 3)) == []
    told.say("approve", "erin")
    assert rollbacks(told.go(SAID + 4))[0].reasons[0].startswith("approved by dana and erin")


def test_an_approval_of_another_plan_does_not_count() -> None:
    told = Told(shop_of())
    for plan in ("", "0123456789abcdef"):
        told.say("approve", plan=plan)
        assert "bound to the plan" in decisions(told.entries, "hold")[-1].blocked_by[0]
    assert rollbacks(told.go(SAID + MINUTE)) == []


def test_an_approval_that_comes_too_late_does_not_count_and_the_plan_is_not_proposed_again() -> None:
    told = Told(shop_of())
    plan = plan_of(told.entries)
    told.go(SAID + 16 * MINUTE)
    assert any("has expired" in sentence for each in decisions(told.entries, "hold") for sentence in each.blocked_by)
    told.say("approve", plan=plan)
    assert decisions(told.entries, "hold")[-1].blocked_by == ("it does not count: no plan waits for an approval",)
    told.go(START + 60 * MINUTE)
    assert rollbacks(told.entries) == []


def test_a_plan_that_was_rejected_is_dropped() -> None:
    told = Told(shop_of())
    plan = plan_of(told.entries)
    told.say("reject", "erin", reason="we are on it")
    assert decisions(told.entries, "hold")[-1].reasons == (f"erin rejected the plan {plan}: we are on it",)
    told.say("approve", plan=plan)
    told.go(START + 60 * MINUTE)
    assert rollbacks(told.entries) == []


def test_a_kill_switch_stops_what_was_approved_before_it_is_decided() -> None:
    told = Told(shop_of())
    told.say("approve")
    told.desk.feed([Kill(on=True)])
    told.go(SAID + MINUTE)
    assert rollbacks(told.entries) == []


def test_a_freeze_takes_two_persons() -> None:
    freeze = 'freezes: [{from: "2026-03-02T00:00:00Z", to: "2026-03-03T00:00:00Z", reason: sale}]'
    told = Told(Shop(settings=settings_with(PEOPLE + "  trust: granted\n  " + freeze + "\n")))
    hold = decisions(told.entries, "hold")[-1]
    assert (hold.needs, hold.blocked_by[-1]) == (2, "nothing is rolled back now: frozen: sale")
    told.say("approve", "dana")
    assert rollbacks(told.go(SAID + 3)) == []
    told.say("approve", "erin")
    assert len(rollbacks(told.go(SAID + 4))) == 1


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "auto is not earned: 0 of 0 judged verdicts were right"),
        ("  trust: granted\n  protected: [Checkout]\n", "does not touch itself"),
        ("  trust: granted\nservices: {checkout: {target: hook}}\n", "does not compare by itself"),
        ('  trust: granted\n  planned: [{from: "2026-03-02T00:00:00Z", to: "2026-03-03T00:00:00Z", reason: move}]\n', "planned: move"),
    ],
)
def test_what_auto_needs_besides(text: str, words: str) -> None:
    hook = "hook: {kind: webhook, url: 'https://hook', secret: env:HOOK}"
    told = Told(Shop(settings=settings_with(PEOPLE.replace("targets: {", f"targets: {{{hook}, ") + text)))
    assert rollbacks(told.entries) == []
    assert any(words in sentence for each in decisions(told.entries, "hold") for sentence in each.blocked_by)


def test_without_a_target_nothing_is_rolled_back_nor_approved() -> None:
    told = Told(Shop(settings=settings_with("respond: {trust: granted}\n")))
    hold = decisions(told.entries, "hold")[0]
    assert (hold.plan, hold.needs) == (None, 0)
    assert "no target carries out its rollbacks (`respond.targets`)" in hold.blocked_by


def test_nobody_is_paged_about_what_is_planned_or_muted_and_somebody_is_when_that_ends() -> None:
    told = Told(shop_of("mode: advise\n"), live=True)
    muted = Desk(told.shop.settings, live=True)
    muted.feed([Command(id="m", verb="mute", at_ms=0, by="dana", service="checkout", until_ms=at_ms(SAID), reason="we know")])
    entries = muted.feed(told.log)
    first, then, *_ = [each for each in decisions(entries) if each.action in {"observe", "page"}]
    assert (first.action, first.reasons[-1]) == ("observe", "dana asked not to be paged about checkout: we know")
    assert then.action == "page"
    assert then.at_ms >= at_ms(SAID)


def test_who_acknowledges_stands_in_the_incident_and_others_are_told_when_nobody_does() -> None:
    text = "mode: advise\n" + PEOPLE.strip("\n") + "\n  pagers: {boss: {kind: log}}\n  escalate: [boss]\n"
    silent = Told(Shop(settings=settings_with(text)))
    silent.go(START + 60 * MINUTE)
    first, second = decisions(silent.entries, "page")
    assert (first.escalates, second.escalates) == (False, True)
    assert second.reasons[0] == "nobody has acknowledged it after 10m"
    heard = Told(Shop(settings=settings_with(text)))
    (updated,) = heard.say("ack", "erin")
    assert updated.incident is not None
    assert updated.incident.acknowledged_by == "erin"
    heard.go(START + 60 * MINUTE)
    assert len(decisions(heard.entries, "page")) == 1


def test_a_person_may_say_that_it_is_over() -> None:
    told = Told(shop_of())
    (closed,) = told.say("resolve", "erin", reason="turned off by hand")
    assert closed.event == "closed"
    assert told.go(START + 60 * MINUTE) == []


def test_auto_is_earned_by_eleven_right_verdicts_and_lost_by_one_rollback_in_vain() -> None:
    told = Told(Shop(settings=settings_with(PEOPLE)))
    history = told.desk.history
    for number in range(LEAST_JUDGED):
        assert history.why_distrusted("checkout", granted=False)
        history.told[f"inc-{number}"] = history.told[told.entries[0].incident_id]
        told.say("judge", incident_id=f"inc-{number}", culprit="chg-1")
    assert history.why_distrusted("checkout", granted=False) == ""
    assert len(rollbacks(told.go(SAID + MINUTE))) == 1
    history.distrust("checkout")
    assert "in vain" in history.why_distrusted("checkout", granted=True)


def test_a_judgement_of_an_incident_without_a_culprit_or_of_none_changes_nothing() -> None:
    told = Told(shop_of())
    told.say("judge", incident_id="inc-unknown", culprit="chg-1")
    assert told.desk.history.records == {}
    told.say("judge", culprit="none")
    told.say("judge", culprit="none")
    assert told.desk.history.records["checkout"].judged == ((told.entries[0].incident_id, False),)


@pytest.mark.parametrize("outcome", ["failed", "expired", "unknown"])
def test_a_rollback_that_was_not_carried_out_or_is_in_doubt_is_told_and_not_tried_again(outcome: Any) -> None:
    told = Told(Shop(settings=settings_with(PEOPLE + "  trust: granted\n")))
    assert len(rollbacks(told.entries)) == 1
    found = told.desk.feed([RolledBack(incident_id=told.entries[0].incident_id, at_ms=at_ms(SAID), outcome=outcome, detail="it answered 403")])
    assert "it answered 403" in decisions(found)[0].reasons[0]
    told.go(START + 60 * MINUTE)
    assert len(rollbacks(told.entries)) == 1


@given(st.sets(st.sampled_from([name for name, _ in CONDITIONS])), st.sampled_from([1, 2]))
def test_what_nobody_may_set_aside_is_never_approved(failed: set[str], usual: int) -> None:
    needs = needed_of(failed, usual, ["dev1"])
    assert (needs == 0) == bool(failed - APPROVABLE)
    assert needs in {0, usual, 2}
    assert needed_of(failed, usual, []) in {0, 2}


@given(st.integers(0, 100).flatmap(lambda judged: st.tuples(st.integers(0, judged), st.just(judged))))
def test_the_bound_on_the_share_of_right_verdicts_lies_below_it_and_grows_with_them(pair: tuple[int, int]) -> None:
    right, judged = pair
    assert 0.0 <= lower_bound(right, judged) <= (right / judged if judged else 0.0)
    assert lower_bound(right, judged) <= lower_bound(right + 1, judged + 1)


def test_eleven_judged_and_none_wrong_is_the_least_that_earns_it() -> None:
    record = Record()
    for number in range(LEAST_JUDGED):
        assert record.why_not
        record = record.with_judgement(f"inc-{number}", right=True)
    assert record.why_not == ""
    assert record.with_judgement("inc-3", right=False).why_not


VERBS = st.sampled_from(["ack", "approve", "reject", "judge", "resolve"])
WHO = st.sampled_from(["dana", "erin", "frank", "robot", "mallory", "dev1"])
STEPS = st.lists(st.tuples(VERBS, WHO, st.sampled_from(["right", "wrong"]), st.integers(1, 4 * MINUTE)), max_size=12)


@settings(max_examples=40, deadline=None)
@given(steps=STEPS, approvals=st.sampled_from([1, 2]), author=st.sampled_from(["dana", "dev1", "erin"]))
def test_whatever_is_said_a_rollback_has_its_approvals_and_there_is_only_one(steps: list[Any], approvals: int, author: str) -> None:
    told = Told(shop_of(f"mode: approve\nservices: {{checkout: {{approvals: {approvals}}}}}\n"), author=author)
    able: set[str] = set()
    at = SAID
    for verb, by, which, later in steps:
        if not told.desk.incidents:
            break
        waiting = told.desk.incidents[0].proposed
        fits = which == "right" and waiting is not None
        told.say(verb, by, plan=waiting.hash if fits and waiting is not None else "nonsense", culprit="chg-1", at_ms=at_ms(at))
        if verb == "approve" and fits and by in {"dana", "erin", "frank"} and by != author:
            able.add(by)
        at += later
        told.go(at)
        if rollbacks(told.entries):
            assert len(able) >= approvals
    assert len(rollbacks(told.entries)) <= 1
    restored = Desk.restore(told.shop.settings, told.desk.snapshot(), live=True)
    rest: list[LogRecord] = told.log[told.at :]
    assert restored.feed(rest) == told.desk.feed(rest)
