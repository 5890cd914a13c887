"""Spans of time as an operator writes them: `500ms`, `30s`, `10m`, `72h`, `2d`."""

import re

_UNITS = {"ms": 1, "s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}
_FORM = re.compile(r"([0-9]{1,15})(ms|s|m|h|d)")
_LONGEST_MS = 10 * 366 * _UNITS["d"]

EXPECTED = "a whole number and a unit, such as 500ms, 30s, 10m, 72h or 2d"


def parse_duration(text: str) -> int:
    """Read a span of time.

    Parameters
    ----------
    text : str
        A whole number and one of the units ms, s, m, h, d.

    Returns
    -------
    int
        Milliseconds, 0 to ten years.

    Raises
    ------
    ValueError
        If the text has another form or says more than ten years; its text is the problem alone.

    Examples
    --------
    >>> parse_duration("30s"), parse_duration("72h"), parse_duration("500ms")
    (30000, 259200000, 500)
    """
    found = _FORM.fullmatch(text)
    if found is None:
        raise ValueError("not a span of time")
    span_ms = int(found[1]) * _UNITS[found[2]]
    if span_ms > _LONGEST_MS:
        raise ValueError("longer than ten years")
    return span_ms


def format_duration(span_ms: int) -> str:
    """Write a span of time in the largest unit that keeps it whole.

    Examples
    --------
    >>> format_duration(30_000), format_duration(259_200_000), format_duration(1_500), format_duration(0)
    ('30s', '3d', '1500ms', '0s')
    """
    if span_ms == 0:
        return "0s"
    unit = next(unit for unit, length in reversed(_UNITS.items()) if span_ms % length == 0)
    return f"{span_ms // _UNITS[unit]}{unit}"
