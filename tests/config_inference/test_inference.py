"""What is inferred from samples: whatever the order of keys, the names of fields, the form of the time or the depth at which they stand."""

from __future__ import annotations

import random
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rollguard.config import Layer, Settings, default_text, load_layers
from rollguard.config.inference import Given, Inferred, Sample, config_text, infer
from rollguard.streams import Decoder

START_MS = 1_775_001_603_250
N = 60
#: How a time may be written: by name, what makes it of epoch ms.
TIMES: dict[str, Any] = {
    "ms": lambda ms: ms,
    "s": lambda ms: ms // 1000,
    "s with a fraction": lambda ms: ms / 1000,
    "us": lambda ms: ms * 1000,
    "ns": lambda ms: ms * 1_000_000,
    "RFC 3339": lambda ms: datetime.fromtimestamp(ms / 1000, UTC).isoformat(),
    "RFC 3339, Z": lambda ms: datetime.fromtimestamp(ms / 1000, UTC).isoformat().replace("+00:00", "Z"),
    "no offset": lambda ms: datetime.fromtimestamp(ms / 1000, UTC).isoformat().removesuffix("+00:00"),
    "no offset, a space": lambda ms: datetime.fromtimestamp(ms / 1000, UTC).isoformat(" ").removesuffix("+00:00"),
    "in quotes": str,
}
NAMES: dict[str, tuple[str, ...]] = {
    "id": ("event_id", "id", "orderId", "order_id", "messageId", "UUID"),
    "ts": ("ts", "timestamp", "eventTime", "occurred_at", "createdAt", "time", "placed_at"),
    "service": ("service", "serviceName", "svc", "app", "application"),
    "region": ("region", "market", "country", "regionCode", "datacenter"),
    "version": ("version", "release", "app_version", "build", "gitSha"),
}


def event_ms(n: int) -> int:
    return START_MS + 997 * n


def records(names: dict[str, str], time: str = "ms", n: int = N) -> list[dict[str, Any]]:
    return [
        {
            names["id"]: f"e-{at}",
            names["ts"]: TIMES[time](event_ms(at)),
            names["service"]: ("checkout", "search")[at % 2],
            names["region"]: ("eu-west", "us-east", "ap-south")[at % 3],
            names["version"]: "4.11.0",
            "total": 12.5 + at,
            "currency": "EUR",
        }
        for at in range(n)
    ]


def settings_of(inferred: Inferred) -> Settings:
    text = config_text(inferred, kafka={"bootstrap_servers": "127.0.0.1:9092"})
    return load_layers([Layer(default_text(), "default.yaml"), Layer(text, "rollguard.yaml")])


def theirs(inferred: Inferred, role: str = "orders") -> dict[str, str | None]:
    return {each.name: each.theirs for each in inferred.sources[role].fields}


def decoded(inferred: Inferred, sample: Sample, role: str = "orders") -> Any:
    return Decoder(settings_of(inferred), role).decode([msgspec.json.encode(each) for each in sample.records])


#: A config is loaded for each, which takes its time.
few = settings(max_examples=30)


