"""How keys depend on one another: what pydantic cannot see in one value."""

import math
import re
from collections.abc import Collection, Iterator, Sequence
from typing import Any

import msgspec

from rollguard.config.document import Node
from rollguard.config.durations import format_duration
from rollguard.config.errors import Mistake, shown
from rollguard.config.explain import mistake_at
from rollguard.config.model import Accept, Kafka, Labels, Metric, Place, Points, Settings, Source, Store
from rollguard.config.values import HOUR_MS, RIVER_MODEL, RIVER_MODELS, SECOND_MS, near_model

RESERVED = ("id", "ts")  # fields that mean something by themselves
OWN_TOPICS = ("blocks", "signals", "commands", "deadletter")  # behind `kafka.prefix`


def inconsistencies(settings: Settings, root: Node, *, broken: frozenset[str]) -> Iterator[Mistake]:
    """Find the keys that contradict one another.

    Parameters
    ----------
    settings : Settings
        What is left when values with mistakes of their own are taken away.
    root : Node
        All that was written, for lines and for the names that exist even if their values are wrong.
    broken : frozenset of str
        Top-level keys with a default in place of what was written: nothing is said about them.

    Yields
    ------
    Mistake
        In the order of the schema.
    """
    named = {section: _names(root, section) for section in ("sources", "metrics")}
    if settings.places and "labels" not in broken and Place.LABEL not in settings.labels.watched:
        yield mistake_at(root, ("places",), f"there is no watched label '{Place.LABEL}', whose values places are", expected=listed(settings.labels.watched))
    if "labels" not in broken:
        yield from _labels(settings, root)
    for section in ("sources", "metrics"):
        if section not in broken and not named[section]:
            yield mistake_at(root, (section,), "nothing is declared" if section in _top(root) else f"the key '{section}' is missing", expected="at least one")
    for name, source in settings.sources.items():
        yield from _source(settings, root, name, source, broken=broken)
    for name, metric in settings.metrics.items():
        yield from _metric(settings, root, name, metric, sources=named["sources"], broken=broken)
    if "changes" not in broken and settings.changes.source in named["sources"]:
        yield mistake_at(root, ("changes", "source"), f"'{settings.changes.source}' is a source of events", expected="a name of its own, as deploys")
    if "kafka" not in broken:
        yield from _kafka(settings.kafka, root)
    yield from _topics(settings, root, broken=broken)
    if "store" not in broken:
        yield from _store(settings.store, root)
    if "money_clock" not in broken and "metrics" not in broken and named["metrics"]:
        yield from _money_clock(settings, root, named["metrics"])
    if "metrics" not in broken:
        for place, accept in enumerate(settings.accept):
            yield from _accept(settings, root, ("accept", place), accept, metrics=named["metrics"], broken=broken)


def _top(root: Node) -> dict[str, Node]:
    return root.value if isinstance(root.value, dict) else {}


def _names(root: Node, section: str) -> list[str]:
    node = _top(root).get(section)
    entries = node.value if node is not None and isinstance(node.value, dict) else {}
    return sorted(name for name, entry in entries.items() if entry.value is not None)


def _labels(settings: Settings, root: Node) -> Iterator[Mistake]:
    labels = settings.labels
    seen: set[str] = set()
    for group, names in (("watched", labels.watched), ("compare", labels.compare)):
        for place, name in enumerate(names):
            path: tuple[str | int, ...] = ("labels", group, place)
            if name in RESERVED:
                yield mistake_at(root, path, f"'{name}' cannot be a label", expected="a field other than id and ts")
            elif name in seen:
                yield mistake_at(root, path, f"'{name}' is a label already", expected="each label once, watched or compared")
            seen.add(name)
    for name, values in labels.keep.items():
        path = ("labels", "keep", name)
        if name not in labels.watched:
            yield mistake_at(root, path, f"'{name}' is no watched label", expected=listed(labels.watched), known=labels.watched, word=name)
        if Labels.OTHER in values:
            yield mistake_at(root, path, f"'{Labels.OTHER}' is the name of the rest", expected="a value of the label")
        if len(set(values)) > labels.max_values:
            yield mistake_at(root, path, f"{len(set(values))} values to keep, more than labels.max_values", expected=f"at most {labels.max_values}")


