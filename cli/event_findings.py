"""What a source's newest records say of its part of the config: refused ones, fields that never come, clocks that are wrong. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from rollguard.cli.findings import Finding, State
from rollguard.cli.places import Places
from rollguard.config import FieldPath, Settings, format_duration, near_match
from rollguard.config.inference import Given, Sample, infer, paths_of
from rollguard.incidents import ChangeRefusedError, change_sightings
from rollguard.streams import Decoded, Decoder
from rollguard.streams.kafka import RecordSeen

__all__ = ["change_findings", "source_findings"]

MINUTE_MS = 60_000
HALF_HOUR_MS = 30 * MINUTE_MS
Ints = npt.NDArray[np.int64]
#: From so many refused of a sample on a source is to be mended; fewer are dead letters as they happen.
MANY_REFUSED = 0.1
#: Zones differ by whole half hours, up to so much; a delay is seldom so even, nor so steady.
FURTHEST_ZONE_MS = 14 * 2 * HALF_HOUR_MS
ZONE_SLACK_MS = 3 * MINUTE_MS
#: A delay that is worth a word: each signal comes so much later.
LONG_DELAY_MS = 5 * MINUTE_MS
#: Fewer say nothing of clocks.
FEW = 5


def source_findings(settings: Settings, name: str, records: Sequence[RecordSeen], now_ms: int, places: Places) -> Iterator[Finding]:
    """Read the newest records of a source's topic as a worker would.

    Parameters
    ----------
    settings : Settings
    name : str
        The source.
    records : sequence of RecordSeen
    now_ms : int
        By the clock on the wall.
    places : Places
    """
    if not records:
        return
    what = f"source {name}"
    lines = [record.value or b"" for record in records]
    done = Decoder(settings, name).decode(lines)
    yield from _read(settings, name, done, lines, places)
    absent = list(_absent(settings, name, lines, places)) if len(done.index) + len(done.refusals) else []
    yield from absent
    stamp_ms = np.array([records[at].at_ms for at in done.index.tolist()], dtype=np.int64)
    clocks = list(_clocks(settings, name, (done.ts_ms, stamp_ms), now_ms, places)) if len(done.index) else []
    yield from clocks
    if not done.refusals and len(done.index) and not any(each.state == "mend" for each in (*absent, *clocks)):
        yield Finding(state="ok", what=what, text=f"the newest {_count(len(done.index), 'record')} can be read")


def _read(settings: Settings, name: str, done: Decoded, lines: Sequence[bytes], places: Places) -> Iterator[Finding]:
    """How many records of the source can be read, and why the first cannot."""
    what, mine = f"source {name}", len(done.index) + len(done.refusals)
    if not mine:
        wanted = ", ".join(settings.sources[name].where)
        text = f"none of the newest {_count(done.filtered, 'record')} is meant by its `where` ({wanted}){_values(settings, name, lines)}"
        yield Finding(state="mend", what=what, text=f"{text}. Expected: values that the records have.", where=places.of("sources", name, "where"))
        return
    if not done.refusals:
        return
    share = len(done.refusals) / mine
    reason, _ = Counter(each.reason for each in done.refusals).most_common(1)[0]
    first = next(each for each in done.refusals if each.reason == reason)
    key = _blamed(settings, name, reason, first.detail)
    detail = first.detail.rstrip(".")
    text = f"{len(done.refusals)} of the newest {_count(mine, 'record')} are refused ({reason}); the first {detail}.{_nearest(settings, name, key, lines)}"
    advice = " Expected: what the source's `fields`, `epoch` and `where` say. Mend them, or the producer."
    yield Finding(
        state="mend" if share >= MANY_REFUSED else "note",
        what=what,
        text=text if text.endswith("?") or "set `" in detail else text + advice,
        where=places.of("sources", name, *key),
    )


def _values(settings: Settings, name: str, lines: Sequence[bytes]) -> str:
    """What stands in the first field of a `where`."""
    field = next(iter(settings.sources[name].where))
    theirs = str(settings.sources[name].fields[field])
    seen = sorted({str(value) for way, value in paths_of(_objects(lines)) if way == theirs})
    return f"; {theirs} is {', '.join(seen[:5])}" if seen else f"; no record has {theirs}"


def _blamed(settings: Settings, name: str, reason: str, detail: str) -> tuple[str, ...]:
    """The key that a refusal is about."""
    fields = settings.sources[name].fields
    if reason == "time":
        return ("epoch",) if "set `epoch:" in detail else ("fields", "ts")
    named = [ours for ours, theirs in fields.items() if f"'{theirs}'" in detail or detail.startswith(f"{theirs} is ")]
    return ("fields", named[0]) if named else ("max_bytes",) if reason == "size" else ("format",) if reason in {"json", "shape", "utf8"} else ("fields",)


def _nearest(settings: Settings, name: str, key: tuple[str, ...], lines: Sequence[bytes]) -> str:
    """The field of the records that was probably meant, where one that was named is in none of them."""
    if key[:1] != ("fields",) or len(key) < 2:
        return ""
    theirs = settings.sources[name].fields[key[1]]
    if isinstance(theirs, FieldPath) and not all(each.isalnum() or each in "._" for each in theirs.path):
        return ""
    ways = {way for way, _ in paths_of(_objects(lines))}
    near = None if str(theirs) in ways else near_match(str(theirs), ways)
    return f" Did you mean '{near}'?" if near else ""


def _absent(settings: Settings, name: str, lines: Sequence[bytes], places: Places) -> Iterator[Finding]:
    """Fields that may be absent, and always are."""
    source = settings.sources[name]
    measured = {metric.field for metric in settings.metrics.values() if metric.source == name and metric.field is not None}
    ways = {way for way, _ in paths_of(_objects(lines))}
    for ours in (*settings.labels.compare, *sorted(measured)):
        theirs = source.fields.get(ours)
        if not isinstance(theirs, str) or theirs in ways or not ways:
            continue
        near = near_match(theirs, ways - {str(each) for each in source.fields.values()})
        use = "new and old cannot be compared" if ours in settings.labels.compare else "its metric stays empty"
        text = f"none of the newest {_count(len(lines), 'record')} has '{theirs}' ({ours}), so {use}."
        state: State = "mend" if near else "note"
        yield Finding(
            state=state,
            what=f"source {name}",
            text=text + (f" Did you mean '{near}'?" if near else " Name the field that has it, if there is one."),
            where=places.of("sources", name, "fields", ours),
        )


def _clocks(settings: Settings, name: str, times: tuple[Ints, Ints], now_ms: int, places: Places) -> Iterator[Finding]:
    """Hold event time against the records' own time (`times`, both in epoch ms), and both against the wall."""
    what, source = f"source {name}", settings.sources[name]
    event_ms, stamp_ms = times
    late_ms = stamp_ms - event_ms
    middle_ms = round(float(np.median(late_ms)))
    steady = float(np.subtract(*np.percentile(late_ms, [75, 25]))) < 10 * MINUTE_MS
    where = places.of("sources", name, "fields", "ts")
    zone_ms = round(middle_ms / HALF_HOUR_MS) * HALF_HOUR_MS
    in_zone = 0 < abs(zone_ms) <= FURTHEST_ZONE_MS and abs(middle_ms - zone_ms) <= ZONE_SLACK_MS and steady
    if len(event_ms) >= FEW and in_zone:
        direction = "behind" if middle_ms > 0 else "ahead of"
        text = f"event times are {_span(zone_ms)} {direction} their records': that looks like a time zone, or a clock that is so much wrong."
        yield Finding(state="mend", what=what, text=f"{text} Expected: UTC, or an offset that is true. Mend it where events are made.", where=where)
        return
    ahead = int(np.count_nonzero(-late_ms > source.ahead_ms))
    if ahead:
        furthest = _span(int(-late_ms.min()))
        text = f"{ahead} of the newest {_count(len(event_ms), 'event')} are up to {furthest} ahead of their records' time, and are refused (`future`)."
        state: State = "mend" if ahead >= MANY_REFUSED * len(event_ms) else "note"
        advice = f"Expected: at most {format_duration(source.ahead_ms)} (`ahead`). Mend the producer's clock, or sources.{name}.epoch."
        yield Finding(state=state, what=what, text=f"{text} {advice}", where=where)
    elif int(event_ms.max()) - now_ms > source.ahead_ms:
        text = f"its newest event is {_span(int(event_ms.max()) - now_ms)} in the future. Mend the producer's clock, or the one here (NTP)."
        yield Finding(state="mend", what=what, text=text, where=where)
    elif len(event_ms) >= FEW and middle_ms > LONG_DELAY_MS:
        text = f"events are {_span(middle_ms)} old when their records are written: what is found of them comes so much later."
        yield Finding(state="note", what=what, text=text, where=where)


