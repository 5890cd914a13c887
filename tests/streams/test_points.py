"""Records that stand for many events: what they have to say, and where they count."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rollguard.config import Layer, RollguardError, Settings, default_text, load_layers, metric_hash
from rollguard.streams import Block, Closed, Decoder, Ingest, Merger, measures

#: A whole five minutes.
START = 1_775_001_600_000
STEP = 300_000
POINTS = """
bucket: 5m
sources:
  orders: {points: {every: 5m, weight: n}, fields: {id: null, n: n, amount: amount}}
  errors: {points: {every: 5m, weight: n}, fields: {id: null, n: n}}
  deliveries: {points: {every: 5m, weight: n}, fields: {id: null, n: n}}
"""
METRICS = """
metrics:
  revenue: {kind: sum, source: orders, field: amount, worse: lower}
"""
EVENTS = """
bucket: 5m
sources:
  orders: {fields: {amount: amount}}
"""


def settings_of(*texts: str) -> Settings:
    return load_layers([Layer(default_text(), "default.yaml"), *(Layer(text, "test.yaml") for text in texts)])


SETTINGS = settings_of(POINTS, METRICS)
PLAIN = settings_of(EVENTS, METRICS)


def point(n: Any, **more: Any) -> bytes:
    fields = {"ts": START, "service": "checkout", "region": "eu", "version": "1", "n": n} | more
    return json.dumps({name: value for name, value in fields.items() if value is not ...}).encode()


def cells(settings: Settings, blocks: dict[str, list[Block | None]]) -> dict[tuple[int, str, str, tuple[str, ...], int], int]:
    """What some blocks, of every source, add up to in buckets that are closed."""
    merger = Merger(settings, [(source, 0) for source in settings.sources])
    known = measures(settings)
    found = {}
    for source in sorted(blocks):
        for block in blocks[source]:
            closed: Closed | None = None if block is None else merger.feed(block)
            if closed is not None:
                columns = (closed.bucket, closed.measure, closed.key, closed.bin, closed.value)
                for bucket, measure, key, bin_, value in zip(*(column.tolist() for column in columns), strict=True):
                    found[bucket, known[measure].metric, known[measure].part, closed.keys[key], bin_] = value
    return found


def counted(settings: Settings, lines: dict[str, list[bytes]]) -> dict[tuple[int, str, str, tuple[str, ...], int], int]:
    """What the lines of each source add up to."""
    blocks: dict[str, list[Block | None]] = {}
    for source in settings.sources:
        stage = Ingest(settings, source, 0, start_ms=START)
        blocks[source] = [stage.feed(lines.get(source, []), 0).block, stage.silence(START // STEP + 20)]
    return cells(settings, blocks)


@pytest.mark.parametrize(
    ("bad", "reason", "said"),
    [
        (point(-1), "weight", "n is -1, expected how many events it stands for: a whole number, 0 or more."),
        (point(2.5), "weight", "n is 2.5"),
        (point(199.99999), "weight", "rounded"),
        (point(...), "missing", "no field 'n'"),
        (point(None), "missing", "'n' is null"),
        (point("12"), "type", "'12', expected a number"),
        (point(True), "type", "true, expected a number"),
        (point(1e13), "number", "at most 10^12"),
        (point(1).replace(b'"n": 1', b'"n": NaN'), "number", "NaN"),
        (point(0, amount=5), "weight", "n is 0, and no events have no sum, but amount is 5."),
    ],
)
def test_a_point_without_a_good_weight_is_refused_and_its_neighbours_are_kept(bad: bytes, reason: str, said: str) -> None:
    decoded = Decoder(SETTINGS, "orders").decode([point(3), bad, point(4)])
    [refusal] = decoded.refusals
    assert (refusal.index, refusal.reason) == (1, reason)
    assert said in refusal.detail
    assert decoded.weight is not None
    assert decoded.weight.tolist() == [3, 4]


def test_refused_points_are_counted() -> None:
    stage = Ingest(SETTINGS, "orders", 0, start_ms=START)
    dead = stage.feed([point(7), point(-2), point(1.5)], 0).dead
    assert [letter.reason for letter in dead] == ["weight", "weight"]
    assert (stage.counts.kept, stage.counts.refused) == (1, {"weight": 2})


@pytest.mark.parametrize("text", ["nan", "NaN", "-3", "1.5"])
def test_a_table_is_as_strict_about_weights(text: str) -> None:
    assert len(Decoder(SETTINGS, "orders", lax=True).decode([point(text)]).refusals) == 1


def test_a_table_has_its_weights_in_quotes() -> None:
    assert Decoder(SETTINGS, "orders", lax=True).decode([point("12")]).weight == [12]


def test_a_whole_weight_may_be_written_with_a_point() -> None:
    assert Decoder(SETTINGS, "orders").decode([point(12.0)]).weight == [12]


def test_a_point_happened_when_its_span_was_over() -> None:
    ended = settings_of(POINTS, "sources: {orders: {points: {every: 5m, weight: n, stamp: end}}}")
    assert Decoder(SETTINGS, "orders").decode([point(1)]).ts_ms.tolist() == [START + STEP - 1]
    assert Decoder(ended, "orders").decode([point(1)]).ts_ms.tolist() == [START - 1]


def test_a_point_of_nothing_makes_its_series_known_and_a_bin_of_nothing_does_not() -> None:
    found = counted(SETTINGS, {"orders": [point(0, amount=0), point(0)], "errors": [point(0)], "deliveries": [point(0, promised_minutes=30)]})
    assert {(metric, part): value for (_, metric, part, _, _), value in found.items()} == {
        ("orders", "count"): 0,
        ("errors", "k"): 0,
        ("errors", "n"): 0,
        ("revenue", "count"): 0,
        ("revenue", "sum"): 0,
    }


def test_weights_count_amounts_add_up_and_values_weigh() -> None:
    found = counted(
        SETTINGS,
        {
            "orders": [point(10, amount=99.5), point(5, ts=START + STEP)],
            "errors": [point(2)],
            "deliveries": [point(7, promised_minutes=30), point(3, promised_minutes=30.1)],
        },
    )
    first, key = START // STEP, ("checkout", "eu", "1")
    by_part = {(bucket - first, metric, part): value for (bucket, metric, part, at, _), value in found.items() if at == key}
    assert by_part == {
        (0, "orders", "count"): 10,
        (1, "orders", "count"): 5,
        (0, "errors", "k"): 2,
        (0, "errors", "n"): 10,
        (1, "errors", "n"): 5,
        (0, "revenue", "count"): 10,
        (0, "revenue", "sum"): 9950,
        (0, "promised_minutes", "bins"): 10,
    }


@st.composite
def events(draw: st.DrawFn) -> dict[str, list[dict[str, Any]]]:
    """Events of each source in order of time."""
    found: dict[str, list[dict[str, Any]]] = {}
    for source, field in (("orders", "amount"), ("errors", None), ("deliveries", "promised_minutes")):
        times = sorted(draw(st.lists(st.integers(START, START + 6 * STEP - 1), max_size=25)))
        found[source] = []
        for at, ts in enumerate(times):
            event = {"event_id": f"{source}{at}", "ts": ts, "service": draw(st.sampled_from("ab")), "region": "eu", "version": draw(st.sampled_from("12"))}
            value = draw(st.sampled_from([None, 0, 12.34, 30, 45])) if field else None
            found[source].append(event if value is None or field is None else event | {field: value})
    return found


def as_points(source: str, happened: list[dict[str, Any]], cut: int) -> list[bytes]:
    """The same, counted: orders with and without an amount, deliveries by their value. Each count may come in two points."""
    groups: dict[str, list[dict[str, Any]]] = {}
    for event in happened:
        value = event.get("promised_minutes", event.get("amount"))
        kind = [event["ts"] // STEP, event["service"], event["version"], value is None if source == "orders" else value]
        groups.setdefault(json.dumps(kind), []).append(event)
    lines = []
    for group, members in sorted(groups.items()):
        step, service, version, _ = json.loads(group)
        for part in (members[:cut], members[cut:]):
            fields: dict[str, Any] = {"ts": step * STEP, "service": service, "version": version}
            amounts = [event["amount"] for event in part if "amount" in event]
            if amounts:
                fields["amount"] = round(sum(amounts), 2)
            if part and "promised_minutes" in part[0]:
                fields["promised_minutes"] = part[0]["promised_minutes"]
            lines.append((step, point(len(part), **fields)))
    return [line for _, line in sorted(lines, key=lambda each: each[0])]


@given(events(), st.integers(0, 4))
def test_points_count_as_their_events_one_by_one(happened: dict[str, list[dict[str, Any]]], cut: int) -> None:
    one_by_one = counted(PLAIN, {source: [json.dumps(event).encode() for event in found] for source, found in happened.items()})
    in_points = counted(SETTINGS, {source: as_points(source, found, cut) for source, found in happened.items()})
    # Events cannot say that there were none of them.
    assert {cell: value for cell, value in in_points.items() if value} == {cell: value for cell, value in one_by_one.items() if value}


def test_a_restored_stage_goes_on_counting_weights() -> None:
    lines = [point(3, ts=START + at * STEP) for at in range(4)]
    stage = Ingest(SETTINGS, "orders", 0, start_ms=START)
    stage.feed(lines[:2], 0)
    again = Ingest.restore(SETTINGS, "orders", 0, stage.snapshot())
    for each in (stage, again):
        each.feed(lines[2:], 2)
    assert stage.snapshot() == again.snapshot()


def test_what_a_record_stands_for_is_part_of_what_a_metric_means() -> None:
    ended = settings_of(POINTS, METRICS, "sources: {orders: {points: {stamp: end}}}")
    hashes = {metric_hash(settings, "orders") for settings in (SETTINGS, PLAIN, ended)}
    assert len(hashes) == 3


def test_the_decoder_of_an_unknown_source_says_so() -> None:
    with pytest.raises(RollguardError, match="unknown source"):
        Decoder(SETTINGS, "orderz")
