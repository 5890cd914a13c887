"""Which sample is which source: by its name, its fields and, where it holds several kinds of events, by their kind."""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from rollguard.config.inference.columns import Column, columns, path_text
from rollguard.config.inference.fields import fields_of, wanted
from rollguard.config.inference.names import TOPIC_WORDS, tokens, topic_score
from rollguard.config.inference.records import FieldGuess, Given, Inferred, Sample, SourceGuess
from rollguard.config.inference.times import TimeForm, time_form
from rollguard.config.paths import wrong_path

__all__ = ["ROLES", "infer"]

#: What a topic can be, the most important first.
ROLES = ("orders", "errors", "deliveries", "changes")
LEAST = 0.4
#: Fields that say which kind an event is of, where a topic holds several.
KINDS = ("type", "event_type", "eventtype", "event", "event_name", "kind", "action")
#: Keys that speak for a role, anywhere in a record.
_TELLING: dict[str, frozenset[str]] = {
    "orders": frozenset({"amount", "total", "price", "currency", "basket", "cart", "quantity", "customer", "payment"}),
    "errors": frozenset({"code", "error", "exception", "stack", "stacktrace", "message", "status", "status_code", "level", "url", "path"}),
    "deliveries": frozenset({"promised", "promise", "eta", "courier", "delivered", "address", "carrier"}),
    "changes": frozenset({"deploy_id", "deployment", "commit", "author", "approvals", "rollback", "from_version", "specversion", "change_kind"}),
}
#: A kind of event that takes back what another did is not one of them.
_NOT_ORDERS = frozenset({"cancelled", "canceled", "refunded", "returned", "failed", "failure", "error", "shipped", "delivered", "updated"})


class _Part(msgspec.Struct, frozen=True):
    """A sample, or the records of one that are of some kinds."""

    sample: Sample
    records: list[dict[str, Any]]
    words: str
    kind: str | None = None
    kinds: tuple[str, ...] = ()


def infer(samples: Sequence[Sample], given: Given | None = None) -> Inferred:
    """Say what samples are, and where in them our fields stand.

    Parameters
    ----------
    samples : sequence of Sample
    given : Given or None
        What is known already.

    Returns
    -------
    Inferred

    Examples
    --------
    >>> records = [{"orderId": f"o{n}", "placedAt": 1775001603 + n, "svc": "checkout", "market": "de", "total": 5} for n in range(50)]
    >>> found = infer([Sample(name="shop.purchases", records=records)])
    >>> [(each.name, each.theirs) for each in found.sources["orders"].fields[:4]], found.sources["orders"].epoch
    ([('id', 'orderId'), ('ts', 'placedAt'), ('service', 'svc'), ('region', 'market')], 's')
    """
    given = given or Given()
    parts = [part for sample in sorted(samples, key=lambda each: each.name) for part in _parts(sample)]
    chosen = _chosen(parts, given)
    sources = {role: _source(role, *chosen[role], given) for role in ROLES if role in chosen}
    changes = sources.pop("changes", None)
    environment, why = _environment(chosen["changes"][0].records) if "changes" in chosen else (None, "")
    used = {part.sample.name for part, *_ in chosen.values()}
    return Inferred(
        sources=sources,
        changes=changes,
        environment=environment,
        environment_why=why,
        unused=tuple(sorted(sample.name for sample in samples if sample.name not in used)),
    )


def _parts(sample: Sample) -> list[_Part]:
    """The sample as a whole, or one part for each role that its kinds of events speak for."""
    whole = _Part(sample, sample.records, sample.name)
    for column in columns(sample.records):
        if "_".join(tokens(column.way[-1])) not in KINDS or not column.all_are(str) or not 2 <= column.distinct <= 50:
            continue
        by_role = {role: tuple(sorted(kind for kind in set(column.values) if _is_kind(kind, role))) for role in ROLES[:3]}
        speaking = {role: kinds for role, kinds in by_role.items() if kinds}
        if len(speaking) >= 2 or (speaking and any(set(kinds) < set(column.values) for kinds in speaking.values())):
            return [_Part(sample, _of_kinds(sample.records, column, kinds), " ".join(kinds), path_text(column.way), kinds) for kinds in speaking.values()]
    return [whole]


def _is_kind(kind: str, role: str) -> bool:
    if not topic_score(kind, role):
        return False
    words = set(tokens(kind))
    return not (role == "orders" and words & _NOT_ORDERS)


def _of_kinds(records: list[dict[str, Any]], column: Column, kinds: Sequence[str]) -> list[dict[str, Any]]:
    def kind_of(record: Any) -> Any:
        for key in column.way:
            record = record.get(key) if isinstance(record, dict) else None
        return record

    return [record for record in records if kind_of(record) in kinds]


def _chosen(parts: Sequence[_Part], given: Given) -> dict[str, tuple[_Part, float, str]]:
    """One part for each role, each part once."""
    chosen: dict[str, tuple[_Part, float, str]] = {}
    for role, name in given.topics.items():
        mine = [part for part in parts if part.sample.name == name]
        if mine:
            best = max(mine, key=lambda part: _score(part, role)[0])
            chosen[role] = (best, 1.0, "as was said")
    scored = [(*_score(part, role), role, part) for part in parts for role in ROLES if role not in given.topics]
    order = {role: place for place, role in enumerate(ROLES)}
    for score, why, role, part in sorted(scored, key=lambda each: (-each[0], order[each[2]], each[3].sample.name)):
        taken = any(part is other for other, *_ in chosen.values())
        if score >= LEAST and role not in chosen and not taken:
            chosen[role] = (part, score, why)
    return chosen


