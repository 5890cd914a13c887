"""Which form a time has: a number in some unit, or text; and what makes it one that can be read."""

import re
from collections import Counter
from collections.abc import Sequence
from typing import Any, Literal

import msgspec

__all__ = ["TimeForm", "time_form"]

Epoch = Literal["ms", "s", "us", "ns"]

#: Years in which an event may have happened, as elsewhere: 2000 to 2100, in seconds.
_EARLIEST_S, _LATEST_S = 946_684_800, 4_102_444_800
_PER_SECOND: dict[Epoch, int] = {"s": 1, "ms": 1_000, "us": 1_000_000, "ns": 1_000_000_000}
_UNITS: dict[Epoch, str] = {"s": "seconds", "ms": "milliseconds", "us": "microseconds", "ns": "nanoseconds"}
_CLOCK = r"\d{4}-\d{2}-\d{2}[Tt ]\d{2}:\d{2}:\d{2}(?:\.\d{1,9})?"
_WITH_OFFSET = re.compile(rf"{_CLOCK}(?:[Zz]|[+-]\d{{2}}:\d{{2}})")
_WITHOUT = re.compile(_CLOCK)
_NUMBER = re.compile(r"\d{9,19}(?:\.\d{1,9})?")


class TimeForm(msgspec.Struct, frozen=True):
    """How a time is written.

    Attributes
    ----------
    epoch : {"ms", "s", "us", "ns"} or None
        Unit of a number since 1970; None: text.
    wrap : str
        JMESPath around the field, with `@` for it, that makes it readable; empty: it is as it stands.
    said : str
        In words.
    doubt : str
        What a person has to make sure of; empty: nothing.
    """

    epoch: Epoch | None
    wrap: str
    said: str
    doubt: str = ""


def time_form(values: Sequence[Any]) -> tuple[TimeForm, int] | None:
    """Find the form that most values have.

    Returns
    -------
    (TimeForm, int) or None
        The form, and how many values have it; None: these are no times.

    Examples
    --------
    >>> time_form([1775001603, 1775001604])[0].said, time_form(["2026-03-02T09:00:00Z"])[0].said, time_form([1, 2]) is None
    ('seconds since 1970', 'RFC 3339', True)
    """
    found = Counter(form for each in values if (form := _form_of(each)) is not None)
    if not found:
        return None
    form, n = max(found.items(), key=lambda each: (each[1], each[0].said))
    # Whole seconds among fractions are the same form.
    same = sum(count for other, count in found.items() if (other.epoch, other.wrap) == (form.epoch, form.wrap))
    return form, max(n, same)


def _form_of(value: object) -> TimeForm | None:
    if isinstance(value, str):
        return _form_of_text(value)
    unit = _unit(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else None
    if unit is None:
        return None
    if isinstance(value, float) and unit != "s":
        return TimeForm(unit, "floor(@)", f"{_UNITS[unit]} since 1970, with a fraction that is left out")
    return TimeForm(unit, "", f"{_UNITS[unit]} since 1970")


def _form_of_text(value: str) -> TimeForm | None:
    if _WITH_OFFSET.fullmatch(value):
        return TimeForm(None, "", "RFC 3339")
    if _WITHOUT.fullmatch(value):
        doubt = "the time names no offset and is taken for UTC; let its producer add one"
        return TimeForm(None, "join('', [@, 'Z'])", "date and time without an offset", doubt)
    unit = _unit(float(value)) if _NUMBER.fullmatch(value) else None
    return None if unit is None else TimeForm(unit, "to_number(@)", f"{_UNITS[unit]} since 1970, in quotes")


def _unit(number: float) -> Epoch | None:
    return next((unit for unit, per in _PER_SECOND.items() if _EARLIEST_S * per <= number < _LATEST_S * per), None)
