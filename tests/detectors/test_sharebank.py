from __future__ import annotations

import pickle
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as runs
from hypothesis import strategies as st

from rollguard.detectors.bank import Bank
from rollguard.detectors.evidence import Floats, Singles
from rollguard.detectors.sharebank import ShareBank
from rollguard.detectors.shares import N_BINS, OUTER, QUANTILES
from tests.detectors.town import taken

MINUTE = 60_000
DAY_MS = 86_400_000
#: Buckets of a minute, five to an epoch.
DAY = 1440
EVEN = np.diff(np.array([0.0, *QUANTILES, 1.0]))
NOBODY = np.zeros(0, dtype=bool)
ALL = np.ones(5, dtype=bool)
#: Row 0 is all together, of two finest series.
PARENTS, PATHS = np.zeros(3, dtype=np.int64), np.array([[0, 1], [0, 2]])
SUSPICION = np.float32(np.exp(7.0))
NOW = 2 * DAY


def leaning(by: float) -> Floats:
    shares = EVEN * np.exp(by * np.linspace(-2.0, 2.0, N_BINS))
    return np.asarray(shares / shares.sum())


def promises(seed: int, n: int, *parts: Floats, events: tuple[float, ...] = (20.0, 20.0, 20.0)) -> Singles:
    """(n, n_bins, n_parts) counts of some parts with these shares."""
    rng = np.random.default_rng(seed)
    return np.stack([rng.poisson(mean * shares, (n, N_BINS)) for mean, shares in zip(events, parts, strict=False)], axis=2).astype(np.float32)


