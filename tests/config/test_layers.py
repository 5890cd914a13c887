"""Every kind of mistake an operator can make, and what a config means when there is none."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rollguard.config import ConfigError, FieldPath, Layer, Mistake, Mode, Settings, default_text, load, load_layers, read_layer

SOURCES = """\
sources:
  orders:
    topic: shop.orders
    fields: {id: event_id, ts: ts, service: service, region: region, version: version, amount: total, code: code}
  errors:
    topic: shop.errors
    fields: {ts: at, service: service, region: region, version: version}
"""
METRICS = """\
metrics:
  orders: {kind: count, source: orders, worse: lower}
"""
SHOP = SOURCES + METRICS
END = SHOP.count("\n")  # lines before what a test appends


def mistakes(*texts: str) -> tuple[Mistake, ...]:
    names = ["shop.yaml"] if len(texts) == 1 else [f"layer{place}.yaml" for place in range(len(texts))]
    with pytest.raises(ConfigError) as raised:
        load_layers([Layer(text, name) for text, name in zip(texts, names, strict=True)])
    assert raised.value.code == "config"
    assert str(raised.value).split("\n") == [str(each) for each in raised.value.mistakes]
    return raised.value.mistakes


def only(*texts: str) -> Mistake:
    found = mistakes(*texts)
    assert len(found) == 1, [str(each) for each in found]
    return found[0]


def test_the_default_is_what_the_documentation_says() -> None:
    settings = load(default_text(), name="default.yaml")
    assert settings.environment == "production"
    assert (settings.bucket_ms, settings.lookback_ms, settings.warmup_ms) == (10_000, 72 * 3_600_000, 2 * 86_400_000)
    assert (settings.budget.false_pages, settings.budget.per_ms) == (1.0, 30 * 86_400_000)
    assert (settings.labels.watched, settings.labels.compare) == (("service", "region"), ("version",))
    assert sorted(settings.sources) == ["deliveries", "errors", "orders"]
    for source in settings.sources.values():
        assert (source.format, source.lateness_ms, source.idle_ms, source.ahead_ms, source.max_bytes) == ("json", 20_000, 60_000, 600_000, 65_536)
        assert (source.epoch, source.where) == ("ms", {})
        assert {"id", "ts", "service", "region", "version"} <= set(source.fields)
    metrics = settings.metrics
    assert sorted(metrics) == ["actual_minutes", "errors", "orders", "promised_minutes"]
    assert (metrics["orders"].kind, metrics["orders"].worse) == ("count", "lower")
    assert (metrics["errors"].kind, metrics["errors"].source, metrics["errors"].against, metrics["errors"].on) == ("ratio", "errors", "orders", ("region",))
    assert (metrics["promised_minutes"].kind, metrics["promised_minutes"].worse) == ("distribution", "both")
    assert (metrics["actual_minutes"].kind, metrics["actual_minutes"].worse) == ("distribution", "higher")
    assert all((each.smallest, each.watch, each.scale) == (0.10, True, 100) for each in metrics.values())
    assert (settings.mode, settings.services, settings.money_clock.metric) == (None, {}, "orders")
    assert (settings.baseline.half_life_ms, settings.baseline.lag_ms, settings.baseline.freeze_ms) == (4 * 3_600_000, 45 * 60_000, 12 * 3_600_000)
    assert (settings.baseline.slow_half_life_ms, settings.baseline.slow_share) == (3 * 86_400_000, 0.25)
    assert (settings.places, settings.accept) == ({}, ())
    assert (settings.policy.guilty, settings.policy.lead, settings.policy.known_good_ms) == (0.8, 0.5, 3_600_000)


def test_what_a_file_leaves_out_is_what_the_shipped_default_says() -> None:
    shipped = load(default_text(), name="default.yaml")
    short = load(SHOP, name="shop.yaml")
    for key in set(Settings.model_fields) - {"sources", "metrics"}:
        assert getattr(short, key) == getattr(shipped, key), key


def test_every_key_of_the_schema_stands_in_the_default_with_a_comment() -> None:
    lines = default_text().splitlines()
    for key in [field.alias or name for name, field in Settings.model_fields.items()]:
        line = next(line for line in lines if line.startswith(f"{key}:"))
        assert "#" in line, key


def test_settings_cannot_be_changed() -> None:
    with pytest.raises(ValueError, match="frozen"):
        load(SHOP, name="shop.yaml").environment = "staging"  # type: ignore[misc]  # that it is read-only is the point


@pytest.mark.parametrize(
    ("addition", "line", "key", "problem", "expected", "near"),
    [
        ("bukket: 10s", 1, "bukket", "unknown key", "environment, bucket", "bucket"),
        ("budget: {fals_pages: 1}", 1, "budget.fals_pages", "unknown key", "false_pages, per", "false_pages"),
        ("budget:\n  per: 30", 2, "budget.per", "30 has no unit", "10m", None),
        ("budget: {false_pages: .nan}", 1, "budget.false_pages", "nan", "finite", None),
        ("budget: {false_pages: -.inf}", 1, "budget.false_pages", "inf", "finite", None),
        ("budget: {false_pages: 1e999}", 1, "budget.false_pages", "inf", "finite", None),
        ("budget: {false_pages: 0}", 1, "budget.false_pages", "0 will not do", "more than 0", None),
        ("budget: {false_pages: -1}", 1, "budget.false_pages", "-1 will not do", "more than 0", None),
        ("budget: {false_pages: '1'}", 1, "budget.false_pages", "'1' will not do", "a number", None),
        ("budget: {per: 0s}", 1, "budget.per", "0 is too short", "more than 0", None),
        ("budget: [1, 30d]", 1, "budget", "a list will not do", "a mapping", None),
        ("budget: {max: 1, false_pages: yes}", 1, "budget.max", "unknown key", "false_pages, per", None),
        ("bucket: 7s", 1, "bucket", "7s does not divide an hour", "10s", None),
        ("bucket: 2h", 1, "bucket", "2h does not divide an hour", "1h", None),
        ("bucket: 500ms", 1, "bucket", "500ms does not divide an hour", "from 1s", None),
        ("lookback: 1:30", 1, "lookback", "'1:30' is not a span of time", "72h", None),
        ("lookback: 1.5h", 1, "lookback", "'1.5h' is not a span", "whole number", None),
        ("lookback: -1h", 1, "lookback", "'-1h' is not a span", "whole number", None),
        ("lookback: 99999d", 1, "lookback", "longer than ten years", "72h", None),
        ("warmup: true", 1, "warmup", "true is not a span", "2d", None),
        ("environment: 2026-01-01\nmode: no", 2, "mode", "'no' is not known", "observe, advise, approve, auto", None),
        ("mode: Auto", 1, "mode", "'Auto' is not known", "auto", "auto"),
        ("mode: aproove", 1, "mode", "'aproove' is not known", "approve", "approve"),
        ("environment: ' '", 1, "environment", "empty", "a text", None),
        ("environment: 12", 1, "environment", "12 will not do", "a text", None),
        ("services:\n  checkout:\n    mode: on", 3, "services.checkout.mode", "'on' is not known", "observe", None),
        ("labels: {max_values: 010}", 1, "labels.max_values", "octal", "10", None),
        ("labels: {max_values: 1.5}", 1, "labels.max_values", "1.5 will not do", "a whole number", None),
        ("labels: {max_values: 0}", 1, "labels.max_values", "0 will not do", "at least 1", None),
        ("labels: {max_values: 123456789012345678901234}", 1, "labels.max_values", "too large", "18 digits", None),
        ("labels: {watched: region}", 1, "labels.watched", "'region' will not do", "a list", None),
        ("labels: {watched: [region, region]}", 1, "labels.watched[1]", "a label already", "once", None),
        ("labels: {watched: [region, version]}", 1, "labels.compare[0]", "a label already", "once", None),
        ("labels: {watched: [service, region, id]}", 1, "labels.watched[2]", "cannot be a label", "other than id and ts", None),
        ("labels: {keep: {regoin: [eu]}}", 1, "labels.keep.regoin", "no watched label", "service, region", "region"),
        ("labels: {keep: {region: [__other__]}}", 1, "labels.keep.region", "the name of the rest", "a value", None),
        ("labels: {max_values: 1, keep: {region: [eu, us]}}", 1, "labels.keep.region", "2 values to keep", "at most 1", None),
        ("changes: {source: orders}", 1, "changes.source", "is a source of events", "deploys", None),
        ("changes: {quiet: 0h}", 1, "changes.quiet", "too short", "more than 0", None),
        ("money_clock: {metric: order}", 1, "money_clock.metric", "no metric 'order'", "orders", "orders"),
        ("baseline: {half_live: 4h}", 1, "baseline.half_live", "unknown key", "half_life, lag", "half_life"),
        ("baseline:\n  half_life: 0h", 2, "baseline.half_life", "too short", "more than 0", None),
        ("baseline: {slow_share: 1}", 1, "baseline.slow_share", "1 will not do", "at most 0.9", None),
        ("baseline: {slow_share: -0.1}", 1, "baseline.slow_share", "-0.1 will not do", "at least 0", None),
        ("places:\n  eu:\n    time_zone: Europe/Belrin", 3, "places.eu.time_zone", "no time zone 'Europe/Belrin'", "IANA", "Europe/Berlin"),
        ("places: {eu: {time_zone: europe/berlin}}", 1, "places.eu.time_zone", "no time zone", "IANA", "Europe/Berlin"),
        ("places: {eu: {time_zone: America}}", 1, "places.eu.time_zone", "no time zone 'America'", "IANA", "America/Nuuk"),
        ("places: {eu: {time_zone: ../../etc/passwd}}", 1, "places.eu.time_zone", "no time zone", "IANA", None),
        ("places: {eu: {time_zone: localtime}}", 1, "places.eu.time_zone", "no time zone 'localtime'", "IANA", None),
        ("places: {eu: {time_zone: ''}}", 1, "places.eu.time_zone", "no time zone ''", "IANA", None),
        ("places: {eu: {timezone: UTC}}", 1, "places.eu.timezone", "unknown key", "time_zone, holidays", "time_zone"),
        ("places: {eu: {holidays: de-by}}", 1, "places.eu.holidays", "no holidays are known of 'de-by'", "US or DE-BY", "DE-BY"),
        ("places: {eu: {holidays: US-NYC}}", 1, "places.eu.holidays", "no holidays are known of 'US-NYC'", "US or DE-BY", "US-NY"),
        ("places: {eu: {holidays: GB-XYZ}}", 1, "places.eu.holidays", "no holidays are known of 'GB-XYZ'", "GB, GB-ENG", None),
        ("places: {eu: {holidays: DE-}}", 1, "places.eu.holidays", "no holidays are known of 'DE-'", "DE, DE-BB", "DE-TH"),
        ("places: {eu: {holidays: QQ}}", 1, "places.eu.holidays", "no holidays are known of 'QQ'", "US or DE-BY", None),
        ("places: {eu: {holidays: no}}", 1, "places.eu.holidays", "no holidays are known of 'no'", "US or DE-BY", "NO"),
        ("places: {eu: {}}\nlabels: {watched: [service]}", 1, "places", "no watched label 'region'", "service", None),
        ("accept: {metric: orders}", 1, "accept", "a mapping will not do", "a list", None),
        ("accept:\n  - {metric: orders}", 2, "accept[0].at", "missing", "a value for 'at'", None),
        ("accept:\n  - {metric: orders, at: 2026-03-02T00:00:00Z, label: {}}", 2, "accept[0].label", "unknown key", "metric, labels, at", "labels"),
        ("accept:\n  - {metric: oders, at: 2026-03-02T00:00:00Z}", 2, "accept[0].metric", "no metric 'oders'", "orders", "orders"),
        ("accept:\n  - {metric: orders, at: 2026-03-02}", 2, "accept[0].at", "'2026-03-02' is no time", "RFC 3339", None),
        ("accept:\n  - {metric: orders, at: 2026-03-02T00:00:00}", 2, "accept[0].at", "is no time", "with an offset", None),
        ("accept:\n  - {metric: orders, at: 2026-02-30T00:00:00Z}", 2, "accept[0].at", "is no time", "RFC 3339", None),
        ("accept:\n  - {metric: orders, at: 1026-02-03T00:00:00Z}", 2, "accept[0].at", "not between 2000 and 2100", "RFC 3339", None),
        ("accept:\n  - {metric: orders, at: 1772431200000}", 2, "accept[0].at", "is no time", "RFC 3339", None),
        (
            "accept:\n  - metric: orders\n    at: 2026-03-02T00:00:00Z\n    labels:\n      regoin: eu",
            5,
            "accept[0].labels.regoin",
            "no watched",
            "serv",
            "region",
        ),
        ("accept: [{metric: orders, at: 2026-03-02T00:00:00Z, labels: {region: 1}}]", 1, "accept[0].labels.region", "1 will not do", "a text", None),
        ("policy: {guilty: 80}", 1, "policy.guilty", "80 will not do", "at most 1", None),
        ("policy: {lead: -0.5}", 1, "policy.lead", "-0.5 will not do", "at least 0", None),
        ("kafka: {bootstrap_servers: kafka}", 1, "kafka.bootstrap_servers[0]", "'kafka' is no address", "host:port", None),
        ("kafka: {sasl_plain_password: secret}", 1, "kafka.sasl_plain_password", "does not stand in a config", "env:NAME", None),
        ("kafka:\n  security_protocol: SASL_SSL\n  sasl_plain_username: me", 1, "kafka", "needs the key 'sasl_plain_password'", "env:NAME", None),
        (
            "kafka: {security_protocol: SASL_PLAINTEXT, sasl_mechanism: SCRAM-SHA-512, sasl_plain_password: 'env:P'}",
            1,
            "kafka",
            "SASL_PLAINTEXT with SCRAM-SHA-512 needs the key 'sasl_plain_username'",
            "user's name",
            None,
        ),
        ("kafka:\n  sasl_plain_username: me", 2, "kafka.sasl_plain_username", "means nothing with PLAINTEXT", "SASL_SSL or SASL_PLAINTEXT", None),
        ("kafka: {security_protocol: SASL_SSL, sasl_mechanism: GSSAPI, sasl_plain_username: me}", 1, "kafka.sasl_plain_username", "GSSAPI", "not with", None),
        ("kafka:\n  ssl_context:\n    cafile: ca.pem", 3, "kafka.ssl_context.cafile", "means nothing with PLAINTEXT", "SSL or SASL_SSL", None),
        ("kafka: {security_protocol: SSL, ssl_context: {keyfile: k.pem}}", 1, "kafka.ssl_context.keyfile", "no certificate that", "certfile", None),
        ("kafka: {security_protocol: TLS}", 1, "kafka.security_protocol", "'TLS' is not known", "PLAINTEXT, SSL", None),
        ("kafka: {prefix: " + "p" * 240 + "}", 1, "kafka.prefix", "too long for deadletter", "at most 238 letters", None),
        ("kafka: {prefix: shop}\nchanges: {topic: shop.commands}", 2, "changes.topic", "a topic of Rollguard's own", "another kafka.prefix", None),
        ("store: {url: 'postgresql://me:secret@db/x'}", 1, "store.url", "a password in it", "store.password", None),
        ("store: {password: 'env:P'}", 1, "store.password", "means nothing for SQLite", "PostgreSQL", None),
        ("store: {url: 'postgresql://db/x', password: 'env:P'}", 1, "store.url", "no user that it is of", "USER@HOST", None),
    ],
)
def test_a_mistake_names_line_key_problem_expectation_and_near_match(addition: str, line: int, key: str, problem: str, expected: str, near: str | None) -> None:
    found = [each for each in mistakes(SHOP + addition) if each.key == key]
    assert len(found) == 1
    assert (found[0].file, found[0].line) == ("shop.yaml", END + line)
    assert problem in found[0].problem
    assert expected in found[0].expected
    assert found[0].near == near


@pytest.mark.parametrize(
    ("metric", "key", "problem", "near"),
    [
        ("{kind: cuont, source: orders, worse: lower}", "kind", "'cuont' is not known", "count"),
        ("{kind: count, source: order, worse: lower}", "source", "no source 'order'", "orders"),
        ("{kind: count, source: orders}", "worse", "missing", None),
        ("{kind: count, source: orders, worse: lower, field: amount}", "field", "means nothing for a count", None),
        ("{kind: count, source: orders, worse: lower, against: errors}", "against", "means nothing for a count", None),
        ("{kind: count, source: orders, worse: lower, on: [region]}", "on", "means nothing for a count", None),
        ("{kind: count, source: orders, worse: lower, scale: 10}", "scale", "means nothing for a count", None),
        ("{kind: sum, source: orders, worse: lower}", "", "needs the key 'field'", None),
        ("{kind: sum, source: orders, worse: lower, field: amuont}", "field", "not in sources.orders.fields", "amount"),
        ("{kind: sum, source: orders, worse: lower, field: region}", "field", "a label, id or ts", None),
        ("{kind: sum, source: orders, worse: lower, field: amount, scale: 0}", "scale", "0 will not do", None),
        ("{kind: ratio, source: errors, worse: higher}", "", "needs the key 'against'", None),
        ("{kind: ratio, source: errors, worse: higher, against: oders}", "against", "no source 'oders'", "orders"),
        ("{kind: ratio, source: errors, worse: higher, against: errors}", "against", "the same as source", None),
        ("{kind: ratio, source: errors, worse: higher, against: orders, on: [regoin]}", "on[0]", "no watched label", "region"),
        ("{kind: ratio, source: errors, worse: higher, against: orders, on: [version]}", "on[0]", "no watched label", None),
        ("{kind: count, source: orders, worse: lower, smallest: .NaN}", "smallest", "nan will not do", None),
        ("{kind: count, source: orders, worse: lower, smallest: 0}", "smallest", "0 will not do", None),
        ("{kind: count, source: orders, worse: lower, where: {cod: [500]}}", "where.cod", "not in sources.orders.fields", "code"),
        ("{kind: count, source: orders, worse: lower, where: {code: []}}", "where.code", "an empty list", None),
        ("{kind: count, source: orders, worse: lower, where: {code: [500, 1.5]}}", "where.code[1]", "neither text nor", None),
        ("{kind: count, source: orders, worse: lower, where: {code: [true]}}", "where.code[0]", "neither text nor", None),
        ("{kind: count, source: orders, worse: lower, model: GaussianScorer}", "model", "'GaussianScorer' will not do", None),
        ("{kind: count, source: orders, worse: lower, model: {name: river.anomly.GaussianScorer}}", "model.name", "no model", "river.anomaly.GaussianScorer"),
        ("{kind: count, source: orders, worse: lower, model: {name: GaussianScorer}}", "model.name", "no model", None),
        ("{kind: count, source: orders, worse: lower, model: {name: river.linear_model.LinearRegression}}", "model.name", "no model", None),
        ("{kind: count, source: orders, worse: lower, model: {name: river.drift.binary.DDM}}", "model.name", "no model", None),
        ("{kind: count, source: orders, worse: lower, model: {name: os.system}}", "model.name", "no model", None),
        ("{kind: count, source: orders, worse: lower, model: {name: river.drift.ADWIN, arguments: [1]}}", "model.arguments", "a list will not do", None),
        ("{kind: count, source: orders, worse: lower, model: {name: river.drift.ADWIN, arguments: {a b: 1}}}", "model.arguments.a b", "no argument", None),
        ("{kind: count, source: orders, worse: lower, model: {name: river.drift.ADWIN, arguments: {a: [.nan]}}}", "model.arguments.a[0]", "nan will", None),
        ("{kind: count, source: orders, worse: lower, model: {name: river.drift.ADWIN, arguments: {a: {b: 1}}}}", "model.arguments.a", "names no model", None),
        (
            "{kind: count, source: orders, worse: lower, model: {name: river.anomaly.QuantileFilter, arguments: {a: {name: river.anomoly.LODA}}}}",
            "model.arguments.a.name",
            "no model",
            "river.anomaly.LODA",
        ),
        (
            "{kind: distribution, source: orders, field: amount, worse: lower, model: {name: river.anomaly.LODA}}",
            "model",
            "a distribution has many in a bucket",
            None,
        ),
        ("{kind: count, source: orders, worse: lower, watch: 1}", "watch", "1 will not do", None),
        ("[count]", "", "a list will not do", None),
    ],
)
def test_a_metric_must_fit_its_kind_and_its_sources(metric: str, key: str, problem: str, near: str | None) -> None:
    found = only(f"{SHOP}  tried: {metric}\n")
    assert (found.line, found.key) == (END + 1, f"metrics.tried.{key}".rstrip("."))
    assert problem in found.problem
    assert found.near == near


@pytest.mark.parametrize(
    ("source", "key", "problem", "near"),
    [
        ("{topic: a, latenes: 5s, fields: {ts: t, service: s, region: r, version: v}}", "latenes", "unknown key", "lateness"),
        ("{topic: a, lateness: -5s, fields: {ts: t, service: s, region: r, version: v}}", "lateness", "'-5s' is not a span", None),
        ("{topic: a, idle: 0s, fields: {ts: t, service: s, region: r, version: v}}", "idle", "too short", None),
        ("{topic: a b, fields: {ts: t, service: s, region: r, version: v}}", "topic", "no Kafka topic", None),
        ("{topic: .., fields: {ts: t, service: s, region: r, version: v}}", "topic", "no Kafka topic", None),
        ("{topic: a, format: jsn, fields: {ts: t, service: s, region: r, version: v}}", "format", "'jsn' is not known", "json"),
        ("{topic: a, max_bytes: 1, fields: {ts: t, service: s, region: r, version: v}}", "max_bytes", "1 will not do", None),
        ("{fields: {ts: t, service: s, region: r, version: v}}", "topic", "missing", None),
        ("{topic: a}", "fields", "missing", None),
        ("{topic: a, fields: {service: s, region: r, version: v}}", "fields", "'ts' (event time) is not declared", None),
        ("{topic: a, fields: {ts: t, service: s, regoin: r, version: v}}", "fields", "'region' (a label) is not declared", "regoin"),
        ("{topic: a, fields: {ts: t, service: s, region: r, version: ''}}", "fields.version", "empty", None),
        ("{topic: a, fields: {ts: t, service: s, region: r, version: v, 'a b': c}}", "fields.a b", "'a b' is no name", None),
        ("{topic: a, epoch: min, fields: {ts: t, service: s, region: r, version: v}}", "epoch", "'min' is not known", None),
        ("{topic: a, where: {regoin: [eu]}, fields: {ts: t, service: s, region: r, version: v}}", "where.regoin", "not in sources.tried.fields", "region"),
        ("{topic: a, where: {region: []}, fields: {ts: t, service: s, region: r, version: v}}", "where.region", "an empty list", None),
        ("{topic: a, where: {region: eu}, fields: {ts: t, service: s, region: r, version: v}}", "where.region", "'eu' will not do", None),
        ("{topic: a, where: {region: [1.5]}, fields: {ts: t, service: s, region: r, version: v}}", "where.region[0]", "1.5 is neither", None),
        ("{topic: a, fields: {ts: 5, service: s, region: r, version: v}}", "fields.ts", "5 names no field", None),
        ("{topic: a, fields: {ts: [t], service: s, region: r, version: v}}", "fields.ts", "a list names no field", None),
        ("{topic: a, fields: {ts: {pth: t}, service: s, region: r, version: v}}", "fields.ts", "'pth' is no key here", "path"),
        ("{topic: a, fields: {ts: {path: t, a: b}, service: s, region: r, version: v}}", "fields.ts", "'a' is no key here", None),
        ("{topic: a, fields: {ts: {}, service: s, region: r, version: v}}", "fields.ts", "an empty mapping names no field", None),
        ("{topic: a, fields: {ts: {path: 5}, service: s, region: r, version: v}}", "fields.ts", "5 is no path", None),
        ("{topic: a, fields: {ts: {path: ' '}, service: s, region: r, version: v}}", "fields.ts", "empty", None),
        ("{topic: a, fields: {ts: {path: a..b}, service: s, region: r, version: v}}", "fields.ts", "'.' does not belong at character 3", None),
        ("{topic: a, fields: {ts: {path: contain(a)}, service: s, region: r, version: v}}", "fields.ts", "there is no function contain()", "contains"),
    ],
)
def test_a_source_must_say_how_it_is_read(source: str, key: str, problem: str, near: str | None) -> None:
    found = only(f"{METRICS}{SOURCES}  tried: {source}\n")
    assert (found.line, found.key) == (END + 1, f"sources.tried.{key}")
    assert problem in found.problem
    assert found.near == near


def test_a_path_may_take_the_place_of_a_name_and_the_other_way_round() -> None:
    path = "sources: {orders: {fields: {region: {path: shop.region}}}}"
    name = "sources: {orders: {fields: {region: shop.region}}}"
    for texts, wanted in (((path,), FieldPath(path="shop.region")), ((path, name), "shop.region"), ((name, path), FieldPath(path="shop.region"))):
        settings = load_layers([Layer(SHOP, "shop.yaml"), *(Layer(text, "more.yaml") for text in texts)])
        assert settings.sources["orders"].fields["region"] == wanted
        assert str(settings.sources["orders"].fields["region"]) == "shop.region"


def test_a_source_name_cannot_leave_the_folder_of_a_case() -> None:
    found = only(SOURCES.replace("  errors:", "  ../errors:") + METRICS)
    assert (found.line, found.key) == (5, "sources.../errors")
    assert "is no name" in found.problem


def test_a_key_that_stands_twice_names_both_lines() -> None:
    found = only(SHOP + "mode: auto\nbucket: 10s\nmode: observe\n")
    assert (found.line, found.key) == (END + 3, "mode")
    assert f"first in line {END + 1}" in found.problem


@pytest.mark.parametrize("text", ["", "\n", "# nothing yet\n", "---\n", "null\n", "{}", "\ufeff"])
def test_an_empty_file_is_a_mistake(text: str) -> None:
    found = only(text)
    assert (found.line, found.problem) == (1, "nothing stands in it")


@pytest.mark.parametrize(("text", "line"), [("- a\n- b\n", 1), ("\n\njust words\n", 3), ("12", 1), ("[sources]", 1)])
def test_a_file_that_is_no_mapping_is_a_mistake(text: str, line: int) -> None:
    found = only(text)
    assert (found.line, found.problem) == (line, "not a mapping")


def test_sources_and_metrics_are_needed() -> None:
    assert [(each.key, each.problem) for each in mistakes("mode: auto\n")] == [
        ("sources", "the key 'sources' is missing"),
        ("metrics", "the key 'metrics' is missing"),
    ]
    assert [each.problem for each in mistakes("sources: {}\nmetrics: {}\n")] == ["nothing is declared"] * 2


def test_several_mistakes_are_all_said_in_the_order_of_the_file() -> None:
    text = (
        "bucket: 7s\n"  # 1
        "budget:\n"  # 2
        "  false_pages: lots\n"  # 3
        "  pre: 30d\n"  # 4
        "sources:\n"  # 5
        "  orders:\n"  # 6
        "    topic: orders\n"  # 7
        "    latenes: 3s\n"  # 8
        "    fields: {ts: ts, service: s, region: r}\n"  # 9
        "metrics:\n"  # 10
        "  orders: {kind: count, source: oders, worse: lower}\n"  # 11
        "  money: {kind: sum, source: orders, field: amount, worse: down}\n"  # 12
        "mode: !!str auto\n"  # 13
        "mode: auto\n"  # 14
    )
    assert [(each.line, each.key) for each in mistakes(text)] == [
        (1, "bucket"),
        (3, "budget.false_pages"),
        (4, "budget.pre"),
        (8, "sources.orders.latenes"),
        (9, "sources.orders.fields"),
        (11, "metrics.orders.source"),
        (12, "metrics.money.worse"),
        (13, "mode"),
        (14, "mode"),
    ]


def test_a_mistake_does_not_make_others_of_what_names_the_value() -> None:
    found = only(SHOP.replace("topic: shop.orders", "topic: 'shop orders'"))
    assert (found.line, found.key) == (3, "sources.orders.topic")


def test_a_later_layer_overrides_key_by_key() -> None:
    settings = load_layers([Layer(SHOP, "shop.yaml"), Layer("budget: {per: 7d}\nmetrics: {orders: {smallest: 0.2}}\nmode: auto\n", "case.yaml")])
    assert (settings.budget.false_pages, settings.budget.per_ms) == (1.0, 7 * 86_400_000)
    assert (settings.metrics["orders"].kind, settings.metrics["orders"].smallest) == ("count", 0.2)
    assert settings.mode is Mode.AUTO


def test_a_list_of_a_later_layer_replaces_the_list() -> None:
    settings = load_layers([Layer(default_text(), "default.yaml"), Layer("labels: {watched: [region]}\n", "case.yaml")])
    assert settings.labels.watched == ("region",)


def test_null_in_a_later_layer_removes_what_stood_there() -> None:
    settings = load_layers([Layer(default_text(), "default.yaml"), Layer("metrics: {actual_minutes: null}\nbucket: ~\n", "case.yaml")])
    assert sorted(settings.metrics) == ["errors", "orders", "promised_minutes"]
    assert settings.bucket_ms == 10_000


def test_places_and_accepted_levels_may_stand_in_a_later_layer() -> None:
    added = (
        "places: {eu: {time_zone: Europe/Berlin, holidays: DE-BY}, us: {holidays: US}}\n"
        "accept:\n"
        "  - {metric: orders, at: '2026-03-02T01:00:00+01:00'}\n"
        "  - {metric: orders, labels: {region: eu}, at: 2026-03-02T00:00:00.5Z}\n"
    )
    settings = load_layers([Layer(SHOP, "shop.yaml"), Layer(added, "case.yaml")])
    assert (settings.places["eu"].time_zone, settings.places["eu"].holidays, settings.places["us"].time_zone) == ("Europe/Berlin", "DE-BY", "UTC")
    assert [(each.labels, each.at_ms) for each in settings.accept] == [({}, 1_772_409_600_000), ({"region": "eu"}, 1_772_409_600_500)]


def test_an_accepted_level_is_that_of_a_series_there_is() -> None:
    text = SHOP + "labels: {watched: [service, region, channel]}\naccept:\n  - {metric: orders, at: 2026-03-02T00:00:00Z, labels: {region: eu, channel: web}}\n"
    found = only(text.replace("region: region,", "region: region, channel: channel,"))
    assert (found.line, found.key, found.problem) == (END + 3, "accept[0].labels", "no series has just channel and region")
    unwatched = only(SHOP + "  rest: {kind: count, source: orders, worse: lower, watch: false}\naccept: [{metric: rest, at: 2026-03-02T00:00:00Z}]\n")
    assert (unwatched.key, unwatched.problem) == ("accept[0].metric", "'rest' is not watched")


def test_a_model_is_named_with_arguments_and_models_of_its_own() -> None:
    model = "{name: river.anomaly.QuantileFilter, arguments: {q: 0.95, anomaly_detector: {name: river.anomaly.LODA, arguments: {seed: 1}}, some: [1, a, true]}}"
    settings = load(f"{SHOP}  tried: {{kind: count, source: orders, worse: lower, model: {model}}}\n", name="shop.yaml")
    found = settings.metrics["tried"].model
    assert found is not None
    assert found.name == "river.anomaly.QuantileFilter"
    inner = {"name": "river.anomaly.LODA", "arguments": {"seed": 1}}
    assert found.arguments == {"q": 0.95, "anomaly_detector": inner, "some": [1, "a", True]}


def test_what_was_removed_can_no_longer_be_named() -> None:
    found = only(SHOP, "metrics:\n  calls: {kind: count, source: errors, worse: lower}\n  orders: null\n")
    assert (found.key, found.problem) == ("money_clock.metric", "there is no metric 'orders'")


@pytest.mark.parametrize("empty", ["", "# nothing to say\n", "name: march\nstart: 2026-03-01T00:00:00Z\n"])
def test_a_later_layer_may_be_empty(empty: str) -> None:
    layered = load_layers([Layer(SHOP, "shop.yaml"), Layer(empty, "case.yaml", skip=("name", "start"))])
    assert layered == load(SHOP, name="shop.yaml")


def test_a_mistake_in_a_later_layer_is_named_with_its_file_and_line() -> None:
    found = only(SHOP, "mode: auto\nmetrics:\n  orders:\n    worse: lowest\n")
    assert str(found) == "layer1.yaml:4: metrics.orders.worse: 'lowest' is not known. Expected: higher, lower, both. Did you mean 'lower'?"


def test_mistakes_of_several_layers_are_all_said() -> None:
    found = mistakes(SHOP + "bucket: 7s\n", "mode: auto\nbudgt: 1\n")
    assert [(each.file, each.line) for each in found] == [("layer0.yaml", END + 1), ("layer1.yaml", 2)]


def test_a_mistake_that_a_later_layer_replaces_is_none() -> None:
    assert load_layers([Layer(SHOP + "bucket: 7s\n", "shop.yaml"), Layer("bucket: 5s\n", "case.yaml")]).bucket_ms == 5_000


def test_an_event_source_and_metric_come_out_in_one_order() -> None:
    settings = load(default_text(), name="default.yaml")
    assert list(settings.sources) == sorted(settings.sources)
    assert list(settings.metrics) == sorted(settings.metrics)


def test_a_file_is_read_as_it_stands(tmp_path: Path) -> None:
    path = tmp_path / "shop.yaml"
    path.write_bytes(b"\xef\xbb\xbf" + SHOP.replace("\n", "\r\n").encode())
    layer = read_layer(path)
    assert layer.name == str(path)
    assert load_layers([layer]) == load(SHOP, name="shop.yaml")


def test_a_file_that_cannot_be_read_is_one_mistake(tmp_path: Path) -> None:
    (tmp_path / "shop.yaml").write_bytes(b"mode: auto\nname: \xff\xfe\n")
    for path, line, near in [
        (tmp_path / "shop.yaml", 2, None),
        (tmp_path / "shp.yaml", 0, "shop.yaml"),
        (tmp_path, 0, None),
        (tmp_path / "no" / "no", 0, None),
    ]:
        with pytest.raises(ConfigError) as raised:
            read_layer(path)
        (found,) = raised.value.mistakes
        assert (found.file, found.line, found.near) == (str(path), line, near)


def test_a_config_error_survives_pickling() -> None:
    import pickle  # noqa: PLC0415 - the one use

    error = ConfigError([Mistake(file="a", line=1, key="b", problem="c")])
    again = pickle.loads(pickle.dumps(error))  # noqa: S301 - our own bytes
    assert (again.mistakes, str(again), again.code) == (error.mistakes, str(error), "config")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20) | st.sampled_from(["10s", "orders", "count", "auto", "ts", "region"]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
    max_leaves=12,
)
KEYS = st.sampled_from([*(field.alias or name for name, field in Settings.model_fields.items()), "orders", "kind", "source", "fields", "topic", "watched"])
TREES = st.recursive(JSON, lambda inner: st.dictionaries(KEYS | st.text(max_size=5), inner, max_size=6), max_leaves=20)


def loads_or_says_why(*texts: str) -> None:
    mistakes: tuple[Mistake, ...] = ()
    settings: Settings | None = None
    try:
        settings = load_layers([Layer(text, f"{place}.yaml") for place, text in enumerate(texts)])
    except ConfigError as error:
        mistakes = error.mistakes
    assert mistakes or (settings is not None and settings.metrics)
    lines = max(len(text.splitlines()) for text in texts)
    for mistake in mistakes:
        assert mistake.problem
        assert 0 <= mistake.line <= lines + 1
        assert str(mistake).isprintable()
        assert len(str(mistake)) < 1_500


@given(st.dictionaries(KEYS | st.text(max_size=10), TREES, max_size=6))
def test_any_mapping_loads_or_says_why(written: dict[str, object]) -> None:
    loads_or_says_why(json.dumps(written, ensure_ascii=False).replace("NaN", ".nan").replace("Infinity", ".inf"))


@given(st.dictionaries(KEYS, TREES, max_size=6))
def test_any_layer_over_the_default_loads_or_says_why(written: dict[str, object]) -> None:
    loads_or_says_why(default_text(), json.dumps(written))


@given(st.text(max_size=200))
def test_any_text_loads_or_says_why(text: str) -> None:
    loads_or_says_why(text)


@given(st.text(alphabet="ab:{}[]&*!%|>-?#,'\"\t\n\\Uu0 <", max_size=80))
def test_any_text_of_signs_loads_or_says_why(text: str) -> None:
    loads_or_says_why(text)


def test_a_mistake_is_one_line_of_bounded_length_whatever_the_names() -> None:
    names = [f"s{place}\u2028\x9b{'x' * 500}" for place in range(500)]
    written = {"sources": dict.fromkeys(names, 1), "metrics": {"m": {"kind": "count", "source": names[0] + "y", "worse": "lower"}}}
    for mistake in mistakes(json.dumps(written)):
        assert str(mistake).isprintable()
        assert len(str(mistake)) < 2_000


@given(st.data())
def test_any_damage_to_the_default_loads_or_says_why(data: st.DataObject) -> None:
    text = default_text()
    start = data.draw(st.integers(0, len(text)))
    stop = data.draw(st.integers(start, min(len(text), start + 200)))
    loads_or_says_why(text[:start] + data.draw(st.text(max_size=5)) + text[stop:])


def test_a_mistyped_name_of_a_metric_is_one_mistake_with_the_name_that_was_meant() -> None:
    with pytest.raises(ConfigError) as caught:
        load_layers([Layer(text=default_text(), name="default.yaml"), Layer(text="metrics:\n  ordres: {smallest: 0.2}\n", name="case.yaml")])
    (mistake,) = caught.value.mistakes
    assert (mistake.file, mistake.line, mistake.key, mistake.near) == ("case.yaml", 2, "metrics.ordres", "orders")


def test_a_new_metric_that_lacks_keys_is_told_key_by_key() -> None:
    with pytest.raises(ConfigError) as caught:
        load_layers([Layer(text=default_text(), name="default.yaml"), Layer(text="metrics:\n  refunds: {kind: count}\n", name="case.yaml")])
    assert [mistake.key for mistake in caught.value.mistakes] == ["metrics.refunds.source", "metrics.refunds.worse"]


@pytest.mark.parametrize(
    ("topics", "key", "problem"),
    [
        ("kafka: {prefix: shop}\nsources: {orders: {topic: shop.signals}}", "sources.orders.topic", "a topic of Rollguard's own"),
        ("changes: {topic: shop.orders}", "sources.orders.topic", "the topic of the changes"),
    ],
)
def test_a_topic_of_events_has_no_other_use(topics: str, key: str, problem: str) -> None:
    found = only(SHOP, topics)
    assert (found.file, found.key) == ("layer1.yaml" if "sources" in topics else "layer0.yaml", key)
    assert problem in found.problem


@pytest.mark.parametrize(
    "section",
    [
        "kafka: {security_protocol: SSL}",
        "kafka: {security_protocol: SSL, ssl_context: {cafile: ca.pem, certfile: me.pem, keyfile: me.key, password: 'file:pass'}}",
        "kafka: {security_protocol: SASL_SSL, sasl_mechanism: SCRAM-SHA-512, sasl_plain_username: me, sasl_plain_password: 'env:P'}",
        "kafka: {security_protocol: SASL_PLAINTEXT, sasl_mechanism: GSSAPI}",
        "kafka: {bootstrap_servers: 'a:9092, b:9092'}",
        "kafka: {bootstrap_servers: ['[::1]:9092']}",
        "store: {url: 'postgresql://me@db:5432/x', password: 'env:P'}",
        "store: {url: 'postgresql+psycopg://me@db/x'}",
        "http: {port: 0}",
    ],
)
def test_every_way_to_log_in_can_be_written(section: str) -> None:
    load(SHOP + section, name="shop.yaml")


def test_a_secret_in_the_wrong_place_is_refused_and_not_shown() -> None:
    for text in ("kafka: {sasl_plain_password: hunter2-hunter2}", "store: {url: 'postgresql://me:hunter2-hunter2@db/x'}"):
        assert not any("hunter2" in str(each) for each in mistakes(SHOP + text)), text