def _score(part: _Part, role: str) -> tuple[float, str]:
    if not part.records:
        return (0.6, "guessed from its name; it holds no record yet") if topic_score(part.words, role) else (0.0, "")
    keys = {"_".join(tokens(key)) for record in part.records[:50] for key in _keys(record)}
    telling = sorted(keys & _TELLING[role])
    by_name = topic_score(part.words, role)
    other = max(topic_score(part.words, each) for each in TOPIC_WORDS if each != role)
    if role == "deliveries":
        found, _ = fields_of(columns(part.records), ["promised_minutes", "actual_minutes"])
        telling += [each.theirs for each in found if each.theirs is not None and each.theirs not in telling]
    by_fields = min(0.5, 0.2 * len(telling))
    score = min(1.0, 0.6 * by_name + by_fields + (0.15 if by_name and not other else 0.0))
    why = [f"its {'kinds of events' if part.kinds else 'name'}"] if by_name else []
    why += [f"its {'fields' if len(telling) > 1 else 'field'} {', '.join(telling[:4])}"] if telling else []
    return score, f"guessed from {' and '.join(why)}"


def _keys(record: Mapping[str, Any]) -> list[str]:
    return [*record, *(key for inner in record.values() if isinstance(inner, dict) for key in _keys(inner))]


def _source(role: str, part: _Part, sure: float, why: str, given: Given) -> SourceGuess:
    seen = columns(part.records)
    # A change has a form of its own: nothing of it is looked for.
    fields, form = fields_of(seen, wanted(role)) if role != "changes" else ((), None)
    fields = tuple(_as_given(each, given.fields.get((role, each.name))) for each in fields)
    if (role, "ts") in given.fields:
        form = _form_at(seen, given.fields[role, "ts"])
        fields = tuple(_wrapped(each, form) if each.name == "ts" else each for each in fields)
    where: dict[str, list[str]] = {}
    if part.kind is not None:
        where = {"kind": list(part.kinds)}
        direct = re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", part.kind) is not None
        told = f"guessed: {len(part.records)} of {len(part.sample.records)} records are of these kinds"
        fields += (FieldGuess(name="kind", theirs=part.kind, path=not direct, sure=1.0, why=told),)
    return SourceGuess(
        role=role,
        topic=part.sample.name,
        records=len(part.records),
        sure=round(sure, 2),
        why=why,
        fields=fields,
        epoch=None if form is None else form.epoch,
        form="" if form is None else form.said,
        where=where,
        all_count=_all_count(seen, part) if role == "errors" else "",
        file=part.sample.file,
    )


def _all_count(seen: Sequence[Column], part: _Part) -> str:
    """What says that a topic holds more than errors: a status of HTTP that is none, in most of its records."""
    if part.kind is not None:
        return ""
    for column in seen:
        well = sum(isinstance(each, int) and 100 <= each < 400 for each in column.values)
        if "status" in tokens(" ".join(column.way)) and 2 * well > column.of and all(isinstance(each, int) and 100 <= each < 600 for each in column.values):
            said = f"{path_text(column.way)} is below 400 in {well} of {column.of} records, so not each is an error, but each counts as one"
            return f"CHECK: {said}. Name the field that tells them apart as `kind` in `fields`, and here its values that are errors"
    return ""


def _as_given(guess: FieldGuess, theirs: str | None) -> FieldGuess:
    if theirs is None:
        return guess
    direct = re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", theirs) is not None or wrong_path(theirs) is not None
    return FieldGuess(name=guess.name, theirs=theirs, path=not direct, sure=1.0, why="as was said")


def _form_at(seen: Sequence[Column], theirs: str) -> TimeForm | None:
    """The form of a time whose field was given."""
    column = next((each for each in seen if theirs in {path_text(each.way), each.way[0] if len(each.way) == 1 else ""}), None)
    known = None if column is None else time_form(column.values)
    return None if known is None else known[0]


def _wrapped(guess: FieldGuess, form: TimeForm | None) -> FieldGuess:
    if form is None or not form.wrap or guess.theirs is None:
        return guess
    return msgspec.structs.replace(guess, theirs=form.wrap.replace("@", guess.theirs if guess.path else path_text((guess.theirs,))), path=True)


def _environment(records: Sequence[Mapping[str, Any]]) -> tuple[str | None, str]:
    """The environment of most changes; of those that look like production, where any does."""
    named = Counter(
        value
        for record in records
        for value in (record.get("environment"), *_environments_of_event(record))
        if isinstance(value, str) and value.strip() and value.isprintable()
    )
    if not named:
        return None, ""
    likely = [name for name in named if name.lower().startswith(("prod", "live"))]
    best = max(likely or sorted(named), key=lambda name: (named[name], name))
    return best, f"guessed from {named[best]} of {len(records)} changes"


def _environments_of_event(record: Mapping[str, Any]) -> list[Any]:
    """Where a CDEvent says it."""
    found: Any = record.get("subject") or record.get("data") or {}
    if isinstance(found, dict) and isinstance(found.get("subject"), dict):
        found = found["subject"]
    content = found.get("content") if isinstance(found, dict) else None
    environment = content.get("environment") if isinstance(content, dict) else None
    name = environment.get("id") if isinstance(environment, dict) else None
    # Of production/eu-west the rest is the place.
    return [name.partition("/")[0]] if isinstance(name, str) else []
