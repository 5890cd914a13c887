"""Versions that no change record speaks of: told, weighed like a change, and a reason not to undo another one."""

from __future__ import annotations

import pytest

from rollguard.incidents import ChangeSeen, Desk, Entry, IncidentState
from tests.incidents import scenes
from tests.incidents.scenes import MINUTE, MINUTE_MS, ONSET, START, START_MS

REGIONS = ("eu-west", "us-east")
#: Versions that ran before anything was shipped, as events show them.
BEFORE = tuple((service, region, "1.0") for service in ("checkout", "payments") for region in REGIONS)
#: A change of payments from long ago, which names what ran since.
LONG_AGO = scenes.deploy("chg-old", started=START_MS - 300 * MINUTE_MS, service="payments", regions=REGIONS, version="1.0", from_version="0.9")
SENTENCE = "payments 2.0 came in eu-west around the onset, and no change record speaks of it"


def played(*records: ChangeSeen, came: int = ONSET, region: str = "eu-west", version: str = "2.0", spoken: str = "1.0") -> list[Entry]:
    """A deploy of checkout to eu-west, orders that fall there ten minutes after it was done, and a version of payments that comes in a bucket."""
    shop = scenes.Shop()
    shop.appeared = {START - 9 * MINUTE: tuple((service, place, spoken) for service, place, _ in BEFORE)}
    shop.appeared[came] = (*shop.appeared.get(came, ()), ("payments", region, version))
    signals = scenes.regional(shop)
    deploy = scenes.deploy(started=START_MS - 3 * MINUTE_MS, minutes=1.0)
    return scenes.played(shop, [*signals, *deploy, *LONG_AGO, *records])


def last(entries: list[Entry]) -> IncidentState:
    return [entry.incident for entry in entries if entry.incident is not None][-1]


def test_without_a_stranger_the_change_just_before_is_rolled_back() -> None:
    entries = played(version="1.0")
    assert scenes.decisions(entries, "rollback")
    assert SENTENCE not in last(entries).symptoms


def test_a_version_that_no_record_speaks_of_is_told_and_weighed_and_holds_the_rollback_of_another() -> None:
    entries = played()
    plain, doubted = last(played(version="1.0")), last(entries)
    assert scenes.decisions(entries, "rollback") == []
    assert SENTENCE in doubted.symptoms
    assert any(SENTENCE in reason for decision in scenes.decisions(entries, "page") for reason in decision.reasons)
    assert any("payments 2.0 came about then" in why for decision in scenes.decisions(entries, "hold") for why in decision.blocked_by)
    assert doubted.suspects[0].probability < plain.suspects[0].probability
    assert doubted.no_change_probability > plain.no_change_probability
    assert sum(each.probability for each in doubted.suspects) + doubted.no_change_probability == pytest.approx(1.0, abs=0.01)
    # It was a change, so that none did it is not what is concluded.
    assert doubted.verdict == "inconclusive"


@pytest.mark.parametrize(
    ("records", "spoken"),
    [
        pytest.param(scenes.deploy("chg-2", started=START_MS, service="payments"), True, id="it has a record"),
        pytest.param(scenes.deploy("chg-2", started=START_MS, service="payments", received_at=START_MS + 4 * MINUTE_MS), True, id="its record is late"),
        pytest.param(scenes.deploy("chg-2", started=START_MS, service="payments", regions=["us-east"]), True, id="the record of the place is lost"),
        pytest.param(scenes.deploy("chg-2", started=START_MS + 3 * MINUTE_MS, service="payments", from_version="2.0"), False, id="a flag names it later"),
        pytest.param(scenes.deploy("chg-2", started=START_MS, service="search"), False, id="another service has such a version"),
        pytest.param(scenes.deploy("chg-2", started=START_MS, service="payments", version="2.0-rc"), True, id="its canary has a name of its own"),
        pytest.param(scenes.deploy("chg-2", started=START_MS, service="payments", version="on", change_kind="flag"), False, id="a flag brings no version"),
        pytest.param(scenes.deploy("chg-2", started=START_MS - 9 * MINUTE_MS, service="payments", version="2.0-rc"), False, id="a release was done before"),
        pytest.param(scenes.deploy("chg-2", started=START_MS, service="payments", regions=["us-east"], version="2.0-rc"), False, id="a release elsewhere"),
    ],
)
def test_who_names_a_version_tells_that_it_was_recorded(records: list[ChangeSeen], spoken: bool) -> None:
    assert (SENTENCE in last(played(*records)).symptoms) is not spoken


