"""What looks like the fault of a change and is not: a sale, a provider, an old symptom, a pipe that breaks."""

from __future__ import annotations

import pytest

from tests.incidents.scenes import KNOWN, MINUTE, MINUTE_MS, ONSET, START, START_MS, Hurt, Shop, decisions, deploy, of_harm, played, regional

REGIONS = ("eu-west", "us-east", "ap-south")


def shop_of(*hurts: Hurt) -> Shop:
    """Three regions, each of them hurt as said."""
    return Shop(labels={"service": ("checkout", "payments"), "region": REGIONS}, hurts=list(hurts))


@pytest.mark.parametrize("where", [{}, {"region": "eu-west"}], ids=["everywhere", "where the change is"])
@pytest.mark.parametrize("metrics", [("orders",), ("orders", "errors")], ids=["orders", "orders and errors"])
def test_a_sale_is_no_regression_whether_it_is_everywhere_or_only_where_something_was_shipped(where: dict[str, str], metrics: tuple[str, ...]) -> None:
    shop = shop_of(*[Hurt(metric, 2.5, ONSET, where=where) for metric in metrics])
    assert played(shop, deploy()) == []


def test_fewer_orders_with_as_many_errors_is_told_of_the_orders_alone() -> None:
    shop = shop_of(Hurt("orders", 0.5, ONSET, where={"region": "eu-west"}))
    entries = played(shop, deploy())
    assert {entry.incident.metrics for entry in entries if entry.incident is not None} == {("orders",)}


def test_a_provider_that_fails_everywhere_is_not_laid_on_a_change_to_one_region_however_close() -> None:
    shop = shop_of(Hurt("orders", 0.5, ONSET), Hurt("errors", 4.0, ONSET))
    entries = played(shop, [shop.left("orders", KNOWN, ONSET), shop.left("errors", KNOWN, ONSET), *deploy()])
    assert "guilty" not in {entry.incident.verdict for entry in entries if entry.incident is not None}
    assert decisions(entries, "page")
    assert decisions(entries, "rollback") == []


@pytest.mark.parametrize("minutes", [5, 60])
def test_a_symptom_that_is_older_than_the_change_is_not_its_doing(minutes: int) -> None:
    shop = Shop(hurts=[Hurt("orders", 0.6, START - minutes * MINUTE, where={"region": "eu-west"})])
    entries = played(shop, [shop.left("orders", START + MINUTE, START - minutes * MINUTE, region="eu-west"), *deploy()])
    assert decisions(entries, "rollback") == []
    assert "guilty" not in {entry.incident.verdict for entry in entries if entry.incident is not None}


def test_a_missing_source_is_no_fall_and_a_silent_one_pages_and_is_not_acted_on() -> None:
    gap = range(ONSET, START + 30 * MINUTE)
    missing = played(Shop(missing=dict.fromkeys(("orders", "errors", "promised_minutes"), gap)), deploy())
    assert of_harm(missing) == []
    assert {entry.incident_id.split("/")[1] for entry in missing} == {"orders", "errors", "deliveries"}
    entries = played(Shop(silent={"orders": gap}), deploy(regions=[None]))
    assert decisions(entries, "page")
    assert decisions(entries, "rollback") == []


def test_only_the_places_that_hurt_are_rolled_back() -> None:
    shop = shop_of()
    signals = regional(shop)
    entries = played(shop, [*signals, *deploy(), *deploy(regions=["us-east"], started=START_MS + MINUTE_MS // 2)])
    assert {decision.target for decision in decisions(entries, "rollback")} <= {"checkout -> 1.0 @ eu-west"}
    assert "checkout -> 1.0 @ eu-west" in {decision.target for decision in decisions(entries)}


def test_a_change_shipped_everywhere_as_one_is_rolled_back_as_one() -> None:
    shop = Shop()
    shop.hurts += [Hurt("promised_minutes", 6.0, ONSET, where={"region": "eu-west"}), Hurt("orders", 0.6, ONSET, where={"region": "eu-west"})]
    entries = played(shop, [shop.left("orders", KNOWN, ONSET, region="eu-west"), *deploy(regions=[None])])
    assert {decision.target for decision in decisions(entries) if decision.target and "->" in decision.target} == {"checkout -> 1.0 @ everywhere"}


def test_what_was_hurt_before_the_change_is_not_undone_although_its_onset_is_put_after_it() -> None:
    def held(since: int) -> list[str]:
        """What keeps the first hold from being a rollback, if promises went wrong at a bucket."""
        shop = shop_of(Hurt("promised_minutes", 6.0, since, where={"region": "eu-west", "service": "checkout"}))
        # Of a distribution it is the signal that says when it began.
        signal = shop.left("promised_minutes", KNOWN, ONSET, region="eu-west", service="checkout")
        entries = played(shop, [signal, *deploy()])
        assert {entry.incident.verdict for entry in entries if entry.incident is not None} == {"guilty"}
        assert bool(decisions(entries, "rollback")) is (since == ONSET)
        return [sentence for decision in decisions(entries, "hold") for sentence in decision.blocked_by]

    assert "the symptom was there before the change" in held(START - 3 * MINUTE)
    assert "the symptom was there before the change" not in held(ONSET)


def test_of_two_incidents_that_hurt_alike_the_second_is_not_laid_on_another_change_by_itself() -> None:
    """A wave whose record has not come yet, and a change of another service that has just reached its place."""
    later = ONSET + 12 * MINUTE
    regions = {"eu-west": ONSET, "us-east": later}
    shop = shop_of(*[Hurt("errors", 4.0, since, where={"region": region, "service": "payments"}) for region, since in regions.items()])
    signals = [shop.left("errors", since + 3, since, region=region, service="payments") for region, since in regions.items()]
    changes = [*deploy(service="payments"), *deploy("chg-2", started=START_MS + 12 * MINUTE_MS, regions=["us-east"], service="checkout")]
    entries = played(shop, [*signals, *changes], last=later + 10 * MINUTE)
    assert [decision.target for decision in decisions(entries, "rollback")] == ["payments -> 1.0 @ eu-west"]
    assert len(decisions(entries, "page")) == 2
    (sentence,) = {each for decision in decisions(entries, "hold") for each in decision.blocked_by if "in the same way" in each}
    assert sentence.endswith("hurts in the same way, and chg-1 is suspected of that")


def test_who_is_called_guilty_after_another_was_is_not_rolled_back_by_itself() -> None:
    shop = shop_of(Hurt("orders", 0.6, ONSET, where={"region": "eu-west"}))
    signal = shop.left("orders", KNOWN, ONSET, region="eu-west")
    # The record of the second change comes later, and fits better: it was made in the minute in which it began.
    first = deploy("chg-1", started=START_MS - 6 * MINUTE_MS, minutes=2.0, rollback={"supported": False})
    late = deploy("chg-2", started=START_MS + MINUTE_MS // 2, minutes=1.0, received_at=START_MS + 5 * MINUTE_MS)
    entries = played(shop, [signal, *first, *late])
    accused = [entry.incident.suspects[0].deploy_id for entry in entries if entry.incident is not None and entry.incident.verdict == "guilty"]
    assert list(dict.fromkeys(accused)) == ["chg-1", "chg-2"]
    assert decisions(entries, "rollback") == []
    assert "no grounds: chg-1 was called guilty of it before" in {each for decision in decisions(entries, "hold") for each in decision.blocked_by}
