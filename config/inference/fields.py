"""Which column is which of our fields: by what it is called, and by what stands in it."""

import re
from collections.abc import Iterable, Sequence

from rollguard.config.inference.columns import Column, path_text
from rollguard.config.inference.names import FIELD_NAMES, name_score
from rollguard.config.inference.records import SURE, FieldGuess
from rollguard.config.inference.times import TimeForm, time_form

__all__ = ["LABELS", "fields_of", "wanted"]

LABELS = ("service", "region", "version")
#: Less sure than this is no guess.
LEAST = 0.5
#: A label has few values: this many, or this share of the records.
FEW = 20
FEW_SHARE = 0.2
#: Of fewer records nearly every field differs in each.
ENOUGH = 20
_LONGEST_LABEL = 200
_REGION = re.compile(r"[a-z]{2,4}(?:-[a-z]+)+(?:-?\d{1,2}[a-z]?)?|[a-z]{2}\d{1,2}|[A-Z]{2}")
_VERSION = re.compile(r"v?\d{1,4}(?:\.\d{1,6}){1,3}(?:[-+.][0-9A-Za-z.-]{1,40})?|[0-9a-f]{7,12}|[0-9a-f]{40}")
_UUID = re.compile(r"[0-9a-fA-F]{8}-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}|[0-9A-HJKMNP-TV-Z]{26}")


def wanted(role: str) -> tuple[str, ...]:
    """Our fields of a role, by which the config knows them."""
    return ("id", "ts", *LABELS, *(("promised_minutes", "actual_minutes") if role == "deliveries" else ()))


def fields_of(columns: Sequence[Column], names: Iterable[str]) -> tuple[tuple[FieldGuess, ...], TimeForm | None]:
    """Guess fields.

    Parameters
    ----------
    columns : sequence of Column
    names : iterable of str
        Ours.

    Returns
    -------
    fields : tuple of FieldGuess
        One for each name, found or not, in their order.
    form : TimeForm or None
        Of the field `ts`, where it was found.
    """
    names = tuple(names)
    scored = [(score, name, column) for name in names for column in columns if (score := _score(name, column)) >= LEAST]
    # The surest first; then the way nearest to the top, so that neither the order of keys nor of columns decides.
    scored.sort(key=lambda each: (-each[0], len(each[2].way), each[2].way, each[1]))
    taken: dict[str, tuple[float, Column]] = {}
    used: set[tuple[str, ...]] = set()
    for score, name, column in scored:
        if name not in taken and column.way not in used:
            taken[name] = (score, column)
            used.add(column.way)
    form = None
    found: list[FieldGuess] = []
    for name in names:
        if name not in taken:
            found.append(FieldGuess(name=name, theirs=None, why=_perhaps(name, [column for column in columns if column.way not in used])))
            continue
        score, column = taken[name]
        wrap = ""
        if name == "ts":
            known = time_form(column.values)
            form = known[0] if known is not None else None
            wrap = form.wrap if form is not None else ""
        found.append(_guess(name, column, score, wrap, form))
    return tuple(found), form


def _guess(name: str, column: Column, score: float, wrap: str, form: TimeForm | None) -> FieldGuess:
    direct = len(column.way) == 1 and not wrap
    theirs = column.way[0] if direct else path_text(column.way)
    if wrap:
        theirs = wrap.replace("@", theirs)
    seen, of = len(column.values), column.of
    said = {
        "id": f"{column.distinct} different values",
        "ts": form.said if form is not None else "",
        "service": _few(column),
        "region": _few(column),
        "version": _few(column),
    }.get(name, "numbers")
    why = f"guessed from {seen} of {of} records: {said}"
    if name == "ts" and form is not None and form.doubt:
        why, score = f"{why}; {form.doubt}", min(score, SURE - 0.01)
    elif score < SURE:
        why = f"{why}; its name says little"
    if name != "version" and name not in {"promised_minutes", "actual_minutes"} and seen < of:
        why, score = f"{why}; the other {of - seen} records have none and are refused", min(score, SURE - 0.01)
    return FieldGuess(name=name, theirs=theirs, path=not direct, sure=round(score, 2), why=why)


def _perhaps(name: str, columns: Sequence[Column]) -> str:
    """What a person may mean where no name tells, as names in another language do: fields that could be it by what stands in them."""
    if name == "id":
        fit = [path_text(each.way) for each in columns if each.of >= ENOUGH and each.share == 1.0 and _is_distinct(each)]
    elif name in {"service", "region"}:
        fit = [f"{path_text(each.way)} ({_few(each)})" for each in columns if each.share == 1.0 and each.all_are(str) and each.distinct <= FEW]
    else:
        fit = []
    return f"perhaps {', '.join(fit[:3])}" if fit else ""


def _is_distinct(column: Column) -> bool:
    return column.all_are(str, int) and column.distinct == len(column.values) and time_form(column.values) is None


def _few(column: Column) -> str:
    values = sorted({str(each) for each in column.values})
    shown = ", ".join(value if value.isprintable() and len(value) <= 24 else "…" for value in values[:3])
    return f"{shown} and {len(values) - 3} more" if len(values) > 3 else shown


def _score(name: str, column: Column) -> float:
    """How surely a column is a field, 0..1: both its name and what stands in it have to allow it."""
    by_name = name_score(column.way, name) if name in FIELD_NAMES else 0.0
    if name == "ts":
        return _time_score(column, by_name)
    if name == "id":
        return _id_score(column, by_name)
    if name in LABELS:
        return _label_score(name, column, by_name)
    return by_name * min(1.0, column.share + 0.5) if column.all_are(int, float) and time_form(column.values) is None else 0.0


def _time_score(column: Column, by_name: float) -> float:
    known = time_form(column.values)
    if known is None or known[1] < 0.9 * len(column.values):
        return 0.0
    # Whatever it is called: few other things look like a time of this century.
    return (0.6 + 0.4 * by_name) * column.share


def _id_score(column: Column, by_name: float) -> float:
    if not column.all_are(str, int) or column.distinct < 0.95 * len(column.values) or (time_form(column.values) is not None and by_name < 0.9):
        return 0.0
    if by_name:
        return by_name * column.share
    # A name that says nothing: only what is made to be different in each record.
    return 0.6 * column.share if all(isinstance(each, str) and _UUID.fullmatch(each) for each in column.values) else 0.0


def _label_score(name: str, column: Column, by_name: float) -> float:
    if not column.all_are(str, int) or time_form(column.values) is not None or any(not 0 < len(str(each)) <= _LONGEST_LABEL for each in column.values):
        return 0.0
    if column.distinct > max(FEW, FEW_SHARE * len(column.values)):
        return 0.0
    form = {"region": _REGION, "version": _VERSION}.get(name)
    fits = form is not None and all(form.fullmatch(str(each)) for each in column.values)
    by_form = 0.6 if fits and column.all_are(str) else 0.0
    score = min(1.0, by_name + 0.05) if by_name and fits else max(by_name, by_form)
    # A record without a watched label is refused; one without a version is not.
    return score if name == "version" else score * column.share
