"""The page of the config: every key with its type, default and meaning, from the models that check it and the comments of the shipped defaults."""

from __future__ import annotations

import ast
import inspect
import json
import re
import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from rollguard.config import Settings, default_text, format_duration, rfc3339
from rollguard.config import values as kinds

__all__ = ["Row", "page", "rows"]

#: By what checks a value: what an operator writes, and an example.
_BY_CHECK = {
    "_read_span": ("span of time", "30s"),
    "_above_zero": ("span of time, above 0", "30s"),
    "_divides_an_hour": ("span of time that divides an hour", "10s"),
    "_names_something": ("name", "checkout"),
    "says_something": ("text", "production"),
    "_is_a_topic": ("Kafka topic", "shop.orders"),
    "_is_a_zone": ("IANA time zone", "Europe/Berlin"),
    "_has_holidays": ("country, or country-subdivision", "DE-BY"),
    "_is_a_river_model": ("class of river", "river.anomaly.GaussianScorer"),
    "_read_moment": ("time, RFC 3339 with an offset", "2026-03-02T00:00:00Z"),
    "_is_an_address": ("host:port", "127.0.0.1:9092"),
    "_is_a_reference": ("where a secret stands: env:NAME or file:PATH", "env:KAFKA_PASSWORD"),
    "_is_a_database": ("address of a database", "postgresql://rollguard@db.example:5432/rollguard"),
    "_is_a_path": ("JMESPath", "deployment.payload.app"),
    "_is_a_url": ("URL", "https://wiki.example/checkout"),
    "_read_field": ("name in the events, or {path: JMESPath}", "{path: order.placed_at}"),
}
#: Where a key's own example says more than that of its kind.
EXAMPLES = {
    "places.<name>.time_zone": "Europe/Berlin",
    "labels.keep": "{service: [checkout, payments]}",
    "sources.<name>.where": "{type: [order_placed]}",
    "sources.<name>.fields": "{ts: placed_at, service: {path: app.name}}",
    "sources.<name>.points.every": "5m",
    "sources.<name>.points.weight": "requests",
    "metrics.<name>.source": "orders",
    "metrics.<name>.field": "promised_minutes",
    "metrics.<name>.against": "orders",
    "metrics.<name>.where": "{status: [failed]}",
    "metrics.<name>.model.arguments": "{window_size: 300}",
    "changes.quiet": "12h",
    "changes.http.keys.<name>.secret": "file:/run/secrets/ci",
    "changes.http.keys.<name>.services": "[checkout, 'promise-*']",
    "changes.http.github.<name>.secret": "env:GITHUB_WEBHOOK_SECRET",
    "changes.http.github.<name>.services": "[checkout, 'promise-*']",
    "changes.http.github.<name>.repositories": "{shop/checkout: [checkout]}",
    "changes.http.github.<name>.fields.version": "deployment.ref",
    "changes.http.argocd.<name>.secret": "env:ARGOCD_TOKEN",
    "changes.http.argocd.<name>.services": "[checkout, 'promise-*']",
    "changes.http.argocd.<name>.fields.region": "destination.name",
    "changes.kubernetes.<name>.ca_file": "/etc/rollguard/ca.pem",
    "changes.kubernetes.<name>.namespaces": "[shop]",
    "changes.kubernetes.<name>.selector": "tier=web,!canary",
    "changes.kubernetes.<name>.version_label": "app.kubernetes.io/version",
    "changes.kubernetes.<name>.author": "shop.example/changed-by",
    "changes.kubernetes.<name>.container": "app",
    "changes.kubernetes.<name>.region": "eu-west",
    "changes.kubernetes.<name>.region_label": "topology.kubernetes.io/region",
    "retention.ledger": "400d",
    "services.<name>.owner": "payments team",
    "services.<name>.page": "[oncall]",
    "services.<name>.escalate": "[lead]",
    "services.<name>.target": "cluster",
    "accept[].metric": "orders",
    "accept[].labels": "{region: eu-west}",
    "respond.pagers.<name>.url": "http://127.0.0.1:9093",
    "respond.pagers.<name>.secret": "env:PAGERDUTY_KEY",
    "respond.pagers.<name>.webhook_secret": "env:PAGERDUTY_WEBHOOK_SECRET",
    "respond.pagers.<name>.ca_file": "/etc/rollguard/ca.pem",
    "respond.pagers.<name>.labels": "{team: checkout}",
    "respond.page": "[oncall]",
    "respond.fallback": "[chat]",
    "respond.escalate": "[lead]",
    "respond.target": "cluster",
    "respond.targets.<name>.url": "https://kubernetes.default.svc",
    "respond.targets.<name>.secret": "file:/var/run/secrets/kubernetes.io/serviceaccount/token",
    "respond.targets.<name>.ca_file": "/var/run/secrets/kubernetes.io/serviceaccount/ca.crt",
    "respond.targets.<name>.name": "'{service}'",
    "respond.targets.<name>.container": "app",
    "respond.targets.<name>.argv": "[/usr/local/bin/back, '{service}', '{to_version}']",
    "respond.targets.<name>.current": "[/usr/local/bin/live, '{service}']",
    "respond.people.<name>.secret": "env:DANA_KEY",
    "respond.people.<name>.aliases": "[dana-gh]",
    "respond.link": "https://wiki.example/{incident}",
    "respond.image": "https://grafana.example/render/{incident}",
    "respond.kill_switch": "/etc/rollguard/kill-switch",
    "respond.freezes[].reason": "the winter sale",
    "respond.planned[].reason": "the database moves",
    "respond.heartbeat.secret": "env:HEARTBEAT_URL",
    "kafka.sasl_plain_username": "rollguard",
    "kafka.sasl_kerberos_domain_name": "kafka.example",
    "kafka.ssl_context.cafile": "/etc/rollguard/ca.pem",
    "kafka.ssl_context.certfile": "/etc/rollguard/client.pem",
    "kafka.ssl_context.keyfile": "/etc/rollguard/client.key",
    "kafka.ssl_context.password": "env:KAFKA_KEY_PASSWORD",
    "kafka.replication_factor": "3",
    "store.url": "postgresql://rollguard@db.example:5432/rollguard",
    "store.password": "file:/run/secrets/database",
}
MUST = "none: it must be set"
_BOUNDS = (("gt", ">"), ("ge", ">="), ("lt", "<"), ("le", "<="))
#: What reads one value where several may stand.
_SEVERAL = {"_one_or_more"}


