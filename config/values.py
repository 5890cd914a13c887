"""Kinds of values that a config holds, with what is wrong with one that is not of its kind; and what every section is."""

import re
from datetime import datetime
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, StrictFloat, StrictStr
from pydantic_core import PydanticCustomError

from rollguard.config import durations
from rollguard.config.errors import near_match, shown
from rollguard.config.places import wrong_holidays, wrong_zone

SECOND_MS = 1_000
MINUTE_MS = 60 * SECOND_MS
HOUR_MS = 60 * MINUTE_MS
DAY_MS = 24 * HOUR_MS


def refuse(problem: str, expected: str, near: str | None = None) -> PydanticCustomError:
    """Make the error that `explain` turns into a mistake with these words."""
    return PydanticCustomError("rollguard", "{problem}", {"problem": problem, "expected": expected, "near": near})


def _read_span(value: object) -> int:
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        raise refuse(f"{shown(value)} has no unit", durations.EXPECTED)
    if not isinstance(value, str):
        raise refuse(f"{shown(value)} is not a span of time", durations.EXPECTED)
    try:
        return durations.parse_duration(value)
    except ValueError as error:
        raise refuse(f"{shown(value)} is {error}", durations.EXPECTED) from error


def _above_zero(span_ms: int) -> int:
    if span_ms == 0:
        raise refuse("0 is too short", "more than 0")
    return span_ms


def _divides_an_hour(span_ms: int) -> int:
    if span_ms < SECOND_MS or HOUR_MS % span_ms:
        raise refuse(f"{durations.format_duration(span_ms)} does not divide an hour", "from 1s, and a part of an hour: 1s, 5s, 10s, 30s, 1m, 5m, 10m, 1h")
    return span_ms


def _names_something(name: str) -> str:
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_-]{0,63}", name):
        raise refuse(f"{shown(name)} is no name", "a letter, then up to 63 letters, digits, _ or -")
    return name


def _is_a_topic(name: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9._-]{1,249}", name) or name in {".", ".."}:
        raise refuse(f"{shown(name)} is no Kafka topic", "1 to 249 letters, digits, dots, _ or -")
    return name


def says_something(text: str) -> str:
    """Refuse a text without a letter."""
    if not text.strip():
        raise refuse("empty", "a text")
    return text


def _text_or_whole_number(value: object) -> str | int:
    if isinstance(value, (str, int)) and not isinstance(value, bool):
        return value
    raise refuse(f"{shown(value)} is neither text nor a whole number", "a text or a whole number")


def _at_least_one(values: tuple[str | int, ...]) -> tuple[str | int, ...]:
    if not values:
        raise refuse("an empty list", "at least one value")
    return values


def _as_a_set(values: tuple[str | int, ...]) -> tuple[str | int, ...]:
    """Give values whose order means nothing one order, so that it cannot come to mean something."""
    return tuple(sorted(set(values), key=repr))


def _is_a_zone(name: str) -> str:
    if (wrong := wrong_zone(name)) is not None:
        raise refuse(*wrong)
    return name


def _has_holidays(name: str) -> str:
    if (wrong := wrong_holidays(name)) is not None:
        raise refuse(*wrong)
    return name


RIVER_MODEL = re.compile(r"river\.(anomaly|drift|time_series)\.[A-Za-z][A-Za-z0-9_]{0,63}")
RIVER_MODELS = "a class of river.anomaly, river.drift or river.time_series, such as river.anomaly.GaussianScorer"


def near_model(name: str) -> str | None:
    """The name of a river model that was probably meant: its class, in the module whose name is nearest.

    Examples
    --------
    >>> near_model("river.anomly.LODA"), near_model("river.linear_model.Perceptron")
    ('river.anomaly.LODA', None)
    """
    module, _, inner = name.removeprefix("river.").rpartition(".")
    found = f"river.{near_match(module, ('anomaly', 'drift', 'time_series'))}.{inner}"
    return found if RIVER_MODEL.fullmatch(found) else None


def _is_a_river_model(name: str) -> str:
    if not RIVER_MODEL.fullmatch(name):
        raise refuse(f"{shown(name)} is no model that can be named", RIVER_MODELS, near_model(name))
    return name


_MOMENT = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt ][0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,9})?([Zz]|[+-][0-9]{2}:[0-9]{2})")


