"""What really happened in a case, as whoever made it wrote it down: `labels.json`. Read here and nowhere else."""

from __future__ import annotations

import math
import re
from datetime import datetime
from pathlib import Path

import msgspec

from rollguard.config import Node, RollguardError, parse

__all__ = ["Label", "LabelsError", "Truth", "kind_of", "read_truth", "truth_of"]

LABELS = "labels.json"
_NUMBERED = re.compile(r"(.+?)[-_]\d+")
_BYTE = re.compile(r"\(byte (\d+)\)")
_PATH = re.compile(r" - at `(\$[^`]*)`")
_STEP = re.compile(r"\.([^.\[]+)|\[(\d+)\]")


class LabelsError(RollguardError):
    """Labels that cannot be read, or are not there."""

    code = "case"


class Label(msgspec.Struct, frozen=True, kw_only=True):
    """An incident that really was.

    Attributes
    ----------
    incident_id : str
    onset_ms, end_ms : int
        Event time, epoch ms UTC.
    culprit : str or None
        The change that did it; None: no change did.
    carriers : tuple of str
        Changes that brought what the culprit set off; to blame one of them, or to roll it back, is right too.
    metrics, regions, services : tuple of str
        Where it hurt; empty: not said.
    page, rollback : bool
        Whether a person is to be told, and whether the culprit is to be rolled back.
    is_gap : bool
        Nothing was wrong with the shop, only with what is known of it (`data`).
    oracle_s : float or None
        How long one who knows both rates would need, in seconds; infinite: they would never be sure (`null` in the file); None: not known (not there).
    lost_orders : float or None
        Orders it cost; None: not known.
    """

    incident_id: str
    onset_ms: int
    end_ms: int
    culprit: str | None
    carriers: tuple[str, ...] = ()
    metrics: tuple[str, ...] = ()
    regions: tuple[str, ...] = ()
    services: tuple[str, ...] = ()
    page: bool = True
    rollback: bool = False
    is_gap: bool = False
    oracle_s: float | None = None
    lost_orders: float | None = None

    @property
    def causes(self) -> frozenset[str]:
        """Changes that may rightly be blamed; empty: none."""
        return frozenset(() if self.culprit is None else (self.culprit, *self.carriers))


class Truth(msgspec.Struct, frozen=True, kw_only=True):
    """All that is labelled of a case.

    Attributes
    ----------
    name : str
        Of its folder.
    kind : str
        Cases of one kind are told together.
    seed : int or None
    labels : tuple of Label
    """

    name: str
    kind: str
    seed: int | None = None
    labels: tuple[Label, ...] = ()


class _Incident(msgspec.Struct, kw_only=True):
    id: str
    onset: str
    end: str
    culprit: str | None
    page: bool
    rollback: bool
    metrics: tuple[str, ...] = ()
    regions: tuple[str, ...] = ()
    services: tuple[str, ...] = ()
    carriers: tuple[str, ...] = ()
    data: bool = False
    oracle_s: float | msgspec.UnsetType | None = msgspec.UNSET
    lost_orders: float | None = None


class _Labels(msgspec.Struct, kw_only=True):
    incidents: list[_Incident]
    lost_orders: float | None = None
    kind: str | None = None
    seed: int | None = None


def kind_of(name: str) -> str:
    """Kind of a case whose labels do not say it: its name without the number at its end.

    Examples
    --------
    >>> kind_of("region_only-7"), kind_of("march")
    ('region_only', 'march')
    """
    found = _NUMBERED.fullmatch(name)
    return name if found is None else found[1]


def read_truth(folder: Path) -> Truth:
    """Read the labels of a case.

    Raises
    ------
    LabelsError
        If there are none, or they are broken; says in which line.
    """
    path = folder / LABELS
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise LabelsError(
            f"{path}: no labels: nobody knows what really happened there. Expected: the form that DESIGN calls a case; or move it away."
        ) from None
    return truth_of(folder.name, data, file=str(path))


