import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from rollguard.streams.watermark import NEVER, WINDOW, Watermark

TIMES = st.lists(st.integers(0, 1000), max_size=80)


def by_hand(times: list[int], lateness_ms: int) -> list[int]:
    marks = [NEVER]
    window: list[int] = []
    for ts in times:
        window = [*window, ts][-21:]
        marks.append(max(marks[-1], sorted(window)[10] - lateness_ms) if len(window) == 21 else marks[-1])
    return marks


def array(times: list[int]) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    return np.array(times, dtype=np.int64)


@given(TIMES, st.integers(0, 80), st.integers(0, 50))
def test_the_mark_is_the_running_maximum_of_the_median_less_the_lateness(times: list[int], cut: int, lateness_ms: int) -> None:
    watermark = Watermark(lateness_ms)
    first = watermark.take(array(times[:cut])).tolist()
    second = watermark.take(array(times[cut:])).tolist()
    assert first[:-1] + second == by_hand(times, lateness_ms)
    assert watermark.window.tolist() == times[-WINDOW:]


def test_twenty_records_say_nothing_yet() -> None:
    watermark = Watermark(0)
    assert watermark.take(array([5] * 20)).tolist() == [NEVER] * 21
    assert watermark.take(array([5])).tolist() == [NEVER, 5]


@given(st.lists(st.integers(0, 9), min_size=22, max_size=100))
def test_ten_wrong_clocks_of_twenty_one_move_nothing_beyond_the_right_ones(spread: list[int]) -> None:
    watermark = Watermark(0)
    times = [3_600_000 if at % 21 < 10 else 1000 + each for at, each in enumerate(spread)]
    assert int(watermark.take(array(times))[-1]) <= 1009


@given(st.lists(st.integers(0, 3000), max_size=60), st.integers(0, 60), st.integers(0, 500))
def test_a_record_is_ahead_when_both_its_limit_and_the_median_are_behind(times: list[int], cut: int, ahead_ms: int) -> None:
    limit_ms = 1500
    window: list[int] = []
    expected = []
    for ts in times:
        beyond = ts > limit_ms and (len(window) < 21 or ts > sorted(window[-21:])[10] + ahead_ms)
        expected.append(beyond)
        if not beyond:
            window.append(ts)
    found: list[bool] = []
    watermark = Watermark(0)
    for part in (times[:cut], times[cut:]):
        beyond_part = watermark.beyond(array(part), np.full(len(part), limit_ms), ahead_ms)
        found += beyond_part.tolist()
        watermark.take(array(part)[~beyond_part])
    assert found == expected


@given(st.lists(st.sampled_from([5, 7, 2**31, 2**31 + 6, 2**42]), max_size=60))
def test_times_decades_apart_are_put_in_order_all_the_same(times: list[int]) -> None:
    assert Watermark(3).take(array(times)).tolist() == by_hand(times, 3)
