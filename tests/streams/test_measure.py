import pytest

from rollguard.config import Layer, RollguardError, Settings, default_text, load_layers
from rollguard.streams import Decoder, Measure, measures


def settings_of(text: str = "") -> Settings:
    return load_layers([Layer(text=default_text(), name="default.yaml"), Layer(text=text, name="test.yaml")])


def test_the_shipped_metrics_have_these_measures_in_this_order() -> None:
    assert [(each.metric, each.part, each.source) for each in measures(settings_of())] == [
        ("actual_minutes", "bins", "deliveries"),
        ("errors", "k", "errors"),
        ("errors", "n", "orders"),
        ("orders", "count", "orders"),
        ("promised_minutes", "bins", "deliveries"),
        ("", "late", "deliveries"),
        ("", "refused", "deliveries"),
        ("", "late", "errors"),
        ("", "refused", "errors"),
        ("", "late", "orders"),
        ("", "refused", "orders"),
    ]


def test_a_sum_also_counts_its_events() -> None:
    found = measures(settings_of("metrics: {revenue: {kind: sum, source: orders, field: amount, worse: lower}}\nsources: {orders: {fields: {amount: amount}}}"))
    mine = [each for each in found if each.metric == "revenue"]
    assert mine == [Measure(metric="revenue", part="count", source="orders"), Measure(metric="revenue", part="sum", source="orders")]


def test_an_unknown_source_is_named_with_those_known() -> None:
    with pytest.raises(RollguardError, match=r"sources\.order: unknown source\. Expected one of: deliveries, errors, orders") as caught:
        Decoder(settings_of(), "order")
    assert caught.value.code == "unknown_source"


def test_one_field_cannot_be_a_label_and_a_number() -> None:
    settings = settings_of("sources: {deliveries: {fields: {promised_minutes: version}}}")
    with pytest.raises(RollguardError, match=r"'version' is read as number and as label") as caught:
        Decoder(settings, "deliveries")
    assert caught.value.code == "field_use"


@pytest.mark.parametrize("name", ['a"b', "a\\\\b", "a\\tb"])
def test_a_field_that_no_decoder_can_name_is_refused(name: str) -> None:
    settings = settings_of("sources: {deliveries: {fields: {region: %s}}}" % ("'" + name + "'" if '"' in name else '"' + name + '"'))
    with pytest.raises(RollguardError, match=r"fields\.region: .* cannot be read") as caught:
        Decoder(settings, "deliveries")
    assert caught.value.code == "field_name"
