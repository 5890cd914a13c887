"""Spans of time go in and out unchanged."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rollguard.config import format_duration, parse_duration


@pytest.mark.parametrize(("text", "span_ms"), [("0s", 0), ("500ms", 500), ("30s", 30_000), ("10m", 600_000), ("72h", 259_200_000), ("2d", 172_800_000)])
def test_a_span_is_its_number_of_milliseconds(text: str, span_ms: int) -> None:
    assert parse_duration(text) == span_ms


@pytest.mark.parametrize(
    "text", ["", "s", "10", "10 s", " 10s", "10s\n", "-1s", "+1s", "1.5h", "1h30m", "10S", "1e3s", "\u0661s", "10w", "1_0s", "9" * 400 + "s"]
)
def test_another_form_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not a span of time"):
        parse_duration(text)


def test_a_span_beyond_ten_years_is_refused() -> None:
    assert parse_duration("3660d") == 3_660 * 86_400_000
    with pytest.raises(ValueError, match="ten years"):
        parse_duration("3661d")


@given(st.integers(0, 3_660 * 86_400_000))
def test_what_is_written_is_read_back(span_ms: int) -> None:
    assert parse_duration(format_duration(span_ms)) == span_ms
