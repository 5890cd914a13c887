"""The desk: which signals are one incident, when it pages, acts and closes, and what keeps it from acting."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from rollguard.detectors import Signal
from rollguard.incidents import ChangeSeen, Desk, Entry, IncidentState, Kill, LogRecord
from rollguard.streams import SnapshotError
from tests.incidents.scenes import (
    HOUR_MS,
    KNOWN,
    MINUTE,
    MINUTE_MS,
    ONSET,
    START,
    START_MS,
    Hurt,
    Shop,
    at_ms,
    big_shop,
    decisions,
    deploy,
    everywhere,
    played,
    regional,
    settings_with,
    states,
)

REGIONS = ("eu-west", "us-east", "ap-south")


def the_last(entries: Iterable[Entry]) -> IncidentState:
    """Last state of the only incident."""
    (only,) = states(entries).values()
    return only[-1]


def back(shop: Shop, bucket: int, *left: Signal) -> list[Signal]:
    """All of these return to their baseline at a bucket, which is known two buckets later."""
    shop.hurts = [Hurt(hurt.metric, hurt.factor, hurt.since, min(hurt.until, bucket), hurt.where) for hurt in shop.hurts]
    return [shop.returned(signal.series.metric, bucket + 2, bucket, **dict(signal.series.labels)) for signal in left]


def blocked(entries: Iterable[Entry]) -> str:
    """What kept the first hold from being a rollback."""
    return "; ".join(decisions(entries, "hold")[0].blocked_by)


def test_a_regional_culprit_is_named_paged_and_rolled_back_in_the_tick_of_the_signal() -> None:
    shop = Shop()
    entries = played(shop, [*regional(shop), *deploy()])
    assert [(entry.event, entry.at_ms) for entry in entries[:3]] == [(event, at_ms(KNOWN)) for event in ("opened", "decided", "decided")]
    page, rollback = decisions(entries)
    assert (page.action, rollback.action, rollback.target) == ("page", "rollback", "checkout -> 1.0 @ eu-west")
    assert page.reasons[0] == "orders in eu-west: 288, 480 expected (-40 %)"
    assert page.reasons[1].startswith("cost: 192 orders lost so far, each further minute costs 288.0 (")
    last = the_last(entries)
    assert (last.verdict, last.state, last.regions, last.metrics) == ("guilty", "acting", ("eu-west",), ("orders",))
    assert last.onset_ms == ONSET * 10_000
    assert last.opened_at_ms == at_ms(KNOWN)


def test_nothing_is_said_of_a_shop_that_is_well() -> None:
    assert played(Shop(), deploy()) == []


def test_two_at_once_in_different_regions_stay_apart() -> None:
    shop = big_shop()
    signals = [*regional(shop), *regional(shop, region="us-east", onset=ONSET + MINUTE)]
    found = states(played(shop, [*signals, *deploy("chg-1"), *deploy("chg-2", regions=["us-east"], started=START_MS + MINUTE_MS, service="payments")]))
    assert [(each[-1].regions, each[-1].suspects[0].deploy_id) for each in found.values()] == [(("eu-west",), "chg-1"), (("us-east",), "chg-2")]
    assert all(each[-1].suspects[0].probability > 0.9 for each in found.values())


def test_one_provider_that_fails_in_two_regions_one_after_the_other_is_one() -> None:
    shop = big_shop()
    signals = [*regional(shop), *regional(shop, region="us-east", onset=ONSET + MINUTE)]
    innocent = deploy(started=START_MS - 2 * HOUR_MS, regions=REGIONS)
    assert the_last(played(shop, [*signals, *innocent])).regions == ("eu-west", "us-east")


def test_one_that_hurts_orders_errors_and_promises_is_one() -> None:
    shop = big_shop()
    shop.hurts += [Hurt("errors", 4.0, ONSET, where={"region": "eu-west"}), Hurt("promised_minutes", 5.0, ONSET, where={"region": "eu-west"})]
    signals = [
        *regional(shop),
        shop.left("errors", KNOWN + 1, ONSET, region="eu-west"),
        shop.left("promised_minutes", KNOWN + 5, ONSET, region="eu-west", service="checkout"),
        shop.left("promised_minutes", KNOWN + 5, ONSET, region="eu-west"),
    ]
    last = the_last(played(shop, [*signals, *deploy()]))
    assert last.metrics == ("errors", "orders", "promised_minutes")
    assert last.regions == ("eu-west",)
    assert {symptom.split(" in ")[0] for symptom in last.symptoms} >= {"errors", "orders", "promised_minutes", "promised_minutes of checkout"}


def test_a_later_pooled_signal_joins() -> None:
    shop = big_shop()
    signals = [*regional(shop), shop.left("orders", KNOWN + 12, ONSET), shop.left("orders", KNOWN + 20, ONSET, service="checkout")]
    last = the_last(played(shop, [*signals, *deploy()]))
    assert last.regions == ("eu-west",)


def test_a_second_region_that_the_leading_suspect_reached_joins() -> None:
    shop = big_shop()
    signals = [*regional(shop), *regional(shop, region="us-east", onset=ONSET + 2 * MINUTE)]
    last = the_last(played(shop, [*signals, *deploy(), *deploy(started=START_MS + MINUTE_MS, regions=["us-east"])]))
    assert last.regions == ("eu-west", "us-east")


def test_a_second_region_whose_onset_was_put_too_early_joins_what_the_same_change_leads() -> None:
    shop = big_shop()
    begun = ONSET + 2 * MINUTE
    shop.hurts.append(Hurt("orders", 0.6, begun, where={"region": "us-east"}))
    signals = [*regional(shop), shop.left("orders", begun, START - 2, region="us-east")]
    entries = played(shop, [*signals, *deploy(), *deploy(started=START_MS + 2 * MINUTE_MS, regions=["us-east"])])
    assert the_last(entries).regions == ("eu-west", "us-east")
    assert len(decisions(entries, "page")) == 1


def test_what_joins_and_is_back_in_the_same_bucket_keeps_no_incident_open() -> None:
    shop = big_shop()
    begun = ONSET + 2 * MINUTE
    shop.hurts.append(Hurt("orders", 0.6, begun, where={"region": "us-east"}))
    first = regional(shop)
    blip = [shop.left("orders", begun, START - 2, region="us-east"), shop.returned("orders", begun, begun, region="us-east")]
    records = [*first, *blip, *back(shop, ONSET + 5 * MINUTE, *[each for each in first if isinstance(each, Signal)])]
    entries = played(shop, [*records, *deploy(), *deploy(started=START_MS + 2 * MINUTE_MS, regions=["us-east"])], last=ONSET + 40 * MINUTE)
    assert len(decisions(entries, "page")) == 1
    assert the_last(entries).state == "closed"


def test_a_wave_hours_later_is_dated_by_what_was_counted_there_then() -> None:
    shop = big_shop()
    late = 90 * MINUTE
    signals = [*regional(shop), *regional(shop, region="us-east", onset=ONSET + late)]
    waves = [*deploy(rollback={"supported": False}), *deploy(started=START_MS + 90 * MINUTE_MS, regions=["us-east"], rollback={"supported": False})]
    last = the_last(played(shop, [*signals, *waves], last=ONSET + late + 10 * MINUTE))
    assert last.regions == ("eu-west", "us-east")
    assert last.suspects[0].evidence["waves"] > 3.0


def test_it_closes_after_a_quiet_time_once_all_signals_have_returned() -> None:
    shop = Shop()
    signals = regional(shop)
    returned = back(shop, ONSET + 5 * MINUTE, *[s for s in signals if isinstance(s, Signal)])
    entries = played(shop, [*signals, *returned, *deploy()])
    closed = entries[-1]
    assert closed.event == "closed"
    assert closed.at_ms == at_ms(ONSET + 15 * MINUTE)
    assert closed.incident is not None
    assert (closed.incident.state, closed.incident.closed_at_ms) == ("closed", closed.at_ms)
    recovering = [state for state in states(entries)[closed.incident_id] if state.state == "recovering_after_action"]
    assert len(recovering) == 1


def test_it_does_not_close_while_one_series_is_still_away() -> None:
    shop = Shop()
    signals = [*regional(shop), shop.left("orders", KNOWN + 1, ONSET)]
    returned = back(shop, ONSET + 5 * MINUTE, *[s for s in signals if isinstance(s, Signal)])[:1]
    entries = played(shop, [*signals, *returned, *deploy()], last=START + 60 * MINUTE)
    assert "closed" not in [entry.event for entry in entries]


def test_leaving_again_during_recovery_goes_on_with_the_same_incident() -> None:
    shop = Shop()
    (left,) = [s for s in regional(shop) if isinstance(s, Signal)]
    again = ONSET + 10 * MINUTE
    records: list[ChangeSeen | Signal] = [left, *back(shop, ONSET + 5 * MINUTE, left), *deploy()]
    shop.hurts.append(Hurt("orders", 0.6, again, where={"region": "eu-west"}))
    records.append(shop.left("orders", again + 3, again, region="eu-west"))
    entries = played(shop, records, last=START + 40 * MINUTE)
    (mine,) = states(entries).values()
    assert [state.state for state in mine].count("recovering_after_action") == 1
    assert mine[-1].state == "acting"
    assert len(decisions(entries, "page")) == len(decisions(entries, "rollback")) == 1


def test_leaving_again_after_it_has_closed_is_another_incident() -> None:
    shop = Shop()
    (left,) = [s for s in regional(shop) if isinstance(s, Signal)]
    again = ONSET + 40 * MINUTE
    records: list[ChangeSeen | Signal] = [left, *back(shop, ONSET + 5 * MINUTE, left), *deploy()]
    shop.hurts.append(Hurt("orders", 0.6, again, where={"region": "eu-west"}))
    records.append(shop.left("orders", again + 3, again, region="eu-west"))
    entries = played(shop, records, last=START + 60 * MINUTE)
    first, second = states(entries).values()
    assert first[-1].state == "closed"
    assert second[-1].state == "open"
    assert len(decisions(entries, "rollback")) == 1


def test_one_that_has_come_back_is_not_rolled_back_any_more() -> None:
    shop = Shop()
    (left,) = [s for s in regional(shop) if isinstance(s, Signal)]
    # The change becomes known in the very tick in which all is well again.
    records: list[ChangeSeen | Signal] = [left, *back(shop, ONSET + 5 * MINUTE, left), *deploy(received_at=at_ms(ONSET + 5 * MINUTE + 2))]
    entries = played(shop, records)
    assert decisions(entries, "rollback") == []
    assert the_last(entries).verdict == "guilty"


def test_why_not_is_told_once_and_not_again_when_all_is_well() -> None:
    shop = Shop(settings=settings_with("mode: advise"))
    (left,) = [s for s in regional(shop) if isinstance(s, Signal)]
    entries = played(shop, [left, *back(shop, ONSET + 5 * MINUTE, left), *deploy()])
    assert entries[-1].event == "closed"
    assert [decision.action for decision in decisions(entries)] == ["page", "hold"]


def test_what_left_and_returned_in_one_bucket_pages_and_closes() -> None:
    shop = Shop()
    entries = played(shop, [shop.left("orders", KNOWN, ONSET, region="eu-west"), shop.returned("orders", KNOWN, KNOWN, region="eu-west"), *deploy()])
    assert len(decisions(entries, "page")) == 1
    assert decisions(entries, "rollback") == []
    assert entries[-1].event == "closed"


def test_missing_data_blocks_the_action_but_not_the_page() -> None:
    shop = Shop()
    shop.missing["orders"] = range(KNOWN - 2, KNOWN)
    entries = played(shop, [*regional(shop), *deploy()], last=KNOWN + 5)
    page = decisions(entries, "page")[0]
    assert page.at_ms == at_ms(KNOWN)
    assert "orders: 2 of the last 12 buckets are missing" in page.reasons
    assert "the data of orders is missing or uncertain" in blocked(entries)
    assert decisions(entries, "rollback") == []


def test_late_and_refused_events_block_the_action_but_not_the_page() -> None:
    shop = Shop()
    shop.doubtful["orders"] = range(KNOWN - 10, KNOWN)
    entries = played(shop, [*regional(shop), *deploy()])
    page = decisions(entries, "page")[0]
    assert page.at_ms == at_ms(KNOWN)
    assert any("came too late or were refused" in reason for reason in page.reasons)
    assert "the data of orders is missing or uncertain" in blocked(entries)
    (rollback,) = decisions(entries, "rollback")
    assert rollback.at_ms > at_ms(KNOWN + 15)


def test_a_few_late_events_are_no_doubt() -> None:
    shop = Shop()
    shop.doubtful["orders"] = range(KNOWN - 2, KNOWN)
    (rollback,) = decisions(played(shop, [*regional(shop), *deploy()]), "rollback")
    assert rollback.at_ms == at_ms(KNOWN)


def test_one_late_or_refused_point_is_a_doubt_as_it_may_stand_for_any_number_of_events() -> None:
    points = "sources: {orders: {fields: {n: n}, points: {every: 10s, weight: n}}}"
    shop = Shop(settings=settings_with(points))
    shop.doubtful["orders"] = range(KNOWN - 2, KNOWN)
    entries = played(shop, [*regional(shop), *deploy()])
    page = decisions(entries, "page")[0]
    assert page.at_ms == at_ms(KNOWN)
    assert any("each of which may stand for any number of events" in reason for reason in page.reasons)
    assert "the data of orders is missing or uncertain" in blocked(entries)


def test_a_source_that_has_only_fallen_silent_is_no_second_witness() -> None:
    shop = Shop()
    shop.silent["orders"] = range(ONSET, START + 20 * MINUTE)
    shop.hurts.append(Hurt("errors", 4.0, ONSET, where={"region": "eu-west"}))
    records: list[ChangeSeen | Signal] = [
        shop.left("orders", ONSET + 2, ONSET),
        shop.left("errors", ONSET + 3, ONSET, region="eu-west"),
        *deploy(regions=["eu-west", "us-east"]),
    ]
    entries = played(shop, records)
    assert decisions(entries, "page")
    assert decisions(entries, "rollback") == []


def test_an_action_is_made_up_for_once_the_data_is_whole_again() -> None:
    shop = Shop()
    shop.missing["orders"] = range(KNOWN - 2, KNOWN)
    (rollback,) = decisions(played(shop, [*regional(shop), *deploy()]), "rollback")
    assert rollback.at_ms == at_ms(KNOWN - 1 + 12)


@pytest.mark.parametrize("onset", [ONSET, ONSET - 1])
@pytest.mark.parametrize("minutes", [1, 2, 5, 20])
def test_silence_alone_pages_but_never_acts(onset: int, minutes: int) -> None:
    shop = Shop()
    shop.silent["orders"] = range(ONSET, ONSET + minutes * MINUTE)
    entries = played(shop, [shop.left("orders", ONSET + 2, onset), shop.left("orders", ONSET + 2, onset, region="eu-west"), *deploy(regions=["eu-west"])])
    page = decisions(entries, "page")[0]
    assert any("without any event" in reason for reason in page.reasons)
    during = [d for d in decisions(entries, "rollback") if d.at_ms <= at_ms(ONSET + minutes * MINUTE - 1)]
    assert during == []
    assert "only silence speaks for it" in blocked(entries)


def test_silence_of_one_metric_does_not_keep_from_acting_on_another() -> None:
    shop = Shop()
    shop.silent["orders"] = range(ONSET + MINUTE, ONSET + 30 * MINUTE)
    shop.hurts.append(Hurt("promised_minutes", 6.0, ONSET, where={"region": "eu-west"}))
    signals = [shop.left("promised_minutes", KNOWN, ONSET, region="eu-west"), shop.left("orders", KNOWN + MINUTE, ONSET + MINUTE)]
    assert len(decisions(played(shop, [*signals, *deploy()]), "rollback")) == 1


@pytest.mark.parametrize("heard", [[], deploy(started=START_MS - 13 * HOUR_MS)])
def test_a_silent_change_feed_makes_the_verdict_inconclusive_and_the_page_says_so(heard: list[ChangeSeen]) -> None:
    shop = big_shop("changes: {quiet: 12h}")
    entries = played(shop, [*regional(shop), *heard])
    last = the_last(entries)
    assert last.verdict == "inconclusive"
    assert "changes: the feed is silent, so what changed is unknown" in last.data_quality
    assert "changes: the feed is silent, so what changed is unknown" in decisions(entries, "page")[0].reasons
    assert "the change feed is silent" in blocked(entries)
    assert decisions(entries, "rollback") == []


def test_a_change_feed_within_its_quiet_time_is_believed() -> None:
    shop = big_shop("changes: {quiet: 12h}")
    assert len(decisions(played(shop, [*regional(shop), *deploy()]), "rollback")) == 1


def fed(desk: Desk, shop: Shop, records: Iterable[ChangeSeen | Signal], kills: dict[int, bool], last: int = START + 20 * MINUTE) -> list[Entry]:
    out: list[Entry] = []
    for bucket in range(START - 10 * MINUTE, last + 1):
        if bucket in kills:
            out += desk.feed([Kill(on=kills[bucket])])
        mine = [r for r in records if not isinstance(r, Signal) or r.bucket == bucket]
        out += desk.feed(shop.log(bucket, bucket, mine))
    return out


def test_the_kill_switch_keeps_from_acting_until_it_is_off() -> None:
    shop = Shop()
    entries = fed(Desk(shop.settings), shop, [*regional(shop), *deploy()], {START: True, KNOWN + 30: False})
    assert blocked(entries) == "the kill switch is on"
    (rollback,) = decisions(entries, "rollback")
    assert rollback.at_ms >= at_ms(KNOWN + 30)
    assert len(decisions(entries, "page")) == 1


def two_in_a_row(text: str = "", *, service: str = "checkout", mended: bool = True) -> list[Entry]:
    """Two deploys to different regions twenty minutes apart, each with its own incident."""
    shop = big_shop(text)
    later = ONSET + 20 * MINUTE
    first = regional(shop)
    records = [*first, *(back(shop, ONSET + 3 * MINUTE, *[s for s in first if isinstance(s, Signal)]) if mended else [])]
    records += [*regional(shop, region="us-east", onset=later), *deploy("chg-1")]
    records += deploy("chg-2", regions=["us-east"], started=START_MS + 20 * MINUTE_MS, service=service)
    return played(shop, records, last=later + 60 * MINUTE)


def test_a_cool_down_keeps_a_second_rollback_of_the_service_waiting() -> None:
    entries = two_in_a_row("policy: {known_good: 1m}")
    assert blocked(entries) == "the service is cooling down"
    first, second = decisions(entries, "rollback")
    assert second.at_ms >= first.at_ms + 30 * MINUTE_MS
    assert [d.at_ms for d in decisions(two_in_a_row("policy: {known_good: 1m}", service="payments"), "rollback")][1] < second.at_ms


def test_the_budget_of_rollbacks_is_kept_over_all_services() -> None:
    entries = two_in_a_row("policy: {max_rollbacks: 1}", service="payments")
    assert len(decisions(entries, "rollback")) == 1
    assert blocked(entries) == "the rollback budget is used up"
    entries = two_in_a_row("policy: {max_rollbacks: 1, max_rollbacks_per: 30m}", service="payments")
    assert len(decisions(entries, "rollback")) == 2


def test_no_budget_means_no_rollback() -> None:
    shop = big_shop("policy: {max_rollbacks: 0}")
    entries = played(shop, [*regional(shop), *deploy()])
    assert blocked(entries) == "the rollback budget is used up"


def test_a_change_is_rolled_back_once_whatever_the_scope() -> None:
    shop = big_shop("policy: {cool_down: 0s, max_rollbacks: 9}")
    (left,) = [s for s in regional(shop) if isinstance(s, Signal)]
    second = ONSET + 40 * MINUTE
    records: list[ChangeSeen | Signal] = [
        left,
        *back(shop, ONSET + 5 * MINUTE, left),
        *deploy(),
        *deploy(regions=["us-east"], started=START_MS + 40 * MINUTE_MS),
    ]
    records += regional(shop, region="us-east", onset=second)
    entries = played(shop, records, last=second + 20 * MINUTE)
    assert len(states(entries)) == 2
    assert len(decisions(entries, "rollback")) == 1
    assert "it was rolled back before" in blocked(entries)


@pytest.mark.parametrize(
    ("mode", "actions"),
    [
        ("observe", ["observe"]),
        ("advise", ["page", "hold"]),
        ("approve", ["page", "hold", "hold"]),
        ("auto", ["page", "rollback"]),
        ("null", ["page", "rollback"]),
    ],
)
def test_each_service_has_its_mode(mode: str, actions: list[str]) -> None:
    shop = Shop(settings=settings_with(f"services: {{checkout: {{mode: {mode}}}, payments: {{mode: observe}}}}"))
    entries = played(shop, [*regional(shop), *deploy()])
    assert [decision.action for decision in decisions(entries)] == actions
    for hold in decisions(entries, "hold"):
        assert hold.target == "checkout -> 1.0 @ eu-west"
        assert hold.blocked_by[0].startswith(f"the mode is {mode}")


def test_without_any_mode_nothing_is_done_and_nobody_paged() -> None:
    shop = Shop(settings=settings_with("mode: null"))
    assert [decision.action for decision in decisions(played(shop, [*regional(shop), *deploy()]))] == ["observe"]


def test_what_was_only_observed_pages_once_the_culprit_is_a_service_that_may() -> None:
    shop = Shop(settings=settings_with("services: {payments: {mode: observe}, checkout: {mode: auto}}"))
    shop.hurts.append(Hurt("orders", 0.4, ONSET, where={"service": "payments", "region": "eu-west"}))
    signals = [shop.left("orders", KNOWN, ONSET, service="payments", region="eu-west")]
    entries = played(shop, [*signals, *deploy(received_at=START_MS + 5 * MINUTE_MS)])
    assert [decision.action for decision in decisions(entries)] == ["observe", "page", "rollback"]
    assert [decision.target for decision in decisions(entries)][:2] == ["payments", "checkout"]


def test_an_incident_without_a_change_is_paged_and_nobody_is_blamed() -> None:
    entries = played(shop := big_shop(), everywhere(shop))
    last = the_last(entries)
    assert (last.verdict, last.suspects, last.no_change_probability) == ("no_change", (), 1.0)
    assert [decision.action for decision in decisions(entries)][:2] == ["page", "hold"]
    assert decisions(entries, "rollback") == []


def test_one_that_went_everywhere_waits_for_a_second_source() -> None:
    shop = big_shop()
    entries = played(shop, [*everywhere(shop), *deploy(regions=REGIONS)])
    assert "only deliveries shows it, two different sources are needed" in blocked(entries)
    (rollback,) = decisions(entries, "rollback")
    assert rollback.at_ms == at_ms(ONSET + 2 * MINUTE + 3)


def test_a_new_version_that_does_worse_beside_the_old_one_is_grounds() -> None:
    shop = big_shop()
    shop.hurts.append(Hurt("promised_minutes", 8.0, ONSET, where={"service": "checkout", "version": "2.0"}))
    entries = played(shop, [shop.left("promised_minutes", KNOWN, ONSET, service="checkout"), *deploy(regions=REGIONS)])
    (rollback,) = decisions(entries, "rollback")
    assert any(reason.startswith("grounds: the new version does worse than the old one") for reason in rollback.reasons)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"rollback": {}}, "no version to go back to is known"),
        ({"rollback": {"supported": False, "to_version": "1.0"}}, "not declared reversible"),
        ({"rollback": {"supported": True, "to_version": "0.9"}}, "version 0.9 is not known to be good"),
        ({"from_version": None}, "version 1.0 is not known to be good"),
        ({"started": ONSET * 10_000 + 2 * MINUTE_MS}, "the verdict is no change"),
    ],
)
def test_a_change_that_lacks_something_is_held_with_the_reason(fields: dict[str, Any], words: str) -> None:
    shop = Shop()
    entries = played(shop, [*regional(shop), *deploy(**fields)])
    assert words in blocked(entries)
    assert decisions(entries, "rollback") == []


def test_a_second_open_incident_of_the_service_makes_its_version_not_known_good() -> None:
    entries = two_in_a_row("policy: {cool_down: 0s}", mended=False)
    assert "version 1.0 is not known to be good" in blocked(entries)
    assert len(decisions(entries, "rollback")) == 1


@pytest.mark.parametrize(
    ("labels", "where", "regions", "services"),
    [
        ({"service": ("checkout", "payments")}, {"service": "checkout"}, (), ("checkout",)),
        ({"region": ("eu-west", "us-east")}, {"region": "eu-west"}, ("eu-west",), ()),
        ({"shop": ("north", "south")}, {"shop": "north"}, (), ()),
        ({"shop": ("north", "south"), "region": ("eu-west", "us-east")}, {"region": "eu-west"}, ("eu-west",), ()),
        ({"region": ("eu-west", "us-east"), "service": ("checkout", "payments"), "shop": ("n", "s")}, {"region": "eu-west"}, ("eu-west",), ()),
    ],
)
def test_shops_without_region_or_service_labels_work(
    labels: dict[str, tuple[str, ...]], where: dict[str, str], regions: tuple[str, ...], services: tuple[str, ...]
) -> None:
    fields = {name: name for name in ("id", "ts", "version", "promised_minutes", "actual_minutes", *labels)}
    on = "region" if "region" in labels else next(iter(labels))
    text = f"labels: {{watched: [{', '.join(labels)}]}}\nmetrics: {{errors: {{on: [{on}]}}}}\nsources:\n" + "".join(
        f"  {source}: {{fields: {{{', '.join(f'{a}: {b}' for a, b in fields.items())}}}}}\n" for source in ("orders", "errors", "deliveries")
    )
    shop = Shop(settings=settings_with(text), labels=labels)
    shop.hurts += [Hurt("promised_minutes", 8.0, ONSET, where={**where, "version": "2.0"}), Hurt("orders", 0.5, ONSET, where=where)]
    signals = [shop.left("promised_minutes", KNOWN, ONSET, **where), shop.left("orders", KNOWN, ONSET, **where), shop.left("orders", KNOWN + 2, ONSET)]
    returned = back(shop, ONSET + 5 * MINUTE, *signals)
    entries = played(shop, [*signals, *returned, *deploy()])
    last = the_last(entries)
    assert (last.regions, last.services) == (regions, services)
    assert (last.verdict, last.suspects[0].deploy_id) == ("guilty", "chg-1")
    assert len(decisions(entries, "rollback")) == 1
    assert last.state == "closed"
    assert last.orders_lost > 0.0
    desk = Desk(shop.settings)
    assert [e for r in shop.log(START - 10 * MINUTE, START + 20 * MINUTE, [*signals, *returned, *deploy()]) for e in desk.feed([r])] == entries


def test_an_incident_longer_than_what_is_kept_still_counts_from_its_onset() -> None:
    # Six hours of ticks are kept; this one is away for seven.
    shop = Shop(metrics=("orders",))
    hours = 7
    entries = played(shop, [*regional(shop), *deploy()], last=ONSET + hours * 60 * MINUTE - 1)
    lost = 0.4 * 120 * hours * 60 * MINUTE
    assert the_last(entries).orders_lost == pytest.approx(lost, rel=0.002)


def test_a_signal_before_the_first_tick_or_of_an_unknown_metric_is_survived() -> None:
    shop = Shop()
    desk = Desk(shop.settings)
    stray = shop.left("orders", START - 1, START - 9, region="eu-west")
    unknown = shop.left("latency", START, START - 9, region="eu-west")
    entries = desk.feed([stray, unknown, *shop.log(START, START + 20)])
    assert the_last(entries).metrics == ("orders",)


def the_story(shop: Shop) -> list[ChangeSeen | Signal]:
    """One with everything: two incidents, a return, gaps, a silence that is told, an innocent change and one known late."""
    first, second = regional(shop), regional(shop, region="us-east", onset=ONSET + 8 * MINUTE)
    shop.missing["orders"] = range(KNOWN + 4, KNOWN + 6)
    shop.silent["errors"] = range(START + 10 * MINUTE, START + 12 * MINUTE)
    returned = back(shop, ONSET + 12 * MINUTE, *[s for s in first if isinstance(s, Signal)])
    changes = [*deploy(), *deploy("chg-0", started=START_MS - HOUR_MS, regions=[None], service="payments")]
    changes += deploy("chg-2", started=START_MS + 8 * MINUTE_MS, regions=["us-east"], received_at=START_MS + 11 * MINUTE_MS)
    return [*first, *second, *returned, *changes]


def the_log() -> tuple[Shop, list[LogRecord]]:
    shop = big_shop()
    records = list(shop.log(START - MINUTE, START + 28 * MINUTE, the_story(shop)))
    records[80:80] = [Kill(on=True)]
    records[95:95] = [Kill(on=False)]
    return shop, records


SHOP, LOG = the_log()
WHOLE = Desk(SHOP.settings).feed(LOG)


def test_the_story_used_here_has_everything() -> None:
    assert len([name for name in states(WHOLE) if name.startswith("inc-")]) == 2
    assert {entry.event for entry in WHOLE} == {"opened", "updated", "decided", "closed"}
    assert {decision.action for decision in decisions(WHOLE)} == {"page", "hold", "rollback"}


@given(st.lists(st.integers(0, len(LOG)), max_size=12))
@settings(max_examples=20)
def test_any_batching_gives_the_same(cuts: list[int]) -> None:
    desk = Desk(SHOP.settings)
    edges = sorted({0, len(LOG), *cuts})
    assert [entry for low, high in itertools.pairwise(edges) for entry in desk.feed(LOG[low:high])] == WHOLE


def test_a_prefix_of_the_log_gives_a_prefix_of_the_timeline() -> None:
    desk = Desk(SHOP.settings)
    found: list[Entry] = []
    for record in LOG:
        found += desk.feed([record])
        assert found == WHOLE[: len(found)]
    assert found == WHOLE


@given(st.sets(st.integers(0, len(LOG)), min_size=1, max_size=6))
@example(set(range(74, 80)))
@settings(max_examples=8)
def test_a_desk_restored_at_any_record_goes_on_as_if_it_had_never_stopped(stops: set[int]) -> None:
    desk = Desk(SHOP.settings)
    found: list[Entry] = []
    for at, record in enumerate(LOG):
        if at in stops:
            desk = Desk.restore(SHOP.settings, desk.snapshot())
        found += desk.feed([record])
    assert found == WHOLE


def test_every_record_sent_twice_gives_the_same() -> None:
    desk = Desk(SHOP.settings)
    assert desk.feed(record for record in LOG for _ in range(2)) == WHOLE


def test_a_stretch_of_the_log_sent_again_gives_the_same() -> None:
    # What a second owner of the partition, or one that started again, sends after the first.
    desk = Desk(SHOP.settings)
    signals_and_ticks = [record for record in LOG if not isinstance(record, Kill)]
    kills = [Kill(on=False)]
    want = Desk(SHOP.settings).feed([*signals_and_ticks, *kills])
    found: list[Entry] = []
    for at in range(0, len(signals_and_ticks), 25):
        found += desk.feed(signals_and_ticks[max(at - 60, 0) : at + 25])
    assert found == want


def test_damaged_snapshots_and_those_of_other_settings_are_refused() -> None:
    data = Desk(SHOP.settings).snapshot()
    with pytest.raises(SnapshotError):
        Desk.restore(SHOP.settings, data[:-3])
    with pytest.raises(SnapshotError):
        Desk.restore(settings_with("bucket: 5s"), data)


def test_what_can_no_longer_matter_is_forgotten_and_changes_no_decision() -> None:
    shop = Shop(
        settings=settings_with("lookback: 1h\npolicy: {cool_down: 1m, max_rollbacks_per: 1h, known_good: 1m}"),
        metrics=("orders",),
    )
    records: list[ChangeSeen | Signal] = []
    for number in range(14):
        onset = ONSET + number * 60 * MINUTE
        (left,) = [s for s in regional(shop, onset=onset) if isinstance(s, Signal)]
        shop.hurts[-1] = Hurt("orders", 0.6, onset, onset + 5 * MINUTE, {"region": "eu-west"})
        records += [left, shop.returned("orders", onset + 5 * MINUTE + 2, onset + 5 * MINUTE, region="eu-west")]
        records += deploy(f"chg-{number}", started=(onset - MINUTE) * 10_000, minutes=2)
    desk = Desk(shop.settings)
    entries = desk.feed(shop.log(START - MINUTE, START + 14 * 60 * MINUTE, records))
    assert len(decisions(entries, "rollback")) == 14
    assert not desk.incidents
    assert len(desk.changes.changes) <= 4
    assert len(desk.history.closed) <= 4
    assert len(desk.history.rolled_back) <= 4
    assert len(desk.history.cooling_until_ms) <= 1
    assert not desk.changes.waiting
    assert len(desk.books._running) <= 8


def test_changes_are_forgotten_also_while_nothing_happens() -> None:
    shop = Shop(settings=settings_with("lookback: 1h\npolicy: {known_good: 1m}"), metrics=("orders",))
    desk = Desk(shop.settings)
    known = [seen for number in range(100) for seen in deploy(f"chg-{number}", started=START_MS + number * 300_000, minutes=1)]
    assert desk.feed(shop.log(START, START + 9 * 60 * MINUTE, known)) == []
    assert len(desk.changes.changes) < 40
