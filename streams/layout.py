"""Which fields a source's events must and may hold, and what each is for."""

import datetime
import re
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from rollguard.config import RollguardError, Settings
from rollguard.streams.measure import Measure, measures
from rollguard.streams.seen import MAX_KINDS

__all__ = ["EARLIEST_MS", "LATEST_MS", "LIMIT", "EventTime", "Field", "Layout", "Use", "layout"]

#: Event times from 2000 up to, not with, 2100: outside them a clock or a unit is wrong.
EARLIEST_MS = 946_684_800_000
LATEST_MS = 4_102_444_800_000
#: Largest size of a number.
LIMIT = 1e12

#: What the JSON decoder does not take in the name of a field.
_UNREADABLE = re.compile(r'["\\\x00-\x1f]')

Use = Literal["time", "number", "id", "label", "filter"]
_Whole = Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)]
#: Types of the fields; what the decoder takes.
EventTime = Annotated[int, Meta(ge=EARLIEST_MS, lt=LATEST_MS)] | Annotated[datetime.datetime, Meta(tz=True)]
_Number = Annotated[float, Meta(ge=-LIMIT, le=LIMIT)]
_Name = str | _Whole


class Field(msgspec.Struct, frozen=True, kw_only=True):
    """One field of an event.

    Attributes
    ----------
    theirs : str
        Its name in the event.
    use : str
        What it is read for first; that decides its type.
    required : bool
        An event without it is refused.
    """

    theirs: str
    use: Use
    required: bool


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
    mine : tuple of (int, Measure)
        Measures made of this source's events, with their numbers; not those that it says of itself.
    late, refused : int
        Numbers of the measures that it says of itself.
    """

    fields: tuple[Field, ...]
    time: int
    id: int | None
    labels: tuple[int, ...]
    n_watched: int
    numbers: dict[str, int]
    filters: dict[str, int]
    mine: tuple[tuple[int, Measure], ...]
    late: int
    refused: int

    def event_type(self) -> type[msgspec.Struct]:
        """Make the record into which an event decodes: attributes f0, f1 … in the order of `fields`."""
        members: list[tuple[str, Any, Any]] = []
        for at, field in enumerate(self.fields):
            kind: Any = {"time": EventTime, "id": _Name, "label": _Name, "number": _Number, "filter": str | int | float | bool}[field.use]
            if field.required:
                members.append((f"f{at}", kind, msgspec.field(name=field.theirs)))
            else:
                members.append((f"f{at}", kind | None, msgspec.field(name=field.theirs, default=None)))
        return msgspec.defstruct("Event", members, kw_only=True, gc=False)


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

    fields: dict[str, Field] = {}

    def add(name: str, use: Use, *, required: bool) -> str:
        theirs = ours.get(name, name)
        if _UNREADABLE.search(theirs):
            text = f"sources.{source}.fields.{name}: {theirs!r} cannot be read. Expected: a name without quotes, backslashes and control characters."
            raise RollguardError(text, code="field_name")
        known = fields.get(theirs)
        if known is None:
            fields[theirs] = Field(theirs=theirs, use=use, required=required)
        elif use not in {"filter", known.use} and {use, known.use} != {"id", "label"}:
            problem = f"sources.{source}.fields: '{theirs}' is read as {known.use} and as {use} ({name})"
            raise RollguardError(f"{problem}. Expected: one use for one field. Give {name} another field.", code="field_use")
        elif required and not known.required:
            fields[theirs] = Field(theirs=theirs, use=known.use, required=True)
        return theirs

    time = add("ts", "time", required=True)
    number_names = {name: add(name, "number", required=False) for name in numbers}
    id_name = add("id", "id", required=True) if "id" in ours else None
    label_names = [add(name, "label", required=name in labels.watched) for name in (*labels.watched, *labels.compare)]
    filter_names = {name: add(name, "filter", required=False) for name in filters}
    place = {theirs: at for at, theirs in enumerate(fields)}
    return Layout(
        fields=tuple(fields.values()),
        time=place[time],
        id=None if id_name is None else place[id_name],
        labels=tuple(place[name] for name in label_names),
        n_watched=len(labels.watched),
        numbers={name: place[theirs] for name, theirs in number_names.items()},
        filters={name: place[theirs] for name, theirs in filter_names.items()},
        mine=mine,
        late=own["late"],
        refused=own["refused"],
    )
