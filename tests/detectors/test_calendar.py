"""Local time as people at the place know it."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rollguard.config import Place
from rollguard.detectors.calendar import Calendar, LocalTime

HALF_HOUR_MS = 1_800_000
PLACES = {
    "us-east": Place(time_zone="America/New_York", holidays="US"),
    "eu": Place(time_zone="Europe/Berlin", holidays="DE-BY"),
    "eu-north": Place(time_zone="Europe/Berlin", holidays="DE-HH"),
    "in": Place(time_zone="Asia/Kolkata"),
    "np": Place(time_zone="Asia/Kathmandu"),
    "nz": Place(time_zone="Pacific/Auckland", holidays="NZ"),
    "ws": Place(time_zone="Pacific/Pago_Pago", holidays="AS"),
    "lh": Place(time_zone="Australia/Lord_Howe"),
}
CALENDAR = Calendar(PLACES)


def ms(text: str) -> int:
    return round(datetime.fromisoformat(text).timestamp() * 1000)


def hours(region: str, first: str, n: int) -> list[float]:
    """Hours that the local clock shows, every half hour."""
    return [CALENDAR.at(region, ms(first) + i * HALF_HOUR_MS).slot / 2 for i in range(n)]


@pytest.mark.parametrize(
    ("region", "first", "shown"),
    [
        ("us-east", "2026-03-08T06:30:00Z", [1.5, 3.0, 3.5]),
        ("us-east", "2026-11-01T05:00:00Z", [1.0, 1.5, 1.0, 1.5, 2.0]),
        ("eu", "2026-03-29T00:30:00Z", [1.5, 3.0, 3.5]),
        ("eu", "2026-10-25T00:00:00Z", [2.0, 2.5, 2.0, 2.5, 3.0]),
        ("lh", "2026-04-04T14:00:00Z", [1.0, 1.5, 1.5, 2.0]),
    ],
)
def test_a_clock_that_is_set_forward_leaves_slots_out_and_one_set_back_has_them_twice(region: str, first: str, shown: list[float]) -> None:
    assert hours(region, first, len(shown)) == shown


def test_a_zone_between_the_hours_has_its_own_half_hours() -> None:
    assert CALENDAR.at("in", ms("2026-03-01T18:29:59Z")) == LocalTime(slot=47, weekday=6, holiday=False)
    assert CALENDAR.at("in", ms("2026-03-01T18:30:00Z")) == LocalTime(slot=0, weekday=0, holiday=False)
    assert CALENDAR.at("np", ms("2026-03-01T18:14:59Z")).slot == 47
    assert CALENDAR.at("np", ms("2026-03-01T18:15:00Z")).slot == 0


def test_a_holiday_is_that_of_the_local_date_on_both_sides_of_the_date_line() -> None:
    # New Year's Day comes to Auckland a day before it comes to Pago Pago.
    for when, there, here in [
        ("2025-12-31T10:59:00Z", False, False),
        ("2025-12-31T11:00:00Z", True, False),
        ("2026-01-01T10:59:00Z", True, False),
        ("2026-01-01T11:00:00Z", True, True),
        ("2026-01-02T10:59:00Z", True, True),  # 2 January is one in New Zealand as well
        ("2026-01-02T11:00:00Z", False, False),
    ]:
        assert (CALENDAR.at("nz", ms(when)).holiday, CALENDAR.at("ws", ms(when)).holiday) == (there, here), when


def test_a_subdivision_has_holidays_of_its_own_and_a_holiday_counts_as_a_sunday() -> None:
    epiphany = ms("2026-01-06T12:00:00+01:00")
    assert (CALENDAR.at("eu", epiphany).holiday, CALENDAR.at("eu-north", epiphany).holiday) == (True, False)
    assert (CALENDAR.at("eu", epiphany).weekday, CALENDAR.at("eu", epiphany).kind_of_day) == (1, 6)
    assert CALENDAR.at("eu-north", epiphany).kind_of_day == 1


def test_a_place_that_is_not_named_has_utc_and_no_holidays() -> None:
    for region in (None, "moon", "__other__"):
        assert CALENDAR.at(region, ms("2026-01-01T23:59:00Z")) == LocalTime(slot=47, weekday=3, holiday=False)


def test_years_the_calendar_was_not_asked_for_before_are_known() -> None:
    calendar = Calendar(PLACES)
    assert [calendar.at("eu", ms(f"{year}-12-25T12:00:00Z")).holiday for year in (2099, 2000, 2031)] == [True, True, True]


MOMENTS = st.integers(ms("2000-01-01T00:00:00Z"), ms("2037-12-31T00:00:00Z"))


@given(st.sampled_from(sorted(PLACES)), MOMENTS)
def test_a_half_hour_later_it_is_the_next_slot_unless_the_clock_was_set(region: str, when: int) -> None:
    now, then = CALENDAR.at(region, when), CALENDAR.at(region, when + HALF_HOUR_MS)
    set_by = _offset(region, when + HALF_HOUR_MS) - _offset(region, when)
    if not set_by:
        assert (then.slot - now.slot) % 48 == 1
        assert (then.weekday - now.weekday) % 7 == (1 if then.slot == 0 else 0)
    else:
        assert (then.slot - now.slot - 1 - set_by // timedelta(minutes=30)) % 48 in {0, 47, 1}


def _offset(region: str, when: int) -> timedelta:
    offset = datetime.fromtimestamp(when / 1000, ZoneInfo(PLACES[region].time_zone)).utcoffset()
    assert offset is not None
    return offset


@given(st.lists(st.sampled_from([*sorted(PLACES), "moon", None]), max_size=12), MOMENTS, st.sampled_from([48, 96, 24, 7]))
def test_many_series_have_the_times_of_each(regions: list[str | None], when: int, n_slots: int) -> None:
    slot, weekday, holiday = CALENDAR.slots(regions, when, n_slots)
    assert {each.dtype.name for each in (slot, weekday, holiday)} == {"int64"}
    assert ((slot >= 0) & (slot < n_slots)).all()
    for at, region in enumerate(regions):
        alone = CALENDAR.at(region, when)
        assert (weekday[at], holiday[at]) == (alone.weekday, alone.holiday)
        if n_slots == 48:
            assert slot[at] == alone.slot


@given(st.lists(st.tuples(st.sampled_from(sorted(PLACES)), MOMENTS), min_size=1, max_size=8))
def test_an_answer_does_not_depend_on_what_was_asked_before(asked: list[tuple[str, int]]) -> None:
    fresh = Calendar({region: PLACES[region] for region, _ in asked})
    assert [fresh.at(*each) for each in asked] == [CALENDAR.at(*each) for each in asked]
    assert [fresh.at(*each) for each in reversed(asked)] == [CALENDAR.at(*each) for each in reversed(asked)]


def test_holidays_are_those_an_almanac_has() -> None:
    # The Bavarian holidays of 2026; Assumption is one only in communities that are mostly Catholic.
    days = [date(2026, 1, 1) + timedelta(days=day) for day in range(365)]
    found = [day.isoformat() for day in days if CALENDAR.at("eu", ms(f"{day}T12:00:00+00:00")).holiday]
    assert found == [
        "2026-01-01", "2026-01-06", "2026-04-03", "2026-04-06", "2026-05-01", "2026-05-14", "2026-05-25", "2026-06-04",
        "2026-10-03", "2026-11-01", "2026-12-25", "2026-12-26",
    ]  # fmt: skip
