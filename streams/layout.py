"""Which fields a source's events must and may hold, and what each is for."""

from typing import Literal

import msgspec

from rollguard.config import Epoch, FieldPath, RollguardError, Settings
from rollguard.streams.measure import Measure, measures
from rollguard.streams.paths import UNREADABLE, keys_of
from rollguard.streams.seen import MAX_KINDS

__all__ = ["EARLIEST_MS", "LATEST_MS", "LIMIT", "PER_SECOND", "Field", "Layout", "Use", "layout"]

#: Event times from 2000 up to, not with, 2100: outside them a clock or a unit is wrong.
EARLIEST_MS = 946_684_800_000
LATEST_MS = 4_102_444_800_000
#: Units of an event time that is a number, in a second.
PER_SECOND: dict[Epoch, int] = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}
#: Largest size of a number.
LIMIT = 1e12

#: `sieve` takes whatever stands there.
Use = Literal["time", "number", "id", "label", "filter", "sieve"]


class Field(msgspec.Struct, frozen=True, kw_only=True):
    """One field of an event.

    Attributes
    ----------
    theirs : str
        Its name in the event, or its path.
    keys : tuple of str
        The way to it through objects, from the top; empty: the path is an expression that has to be searched for.
    use : str
        What it is read for first; that decides its type.
    required : bool
        An event without it is refused.
    epoch : str
        Unit of a number, of a time.
    """

    theirs: str
    keys: tuple[str, ...]
    use: Use
    required: bool
    epoch: Epoch = "ms"


class Layout(msgspec.Struct, frozen=True, kw_only=True):
    """The fields of one source's events.

    Attributes
    ----------
    fields : tuple of Field
        Each field of the event once. Below, places in it.
    time : int
    id : int or None
        None: the source declares no id, so copies are not known.
    labels : tuple of int
        Watched labels, then compare labels.
    n_watched : int
        So many of the labels are watched, and required.
    numbers : dict of str to int
        Measured fields by our name, in order of the name.
    filters : dict of str to int
        Fields that a metric's `where` asks for, by our name.
    sieve : tuple of (Field, frozenset of str)
        Fields that say whether a record belongs to the source, and the texts they then have; not among `fields` for that.
    mine : tuple of (int, Measure)
        Measures made of this source's events, with their numbers; not those that it says of itself.
    late, refused : int
        Numbers of the measures that it says of itself.
    weight : int or None
        Field that says how many events a record stands for; None: each is one event.
    shift_ms : int
        From the time that stands in a record to its event time. A point's is the last millisecond of its span: before that it was not over.
    """

    fields: tuple[Field, ...]
    time: int
    id: int | None
    labels: tuple[int, ...]
    n_watched: int
    numbers: dict[str, int]
    filters: dict[str, int]
    sieve: tuple[tuple[Field, frozenset[str]], ...]
    mine: tuple[tuple[int, Measure], ...]
    late: int
    refused: int
    weight: int | None = None
    shift_ms: int = 0


#: What one field is, whatever it is called: the way to it, or the expression.
_Place = tuple[tuple[str, ...], str]


def layout(settings: Settings, source: str) -> Layout:
    """Work out what a source's events must hold.

    Raises
    ------
    RollguardError
        If the settings do not know the source (`unknown_source`), name a field as no decoder can (`field_name`), or read one
        field of the event as two things that exclude each other (`field_use`).
    """
    if source not in settings.sources:
        raise RollguardError(f"sources.{source}: unknown source. Expected one of: {', '.join(sorted(settings.sources))}.", code="unknown_source")
    ours = settings.sources[source].fields
    epoch = settings.sources[source].epoch
    labels = settings.labels
    of_source = [(number, each) for number, each in enumerate(measures(settings)) if each.source == source]
    mine = tuple((number, each) for number, each in of_source if each.metric)
    own = {each.part: number for number, each in of_source if not each.metric}
    metrics = [settings.metrics[each.metric] for _, each in mine if each.part != "n"]
    numbers = sorted({metric.field for metric in metrics if metric.field is not None})
    filters = sorted({name for metric in metrics for name in metric.where})

    if len(numbers) >= MAX_KINDS:
        text = f"sources.{source}: {len(numbers)} measured fields. Expected: fewer than {MAX_KINDS}. Read the topic as two sources."
        raise RollguardError(text, code="field_use")

    fields: dict[_Place, Field] = {}

    def field_of(name: str, use: Use, *, required: bool = False) -> Field:
        theirs = ours.get(name, name)
        if isinstance(theirs, str) and UNREADABLE.search(theirs):
            text = f"sources.{source}.fields.{name}: {theirs!r} cannot be read. Expected: a name without quotes, backslashes and control characters."
            raise RollguardError(text, code="field_name")
        keys = keys_of(theirs.path) if isinstance(theirs, FieldPath) else (theirs,)
        return Field(theirs=str(theirs), keys=keys, use=use, required=required, epoch=epoch if use == "time" else "ms")

    def add(name: str, use: Use, *, required: bool) -> _Place:
        field = field_of(name, use, required=required)
        place = field.keys, "" if field.keys else field.theirs
        known = fields.get(place)
        if known is None:
            fields[place] = field
        elif use not in {"filter", known.use} and {use, known.use} != {"id", "label"}:
            problem = f"sources.{source}.fields: '{field.theirs}' is read as {known.use} and as {use} ({name})"
            raise RollguardError(f"{problem}. Expected: one use for one field. Give {name} another field.", code="field_use")
        elif required and not known.required:
            fields[place] = msgspec.structs.replace(known, required=True)
        return place

    time = add("ts", "time", required=True)
    number_names = {name: add(name, "number", required=False) for name in numbers}
    points = settings.sources[source].points
    weight = None if points is None else add(points.weight, "number", required=True)
    id_name = add("id", "id", required=True) if "id" in ours else None
    label_names = [add(name, "label", required=name in labels.watched) for name in (*labels.watched, *labels.compare)]
    filter_names = {name: add(name, "filter", required=False) for name in filters}
    place = {each: at for at, each in enumerate(fields)}
    return Layout(
        fields=tuple(fields.values()),
        time=place[time],
        id=None if id_name is None else place[id_name],
        labels=tuple(place[name] for name in label_names),
        n_watched=len(labels.watched),
        numbers={name: place[each] for name, each in number_names.items()},
        filters={name: place[each] for name, each in filter_names.items()},
        sieve=tuple((field_of(name, "sieve"), frozenset(map(str, values))) for name, values in sorted(settings.sources[source].where.items())),
        mine=mine,
        late=own["late"],
        refused=own["refused"],
        weight=None if weight is None else place[weight],
        shift_ms=0 if points is None else points.every_ms - 1 if points.stamp == "start" else -1,
    )