def _source(settings: Settings, root: Node, name: str, source: Source, *, broken: frozenset[str]) -> Iterator[Mistake]:
    path = ("sources", name, "fields")
    needed = ["ts"] if "labels" in broken else ["ts", *settings.labels.watched, *settings.labels.compare]
    for field in dict.fromkeys(needed):
        if field not in source.fields:
            problem = f"'{field}' ({'event time' if field == 'ts' else 'a label'}) is not declared"
            yield mistake_at(root, path, problem, expected=f"{field}: its name in the events", known=list(source.fields), word=field)
    yield from _where(root, ("sources", name), source.where, name, source)
    if source.points is not None:
        yield from _points(settings, root, ("sources", name, "points"), source, source.points, broken=broken)


def _points(settings: Settings, root: Node, path: tuple[str, str, str], source: Source, points: Points, *, broken: frozenset[str]) -> Iterator[Mistake]:
    """Check that a point lies in one bucket, and that its weight is a field of its own."""
    if "bucket" not in broken and settings.bucket_ms % points.every_ms:
        every, bucket = format_duration(points.every_ms), format_duration(settings.bucket_ms)
        fits = HOUR_MS % points.every_ms == 0 and points.every_ms >= SECOND_MS
        what = (
            f"bucket: {every}, or a multiple of it that divides an hour"
            if fits
            else "points of a length that divides an hour, as 1m or 5m, and a bucket like it"
        )
        yield mistake_at(root, (*path, "every"), f"a point of {every} does not fit into a bucket of {bucket}", expected=what)
    special = RESERVED if "labels" in broken else (*RESERVED, *settings.labels.watched, *settings.labels.compare)
    countable = [field for field in source.fields if field not in special]
    if points.weight not in countable:
        problem = f"'{points.weight}' is a label, id or ts" if points.weight in special else f"'{points.weight}' is not in {'.'.join(path[:2])}.fields"
        yield mistake_at(root, (*path, "weight"), problem, expected=listed(countable), known=countable, word=points.weight)


def _metric(settings: Settings, root: Node, name: str, metric: Metric, *, sources: Sequence[str], broken: frozenset[str]) -> Iterator[Mistake]:
    path = ("metrics", name)
    yield from _metric_keys(root, path, metric)
    if "sources" in broken:
        return
    for key, source in (("source", metric.source), ("against", metric.against)):
        if source is not None and source not in sources:
            yield mistake_at(root, (*path, key), f"there is no source {shown(source)}", expected=listed(sources), known=sources, word=source)
    if metric.kind == "ratio" and metric.against == metric.source:
        yield mistake_at(root, (*path, "against"), "the same as source, but a ratio is k / (k + n) of two sources", expected="the source of the other trials")
    if metric.kind == "ratio" and "labels" not in broken:
        watched = settings.labels.watched
        for place, label in enumerate(metric.on):
            if label not in watched:
                known = () if label in settings.labels.compare else watched
                yield mistake_at(root, (*path, "on", place), f"'{label}' is no watched label", expected=listed(watched), known=known, word=label)
    if metric.source in settings.sources:
        yield from _metric_fields(settings, root, path, metric)


def _metric_keys(root: Node, path: tuple[str, str], metric: Metric) -> Iterator[Mistake]:
    """Check which keys the kind needs and which mean nothing to it."""
    measures = metric.kind in {"sum", "distribution"}
    if measures and metric.field is None:
        yield mistake_at(root, path, f"a {metric.kind} needs the key 'field'", expected="field: the measured field")
    if metric.kind == "ratio" and metric.against is None:
        yield mistake_at(root, path, "a ratio needs the key 'against'", expected="against: the source of the other trials")
    idle = [("field", "sum or distribution", measures), ("against", "ratio", metric.kind == "ratio"), ("on", "ratio", metric.kind == "ratio")]
    idle.append(("scale", "sum", metric.kind == "sum"))
    for key, kinds, means_something in idle:
        if not means_something and key in metric.model_fields_set:
            yield mistake_at(root, (*path, key), f"means nothing for a {metric.kind}", expected=f"only with kind: {kinds}")
    if metric.model is not None and metric.kind == "distribution":
        yield mistake_at(
            root,
            (*path, "model"),
            "a model takes one number at a time, and a distribution has many in a bucket",
            expected="only with kind: count, sum or ratio",
        )
    elif metric.model is not None:
        yield from _arguments(root, (*path, "model", "arguments"), metric.model.arguments)


def _arguments(root: Node, path: tuple[str | int, ...], arguments: dict[str, Any]) -> Iterator[Mistake]:
    """Check the arguments of a model: scalars, lists, and models of their own."""
    for name, value in arguments.items():
        where = (*path, name)
        if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]{0,63}", name):
            yield mistake_at(root, where, f"{shown(name)} is no argument", expected="the name of one, as window_size")
        else:
            yield from _argument(root, where, value)


