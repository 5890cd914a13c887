"""A hash changes with the meaning, and with nothing else."""

import os
import subprocess
import sys

import pytest

from rollguard.config import Layer, default_text, load, load_layers, metric_hash, settings_hash

SHIPPED = load(default_text(), name="default.yaml")


def changed(addition: str) -> str:
    return settings_hash(load_layers([Layer(default_text(), "default.yaml"), Layer(addition, "case.yaml")]))


def metric_changed(addition: str, metric: str) -> bool:
    settings = load_layers([Layer(default_text(), "default.yaml"), Layer(addition, "case.yaml")])
    return metric_hash(settings, metric) != metric_hash(SHIPPED, metric)


def test_the_order_of_keys_and_ways_of_writing_make_no_difference() -> None:
    sections = default_text().split("\n\n")
    turned = (
        "\n\n".join(reversed(sections))
        .replace("lookback: 72h", "lookback: 3d")
        .replace("60s", "1m")
        .replace("[service, region]", "\n    - service\n    - region")
    )
    assert turned != default_text()
    assert settings_hash(load(turned, name="turned.yaml")) == settings_hash(SHIPPED)


@pytest.mark.parametrize(
    "addition",
    [
        "bucket: 10000ms",
        "# a comment",
        "mode: null",
        "policy: {guilty: 0.80}",
        "budget: {false_pages: 1.0}",
        "changes: {source: 'deploys'}",
        # A level is accepted at its own moment: a running stage takes it up with its snapshot.
        "accept: [{metric: orders, at: 2026-03-02T00:00:00Z}]",
        "kafka: {bootstrap_servers: 'a:1, b:2', group: other}",
        "store: {url: 'postgresql://rollguard@db/rollguard'}",
        "http: {port: 8080}",
        "logs: {form: json, level: debug}",
        "blind: {frontier: 10m, outbox: null}",
        # By which ways changes come says nothing of what they mean.
        "changes: {secret: 'env:X', http: {keys: {ci: {secret: 'env:X'}}}, kubernetes: {eu: {region: eu-west}}}",
        # What is done about an incident holds from the next decision on.
        "mode: auto",
        "services: {checkout: {mode: auto}}",
        "policy: {guilty: 0.81}",
        "respond: {approvals: 2}",
    ],
)
def test_what_means_the_same_has_the_same_hash(addition: str) -> None:
    assert changed(addition) == settings_hash(SHIPPED)


ADDITIONS = [
    "bucket: 5s",
    "environment: staging",
    "labels: {watched: [region, service]}",
    "metrics: {orders: {smallest: 0.11}}",
    "metrics: {actual_minutes: null}",
    "sources: {orders: {lateness: 21s}}",
    "sources: {orders: {epoch: s}}",
    "sources: {orders: {epoch: ns}}",
    "sources: {orders: {fields: {region: {path: region}}}}",
    "sources: {orders: {fields: {region: {path: shop.region}}}}",
    "sources: {orders: {fields: {region: shop.region}}}",
    "sources: {orders: {where: {region: [eu]}}}",
    "sources: {orders: {where: {region: [eu, us]}}}",
    "baseline: {half_life: 5h}",
    "baseline: {slow_share: 0}",
    "places: {eu: {time_zone: Europe/Berlin}}",
    "places: {eu: {time_zone: Europe/Berlin, holidays: DE}}",
    "metrics: {orders: {model: {name: river.drift.ADWIN}}}",
    "metrics: {orders: {model: {name: river.drift.ADWIN, arguments: {delta: 0.01}}}}",
]


def test_what_means_something_else_has_another_hash() -> None:
    hashes = [settings_hash(SHIPPED), *map(changed, ADDITIONS)]
    assert len(set(hashes)) == len(hashes)


@pytest.mark.parametrize(
    ("addition", "touched"),
    [
        ("bucket: 5s", {"orders", "errors", "promised_minutes", "actual_minutes"}),
        ("labels: {compare: []}", {"orders", "errors", "promised_minutes", "actual_minutes"}),
        ("sources: {orders: {topic: other}}", {"orders", "errors"}),
        ("sources: {deliveries: {fields: {promised_minutes: promise}}}", {"promised_minutes"}),
        ("sources: {deliveries: {fields: {id: null}}}", {"promised_minutes", "actual_minutes"}),
        ("sources: {deliveries: {fields: {promised_minutes: {path: promised_minutes}}}}", {"promised_minutes"}),
        ("sources: {deliveries: {fields: {region: {path: shop.region}}}}", {"promised_minutes", "actual_minutes"}),
        ("sources: {errors: {fields: {extra: extra}}}", set()),
        ("sources: {errors: {fields: {extra: {path: a.b}}}}", set()),
        ("sources: {orders: {epoch: us}}", {"orders", "errors"}),
        ("sources: {errors: {where: {kind: [error]}, fields: {kind: kind}}}", {"errors"}),
        ("sources: {orders: {fields: {code: code}}}\nmetrics: {orders: {where: {code: [200]}}}", {"orders"}),
        ("metrics: {errors: {on: [region, service]}}", {"errors"}),
        ("sources: {orders: {lateness: 30s, idle: 5m, ahead: 1m}}", set()),
        ("metrics: {orders: {worse: both, smallest: 0.5, watch: false}}", set()),
        ("baseline: {half_life: 5h, slow_share: 0}\nplaces: {eu: {time_zone: Europe/Berlin, holidays: DE}}", set()),
        ("metrics: {orders: {model: {name: river.drift.ADWIN}}}\naccept: [{metric: orders, at: 2026-03-02T00:00:00Z}]", set()),
        ("budget: {per: 1d}\nmode: auto\nenvironment: staging", set()),
    ],
)
def test_a_metric_begins_anew_only_when_its_numbers_do(addition: str, touched: set[str]) -> None:
    assert {name for name in SHIPPED.metrics if metric_changed(addition, name)} == touched


def test_the_order_of_values_to_keep_means_nothing() -> None:
    where = "sources: {orders: {where: {region: [%s]}}}"
    assert changed(where % "eu, us") == changed(where % "us, eu, us")
    base = "sources: {orders: {fields: {code: code}}}\nmetrics: {orders: {where: {code: [%s]}}}\nlabels: {keep: {region: [%s]}}\n"
    assert changed(base % ("1, 2, a", "eu, us")) == changed(base % ("a, 2, 1", "us, eu"))


def test_the_hash_is_the_same_in_another_process() -> None:
    program = "from rollguard.config import *; s = load(default_text(), name='d'); print(settings_hash(s), *(metric_hash(s, m) for m in s.metrics))"
    told = {
        subprocess.run([sys.executable, "-P", "-c", program], env={**os.environ, "PYTHONHASHSEED": seed}, capture_output=True, text=True, check=True).stdout
        for seed in ("1", "2")
    }
    assert told == {" ".join([settings_hash(SHIPPED), *(metric_hash(SHIPPED, metric) for metric in SHIPPED.metrics)]) + "\n"}