@dataclass(frozen=True)
class Row:
    """One key, as an operator writes it.

    Attributes
    ----------
    key : str
        With the keys above it; `<name>` stands for what the operator names, `[]` for an entry of a list.
    kind : str
        What may stand there.
    default : str
        In YAML; of a key that has to be there: "none: it must be set".
    example : str
        In YAML; of a section: empty, its keys have theirs.
    meaning : str
    field : FieldInfo
        What checks it.
    """

    key: str
    kind: str
    default: str
    example: str
    meaning: str
    field: FieldInfo


def rows() -> list[Row]:
    """All keys, in the order of the models."""
    return list(_rows(Settings, "", _comments(default_text())))


def _rows(model: type[BaseModel], above: str, comments: dict[str, str]) -> Iterator[Row]:
    docs = _attribute_docs(model)
    for name, field in model.model_fields.items():
        alias = field.alias or name
        key = f"{above}{alias}"
        kind, example = _kind(field)
        default = _default(field)
        if key in EXAMPLES:
            example = EXAMPLES[key]
        elif example and default not in {MUST, "null", "[]", "{}"}:
            example = default
        yield Row(key=key, kind=kind, default=default, example=example, meaning=_meaning(model, name, comments.get(key, ""), docs.get(name, "")), field=field)
        inner, step = _inner(field.annotation)
        if inner is not None:
            yield from _rows(inner, f"{key}{step}.", comments)


def _meaning(model: type[BaseModel], name: str, comment: str, doc: str) -> str:
    """What is said of a key: beside it in the shipped defaults, or, where that is half a sentence, where it is declared."""
    written = _as_written(doc, model)
    found = comment if comment and not (written and "..." in comment) else written
    return found.replace(" ...", "").replace("... ", "") or _summary(model, name)


