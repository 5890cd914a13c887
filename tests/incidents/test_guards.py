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
