"""What a config may say of points, and what it is told when it contradicts itself."""

import pytest

from rollguard.config import ConfigError, Layer, Settings, default_text, load_layers


def settings_of(text: str) -> Settings:
    return load_layers([Layer(default_text(), "default.yaml"), Layer(text, "shop.yaml")])


def told(text: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        settings_of(text)
    return str(caught.value).splitlines()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            "bucket: 1m\nsources:\n  orders:\n    fields: {n: n}\n    points: {every: 5m, weight: n}",
            "shop.yaml:5: sources.orders.points.every: a point of 5m does not fit into a bucket of 1m. "
            "Expected: bucket: 5m, or a multiple of it that divides an hour.",
        ),
        ("bucket: 10m\nsources: {orders: {fields: {n: n}, points: {every: 7m, weight: n}}}", "Expected: points of a length that divides an hour, as 1m or 5m"),
        ("sources: {orders: {fields: {n: n}, points: {every: 0s, weight: n}}}", "sources.orders.points.every: 0 is too short"),
        ("bucket: 5m\nsources: {orders: {points: {every: 5m}}}", "sources.orders.points.weight: missing"),
        ("bucket: 5m\nsources: {orders: {points: {every: 5m, weight: n}}}", "points.weight: 'n' is not in sources.orders.fields"),
        ("bucket: 5m\nsources: {orders: {points: {every: 5m, weight: region}}}", "points.weight: 'region' is a label, id or ts"),
        ("bucket: 5m\nsources: {orders: {fields: {n: n}, points: {every: 5m, weigh: n}}}", "Did you mean 'weight'?"),
        ("bucket: 5m\nsources: {orders: {fields: {n: n}, points: {every: 5m, weight: n, stamp: middle}}}", "points.stamp: 'middle' is not known"),
        (
            "bucket: 5m\nsources: {deliveries: {fields: {n: n}, points: {every: 5m, weight: n}}}\n"
            "metrics: {sum_of_n: {kind: sum, source: deliveries, field: n, worse: both}}",
            "metrics.sum_of_n.field: 'n' says how many events a point of deliveries stands for, which is no measurement of theirs. Expected: kind: count",
        ),
        (
            "bucket: 5m\nsources: {deliveries: {fields: {n: n}, points: {every: 5m, weight: n}}}\n"
            "metrics:\n  total: {kind: sum, source: deliveries, field: promised_minutes, worse: both}",
            "metrics.promised_minutes.field: a point's 'promised_minutes' is what each of its events has here, and what they have together in metrics.total",
        ),
    ],
)
def test_points_that_contradict_the_rest_are_told_where_and_what_to_do(text: str, said: str) -> None:
    assert said in "\n".join(told(text))


def test_points_of_a_minute_fit_into_buckets_of_five() -> None:
    settings = settings_of("bucket: 5m\nsources: {orders: {fields: {n: n}, points: {every: 1m, weight: n}}}")
    points = settings.sources["orders"].points
    assert points is not None
    assert (points.every_ms, points.weight, points.stamp) == (60_000, "n", "start")
    assert settings.sources["errors"].points is None


def test_null_makes_points_events_again() -> None:
    text = "bucket: 5m\nsources: {orders: {fields: {n: n}, points: {every: 1m, weight: n}}}"
    settings = load_layers([Layer(default_text(), "default.yaml"), Layer(text, "shop.yaml"), Layer("sources: {orders: {points: null}}", "case.yaml")])
    assert settings.sources["orders"].points is None