def _inner(annotation: Any) -> tuple[type[BaseModel] | None, str]:
    """The section that stands in a value, and the step to it."""
    origin = get_origin(annotation)
    if inspect.isclass(annotation) and issubclass(annotation, BaseModel):
        return annotation, ""
    if origin is Annotated:
        return _inner(get_args(annotation)[0])
    if origin is dict:
        found, step = _inner(get_args(annotation)[1])
        return (found, f".<name>{step}") if found else (None, "")
    if origin is tuple:
        found, step = _inner(get_args(annotation)[0])
        return (found, f"[]{step}") if found else (None, "")
    if origin in {Union, UnionType}:
        # A field's name may be a path, which its kind says already.
        parts = [each for each in get_args(annotation) if each is not NoneType]
        return _inner(parts[0]) if len(parts) == 1 else (None, "")
    return None, ""


def _kind(field: FieldInfo) -> tuple[str, str]:
    kind, example = _words(field.annotation, field.metadata)
    bounds = [f"{sign} {getattr(each, name)}" for each in _metadata(field.annotation, field.metadata) for name, sign in _BOUNDS if hasattr(each, name)]
    if bounds and "span" in kind:
        bounds = [f"{sign} {format_duration(int(number))}" for sign, number in (bound.split(" ") for bound in bounds)]
    return f"{kind}, {' and '.join(bounds)}" if bounds else kind, example


def _metadata(annotation: Any, metadata: Sequence[Any]) -> Iterator[Any]:
    """Everything that checks a value, also where null may stand instead; pydantic keeps bounds in fields of their own."""
    for part in get_args(annotation) if get_origin(annotation) in {Union, UnionType} else ():
        if get_origin(part) is Annotated:
            metadata = [*metadata, *get_args(part)[1:]]
    for each in metadata:
        yield from each.metadata if isinstance(each, FieldInfo) else (each,)


def _words(annotation: Any, metadata: Any = ()) -> tuple[str, str]:
    checks = [getattr(getattr(each, "func", None), "__name__", "") for each in metadata]
    origin, inside = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _words(inside[0], [*inside[1:], *metadata])
    if origin in {Union, UnionType}:
        parts = [each for each in inside if each is not NoneType]
        if found := next((_BY_CHECK[check] for check in reversed(checks) if check in _BY_CHECK), None):
            return found
        kind, example = _words(parts[0], metadata)
        return (f"{kind}, or null", example) if NoneType in inside else (kind, example)
    if origin is tuple:
        kind, example = _words(inside[0])
        if {"_at_least_one"} & set(checks):
            return "list of texts or whole numbers, at least one", "[order_placed]"
        return f"list: {kind}" if not _SEVERAL & set(checks) else f"{kind}, or a list of them", f"[{example}]" if example else "[]"
    if origin is dict:
        kind, example = _words(inside[1])
        return f"mapping: {kind} by name", f"{{NAME: {example}}}" if example else "{}"
    if origin is Literal:
        return f"one of {', '.join(map(str, inside))}", str(inside[0])
    if found := next((_BY_CHECK[check] for check in reversed(checks) if check in _BY_CHECK), None):
        return found
    if annotation is not Any and inspect.isclass(annotation):
        if issubclass(annotation, BaseModel):
            return "section", ""
        if issubclass(annotation, str) and annotation is not str:
            return f"one of {', '.join(map(str, annotation))}", str(next(iter(annotation)))  # type: ignore[call-overload]
        return {bool: ("true or false", "false"), int: ("whole number", "1"), float: ("number", "0.5"), str: ("text", "text")}[annotation]
    return "anything that YAML can say", "300"


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return MUST
    value = field.get_default(call_default_factory=True)
    checks = [getattr(getattr(each, "func", None), "__name__", "") for each in field.metadata]
    words = _words(field.annotation, field.metadata)[0]
    if isinstance(value, BaseModel):
        return "what its keys say"
    if isinstance(value, int) and not isinstance(value, bool) and "span of time" in words:
        return format_duration(value) if value else "0s"
    if isinstance(value, int) and "_read_moment" in checks:
        return rfc3339(value)
    if isinstance(value, str):
        return str(value)
    return json.dumps(list(value) if isinstance(value, tuple) else value)


