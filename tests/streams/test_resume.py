"""An ingest that goes on where another left off: from a commit and the blocks in the log, nothing is lost and nothing doubled."""

from __future__ import annotations

from collections import Counter

import msgspec
import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from rollguard.streams import Block, Ingest, Resume
from tests.streams.test_ingest import BUCKET, FIRST, LATENESS, SETTINGS, START, order, rows
from tests.streams.test_ingest import line as line_of

#: Steps of a story: an event so much later than the last, as late as that; or a time without one. None is later than `lateness`: whoever goes on
#: knows the usual age of events from one number, so that of those it may judge otherwise where the clock moves a slow partition.
STEPS = st.lists(st.tuples(st.integers(0, 9_000), st.integers(0, LATENESS), st.booleans()), min_size=1, max_size=70)


class Story:
    """A partition's log with stamps, and moments at which nothing more was there to be read."""

    def __init__(self, steps: list[tuple[int, int, bool]]) -> None:
        self.lines: list[bytes] = []
        self.stamps: list[int] = []
        #: Before which record the clock moves a frontier, and the clock then.
        self.looks: dict[int, int] = {}
        #: Such a moment passes once.
        self.looked = 0
        now = START + LATENESS
        for number, (step, old, looked) in enumerate(steps):
            now += step
            self.lines.append(line_of(order(number, now - old)))
            self.stamps.append(now)
            if looked:
                self.looks[number + 1] = now + step

    def feed(self, stage: Ingest, first: int, end: int, found: list[Block], batch: int) -> None:
        """Let a stage read some of it, and look at the clock where it did."""
        at = first
        while at < end:
            stop = min([at + batch, end, *(look for look in self.looks if look > max(at, self.looked))])
            taken = stage.feed(self.lines[at:stop], np.arange(at, stop), np.array(self.stamps[at:stop], dtype=np.int64))
            found += [] if taken.block is None else [taken.block]
            at = stop
            if at in self.looks and at > self.looked:
                self.looked = at
                found += self.look(stage, self.looks[at])

    @staticmethod
    def look(stage: Ingest, now_ms: int) -> list[Block]:
        """What the service does when a partition stands at its end."""
        clock = stage.clock(now_ms)
        if clock is None:
            return []
        block = stage.clocked((clock - LATENESS) // BUCKET)
        return [] if block is None else [block]


def joined(blocks: list[Block]) -> Counter[object]:
    """Sums of blocks, the first copy of each bucket."""
    sums: Counter[object] = Counter()
    frontier = -(2**62)
    for block in blocks:
        if block.frontier <= frontier:
            continue
        for bucket, metric, part, key, bin_, value in rows([block]):
            if bucket >= frontier:
                sums[bucket, metric, part, key, bin_] += value
        frontier = block.frontier
    return sums


@given(STEPS, st.data())
def test_whoever_goes_on_says_what_the_first_would_have_said(steps: list[tuple[int, int, bool]], data: st.DataObject) -> None:
    story = Story(steps)
    calm: list[Block] = []
    whole = Ingest(SETTINGS, "orders", 0, whole=True)
    story.feed(whole, 0, len(story.lines), calm, data.draw(st.integers(1, 9)))
    story.looked = 0
    said: list[Block] = []
    stage, at = Ingest(SETTINGS, "orders", 0, whole=True), 0
    for _ in range(data.draw(st.integers(1, 4))):
        # It commits at one record, and dies at a later one: what it sent meanwhile stands in the log of blocks.
        commits = data.draw(st.integers(at, len(story.lines)))
        dies = data.draw(st.integers(commits, len(story.lines)))
        story.feed(stage, at, commits, said, data.draw(st.integers(1, 9)))
        kept = msgspec.json.decode(msgspec.json.encode(stage.resume()), type=Resume)
        sent = len(said)
        story.feed(stage, commits, dies, said, data.draw(st.integers(1, 9)))
        for block in said[sent:]:
            kept = kept.heard(block)
        at = kept.offset
        stage = Ingest.resumed(SETTINGS, "orders", 0, kept, whole=True)
    story.feed(stage, at, len(story.lines), said, data.draw(st.integers(1, 9)))
    last = max([whole.frontier or FIRST, stage.frontier or FIRST])
    ends = [each.silence(last + 99) for each in (whole, stage)]
    calm, said = ([*blocks, *([] if end is None else [end])] for blocks, end in zip((calm, said), ends, strict=True))
    assert joined(said) == joined(calm)


@given(STEPS)
def test_what_is_kept_grows_with_moves_and_not_with_events(steps: list[tuple[int, int, bool]]) -> None:
    story = Story(steps)
    stage = Ingest(SETTINGS, "orders", 0)
    story.feed(stage, 0, len(story.lines), [], 5)
    kept = stage.resume()
    assert len(kept.window) <= 21
    assert len(kept.silences) <= len(story.looks)
    assert len(msgspec.json.encode(kept)) < 700 + 40 * len(kept.silences)
