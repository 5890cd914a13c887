import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from rollguard.streams.seen import Seen

EVENTS = st.lists(st.tuples(st.sampled_from("abcd"), st.integers(0, 3), st.integers(1, 7)), max_size=40)


@given(EVENTS, st.lists(st.tuples(st.integers(0, 40), st.integers(0, 4)), max_size=4), st.booleans())
def test_each_kind_of_an_id_counts_once_in_a_bucket(events: list[tuple[str, int, int]], steps: list[tuple[int, int]], restored: bool) -> None:
    seen = Seen()
    known: dict[tuple[str, int], set[int]] = {}
    done = frontier = 0
    for cut, step in [*sorted(steps), (40, 4)]:
        batch = [event for event in events[done:cut] if event[1] >= frontier]
        done = max(done, cut)
        names, buckets, kinds = zip(*batch, strict=True) if batch else ((), (), ())
        expected = []
        for name, bucket, bits in batch:
            had = known.setdefault((name, bucket), set())
            new = {bit for bit in (1, 2, 4) if bits & bit} - had
            had |= new
            expected.append(sum(new))
        assert seen.take(list(names), np.array(buckets, dtype=np.int64), np.array(kinds, dtype=np.int64)).tolist() == expected
        frontier = max(frontier, step)
        seen.forget(frontier)
        known = {event: bits for event, bits in known.items() if event[1] >= frontier}
        assert seen.known() == sorted((name, bucket, sum(bits)) for (name, bucket), bits in known.items())
        if restored:
            seen = Seen(seen.known())
