"""Two incidents in the same places: when a second one is told, who pays, and that nobody is guilty of what may follow from the first."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest

from rollguard.detectors import Signal
from rollguard.incidents import ChangeSeen, Desk, Entry, IncidentState
from rollguard.incidents.apart import FOLLOWS
from tests.incidents.scenes import KNOWN, MINUTE, MINUTE_MS, ONSET, START, START_MS, Hurt, Shop, at_ms, big_shop, decisions, deploy, played, states

ADVISE = "{mode: advise}"
LATER = 20 * MINUTE
#: Orders lost in a bucket of a region, of which two in five are.
LOST = 0.4 * 120.0
#: An incident is told once a minute.
A_MINUTE = 6 * LOST


def last_states(entries: Iterable[Entry]) -> list[IncidentState]:
    """The last state of each incident, in the order in which they were opened."""
    return [each[-1] for each in states(entries).values()]


def errors_of_payments(shop: Shop, since: int = ONSET) -> list[Signal]:
    """Errors of payments rise in eu-west."""
    shop.hurts.append(Hurt("errors", 4.0, since, where={"region": "eu-west", "service": "payments"}))
    return [shop.left("errors", since + 3, since, region="eu-west", service="payments")]


def orders_fall(shop: Shop, since: int = ONSET + LATER, region: str = "eu-west") -> list[Signal]:
    """Orders fall by two fifths in a region."""
    shop.hurts.append(Hurt("orders", 0.6, since, where={"region": region}))
    return [shop.left("orders", since + 3, since, region=region), shop.left("orders", since + 3, since, region=region, service="checkout")]


def second(minutes: float = 20.0, **named: Any) -> list[ChangeSeen]:
    """The change that came in between."""
    return deploy("chg-2", started=START_MS + round(minutes * MINUTE_MS), **named)


def test_two_changes_that_hurt_one_place_are_two_incidents_and_each_loss_stands_on_one_bill() -> None:
    shop = big_shop(ADVISE)
    signals = [*errors_of_payments(shop), *orders_fall(shop)]
    entries = played(shop, [*signals, *deploy(service="payments"), *second()], last=ONSET + 2 * LATER)
    first, other = last_states(entries)
    assert [(each.metrics, each.regions, each.suspects[0].deploy_id) for each in (first, other)] == [
        (("errors",), ("eu-west",), "chg-1"),
        (("orders",), ("eu-west",), "chg-2"),
    ]
    assert [page.at_ms for page in decisions(entries, "page")] == [at_ms(KNOWN), at_ms(KNOWN + LATER)]
    assert [each.orders_lost for each in (first, other)] == pytest.approx([0.0, LOST * (LATER + 1)], abs=A_MINUTE)
    bill = f"what more is lost in the same places stands on the bill of {other.incident_id}"
    assert first.cost == f"cost: 0 orders lost so far, none are being lost now; {bill}"
    assert other.symptoms[-1].startswith(f"it began after {first.incident_id} in the same places: ")


@pytest.mark.parametrize("minutes", [12.0, 16.0, 19.5])
@pytest.mark.parametrize("order", ["errors then orders", "orders then errors"])
@pytest.mark.parametrize("policy", ["", "policy: {guilty: 0.6}\n"], ids=["as shipped", "guilty from 60 %"])
def test_nobody_is_guilty_of_what_may_follow_from_an_open_incident_and_nothing_is_rolled_back(order: str, minutes: float, policy: str) -> None:
    """An innocent deploy of the service that shows what follows, a little before it does."""
    shop = big_shop(policy)
    if order == "errors then orders":
        signals, changes = [*errors_of_payments(shop), *orders_fall(shop)], [*deploy(service="payments"), *second(minutes)]
    else:
        signals = [*orders_fall(shop, ONSET), *errors_of_payments(shop, ONSET + LATER)]
        changes = [*deploy(), *second(minutes, service="payments")]
    entries = played(shop, [*signals, *changes], last=ONSET + 2 * LATER)
    told = {each.incident_id: each for each in last_states(entries)}
    rolled_back = {entry.incident_id for entry in entries if entry.decision is not None and entry.decision.action == "rollback"}
    assert rolled_back <= {next(iter(told))}
    for each in [*told.values()][1:]:
        assert each.verdict != "guilty"
        assert each.suspects[0].probability <= 1.0 - FOLLOWS
        assert "a person has to find out" in each.would_change[0]


@pytest.mark.parametrize(
    ("why", "other"),
    [
        ("no other change", []),
        ("it came before", second(-2.0)),
        ("it came after", second(24.0)),
        ("it went elsewhere", second(regions=["us-east"])),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_hurts_later_in_the_same_place_is_the_same_incident_unless_a_change_of_its_own_explains_it(why: str, other: list[ChangeSeen]) -> None:
    shop = big_shop(ADVISE)
    signals = [*errors_of_payments(shop), *orders_fall(shop)]
    entries = played(shop, [*signals, *deploy(service="payments"), *other], last=ONSET + 2 * LATER)
    (only,) = last_states(entries)
    assert (only.metrics, only.suspects[0].deploy_id) == (("errors", "orders"), "chg-1"), why
    assert len(decisions(entries, "page")) == 1
    assert only.orders_lost == pytest.approx(LOST * (LATER + 1), abs=A_MINUTE)


def test_a_change_of_another_service_than_shows_it_splits_no_incident() -> None:
    shop = big_shop(ADVISE)
    signals = [*orders_fall(shop, ONSET), *errors_of_payments(shop, ONSET + LATER)]
    entries = played(shop, [*signals, *deploy(), *second()], last=ONSET + 2 * LATER)
    (only,) = last_states(entries)
    assert only.metrics == ("errors", "orders")
    assert len(decisions(entries, "page")) == 1


def test_a_third_way_to_hurt_goes_to_the_incident_whose_change_explains_it() -> None:
    shop = big_shop(ADVISE)
    later, third = ONSET + LATER, ONSET + LATER + 7 * MINUTE
    shop.hurts.append(Hurt("promised_minutes", 6.0, later, where={"service": "checkout", "region": "eu-west"}))
    promises = [shop.left("promised_minutes", later + 3, later, region="eu-west", service="checkout")]
    signals = [*errors_of_payments(shop), *promises, *orders_fall(shop, third)]
    first, other = last_states(played(shop, [*signals, *deploy(service="payments"), *second()], last=third + LATER))
    assert [(each.metrics, each.suspects[0].deploy_id) for each in (first, other)] == [(("errors",), "chg-1"), (("orders", "promised_minutes"), "chg-2")]
    assert [each.orders_lost for each in (first, other)] == pytest.approx([0.0, LOST * (LATER + 1)], abs=A_MINUTE)


def test_of_each_region_the_incident_pays_that_hurt_it_first() -> None:
    shop = big_shop(ADVISE)
    again = ONSET + LATER + 6 * MINUTE
    both = ["eu-west", "us-east"]
    shop.hurts.append(Hurt("errors", 4.0, ONSET, where={"region": "us-east", "service": "payments"}))
    signals = [
        *errors_of_payments(shop),
        shop.left("errors", KNOWN, ONSET, region="us-east", service="payments"),
        *orders_fall(shop),
        *orders_fall(shop, again, "us-east"),
    ]
    last = again + LATER
    entries = played(shop, [*signals, *deploy(service="payments", regions=both), *second()], last=last)
    told = last_states(entries)
    lost = LOST * (last - (ONSET + LATER) + 1) + LOST * (last - again + 1)
    assert len(told) == 2
    assert sum(each.orders_lost for each in told) == pytest.approx(lost, abs=2 * A_MINUTE)


def test_a_desk_restored_beside_an_open_incident_goes_on_as_if_it_had_never_stopped() -> None:
    shop = big_shop(ADVISE)
    signals = [*errors_of_payments(shop), *orders_fall(shop)]
    log = list(shop.log(START - 10 * MINUTE, ONSET + 2 * LATER, [*signals, *deploy(service="payments"), *second()]))
    whole = Desk(shop.settings).feed(log)
    cut = log.index(signals[-1]) + 3 * MINUTE
    before = Desk(shop.settings)
    told = before.feed(log[:cut])
    assert told + Desk.restore(shop.settings, before.snapshot()).feed(log[cut:]) == whole