def shared(bank: ShareBank, start: int, counts: Singles, missing: tuple[int, ...] = (), *, suspect: bool = False, together: int = 0) -> Singles:
    """(n_buckets, n_series) values; epochs are closed as the stage does."""
    present = np.ones(len(counts), dtype=bool)
    present[list(missing)] = False
    counts = np.where(present[:, None, None], counts, np.float32(0.0))
    per_epoch, found, at = bank.buckets_per_epoch, [], 0
    while at < len(counts):
        end = min(len(counts), ((start + at) // per_epoch + 1) * per_epoch - start)
        bank.load(start + at, counts[at:end], present[at:end])
        found += taken(bank, start + at, start + end, together)
        if (start + end) % per_epoch == 0:
            bank.close_epoch((found[-1] >= SUSPICION) & suspect)
        at = end
    return np.stack(found)


def share_bank(worse: str = "both", first: Floats = EVEN, second: Floats = EVEN) -> ShareBank:
    """Two places of one metric, whose bins are cut and whose warm-up is over; each epoch of an hour's twelfth at once."""
    bank = ShareBank(worse, bucket_ms=MINUTE, warmup_ms=2 * DAY_MS)
    bank.grow(PARENTS, PATHS)
    bank.baseline.learn_fine(np.arange(1000), np.full(1000, 100))
    for epoch in range(2 * DAY // 5):
        cut = bank.baseline.cut is not None
        counts = promises(10 + epoch, 1, first, second, events=(100.0, 100.0)) if cut else np.zeros((1, N_BINS, 2), dtype=np.float32)
        bank.load(5 * epoch, counts, ALL[:1])
        bank.close_epoch(np.zeros(3, dtype=bool))
    assert (bank.baseline.epochs == bank.warmup_epochs).all()
    return bank


@pytest.fixture(scope="module")
def warm() -> bytes:
    return pickle.dumps(share_bank())


def copied(data: bytes) -> ShareBank:
    made = pickle.loads(data)  # noqa: S301 - our own
    assert isinstance(made, ShareBank)
    return made


def state_of(bank: ShareBank) -> bytes:
    return bank.recursion.sr.tobytes() + bank.age.tobytes() + bank.value.tobytes()


def test_quiet_shares_give_no_evidence_and_a_shift_does(warm: bytes) -> None:
    bank = copied(warm)
    assert shared(bank, NOW, promises(11, 200, EVEN, EVEN)).max() < 1e4
    values = shared(bank, NOW + 200, promises(12, 40, leaning(0.5), EVEN))
    assert values[-1, 1] > 1e6
    assert values[-1, 2] < 1e4
    tilt, onset = bank.best(1, NOW + 239)
    assert bank.describe(tilt) in {"higher", "high tail", "both tails"}
    assert abs(onset.bucket - NOW - 200) <= 3.0 * onset.error + 1.0
    assert onset.error < 10.0


def test_a_pooled_series_has_the_sum_of_its_parts_evidence(warm: bytes) -> None:
    bank = copied(warm)
    bank.baseline.scatter_sum[:] = bank.baseline.scatter_weight[:] = 0.0
    counts = promises(13, 5, leaning(0.5), leaning(-0.2))
    bank.load(NOW, counts, ALL)
    for bucket in range(NOW, NOW + 5):
        whole, one, two = bank.nats(bucket, np.arange(3))
        # But for the dead band, which is each one's own, and what no bucket may be louder than.
        usual = (one + two < 20.0) & (whole > -70.0)
        assert whole[usual] == pytest.approx((one + two)[usual], rel=0.25, abs=1.5)


def test_a_mix_that_shifts_is_no_evidence() -> None:
    bank = share_bank("both", leaning(-0.5), leaning(0.5))
    before = bank.outer_share.copy()
    values = shared(bank, NOW, promises(15, 60, leaning(-0.5), leaning(0.5), events=(2.0, 60.0)))
    assert values.max() < 1e4
    counts = promises(16, 1, leaning(-0.5), leaning(0.5), events=(2.0, 60.0))
    bank.load(NOW + 60, counts, ALL[:1])
    accounts = bank.accounts(counts)
    assert accounts.expected[0, 0] == pytest.approx(accounts.expected[0, 1] + accounts.expected[0, 2])
    assert before[1] == pytest.approx(bank.outer_share[1], rel=0.2)


def test_accounts_count_what_lies_outside_the_middle(warm: bytes) -> None:
    bank = copied(warm)
    counts = promises(17, 3, EVEN, EVEN, events=(4000.0, 1000.0))
    bank.load(NOW, counts, ALL[:3])
    accounts = bank.accounts(counts)
    outer = counts[:, list(OUTER)].sum(axis=1)
    assert accounts.observed.tolist() == [[float(a + b), float(a), float(b)] for a, b in outer]
    assert accounts.expected[:, 1] == pytest.approx(np.full(3, 400.0), rel=0.2)
    assert (accounts.variance > 0.0).all()


def test_a_part_that_is_too_young_has_no_say_in_the_pooled_series(warm: bytes) -> None:
    bank = copied(warm)
    bank.grow(np.zeros(4, dtype=np.int64), np.array([[0, 1], [0, 2], [0, 3]]))
    values = shared(bank, NOW, promises(18, 100, EVEN, EVEN, leaning(1.0)))
    assert values[:, :3].max() < 1e4
    assert bank.ready.tolist() == [True, True, True, False]


@pytest.mark.parametrize("begin", range(0, 31, 5))
def test_a_series_that_begins_at_any_epoch_has_its_place(warm: bytes, begin: int) -> None:
    """Also between two looks at the shares, half an hour apart."""
    bank, alone = copied(warm), copied(warm)
    counts = promises(19, begin + 40, EVEN, leaning(0.1), EVEN)
    usual = shared(alone, NOW, counts[:, :, :2])
    found = shared(bank, NOW, counts[:begin, :, :2]) if begin else np.zeros((0, 3), dtype=np.float32)
    bank.grow(np.zeros(4, dtype=np.int64), np.array([[0, 1], [0, 2], [0, 3]]))
    values = shared(bank, NOW + begin, counts[begin:])
    # Not yet a part of all together, and the others do not depend on it.
    assert np.concatenate([found, values[:, :3]])[:, 1:].tobytes() == usual[:, 1:].tobytes()
    assert len(bank.outer_share) == len(bank.ready) == len(bank.slack) == len(bank.scatter) == 4
    assert bank.accounts(counts[-5:]).observed.shape == (5, 4)


def eventful() -> tuple[Singles, tuple[int, ...]]:
    """A hundred buckets: a shift, a million of the highest at once, missing ones, and none at all for a while."""
    counts = promises(20, 100, EVEN, EVEN)
    counts[20:30] = promises(21, 10, leaning(1.0), EVEN)
    counts[52, -1, 1] = 1e6
    counts[80:90] = 0.0
    return counts, tuple(range(60, 68))


@given(cuts=st.lists(st.integers(1, 99), max_size=6))
@runs(max_examples=12)
def test_batches_within_an_epoch_change_nothing(warm: bytes, cuts: list[int]) -> None:
    counts, missing = eventful()

    def run(edges: list[int]) -> bytes:
        bank = copied(warm)
        parts = [(low, high, tuple(at - low for at in missing if low <= at < high)) for low, high in pairwise(edges) if low < high]
        return b"".join(shared(bank, NOW + low, counts[low:high], gone).tobytes() for low, high, gone in parts) + state_of(bank)

    assert run([0, *sorted(cuts), 100]) == run([0, 100])


@pytest.mark.parametrize("together", [1, 3, 5])
def test_buckets_taken_together_are_those_taken_one_by_one(warm: bytes, together: int) -> None:
    counts, missing = eventful()
    one, many = copied(warm), copied(warm)
    assert shared(many, NOW, counts, missing, together=together).tobytes() == shared(one, NOW, counts, missing).tobytes()
    assert state_of(many) == state_of(one)


@given(at=st.integers(1, 99))
@runs(max_examples=12)
def test_a_copy_made_anywhere_goes_on_as_if_it_were_the_first_and_only_the_past_counts(warm: bytes, at: int) -> None:
    counts, missing = eventful()
    whole = shared(copied(warm), NOW, counts, missing)
    bank = copied(warm)
    first = shared(bank, NOW, counts[:at], tuple(each for each in missing if each < at))
    assert first.tobytes() == whole[:at].tobytes()
    later = copied(pickle.dumps(bank))
    assert shared(later, NOW + at, counts[at:], tuple(each - at for each in missing if each >= at)).tobytes() == whole[at:].tobytes()


def test_a_missing_bucket_holds_the_state(warm: bytes) -> None:
    bank = copied(warm)
    shared(bank, NOW, promises(22, 20, leaning(0.3), EVEN))
    before = state_of(bank)
    bank.load(NOW + 20, np.zeros((5, N_BINS, 2), dtype=np.float32), np.zeros(5, dtype=bool))
    for each in range(5):
        bank.step(NOW + 20 + each)
        assert not bank.nats(NOW + 20 + each, np.arange(3)).any()
    assert state_of(bank) == before


def test_a_bucket_without_events_is_evidence_of_nothing(warm: bytes) -> None:
    bank = copied(warm)
    shared(bank, NOW, np.zeros((5, N_BINS, 2), dtype=np.float32))
    assert not bank.nats(NOW + 4, np.arange(3)).any()


def test_a_direction_that_does_not_hurt_is_not_looked_at() -> None:
    bank = share_bank("higher")
    assert shared(bank, NOW, promises(23, 30, leaning(-0.6), leaning(-0.6))).max() < 1e4


@pytest.mark.parametrize("events", [1e-6, 1.0, 1e5, 1e6])
def test_hardly_any_events_and_a_million_a_bucket_stay_finite(events: float) -> None:
    bank = share_bank()
    for epoch in range(12):
        counts = promises(24 + epoch, 5, EVEN, EVEN, events=(events, events))
        with np.errstate(over="raise", invalid="raise", divide="raise"):
            values = shared(bank, NOW + 5 * epoch, counts)
        assert np.isfinite(values).all()
    assert (bank.slack > 0.01).all()
    assert (bank.slack <= 1.0).all()


def rise_after(warm: bytes, wild: str) -> int:
    """Minutes after which promises that lean are found, six hours after what was wild."""
    bank, change = copied(warm), 360
    counts = promises(25, change + 40, EVEN, EVEN)
    counts[change:, :, 1] = promises(26, 40, leaning(0.5))[:, :, 0]
    start, gone = NOW, ()
    if wild == "outlier":
        # Of a bin that is seen now and then; one that is all but empty is another matter, see test_detect.
        counts[3, -3, 1] = 1e6
    elif wild in ("empty day", "missing day"):
        nothing = np.zeros((DAY, N_BINS, 2), dtype=np.float32)
        shared(bank, NOW, nothing, tuple(range(DAY)) if wild == "missing day" else gone)
        start += DAY
    values = shared(bank, start, counts, suspect=True)[:, 2]
    assert values[change - 1] < 1e4
    return int((values[change:] > 1e6).argmax())


@pytest.mark.parametrize("wild", ["outlier", "empty day", "missing day"])
def test_nothing_wild_blinds_a_bank(warm: bytes, wild: str) -> None:
    usual, after = rise_after(warm, "nothing"), rise_after(warm, wild)
    assert usual > 0
    assert abs(after - usual) <= 5


def test_forgetting_one_series_leaves_the_others(warm: bytes) -> None:
    bank = copied(warm)
    values = shared(bank, NOW, promises(27, 20, EVEN, EVEN))
    bank.forget(np.array([1]))
    assert bank.value.tolist() == [float(values[-1, 0]), 0.0, float(values[-1, 2])]
    assert not bank.age[:, 1].any()


def test_an_empty_bank_can_be_fed() -> None:
    bank: Bank = ShareBank("both", bucket_ms=MINUTE, warmup_ms=DAY_MS)
    assert isinstance(bank, ShareBank)
    bank.load(0, np.zeros((5, N_BINS, 0), dtype=np.float32), ALL)
    assert bank.step(0).shape == (0,)
    bank.close_epoch(NOBODY)
