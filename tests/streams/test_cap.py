import hashlib
from collections import Counter
from collections.abc import Sequence

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from rollguard.config import Layer, Settings, default_text, load_layers
from rollguard.streams.cap import OTHER, LabelCap, stable_hash
from rollguard.streams.rows import Key, Rows, renumbered

SPAN = 6  # a look-back of 60 s in buckets of 10 s
TEXT = """
lookback: 60s
labels: {max_values: 3, keep: {service: [s7]}}
"""
#: Buckets, the number of a measure, and label values; each counts one.
Event = tuple[int, int, Key]
EVENTS = st.lists(
    st.tuples(
        st.integers(0, 15),
        st.sampled_from([0, 1, 2, 3]),
        st.tuples(st.sampled_from([f"s{n}" for n in range(9)] + [OTHER]), st.sampled_from(["r1", "r2"]), st.sampled_from([f"v{n}" for n in range(7)])),
    ),
    max_size=60,
)


def settings_of(text: str = TEXT) -> Settings:
    return load_layers([Layer(text=default_text(), name="default.yaml"), Layer(text=text, name="test.yaml")])


SETTINGS = settings_of()
METRIC_OF = ["actual_minutes", "errors", "errors", "orders", "promised_minutes"]


def rows_of(events: Sequence[Event]) -> tuple[Rows, list[Key]]:
    keys = list(dict.fromkeys(key for _, _, key in events))
    n = len(events)
    return Rows(
        np.array([bucket for bucket, _, _ in events], dtype=np.int64),
        np.array([measure for _, measure, _ in events], dtype=np.int16),
        np.array([keys.index(key) for _, _, key in events], dtype=np.int32),
        np.zeros(n, dtype=np.int16),
        np.ones(n, dtype=np.int64),
    ).summed(), keys


def cells_of(rows: Rows, keys: Sequence[Key]) -> Counter[tuple[int, int, Key]]:
    rows, names = renumbered(rows, keys)
    return Counter(
        {(b, m, names[k]): v for b, m, k, v in zip(rows.bucket.tolist(), rows.measure.tolist(), rows.key.tolist(), rows.value.tolist(), strict=True)}
    )


def folded(cap: LabelCap, events: Sequence[Event]) -> Counter[tuple[int, int, Key]]:
    return cells_of(*cap.fold(*rows_of(events)))


def weight(value: str) -> bytes:
    return hashlib.blake2b(value.encode(), digest_size=8).digest()


def by_hand(events: Sequence[Event]) -> Counter[tuple[int, int, Key]]:
    """For each event, rank all values seen up to its bucket anew."""
    cells: Counter[tuple[int, int, Key]] = Counter()
    for bucket, measure, key in events:
        name = []
        for label, value in enumerate(key):
            span = bucket // SPAN * SPAN if label == 2 else 0
            seen = {k[label] for b, m, k in events if span <= b <= bucket and METRIC_OF[m] == METRIC_OF[measure]}
            always = {"s7"} if label == 0 else set()
            ranked = sorted(seen - always - {OTHER}, key=weight)
            name.append(value if value in always | set(ranked[: 3 - len(always)]) else OTHER)
        cells[bucket, measure, tuple(name)] += 1
    return cells


@given(EVENTS)
def test_the_smallest_hashes_of_all_values_so_far_are_kept(events: list[Event]) -> None:
    assert folded(LabelCap(SETTINGS), events) == by_hand(events)


@given(EVENTS, st.lists(st.integers(0, 16), max_size=4))
def test_cutting_time_apart_changes_nothing_nor_does_a_restart(events: list[Event], cuts: list[int]) -> None:
    cap, found, start = LabelCap(SETTINGS), Counter[tuple[int, int, Key]](), 0
    for end in [*sorted(cuts), 16]:
        found += folded(cap, [event for event in events if start <= event[0] < end])
        start = max(start, end)
        restored = LabelCap(SETTINGS)
        restored.resume(cap.state())
        assert restored.state() == cap.state()
        cap = restored
    assert found == by_hand(events)


@given(EVENTS, st.data())
def test_folding_parts_and_then_their_union_is_folding_all(events: list[Event], data: st.DataObject) -> None:
    part_of = data.draw(st.lists(st.integers(0, 2), min_size=len(events), max_size=len(events)))
    parts = [[event for event, part in zip(events, part_of, strict=True) if part == each] for each in range(3)]
    union = [(*cell, count) for part in parts for cell, count in folded(LabelCap(SETTINGS), part).items()]
    again = [(bucket, measure, key) for bucket, measure, key, count in union for _ in range(count)]
    assert folded(LabelCap(SETTINGS), again) == by_hand(events)


@given(EVENTS, EVENTS)
def test_what_is_folded_ahead_of_time_would_have_been_folded_anyway(events: list[Event], more: list[Event]) -> None:
    ahead = [(*cell, count) for cell, count in folded(LabelCap(SETTINGS), events).items()]
    again = [(bucket, measure, key) for bucket, measure, key, count in ahead for _ in range(count)]
    assert folded(LabelCap(SETTINGS), again + more) == by_hand(events + more)


@given(EVENTS)
def test_a_copy_looks_ahead_without_changing_anything(events: list[Event]) -> None:
    cap = LabelCap(SETTINGS)
    folded(cap.copy(), events)
    assert folded(cap, events) == by_hand(events)


KEYED = st.lists(
    st.tuples(st.sampled_from([f"s{n}" for n in range(9)]), st.sampled_from(["r1", "r2"]), st.sampled_from([f"v{n}" for n in range(7)])), max_size=50
)


@given(KEYED, st.integers(0, 50))
def test_running_totals_fold_the_same_whenever_they_are_folded(keys: list[Key], cut: int) -> None:
    cap = LabelCap(SETTINGS)
    at_once = cap.fold_counts(dict(Counter(keys)))
    before = cap.fold_counts(dict(Counter(keys[:cut])))
    assert cap.fold_counts(dict(Counter(before) + Counter(keys[cut:]))) == at_once
    assert sum(at_once.values()) == len(keys)
    for label in range(3):
        assert len({key[label] for key in at_once} - {OTHER}) <= 3


def test_hashes_are_the_same_in_every_process() -> None:
    assert stable_hash("checkout") == 13_729_137_494_829_509_200


def test_named_values_may_take_every_place() -> None:
    cap = LabelCap(settings_of("labels: {max_values: 2, keep: {service: [s1, s2]}}"))
    found = folded(cap, [(0, 3, (f"s{n}", "r1", "v1")) for n in range(4)])
    assert found == {(0, 3, ("s1", "r1", "v1")): 1, (0, 3, ("s2", "r1", "v1")): 1, (0, 3, (OTHER, "r1", "v1")): 2}


def test_compare_labels_begin_anew_with_each_look_back() -> None:
    cap = LabelCap(SETTINGS)
    versions = [f"v{n}" for n in range(7)]
    found = folded(cap, [(bucket, 3, ("s1", "r1", version)) for bucket in (0, SPAN) for version in versions[bucket // 2 :]])
    of_span = [{key[2] for bucket, _, key in found if bucket == each} - {OTHER} for each in (0, SPAN)]
    assert of_span == [set(sorted(versions, key=weight)[:3]), set(sorted(versions[3:], key=weight)[:3])]