@few
@given(
    st.fixed_dictionaries({name: st.sampled_from(known) for name, known in NAMES.items()}),
    st.sampled_from(sorted(TIMES)),
    st.sampled_from([(), ("payload",), ("data", "order-event")]),
    st.integers(0, 2**32),
)
def test_fields_are_found_whatever_they_are_called_wherever_they_stand_in_whatever_order(
    names: dict[str, str], time: str, inside: tuple[str, ...], seed: int
) -> None:
    chance = random.Random(seed)  # noqa: S311 - it shuffles
    found = []
    for record in records(names, time):
        keys = list(record)
        chance.shuffle(keys)
        event: dict[str, Any] = {key: record[key] for key in keys}
        for key in reversed(inside):
            event = {"schema": "v1", key: event}
        found.append(event)
    sample = Sample(name="shop.orders", records=found)
    done = decoded(infer([sample]), sample)
    assert done.refusals == ()
    unit_ms = 1000 if time == "s" else 1
    assert done.ts_ms.tolist() == [event_ms(n) // unit_ms * unit_ms for n in range(N)]
    assert sorted(done.keys) == sorted({(("checkout", "search")[n % 2], ("eu-west", "us-east", "ap-south")[n % 3], "4.11.0") for n in range(N)})
    assert done.ids == [f"e-{n}" for n in range(N)]


@few
@given(st.permutations(range(4)), st.integers(0, 2**32))
def test_neither_the_order_of_topics_nor_of_keys_changes_a_letter_of_the_config(order: list[int], seed: int) -> None:
    chance = random.Random(seed)  # noqa: S311 - it shuffles
    samples = [Sample(name=name, records=made) for name, made in shop().items()]
    mixed = [Sample(name=samples[at].name, records=[dict(chance.sample(sorted(each.items()), len(each))) for each in samples[at].records]) for at in order]
    assert config_text(infer(mixed), kafka={}) == config_text(infer(samples), kafka={})


def shop() -> dict[str, list[dict[str, Any]]]:
    plain = {name: known[0] for name, known in NAMES.items()}
    base = records(plain)
    bare = [{key: value for key, value in each.items() if key not in {"total", "currency"}} for each in base]
    return {
        "shop.purchases": base,
        "web.exceptions": [each | {"statusCode": 500, "message": "broken"} for each in bare],
        "courier.v2": [each | {"etaMinutes": 30 + n % 7, "took": 31.5} for n, each in enumerate(bare)],
        "releases": [
            {"deploy_id": f"d-{n}", "service": "checkout", "started_at": "2026-03-02T09:00:00Z", "environment": ("prod", "staging")[n % 3 > 1]}
            for n in range(9)
        ],
    }


def test_each_topic_is_known_by_its_name_and_fields() -> None:
    inferred = infer([Sample(name=name, records=made) for name, made in shop().items()] + [Sample(name="clicks", records=[{"x": 1}])])
    assert {role: each.topic for role, each in inferred.sources.items()} == {
        "orders": "shop.purchases",
        "errors": "web.exceptions",
        "deliveries": "courier.v2",
    }
    assert inferred.changes is not None
    assert inferred.changes.topic == "releases"
    assert (inferred.environment, inferred.unused) == ("prod", ("clicks",))
    assert theirs(inferred, "deliveries")["promised_minutes"] == "etaMinutes"
    assert theirs(inferred, "deliveries")["actual_minutes"] == "took"
    assert settings_of(inferred).environment == "prod"


def test_a_topic_of_several_kinds_of_events_is_split_by_their_kind() -> None:
    plain = {name: known[0] for name, known in NAMES.items()}
    kinds = ("order_placed", "payment_error", "delivery_promised", "order_cancelled", "page_viewed")
    made = [each | {"type": kinds[n % 5], "promised_minutes": 30.0} for n, each in enumerate(records(plain))]
    sample = Sample(name="shop.events", records=made)
    inferred = infer([sample])
    assert {role: each.where for role, each in inferred.sources.items()} == {
        "orders": {"kind": ["order_placed"]},
        "errors": {"kind": ["payment_error"]},
        "deliveries": {"kind": ["delivery_promised"]},
    }
    for role in inferred.sources:
        done = decoded(inferred, sample, role)
        assert (len(done.index), done.filtered, done.refusals) == (N // 5, N - N // 5, ())


def test_what_is_not_found_stands_in_the_config_with_what_to_do() -> None:
    made = [{"orderNumber": f"o-{n}", "at": event_ms(n), "total": 5} for n in range(N)]
    inferred = infer([Sample(name="orders", records=made)])
    text = config_text(inferred, kafka={})
    config = settings_of(inferred)
    assert (set(config.sources), set(config.metrics), config.labels.watched) == ({"orders"}, {"orders"}, ())
    for words in ("no field looks like a service", "no field looks like a region", "no topic looks like website errors", "no topic looks like changes"):
        assert words in text, words
    assert decoded(inferred, Sample(name="orders", records=made)).refusals == ()


def test_names_in_another_language_are_offered_where_none_of_ours_is_found() -> None:
    made = [
        {"bestellnr": f"{n:08x}q", "zeit": event_ms(n) // 1000, "ort": {"markt": ("nord", "sued")[n % 2]}, "dienst": {"name": "kasse", "fassung": "9.0"}}
        for n in range(N)
    ]
    pages = [each | {"antwort": {"status": 502 if n % 10 == 0 else 200}} for n, each in enumerate(made)]
    said = Given(topics={"orders": "bestellungen", "errors": "netzseite"})
    text = config_text(infer([Sample(name="bestellungen", records=made), Sample(name="netzseite", records=pages)], said), kafka={})
    assert "CHECK: not found (perhaps bestellnr): a record that is sent twice counts twice" in text
    assert "perhaps dienst.name (kasse)" in text
    assert "CHECK: antwort.status is below 400 in 54 of 60 records, so not each is an error" in text
    assert text.count("# where:") == 1


def test_a_topic_of_errors_alone_is_not_doubted() -> None:
    plain = {name: known[0] for name, known in NAMES.items()}
    failed = [each | {"status_code": 502 if n % 20 else 302} for n, each in enumerate(records(plain))]
    inferred = infer([Sample(name="orders", records=records(plain)), Sample(name="errors", records=failed)])
    assert inferred.sources["errors"].all_count == ""


def test_a_label_that_one_source_lacks_counts_as_of_no_certain_place() -> None:
    samples = shop()
    samples["web.exceptions"] = [{key: value for key, value in each.items() if key != "region"} for each in samples["web.exceptions"]]
    inferred = infer([Sample(name=name, records=made) for name, made in samples.items()])
    config = settings_of(inferred)
    assert config.metrics["errors"].on == ()
    done = decoded(inferred, Sample(name="web.exceptions", records=samples["web.exceptions"]), "errors")
    assert {key[1] for key in done.keys} == {"__other__"}


def test_doubt_is_said_and_certainty_is_not_doubted() -> None:
    plain = {name: known[0] for name, known in NAMES.items()}
    sure = config_text(infer([Sample(name="orders", records=records(plain))]), kafka={"bootstrap_servers": "k:9092"})
    orders = sure[sure.index("  orders:") : sure.index("  errors:")]
    assert "# CHECK:" not in orders
    assert orders.count("guessed from 60 of 60 records") == 5
    some = [each if n % 10 else {key: value for key, value in each.items() if key != "region"} for n, each in enumerate(records(plain))]
    inferred = infer([Sample(name="orders", records=some)])
    assert inferred.sources["orders"].field("region").doubtful
    assert "CHECK: guessed from 54 of 60 records" in config_text(inferred, kafka={})
    assert "the other 6 records have none and are refused" in config_text(inferred, kafka={})


def test_what_a_person_says_holds_against_any_guess() -> None:
    plain = {name: known[0] for name, known in NAMES.items()}
    made = [each | {"shop": {"zone-name": "north"}, "when": TIMES["s"](event_ms(n))} for n, each in enumerate(records(plain))]
    samples = [Sample(name="a", records=made), Sample(name="orders", records=records(plain))]
    said = Given(topics={"orders": "a"}, fields={("orders", "region"): 'shop."zone-name"', ("orders", "ts"): "when"})
    inferred = infer(samples, said)
    assert (inferred.sources["orders"].topic, inferred.sources["orders"].epoch) == ("a", "s")
    done = decoded(inferred, samples[0])
    assert {key[1] for key in done.keys} == {"north"}
    assert infer(samples, Given(topics={"orders": None})).sources == {}


@pytest.mark.parametrize("name", ["a: b", "x\ny", "#no", "ünï", "true", "it's", '"'])
def test_names_of_any_kind_make_a_config_that_loads(name: str) -> None:
    plain = {each: known[0] for each, known in NAMES.items()}
    made = [{(name if key == "region" else key): value for key, value in each.items()} | {"market": "de"} for each in records(plain)]
    assert settings_of(infer([Sample(name="orders", records=made, file=f"{name}.jsonl")])).sources["orders"].fields


@few
@given(
    st.lists(
        st.dictionaries(
            st.text(max_size=6), st.recursive(st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9), st.lists, max_leaves=4)
        )
    )
)
def test_no_sample_whatever_makes_it_stumble(made: list[dict[str, Any]]) -> None:
    inferred = infer([Sample(name="orders", records=made)])
    assert settings_of(inferred).sources.keys() == {"orders"}