def change_findings(settings: Settings, records: Sequence[RecordSeen], places: Places) -> Iterator[Finding]:
    """Read the newest records of the topic of changes."""
    if not records:
        return
    what = "changes"
    refused: list[str] = []
    counted = 0
    for record in records:
        try:
            counted += bool(change_sightings(record.value or b"", record.headers, environment=settings.environment))
        except ChangeRefusedError as error:
            refused.append(str(error).rstrip("."))
    if refused:
        text = f"{len(refused)} of the newest {_count(len(records), 'change')} refused; the first: {refused[0]}."
        many: State = "mend" if len(refused) >= MANY_REFUSED * len(records) else "note"
        advice = " Expected: CDEvents, or our own form; docs/changes-in.md has both, and ways to do without."
        yield Finding(state=many, what=what, text=text + advice, where=places.of("changes", "topic"))
    if counted:
        yield Finding(state="ok", what=what, text=f"{counted} of the newest {_count(len(records), 'change')} are of environment {settings.environment}")
    elif len(refused) < len(records):
        sample = Sample(name="changes", records=_objects([record.value or b"" for record in records]))
        other = infer([sample], Given(topics={"changes": "changes", "orders": None, "errors": None, "deliveries": None})).environment
        text = f"none of the newest {_count(len(records), 'change')} is of environment '{settings.environment}', so nothing can be blamed."
        advice = f" They are of '{other}': set environment: {other}." if other else " Expected: changes that name it."
        yield Finding(state="mend" if other else "note", what=what, text=text + advice, where=places.of("environment"))


def _objects(lines: Sequence[bytes]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    for line in lines:
        try:
            value = msgspec.json.decode(line)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            continue
        if isinstance(value, dict):
            found.append(value)
    return found


def _span(ms: int) -> str:
    """A span as a person says it, without the rest that tells nothing."""
    ms = abs(ms)
    return format_duration(ms // MINUTE_MS * MINUTE_MS if ms >= MINUTE_MS else ms // 1000 * 1000)


def _count(n: int, noun: str) -> str:
    return f"{n} {noun}{'' if n == 1 else 's'}"