def truth_of(name: str, data: bytes, *, file: str = LABELS) -> Truth:
    """Make sense of labels.

    Parameters
    ----------
    name : str
        Of the case.
    data : bytes
        What stands in `labels.json`.
    file : str
        As errors call it.

    Raises
    ------
    LabelsError
        If they are broken; says in which line.
    """
    try:
        read = msgspec.json.decode(data, type=_Labels)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise LabelsError(f"{file}:{_line(data, str(error))}: {_told(str(error))}. Nothing was scored; mend the labels.") from None
    if read.lost_orders is not None and read.lost_orders < 0.0:
        raise LabelsError(f"{file}:{_line_of(data, '$.lost_orders')}: `lost_orders`: {_negative(read.lost_orders)}. Nothing was scored; mend the labels.")
    # What a case lost as a whole is an incident's where there is but one.
    whole = read.lost_orders if len(read.incidents) == 1 else None
    labels: list[Label] = []
    for at, each in enumerate(read.incidents):
        where = f"$.incidents[{at}]"
        onset_ms, end_ms = (_moment(data, file, f"{where}.{key}", text) for key, text in (("onset", each.onset), ("end", each.end)))
        if end_ms < onset_ms:
            raise LabelsError(f"{file}:{_line_of(data, f'{where}.end')}: `end` {each.end} is before `onset` {each.onset}. Nothing was scored; mend the labels.")
        if any(each.id == other.incident_id for other in labels):
            raise LabelsError(f"{file}:{_line_of(data, f'{where}.id')}: `id` {each.id!r} stands there twice. Expected: one for each incident.")
        _refuse_nonsense(each, data, file, where)
        labels.append(
            Label(
                incident_id=each.id,
                onset_ms=onset_ms,
                end_ms=end_ms,
                culprit=each.culprit,
                carriers=each.carriers,
                metrics=each.metrics,
                regions=each.regions,
                services=each.services,
                page=each.page,
                rollback=each.rollback,
                is_gap=each.data,
                oracle_s=None if each.oracle_s is msgspec.UNSET else math.inf if each.oracle_s is None else each.oracle_s,
                lost_orders=whole if each.lost_orders is None else each.lost_orders,
            )
        )
    return Truth(name=name, kind=read.kind or kind_of(name), seed=read.seed, labels=tuple(labels))


def _refuse_nonsense(incident: _Incident, data: bytes, file: str, where: str) -> None:
    """Refuse what cannot be: it would be scored as if it were."""
    oracle_s = incident.oracle_s
    key, said = "", ""
    if incident.lost_orders is not None and incident.lost_orders < 0.0:
        key, said = "lost_orders", _negative(incident.lost_orders)
    elif isinstance(oracle_s, (int, float)) and oracle_s < 0.0:
        key, said = "oracle_s", f"an oracle needs {oracle_s:g} s. Expected: 0 or more; null where it is never sure; not there where nobody asked"
    elif incident.rollback and incident.culprit is None:
        key, said = "rollback", "true, and no culprit: there is nothing to roll back. Expected: `culprit`, or false"
    elif incident.carriers and incident.culprit is None:
        key, said = "carriers", "they brought what no culprit set off. Expected: `culprit`, or no carriers"
    if key:
        raise LabelsError(f"{file}:{_line_of(data, f'{where}.{key}')}: `{key}`: {said}. Nothing was scored; mend the labels.")


def _negative(lost: float) -> str:
    return f"{lost:g} orders were lost. Expected: 0 or more; null where nobody knows"


def _moment(data: bytes, file: str, path: str, text: str) -> int:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is None:
        key = path.rpartition(".")[2]
        raise LabelsError(f"{file}:{_line_of(data, path)}: `{key}` {text[:40]!r} is no time. Expected: RFC 3339 with an offset, as 2026-03-02T09:00:00Z.")
    return round(moment.timestamp() * 1000)


def _told(error: str) -> str:
    return (
        _PATH.sub(lambda found: f" (`{found[1].removeprefix('$.')}`)", _BYTE.sub("", error))
        .strip()
        .replace("`str`", "a text")
        .replace("`bool`", "true or false")
    )


def _line(data: bytes, error: str) -> int:
    """Line of a mistake: of the byte it names, or of the key."""
    byte, path = _BYTE.search(error), _PATH.search(error)
    if byte is not None:
        return data.count(b"\n", 0, int(byte[1])) + 1
    return _line_of(data, path[1] if path is not None else "$")


def _line_of(data: bytes, path: str) -> int:
    """Line of a key; JSON is read as the YAML that it is, which knows its lines."""
    node, _ = parse(data.decode("utf-8", "replace"), name=LABELS)
    line = 1
    for name, at in _STEP.findall(path):
        inner: Node | None = None
        if node is not None and isinstance(node.value, dict):
            inner = node.value.get(name)
        elif node is not None and isinstance(node.value, list) and at:
            inner = node.value[int(at)] if int(at) < len(node.value) else None
        if inner is None:
            break
        node, line = inner, inner.line
    return line