def _read_moment(value: object) -> int:
    expected = "RFC 3339 with an offset, such as 2026-03-02T00:00:00Z"
    if not isinstance(value, str):
        raise refuse(f"{shown(value)} is no time", expected)
    try:
        moment = datetime.fromisoformat(value.upper()) if _MOMENT.fullmatch(value) else None
    except ValueError:
        moment = None
    if moment is None:
        raise refuse(f"{shown(value)} is no time", expected)
    if not 2000 <= moment.year < 2100:
        raise refuse(f"{shown(value)} is not between 2000 and 2100", expected)
    return round(moment.timestamp() * 1000)


def _one_or_more(value: object) -> object:
    return tuple(part.strip() for part in value.split(",")) if isinstance(value, str) else value


def _is_an_address(text: str) -> str:
    host, _, port = text.rpartition(":")
    if not host or not re.fullmatch(r"[0-9]{1,5}", port) or not 0 < int(port) < 65_536:
        raise refuse(f"{shown(text)} is no address", "host:port, such as 127.0.0.1:9092")
    return text


def _is_a_reference(text: str) -> str:
    if not re.fullmatch(r"env:[A-Za-z_][A-Za-z0-9_]*|file:.+", text):
        # Never shown: it may be the secret itself.
        raise refuse("a secret does not stand in a config", "where it stands: env:NAME of a variable, or file:PATH")
    return text


def _is_a_database(url: str) -> str:
    found = re.fullmatch(r"(sqlite|postgresql(?:\+psycopg)?)://(?:[^/@]*?(:[^/@]*)?@)?.*", url)
    if found is None:
        raise refuse("no database that is known", "sqlite:///FILE or postgresql://USER@HOST:PORT/NAME")
    if found[2]:
        raise refuse("a password in it", "no password here: store.password says where it stands, as env:NAME or file:PATH")
    return url


def _is_a_url(url: str) -> str:
    """Take an address of HTTP without a secret in it; the addresses that clouds give their machines' own secrets out at are none."""
    found = re.fullmatch(r"https?://([^/@?#\s]+@)?(\[[0-9a-fA-F:.]+\]|[A-Za-z0-9._{}-]+)(:[0-9]{1,5})?(/[^\s]*)?", url)
    if found is None:
        raise refuse("no address of HTTP", "https://HOST/PATH, or http://HOST/PATH within one's own network")
    if found[1]:
        raise refuse("a user or password in it", "no secret here: `secret` says where it stands, as env:NAME or file:PATH")
    host = found[2].strip("[]").lower()
    if host.startswith("169.254.") or host in {"metadata.google.internal", "fd00:ec2::254"}:
        raise refuse(f"{host} gives out a machine's own secrets", "a receiver's address")
    return url


Span = Annotated[int, BeforeValidator(_read_span)]
LongSpan = Annotated[Span, AfterValidator(_above_zero)]
Name = Annotated[StrictStr, AfterValidator(_names_something)]
Text = Annotated[StrictStr, AfterValidator(says_something)]
Real = Annotated[StrictFloat, Field(allow_inf_nan=False)]
Moment = Annotated[int, BeforeValidator(_read_moment)]
BucketSpan = Annotated[Span, AfterValidator(_divides_an_hour)]
Zone = Annotated[StrictStr, AfterValidator(_is_a_zone)]
Holidays = Annotated[StrictStr, AfterValidator(_has_holidays)]
RiverModel = Annotated[StrictStr, AfterValidator(_is_a_river_model)]
Topic = Annotated[StrictStr, AfterValidator(_is_a_topic)]
Address = Annotated[StrictStr, AfterValidator(_is_an_address)]
Addresses = Annotated[tuple[Address, ...], BeforeValidator(_one_or_more), Field(min_length=1)]
Database = Annotated[StrictStr, AfterValidator(_is_a_database)]
Url = Annotated[StrictStr, AfterValidator(_is_a_url)]
Urls = Annotated[tuple[Url, ...], BeforeValidator(_one_or_more)]
TextSet = Annotated[tuple[Text, ...], AfterValidator(_as_a_set)]
Values = Annotated[tuple[Annotated[str | int, BeforeValidator(_text_or_whole_number)], ...], AfterValidator(_at_least_one), AfterValidator(_as_a_set)]
Secret = Annotated[StrictStr, AfterValidator(_is_a_reference)]
Kind = Literal["count", "sum", "ratio", "distribution"]
Worse = Literal["higher", "lower", "both"]


class Section(BaseModel):
    """A mapping of the config: unknown keys are mistakes, values never change."""

    model_config = ConfigDict(frozen=True, extra="forbid")
