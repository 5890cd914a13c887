"""Changes as CDEvents: from what a pipeline says of services and environments to change records.

Written after the specification of CDEvents as it stood between 0.5 and 0.6 (continuous-deployment.md with `service` and `environment`
events 0.3.0, cloudevents-binding.md), and CloudEvents 1.0.2 with its JSON format and Kafka binding. Types are told by their
subject and predicate, whatever their version.
"""

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar
from urllib.parse import unquote

import msgspec

from rollguard.incidents.changes import ChangeRecord, ChangeRefusedError, read_record, sightings_of, time_ms
from rollguard.incidents.records import ChangeSeen

__all__ = ["change_record", "change_sightings", "sightings"]

CDEVENTS = "dev.cdevents."
#: What changes what customers may feel; runs, builds, tests, tickets and the rest do not.
SERVICE = frozenset({"deployed", "upgraded", "rolledback", "removed", "published"})
ENVIRONMENT = frozenset({"created", "modified", "deleted"})
#: What undoes: a change of its own, even in the chain of what it undoes.
UNDOING = frozenset({"rolledback", "removed", "deleted"})

_FIELDS = frozenset(ChangeRecord.__struct_fields__)
_NOTHING = b"null"
_ABSENT = msgspec.Raw()
_T = TypeVar("_T")


class _Probe(msgspec.Struct):
    """What tells the forms apart."""

    deploy_id: msgspec.Raw = _ABSENT
    specversion: msgspec.Raw = _ABSENT
    type: msgspec.Raw = _ABSENT
    context: msgspec.Raw = _ABSENT
    subject: msgspec.Raw = _ABSENT


class _Envelope(msgspec.Struct):
    """A CloudEvent in structured mode."""

    type: str
    id: str | None = None
    time: str | None = None
    data: msgspec.Raw = msgspec.Raw(_NOTHING)
    data_base64: bytes | None = None


class _Type(msgspec.Struct):
    type: str | None = None


class _Typed(msgspec.Struct):
    context: _Type | None = None


class _Context(msgspec.Struct, rename="camel"):
    id: str | None = None
    timestamp: str | None = None
    chain_id: str | None = None


class _Environment(msgspec.Struct):
    id: str | None = None
    name: str | None = None


class _Content(msgspec.Struct, rename="camel"):
    environment: _Environment | None = None
    artifact_id: str | None = None
    name: str | None = None


class _Subject(msgspec.Struct):
    id: str
    content: _Content | None = None


class _Event(msgspec.Struct, rename="camel"):
    subject: _Subject
    context: _Context | None = None
    custom_data: Any = None


def sightings(line: bytes, *, environment: str) -> tuple[ChangeSeen, ...]:
    """Sightings in one change record, of the case format, a CDEvent, or a CloudEvent in structured mode that carries either.

    Parameters
    ----------
    line : bytes
        A JSON object.
    environment : str
        Records of other environments give nothing; neither do events that change nothing, as a pipeline that started.

    Returns
    -------
    tuple of ChangeSeen
        In order of `seen_ms`.

    Raises
    ------
    ChangeRefusedError
        When the record cannot be read; says what was wrong.

    Examples
    --------
    >>> event = {
    ...     "context": {"type": "dev.cdevents.service.deployed.0.3.0", "timestamp": "2026-03-02T09:00:00Z"},
    ...     "subject": {
    ...         "id": "service/checkout",
    ...         "content": {"environment": {"id": "production/eu-west"}, "artifactId": "pkg:generic/checkout@4.11.0"},
    ...     },
    ... }
    >>> [(seen.stage, seen.service, seen.region, seen.version) for seen in sightings(msgspec.json.encode(event), environment="production")]
    [('started', 'checkout', 'eu-west', '4.11.0'), ('finished', 'checkout', 'eu-west', '4.11.0')]
    """
    return change_sightings(line, environment=environment)


def change_sightings(value: bytes, headers: Sequence[tuple[str, bytes]] = (), *, environment: str) -> tuple[ChangeSeen, ...]:
    """Sightings in one record of a topic of changes; see `change_record`.

    Raises
    ------
    ChangeRefusedError
        As for `sightings`.
    """
    record = change_record(value, headers, environment=environment)
    return () if record is None else sightings_of(record, environment=environment)


def change_record(value: bytes, headers: Sequence[tuple[str, bytes]] = (), *, environment: str) -> ChangeRecord | None:
    """Read one record of a topic of changes in our own form.

    Parameters
    ----------
    value : bytes
        As for `sightings`; of a CloudEvent in binary mode the data alone.
    headers : sequence of (str, bytes)
        Those of the Kafka record.
    environment : str
        As for `sightings`.

    Returns
    -------
    ChangeRecord or None
        None: an event that changes nothing. It may be of another environment; its times have not been read.

    Raises
    ------
    ChangeRefusedError
        As for `sightings`.
    """
    given = {name.lower(): text for name, text in headers}
    media = _header(given, "content-type").partition(";")[0].strip().lower()
    if media.startswith("application/cloudevents"):
        if media not in {"application/cloudevents", "application/cloudevents+json"}:
            msg = f"content-type {media[:60]!r} cannot be read; expected application/cloudevents+json"
            raise ChangeRefusedError(msg)
        return _of_envelope(value, environment=environment)
    kind = _header(given, "ce_type")
    if kind.startswith(CDEVENTS):
        outside = _Envelope(type=kind, id=_header(given, "ce_id") or None, time=_header(given, "ce_time") or None)
        return _of_event(value, outside, environment=environment)
    try:
        probe = msgspec.json.decode(value, type=_Probe)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        # Read as a change record it is refused in the words for one.
        probe = _Probe()
    if not probe.deploy_id:
        if probe.specversion and probe.type:
            return _of_envelope(value, environment=environment)
        if probe.context and probe.subject:
            return _of_event(value, None, environment=environment)
    return read_record(value)


