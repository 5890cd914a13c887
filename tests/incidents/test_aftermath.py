"""After a rollback: what came back, what did not, and what follows from that."""

from __future__ import annotations

import pytest

from rollguard.detectors import Signal
from rollguard.incidents import ChangeSeen, Desk, Entry, LogRecord, RolledBack
from tests.incidents.scenes import HOUR_MS, KNOWN, MINUTE, ONSET, START, START_MS, Hurt, Shop, at_ms, decisions, deploy, of_harm, regional

DONE = KNOWN + MINUTE


def told(shop: Shop, records: list[ChangeSeen | Signal], *, done: bool, last: int = START + 40 * MINUTE) -> tuple[Desk, list[Entry]]:
    """What a desk says, if it is told that the rollback was done a minute after it was decided."""
    desk = Desk(shop.settings)
    log: list[LogRecord] = list(shop.log(START - 10 * MINUTE, last, records))
    early = [r for r in log if not hasattr(r, "bucket") or r.bucket <= DONE]
    entries = desk.feed(early)
    if done:
        entries += desk.feed([RolledBack(incident_id=entries[0].incident_id, at_ms=at_ms(DONE))])
    return desk, entries + desk.feed(log[len(early) :])


def test_a_rollback_that_did_not_help_clears_the_change_pages_and_is_not_tried_again() -> None:
    shop = Shop()
    desk, entries = told(shop, [*regional(shop), *deploy(), *deploy("chg-2", started=START_MS - 3 * HOUR_MS, service="payments")], done=True)
    actions = [decision.action for decision in decisions(entries)]
    assert actions.count("rollback") == 1
    page = decisions(entries, "page")[-1]
    assert page.reasons[0] == "the rollback of chg-1 did not help: what hurt has not come back"
    assert at_ms(DONE + 2 * MINUTE) < page.at_ms < at_ms(DONE + 4 * MINUTE)
    last = entries[-1].incident
    assert last is not None
    assert last.state == "open"
    assert "chg-1" not in [suspect.deploy_id for suspect in last.suspects]
    assert (last.verdict, [suspect.deploy_id for suspect in last.suspects][:1]) != ("guilty", ["chg-1"])
    assert desk.history.distrusted == {"checkout"}


def test_a_rollback_that_helped_leaves_the_blame_where_it_is() -> None:
    shop = Shop()
    (left,) = [s for s in regional(shop) if isinstance(s, Signal)]
    shop.hurts = [Hurt("orders", 0.6, ONSET, DONE + MINUTE, where={"region": "eu-west"})]
    returned = shop.returned("orders", DONE + MINUTE + 2, DONE + MINUTE, region="eu-west")
    desk, entries = told(shop, [left, returned, *deploy()], done=True)
    assert [decision.action for decision in decisions(entries)] == ["page", "rollback", "observe"]
    proof = decisions(entries)[-1]
    assert proof.reasons[0].startswith("the rollback of chg-1 helped: what hurt has surely come back")
    assert "orders saved in the hour after it" in proof.reasons[1]
    assert entries[-1].event == "closed"
    assert entries[-1].incident is not None
    assert entries[-1].incident.verdict == "guilty"
    assert desk.history.distrusted == set()


def test_a_rollback_of_which_nobody_says_that_it_was_done_is_not_judged() -> None:
    # A replay's world does not react: what was only decided there must not look like a rollback in vain.
    shop = Shop()
    _, entries = told(shop, [*regional(shop), *deploy()], done=False)
    assert [decision.action for decision in decisions(entries)] == ["page", "rollback"]


@pytest.mark.parametrize("gap", [range(DONE, START + 60 * MINUTE)], ids=["from the rollback on"])
def test_without_data_nothing_is_said_of_whether_it_helped(gap: range) -> None:
    shop = Shop(missing={"orders": gap})
    _, entries = told(shop, [*regional(shop), *deploy()], done=True)
    assert [decision.action for decision in decisions(of_harm(entries))] == ["page", "rollback"]


def test_what_has_half_come_back_has_not_come_back() -> None:
    shop = Shop()
    records = [*regional(shop), *deploy()]
    shop.hurts = [
        Hurt("orders", 0.6, ONSET, DONE, where={"region": "eu-west"}),
        Hurt("orders", 0.75, DONE, where={"region": "eu-west"}),
    ]
    _, entries = told(shop, records, done=True)
    assert decisions(entries, "page")[-1].reasons[0].startswith("the rollback of chg-1 did not help")


def test_a_service_that_was_rolled_back_in_vain_is_not_rolled_back_by_itself_again() -> None:
    shop = Shop()
    desk, _ = told(shop, [*regional(shop), *deploy()], done=True)
    later = START + 41 * MINUTE
    shop.hurts.append(Hurt("orders", 0.5, later + MINUTE, where={"region": "us-east"}))
    records: list[ChangeSeen | Signal] = [
        shop.left("orders", later + MINUTE + 3, later + MINUTE, region="us-east"),
        *deploy("chg-9", started=later * 10_000, regions=["us-east"]),
    ]
    entries = desk.feed(shop.log(START + 40 * MINUTE + 1, later + 10 * MINUTE, records))
    assert decisions(entries, "rollback") == []
    assert any("a rollback of checkout was in vain" in sentence for decision in decisions(entries, "hold") for sentence in decision.blocked_by)