@pytest.mark.parametrize(
    ("where", "told"),
    [
        pytest.param({"came": ONSET - 31 * MINUTE}, False, id="long before"),
        pytest.param({"came": ONSET - 5 * MINUTE}, True, id="before"),
        pytest.param({"came": ONSET + 9 * MINUTE}, True, id="its first event comes late"),
        pytest.param({"came": ONSET + 12 * MINUTE}, False, id="after"),
        pytest.param({"region": "us-east"}, False, id="where nothing hurts"),
        pytest.param({"version": ""}, False, id="no version"),
        pytest.param({"version": "__other__"}, False, id="the folded rest"),
        pytest.param({"came": START - 9 * MINUTE}, False, id="as old as what was seen first"),
        pytest.param({"spoken": "release-1.0"}, False, id="records name versions in another way than events"),
    ],
)
def test_a_stranger_comes_into_a_place_that_hurts_around_the_onset(where: dict[str, object], told: bool) -> None:
    assert any("no change record speaks of it" in each for each in last(played(**where)).symptoms) is told  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("more", "before", "came", "told"),
    [
        pytest.param("compare", ("2.0", "off"), ("2.0", "on"), False, id="a flag"),
        pytest.param("compare", ("1.0", "off"), ("2.0", "off"), True, id="a version, and its flags are known"),
        pytest.param("watched", ("dhl", "2.0"), ("ups", "2.0"), False, id="a carrier"),
        pytest.param("watched", ("dhl", "1.0"), ("ups", "2.0"), True, id="a version that comes with a carrier"),
    ],
)
def test_a_version_is_new_to_a_service_and_region_whatever_its_other_labels(more: str, before: tuple[str, str], came: tuple[str, str], told: bool) -> None:
    known = {"watched": ["service", "region"], "compare": ["version"]}
    sources = ", ".join(f"{source}: {{fields: {{more: more}}}}" for source in ("orders", "errors", "deliveries"))
    shop = scenes.Shop(settings=scenes.settings_with(f"labels: {known | {more: [*known[more], 'more']}}\nsources: {{{sources}}}\n"))
    first = ("0.9", "off") if more == "compare" else ("dhl", "0.9")
    shop.appeared = {START - 9 * MINUTE: tuple(("payments", "eu-west", *labels) for labels in (first, before)), ONSET: (("payments", "eu-west", *came),)}
    records = scenes.deploy("chg-old", started=START_MS - 300 * MINUTE_MS, service="payments", regions=REGIONS, version="0.9", from_version="0.8")
    entries = scenes.played(shop, [*scenes.regional(shop), *scenes.deploy(started=START_MS - 3 * MINUTE_MS, minutes=1.0), *records])
    assert (SENTENCE in last(entries).symptoms) is told


def test_a_desk_restored_between_knows_what_came_before() -> None:
    shop = scenes.Shop(appeared={START - 9 * MINUTE: BEFORE, ONSET: (("payments", "eu-west", "2.0"),)})
    log = list(shop.log(START - 10 * MINUTE, START + 20 * MINUTE, [*scenes.regional(shop), *LONG_AGO]))
    desk, whole = Desk(shop.settings), Desk(shop.settings).feed(log)
    first = desk.feed(log[: len(log) // 3])
    assert first + Desk.restore(shop.settings, desk.snapshot()).feed(log[len(log) // 3 :]) == whole
    assert SENTENCE in last(whole).symptoms