def _argument(root: Node, path: tuple[str | int, ...], value: Any) -> Iterator[Mistake]:
    if isinstance(value, list):
        for place, each in enumerate(value):
            yield from _argument(root, (*path, place), each)
    elif isinstance(value, float) and not math.isfinite(value):
        yield mistake_at(root, path, f"{value} will not do", expected="a finite number")
    elif isinstance(value, dict):
        model, inner = value.get("name"), value.get("arguments", {})
        if not isinstance(model, str) or not isinstance(inner, dict) or not value.keys() <= {"name", "arguments"}:
            yield mistake_at(root, path, "a mapping that names no model", expected="a scalar, a list, or {name: river..., arguments: {...}}")
            return
        if not RIVER_MODEL.fullmatch(model):
            where = (*path, "name")
            mistake = mistake_at(root, where, f"{shown(model)} is no model that can be named", expected=RIVER_MODELS)
            yield msgspec.structs.replace(mistake, near=near_model(model))
        yield from _arguments(root, (*path, "arguments"), inner)


def _accept(
    settings: Settings, root: Node, path: tuple[str | int, ...], accept: Accept, *, metrics: Sequence[str], broken: frozenset[str]
) -> Iterator[Mistake]:
    """Check that an accepted level is one of a series that is watched."""
    name = accept.metric
    if name not in metrics:
        yield mistake_at(root, (*path, "metric"), f"there is no metric {shown(name)}", expected=listed(metrics), known=metrics, word=name)
    elif name in settings.metrics and not settings.metrics[name].watch:
        yield mistake_at(root, (*path, "metric"), f"'{name}' is not watched", expected="a metric without watch: false")
    if "labels" in broken:
        return
    watched = settings.labels.watched
    unknown = [label for label in accept.labels if label not in watched]
    for label in unknown:
        yield mistake_at(root, (*path, "labels", label), f"'{label}' is no watched label", expected=listed(watched), known=watched, word=label)
    if not unknown and 1 < len(accept.labels) < len(watched):
        yield mistake_at(root, (*path, "labels"), f"no series has just {' and '.join(accept.labels)}", expected=f"none, one, or all of {listed(watched)}")


def _metric_fields(settings: Settings, root: Node, path: tuple[str, str], metric: Metric) -> Iterator[Mistake]:
    fields = settings.sources[metric.source].fields
    special = {*RESERVED, *settings.labels.watched, *settings.labels.compare}
    measurable = [field for field in fields if field not in special]
    if metric.field is not None and metric.field not in measurable:
        problem = f"'{metric.field}' is a label, id or ts" if metric.field in special else f"'{metric.field}' is not in sources.{metric.source}.fields"
        yield mistake_at(root, (*path, "field"), problem, expected=listed(measurable), known=measurable, word=metric.field)
    yield from _point_fields(settings, root, path, metric)
    yield from _where(root, path, metric.where, metric.source, settings.sources[metric.source])


def _point_fields(settings: Settings, root: Node, path: tuple[str, str], metric: Metric) -> Iterator[Mistake]:
    """Check that what is measured of points has one meaning: a sum is that of all events of a point, a distribution's value that of each."""
    points = settings.sources[metric.source].points
    if points is None or metric.field is None:
        return
    if metric.field == points.weight:
        problem = f"'{metric.field}' says how many events a point of {metric.source} stands for, which is no measurement of theirs"
        yield mistake_at(root, (*path, "field"), problem, expected="kind: count without a field, or a field that is measured")
    elif metric.kind == "distribution":
        for name, other in settings.metrics.items():
            if other.kind == "sum" and (other.source, other.field) == (metric.source, metric.field):
                problem = f"a point's '{metric.field}' is what each of its events has here, and what they have together in metrics.{name}"
                yield mistake_at(root, (*path, "field"), problem, expected="one field with the value of each event, another with their sum")


def _where(root: Node, path: tuple[str, str], where: Collection[str], name: str, source: Source) -> Iterator[Mistake]:
    """Check that the source declares the fields by whose values something is chosen."""
    for field in where:
        if field not in source.fields:
            problem = f"'{field}' is not in sources.{name}.fields"
            expected = f"{listed(source.fields)}; or name there which of their fields it is, as {field}: THEIRS"
            yield mistake_at(root, (*path, "where", field), problem, expected=expected, known=list(source.fields), word=field)