def _attribute_docs(model: type[BaseModel]) -> dict[str, str]:
    """What stands below each attribute of a class in its source; bases first."""
    found: dict[str, str] = {}
    for each in reversed(model.__mro__):
        if not issubclass(each, BaseModel) or each in {BaseModel, kinds.Section}:
            continue
        body = next(part.body for part in ast.parse(textwrap.dedent(inspect.getsource(each))).body if isinstance(part, ast.ClassDef))
        for statement, after in pairwise(body):
            if isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name) and isinstance(after, ast.Expr):
                value = after.value
                if isinstance(value, ast.Constant) and isinstance(value.value, str):
                    found[statement.target.id] = inspect.cleandoc(value.value)
    return found


def _as_written(text: str, model: type[BaseModel]) -> str:
    """A docstring's words as an operator needs them: spans are written with their unit, and keys by the name in the file."""
    text = re.sub(
        r"(,| of|;)? (in |so many |epoch )?milliseconds|^Milliseconds\b|; epoch ms|, in epoch ms",
        lambda found: " so long" if "so many" in found[0] else "",
        text,
    )
    for name, field in model.model_fields.items():
        if field.alias:
            text = text.replace(f"`{name}`", f"`{field.alias}`")
    return re.sub(r"\s+", " ", text).strip(" .;,").replace("None:", "null:")


def _summary(model: type[BaseModel], name: str) -> str:
    """The first sentence of the section that a key holds."""
    inner, _ = _inner(model.model_fields[name].annotation)
    return "" if inner is None else (inspect.getdoc(inner) or "").split("\n")[0].rstrip(".")


def _comments(text: str) -> dict[str, str]:
    """What the comments of the shipped defaults say, by key; entries under `sources` and `metrics` stand for every name."""
    found: dict[str, str] = {}
    above: list[tuple[int, str]] = []
    for line in text.splitlines():
        match = re.fullmatch(r"( *)([A-Za-z_][\w]*):(.*)", line)
        if match is None:
            continue
        indent, name, rest = len(match[1]), match[2], match[3]
        above = [(each, key) for each, key in above if each < indent]
        key = ".".join([key for _, key in above] + [name])
        above.append((indent, name))
        key = re.sub(r"^(sources|metrics|fields)\.\w+", r"\1.<name>", key)
        if (comment := re.search(r"(?:^|\s)# (.*)$", rest)) and key not in found:
            found[key] = comment[1].strip()
    return found


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "&lt;").replace("{", "&#123;").strip() or "&nbsp;"


def _code(text: str) -> str:
    return f"`{text}`".replace("|", "\\|") if text else ""


def _line(row: Row) -> str:
    return f"| `{row.key}` | {_cell(row.kind)} | {_code(row.default)} | {_code(row.example)} | {_cell(row.meaning)} |"


def page() -> str:
    """The page, in Markdown."""
    found = rows()
    lines = [
        "# Config",
        "",
        "Every key that a config may have. Your own file needs only the keys that differ; what it leaves out is as the [shipped defaults](#the-shipped-defaults) say,",
        "or, where these say nothing, as the column *default*. A key set to `null` is as if nobody had written it. Unknown keys are mistakes, and",
        "`rollguard check -c FILE` tells every mistake at once with its line. Spans of time carry their unit (`ms`, `s`, `m`, `h`, `d`); secrets never stand in a config, only where",
        "they are: `env:NAME` of a variable, or `file:PATH`.",
        "",
    ]
    head = ["| key | what may stand there | default | example | meaning |", "|---|---|---|---|---|"]
    sections: dict[str, list[Row]] = {}
    for each in found:
        sections.setdefault(re.split(r"[.\[]", each.key)[0], []).append(each)
    lines += ["## At the top", "", "Keys that stand by themselves.", "", *head, *(_line(inside[0]) for inside in sections.values() if len(inside) == 1), ""]
    for section, inside in sections.items():
        if len(inside) > 1:
            lines += [f"## {section}", "", f"{inside[0].meaning[:1].upper()}{inside[0].meaning[1:]}.", "", *head, *map(_line, inside), ""]
    lines += ["## The shipped defaults", "", "`config/default.yaml`, which every config lies over:", "", "```yaml", default_text().rstrip(), "```", ""]
    return "\n".join(lines)
