from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as runs
from hypothesis import strategies as st

from rollguard.detectors.bank import RateBank, ShareBank
from rollguard.detectors.evidence import Floats, ratios_above, ratios_below
from rollguard.detectors.shares import N_BINS, QUANTILES

MINUTE = 60_000
DAY_MS = 86_400_000
#: Buckets of a minute, five to an epoch.
DAY = 1440
EVEN = np.diff(np.array([0.0, *QUANTILES, 1.0]))
FACTORS = np.concatenate([ratios_below(0.1), ratios_above(0.1)])
NOBODY = np.zeros(0, dtype=bool)


def rate_bank(n_series: int, *, odds: bool = False) -> RateBank:
    bank = RateBank(FACTORS, bucket_ms=MINUTE, odds=odds, warmup_ms=DAY_MS)
    bank.grow(np.zeros(n_series, dtype=np.int64))
    return bank


def fed(bank: RateBank, start: int, counts: Floats, exposure: Floats | None = None) -> Floats:
    """(n_buckets, n_series) values; epochs are closed as the stage does, and nothing is suspected."""
    exposure = np.ones_like(counts) if exposure is None else exposure
    found = []
    at = 0
    while at < len(counts):
        end = min(len(counts), ((start + at) // 5 + 1) * 5 - start)
        bank.load(start + at, counts[at:end], exposure[at:end])
        found += [bank.step(start + each) for each in range(at, end)]
        if (start + end) % 5 == 0:
            bank.close_epoch(np.zeros(bank.baseline.n_series, dtype=bool))
        at = end
    return np.stack(found)


def counts_of(seed: int, n: int, means: list[float]) -> Floats:
    return np.random.default_rng(seed).poisson(means, (n, len(means))).astype(np.float64)


def test_before_the_warm_up_a_bank_is_silent() -> None:
    bank = rate_bank(2)
    counts = counts_of(1, DAY - 5, [20.0, 5.0])
    counts[DAY // 2 :] *= 3.0
    assert not fed(bank, 0, counts).any()
    assert not bank.ready.any()


@given(cuts=st.lists(st.integers(1, 99), max_size=6), odds=st.booleans())
@runs(max_examples=20)
def test_batches_within_an_epoch_change_nothing(cuts: list[int], odds: bool) -> None:
    def run(edges: list[int]) -> bytes:
        bank = rate_bank(3, odds=odds)
        bank.warmup_epochs = 1
        counts = counts_of(2, 100, [20.0, 5.0, 0.2])
        counts[30:37, 1] = np.nan
        exposure = np.random.default_rng(3).poisson(50.0, counts.shape).astype(np.float64)
        return b"".join(fed(bank, low, counts[low:high], exposure[low:high]).tobytes() for low, high in pairwise(edges) if low < high)

    assert run([0, *sorted(cuts), 100]) == run([0, 100])


def test_series_with_the_same_past_have_the_same_value_wherever_they_stand() -> None:
    counts = counts_of(4, DAY + 200, [20.0, 5.0])
    counts[DAY + 150 :] = 40.0
    values = fed(rate_bank(6), 0, counts[:, [0, 1, 0, 1, 1, 1]])
    assert values[-1].all()
    assert [values[:, at].tobytes() for at in (3, 4, 5)] == [values[:, 1].tobytes()] * 3


def test_a_series_that_begins_leaves_the_others_bit_for_bit_alone() -> None:
    counts = counts_of(5, 2 * DAY, [20.0, 8.0, 3.0])
    begin = DAY + 301
    usual = fed(rate_bank(2), 0, counts[:, :2])
    bank = rate_bank(2)
    fed(bank, 0, counts[:begin, :2])
    bank.grow(np.zeros(3, dtype=np.int64))
    found = fed(bank, begin, counts[begin:])
    assert found[:, :2].tobytes() == usual[begin:].tobytes()
    assert not found[:, 2].any()


def test_a_missing_bucket_is_evidence_of_nothing() -> None:
    bank = rate_bank(2)
    fed(bank, 0, counts_of(6, DAY + 100, [20.0, 8.0]))
    state = bank.recursion.state
    before = [column.tobytes() for column in (state.sr, state.cusum, state.onset)]
    accounts = bank.load(DAY + 100, np.full((5, 2), np.nan), np.ones((5, 2)))
    for bucket in range(DAY + 100, DAY + 105):
        bank.step(bucket)
    assert [column.tobytes() for column in (state.sr, state.cusum, state.onset)] == before
    assert not accounts.observed.any()
    assert not accounts.expected.any()
    assert not accounts.variance.any()


def test_odds_are_free_of_traffic_and_counts_are_not() -> None:
    n = DAY + 100
    rng = np.random.default_rng(7)
    trials = np.where(np.arange(n) < DAY + 40, 500.0, 1500.0)[:, None]
    hits = rng.poisson(0.02 * trials).astype(np.float64)
    counts, odds = rate_bank(1), rate_bank(1, odds=True)
    # Hits three times as many over three times the traffic.
    assert fed(counts, 0, hits)[-1, 0] > 1e6
    assert fed(odds, 0, hits, trials - hits).max() < 1e4


def test_odds_find_a_worse_ratio_over_the_same_traffic() -> None:
    n = DAY + 50
    rng = np.random.default_rng(8)
    trials = np.full((n, 1), 1000.0)
    hits = rng.binomial(1000, np.where(np.arange(n) < DAY + 40, 0.02, 0.05)[:, None]).astype(np.float64)
    bank = rate_bank(1, odds=True)
    values = fed(bank, 0, hits, trials - hits)
    assert values[DAY + 39, 0] < 1e4
    assert values[DAY + 41, 0] > 1e6
    tilt, onset, nats = bank.best(0)
    assert bank.describe(tilt) == "higher"
    assert onset == DAY + 40
    assert nats > 20.0


def test_accounts_tell_what_was_counted_and_expected() -> None:
    bank = rate_bank(2)
    fed(bank, 0, counts_of(9, DAY, [50.0, 4.0]))
    accounts = bank.load(DAY, np.array([[60.0, 1.0]]), np.ones((1, 2)))
    assert accounts.observed.tolist() == [[60.0, 1.0]]
    assert accounts.expected[0] == pytest.approx([50.0, 4.0], rel=0.15)
    assert accounts.variance[0] == pytest.approx(accounts.expected[0], rel=0.3)
    assert (accounts.error > 0.0).all()


def share_bank(worse: str = "both") -> ShareBank:
    """Two places of one metric, whose bins are cut and whose warm-up is over."""
    bank = ShareBank(worse, bucket_ms=MINUTE, warmup_ms=2 * DAY_MS)
    bank.grow(np.zeros(3, dtype=np.int64), np.array([[0, 1], [0, 2]]))
    bank.baseline.learn_fine(np.arange(1000), np.full(1000, 100))
    shared(bank, 0, np.zeros((DAY, 3, N_BINS)))
    shared(bank, DAY, promises(10, DAY, EVEN, EVEN))
    assert (bank.baseline.epochs == bank.warmup_epochs).all()
    return bank


def promises(seed: int, n: int, first: Floats, second: Floats, events: tuple[float, float] = (20.0, 20.0)) -> Floats:
    rng = np.random.default_rng(seed)
    one, two = rng.poisson(events[0] * first, (n, N_BINS)), rng.poisson(events[1] * second, (n, N_BINS))
    return np.stack([one + two, one, two], axis=1).astype(np.float64)


def shared(bank: ShareBank, start: int, counts: Floats) -> Floats:
    found = []
    for at in range(0, len(counts), 5):
        part = counts[at : at + 5]
        bank.load(start + at, part, np.ones(part.shape[:2], dtype=bool))
        found += [bank.step(start + at + each) for each in range(len(part))]
        bank.close_epoch(np.zeros(len(part[0]), dtype=bool))
    return np.stack(found)


def leaning(by: float) -> Floats:
    shares = EVEN * np.exp(by * np.linspace(-2.0, 2.0, N_BINS))
    return np.asarray(shares / shares.sum())


def test_quiet_shares_give_no_evidence_and_a_shift_does() -> None:
    bank = share_bank()
    assert shared(bank, 2 * DAY, promises(11, 200, EVEN, EVEN)).max() < 1e4
    values = shared(bank, 2 * DAY + 200, promises(12, 40, leaning(0.5), EVEN))
    assert values[-1, 1] > 1e6
    assert values[-1, 2] < 1e4
    tilt, onset, _ = bank.best(1)
    assert bank.describe(tilt) in {"higher", "high tail", "both tails"}
    assert abs(onset - 2 * DAY - 200) <= 2


def test_a_pooled_series_has_the_sum_of_its_parts_evidence() -> None:
    bank = share_bank()
    bank.baseline.scatter_sum[:] = bank.baseline.scatter_weight[:] = 0.0
    counts = promises(13, 5, leaning(0.5), leaning(-0.2))
    bank.load(2 * DAY, counts, np.ones((5, 3), dtype=bool))
    nats = bank.recursion.log_ratio
    # But for the dead band, which is each one's own.
    assert nats[:, 0] == pytest.approx(nats[:, 1] + nats[:, 2], rel=0.2, abs=1.0)


def test_a_mix_that_shifts_is_no_evidence() -> None:
    bank = ShareBank("both", bucket_ms=MINUTE, warmup_ms=2 * DAY_MS)
    bank.grow(np.zeros(3, dtype=np.int64), np.array([[0, 1], [0, 2]]))
    bank.baseline.learn_fine(np.arange(1000), np.full(1000, 100))
    shared(bank, 0, np.zeros((DAY, 3, N_BINS)))
    shared(bank, DAY, promises(14, DAY, leaning(-0.5), leaning(0.5)))
    before = bank.outer_share.copy()
    values = shared(bank, 2 * DAY, promises(15, 60, leaning(-0.5), leaning(0.5), (2.0, 60.0)))
    assert values.max() < 1e4
    counts = promises(16, 1, leaning(-0.5), leaning(0.5), (2.0, 60.0))
    accounts = bank.load(2 * DAY + 60, counts, np.ones((1, 3), dtype=bool))
    assert accounts.expected[0, 0] == pytest.approx(accounts.expected[0, 1] + accounts.expected[0, 2])
    assert before[1] == pytest.approx(bank.outer_share[1], rel=0.2)


def test_a_part_that_is_too_young_has_no_say_in_the_pooled_series() -> None:
    bank = share_bank()
    bank.grow(np.zeros(4, dtype=np.int64), np.array([[0, 1], [0, 2], [0, 3]]))
    values = []
    for at in range(0, 100, 5):
        counts = promises(17 + at, 5, EVEN, EVEN)
        young = np.random.default_rng(at).poisson(20.0 * leaning(1.0), (5, 1, N_BINS)).astype(np.float64)
        counts[:, :1] += young
        bank.load(2 * DAY + at, np.concatenate([counts, young], axis=1), np.ones((5, 4), dtype=bool))
        values += [bank.step(2 * DAY + at + each) for each in range(5)]
        bank.close_epoch(np.zeros(4, dtype=bool))
    assert np.stack(values).max() < 1e4


def test_a_missing_bucket_holds_the_shares_state() -> None:
    bank = share_bank()
    shared(bank, 2 * DAY, promises(18, 20, leaning(0.3), EVEN))
    before = bank.lead.tobytes()
    bank.load(2 * DAY + 20, np.zeros((5, 3, N_BINS)), np.zeros((5, 3), dtype=bool))
    for each in range(5):
        bank.step(2 * DAY + 20 + each)
    assert bank.lead.tobytes() == before


def test_a_direction_that_does_not_hurt_is_not_looked_at() -> None:
    bank = share_bank("higher")
    assert shared(bank, 2 * DAY, promises(19, 30, leaning(-0.6), leaning(-0.6))).max() < 1e4


def test_an_empty_bank_can_be_fed() -> None:
    rates, shares = rate_bank(0), ShareBank("both", bucket_ms=MINUTE, warmup_ms=DAY_MS)
    rates.load(0, np.zeros((5, 0)), np.zeros((5, 0)))
    shares.load(0, np.zeros((5, 0, N_BINS)), np.zeros((5, 0), dtype=bool))
    assert rates.step(0).shape == shares.step(0).shape == (0,)
    rates.close_epoch(NOBODY)
    shares.close_epoch(NOBODY)