def _money_clock(settings: Settings, root: Node, metrics: Sequence[str]) -> Iterator[Mistake]:
    name = settings.money_clock.metric
    path = ("money_clock", "metric")
    if name not in metrics:
        yield mistake_at(root, path, f"there is no metric {shown(name)}", expected=listed(metrics), known=metrics, word=name)
    elif name in settings.metrics and settings.metrics[name].kind != "count":
        counts = [each for each, metric in settings.metrics.items() if metric.kind == "count"]
        yield mistake_at(root, path, f"'{name}' is a {settings.metrics[name].kind}", expected=f"a metric of kind count ({listed(counts)})")


def _kafka(kafka: Kafka, root: Node) -> Iterator[Mistake]:
    """Check that what is needed to log in is there, and that nothing was set in vain: a password that nobody asks for protects nothing."""
    protocol, mechanism = kafka.security_protocol, kafka.sasl_mechanism
    named = protocol.startswith("SASL") and mechanism != "GSSAPI"
    meant = f"only with security_protocol: SASL_SSL or SASL_PLAINTEXT{', and not with GSSAPI' if mechanism == 'GSSAPI' else ''}"
    for key in ("sasl_plain_username", "sasl_plain_password"):
        written = getattr(kafka, key) is not None
        if named and not written:
            what = "a user's name" if key.endswith("name") else "where the password stands, as env:NAME or file:PATH"
            yield mistake_at(root, ("kafka",), f"{protocol} with {mechanism} needs the key '{key}'", expected=f"{key}: {what}")
        elif written and not named:
            yield mistake_at(root, ("kafka", key), f"means nothing with {protocol if not protocol.startswith('SASL') else mechanism}", expected=meant)
    told = kafka.ssl_context
    path = ("kafka", "ssl_context")
    if not protocol.endswith("SSL"):
        for key in ("cafile", "certfile", "keyfile", "password"):
            if getattr(told, key) is not None:
                yield mistake_at(root, (*path, key), f"means nothing with {protocol}", expected="only with security_protocol: SSL or SASL_SSL")
    elif told.certfile is None:
        for key in ("keyfile", "password"):
            if getattr(told, key) is not None:
                yield mistake_at(root, (*path, key), "there is no certificate that it belongs to", expected="certfile: the client's own certificate")


def _topics(settings: Settings, root: Node, *, broken: frozenset[str]) -> Iterator[Mistake]:
    """Check that nothing is read that is not meant: each of our own topics, and that of the changes, has one use."""
    own = set() if "kafka" in broken else {f"{settings.kafka.prefix}.{name}" for name in OWN_TOPICS}
    if longest := [name for name in sorted(own) if len(name) > 249]:
        yield mistake_at(
            root, ("kafka", "prefix"), f"too long for {longest[0].rpartition('.')[2]}", expected=f"at most {248 - max(map(len, OWN_TOPICS))} letters"
        )
    readers = [] if "sources" in broken else [(("sources", name, "topic"), source.topic) for name, source in settings.sources.items()]
    changes = None if "changes" in broken else settings.changes.topic
    for path, topic in readers:
        if topic in own:
            yield mistake_at(root, path, f"'{topic}' is a topic of Rollguard's own", expected="a topic of events, or another kafka.prefix")
        elif topic == changes:
            yield mistake_at(root, path, f"'{topic}' is the topic of the changes", expected="a topic of events alone")
    if changes in own:
        yield mistake_at(root, ("changes", "topic"), f"'{changes}' is a topic of Rollguard's own", expected="a topic of changes, or another kafka.prefix")


def _store(store: Store, root: Node) -> Iterator[Mistake]:
    """Check that a password has a user, and somebody who asks for it."""
    if store.password is None:
        return
    if store.url.startswith("sqlite"):
        yield mistake_at(root, ("store", "password"), "means nothing for SQLite", expected="only with a url of PostgreSQL")
    elif "@" not in store.url.partition("://")[2].partition("/")[0]:
        yield mistake_at(root, ("store", "url"), "a password and no user that it is of", expected="postgresql://USER@HOST:PORT/NAME")


def listed(words: Collection[str]) -> str:
    """Say some words in a row, and how many more there are."""
    listed = [word if len(word) <= 40 else shown(word) for word in words][:20]
    more = [f"and {len(words) - 20} more"] if len(words) > 20 else []
    return ", ".join([*listed, *more]) or "none is declared"