def _header(given: Mapping[str, bytes], name: str) -> str:
    try:
        return given.get(name, b"").decode()
    except UnicodeDecodeError:
        msg = f"header {name} is not UTF-8"
        raise ChangeRefusedError(msg) from None


def _read(value: bytes | msgspec.Raw, kind: type[_T], what: str) -> _T:
    try:
        return msgspec.json.decode(value, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        msg = f"{what}: {error}"
        raise ChangeRefusedError(msg) from None


def _of_envelope(value: bytes, *, environment: str) -> ChangeRecord | None:
    envelope = _read(value, _Envelope, "CloudEvent")
    data = bytes(envelope.data) if envelope.data_base64 is None else envelope.data_base64
    if data == _NOTHING:
        msg = "CloudEvent: data is missing"
        raise ChangeRefusedError(msg)
    if envelope.type.startswith(CDEVENTS):
        return _of_event(data, envelope, environment=environment)
    # A CloudEvent of somebody's own: it may carry our schema.
    try:
        record = read_record(data)
        sightings_of(record, environment=environment)
    except ChangeRefusedError as error:
        msg = f"CloudEvent of type {envelope.type[:60]!r}, expected {CDEVENTS}service.deployed, say, or a change record in `data`: {error}"
        raise ChangeRefusedError(msg) from None
    return record


def _of_event(value: bytes, outside: _Envelope | None, *, environment: str) -> ChangeRecord | None:
    """The change in a CDEvent; what its context leaves out the CloudEvent around it may say."""
    kind = _type_of(value) if outside is None else outside.type
    subject, _, predicate = kind.removeprefix(CDEVENTS).partition(".")
    predicate = predicate.partition(".")[0]
    if predicate not in {"service": SERVICE, "environment": ENVIRONMENT}.get(subject, ()):
        return None
    event = _read(value, _Event, "CDEvent")
    context = event.context or _Context()
    time = context.timestamp or (outside.time if outside is not None else None)
    if time is None:
        msg = "CDEvent: context.timestamp is missing; expected RFC 3339 with an offset"
        raise ChangeRefusedError(msg)
    at_ms = time_ms(time, "CDEvent: context.timestamp")
    custom = _custom(event.custom_data)
    content = event.subject.content or _Content()
    about = _Environment(id=event.subject.id, name=content.name) if subject == "environment" else content.environment or _Environment()
    place = _place(about, environment)
    if place is None and "environment" not in custom:
        msg = "CDEvent: subject.content.environment.id is missing"
        raise ChangeRefusedError(msg)
    where, region = place or ("", None)
    service = where if subject == "environment" else event.subject.id.rstrip("/").rpartition("/")[2]
    base = context.chain_id or content.artifact_id or context.id or (outside.id if outside is not None else None) or str(at_ms)
    fields: dict[str, Any] = {
        "deploy_id": "/".join([base, service, *([predicate] if predicate in UNDOING else [])]),
        "service": service,
        "region": region,
        "environment": where,
        "change_kind": "infra" if subject == "environment" else "code",
        "version": None if content.artifact_id is None else _version(content.artifact_id),
        "started_at": at_ms,
        "finished_at": at_ms,
    }
    try:
        return msgspec.convert(fields | custom, ChangeRecord)
    except msgspec.ValidationError as error:
        msg = f"CDEvent: customData: {error}"
        raise ChangeRefusedError(msg) from None


def _type_of(value: bytes) -> str:
    context = _read(value, _Typed, "CDEvent").context
    kind = "" if context is None or context.type is None else context.type
    # Of somebody's own making are types such as dev.cdeventsx.mytool-thing.done.
    if not kind.startswith(CDEVENTS.rstrip(".")):
        msg = f"CDEvent: context.type is {kind[:60]!r}" if kind else "CDEvent: context.type is missing"
        msg += f"; expected {CDEVENTS}service.deployed, say"
        raise ChangeRefusedError(msg)
    return kind


def _custom(data: object) -> dict[str, Any]:
    """What `customData` says in the fields of a change record; it may be anything, and have other fields."""
    if not isinstance(data, dict):
        return {}
    found = {name: value for name, value in data.items() if name in _FIELDS and value is not None}
    if "deploy_id" not in found and data.get("deployId") is not None:
        found["deploy_id"] = data["deployId"]
    return found


def _place(about: _Environment, environment: str) -> tuple[str, str | None] | None:
    """Environment and region: `production/eu-west` is a region of `production`; None: it is not said."""
    said = [name for name in (about.id, about.name) if name]
    for name in said:
        if name == environment:
            return environment, None
        if name.startswith(f"{environment}/"):
            return environment, name.removeprefix(f"{environment}/")
    return (said[0], None) if said else None


def _version(artifact: str) -> str | None:
    """Version of a package URL; of an image known by its digest the tag, where one is given.

    Examples
    --------
    >>> _version("pkg:generic/checkout@4.11.0"), _version("pkg:oci/checkout@sha256%3A0b31b1c0?tag=4.11.0"), _version("six-1.14.0.whl")
    ('4.11.0', '4.11.0', None)
    """
    name, _, qualifiers = artifact.partition("#")[0].partition("?")
    version = unquote(name.rpartition("@")[2]) if "@" in name else ""
    if not version or version.startswith("sha256:"):
        tags = [part.removeprefix("tag=") for part in qualifiers.split("&") if part.startswith("tag=")]
        version = unquote(tags[0]) if tags else version
    return version or None
