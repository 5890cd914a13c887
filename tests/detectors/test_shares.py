from __future__ import annotations

import copy

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as runs
from hypothesis import strategies as st

from rollguard.detectors.evidence import Floats, Singles
from rollguard.detectors.shares import FREEZE_EPOCHS, LAG_EPOCHS, N_BINS, OUTER, QUANTILES, ShareBaseline, ShareEpoch, bin_scores, tilts_for

DAY = 288
EVEN = np.diff(np.array([0.0, *QUANTILES, 1.0]))
#: Row 0 is all together; the others are its parts.
PARENTS = np.zeros(3, dtype=np.int64)
PATHS = np.array([[0, 1], [0, 2]])


class Story:
    """A baseline whose bins are cut, fed epoch by epoch."""

    def __init__(self, *, seed: int = 1, worse: str = "both") -> None:
        self.baseline = ShareBaseline(DAY, worse)
        self.baseline.grow(PARENTS, PATHS)
        self.rng = np.random.default_rng(seed)
        # Histogram bins so fine that each quantile lies between two of them.
        self.baseline.learn_fine(np.arange(1000), np.full(1000, 100))
        for _ in range(DAY):
            self.epoch(np.zeros((N_BINS, 3)))

    def epoch(self, counts: Floats, *, suspected: bool = False) -> None:
        """(n_bins, n_series) counts."""
        self.baseline.learn(ShareEpoch(counts.astype(np.float32), np.full(counts.shape[1], suspected)))

    def lean(self) -> Singles:
        return self.baseline.lean(self.baseline.shares())

    def live(self, n: int, first: Floats, second: Floats, events: float = 600.0, *, suspected: bool = False) -> None:
        """Some epochs in which the two parts have these shares."""
        for _ in range(n):
            one, two = self.rng.poisson(events * first), self.rng.poisson(events * second)
            self.epoch(np.stack([one + two, one, two], axis=1).astype(np.float64), suspected=suspected)


def leaning(by: float) -> Floats:
    """Shares of a distribution that has shifted by some standard deviations."""
    shares = EVEN * np.exp(by * bin_scores(EVEN))
    return np.asarray(shares / shares.sum())


def test_bins_are_cut_at_the_quantiles_of_the_first_day() -> None:
    baseline = Story().baseline
    assert baseline.cut is not None
    assert baseline.cut.tolist() == [0, 9, 49, 99, 249, 499, 749, 899, 949, 989, 998]
    assert baseline.coarse(np.array([-5, 0, 1, 9, 10, 500, 998, 999, 5000])).tolist() == [0, 0, 1, 1, 2, 6, 10, 11, 11]
    assert baseline.shares()[:, 0] == pytest.approx(EVEN, abs=1e-4)


def test_before_the_cut_nothing_has_a_bin() -> None:
    with pytest.raises(ValueError, match="not cut"):
        ShareBaseline(DAY, "both").coarse(np.array([1]))


def test_a_day_with_few_events_is_not_enough_to_cut_bins() -> None:
    baseline = ShareBaseline(DAY, "both")
    baseline.grow(PARENTS, PATHS)
    nothing = ShareEpoch(np.zeros((N_BINS, 3), dtype=np.float32), np.zeros(3, dtype=bool))
    baseline.learn_fine(np.arange(300), np.ones(300, dtype=np.int64))
    for _ in range(DAY + 30):
        baseline.learn(nothing)
    assert baseline.cut is None
    baseline.learn_fine(np.arange(300), np.ones(300, dtype=np.int64))
    baseline.learn(nothing)
    assert baseline.cut is not None


def test_a_distribution_of_a_single_value_is_taken_as_it_is() -> None:
    baseline = ShareBaseline(DAY, "both")
    baseline.grow(PARENTS, PATHS)
    baseline.learn_fine(np.array([7]), np.array([5000]))
    for _ in range(DAY):
        baseline.learn(ShareEpoch(np.zeros((N_BINS, 3), dtype=np.float32), np.zeros(3, dtype=bool)))
    assert baseline.coarse(np.array([6, 7, 8])).tolist() == [0, 0, N_BINS - 1]
    assert np.isfinite(baseline.tilts().factors).all()
    assert np.isfinite(baseline.lean(baseline.shares())).all()


def test_every_series_learns_its_own_shares() -> None:
    story = Story()
    story.live(DAY, leaning(-0.5), leaning(0.5))
    shares = story.baseline.shares()
    assert shares.sum(axis=0) == pytest.approx(np.ones(3))
    assert shares[:, 1] == pytest.approx(leaning(-0.5), abs=0.01)
    assert shares[:, 2] == pytest.approx(leaning(0.5), abs=0.01)


def test_a_small_series_borrows_from_its_parent() -> None:
    baseline = ShareBaseline(DAY, "both")
    baseline.grow(np.array([0, 0, 1]), np.array([[0, 1, 2]]))
    baseline.counts = np.stack([1e6 * EVEN, 1e5 * leaning(1.0), 5.0 * leaning(1.0)], axis=1).astype(np.float32)
    assert baseline.shares()[:, 2] == pytest.approx(leaning(1.0), abs=0.002)
    baseline.parents = np.zeros(3, dtype=np.int64)
    assert baseline.shares()[:, 2] == pytest.approx(EVEN, abs=0.02)


def test_what_is_under_test_has_no_part_in_what_is_expected_of_it() -> None:
    story, usual = Story(), Story()
    for each in (story, usual):
        each.live(50, EVEN, EVEN)
    for _ in range(LAG_EPOCHS):
        assert story.baseline.shares().tobytes() == usual.baseline.shares().tobytes()
        story.live(1, leaning(3.0), leaning(-2.0))
        usual.live(1, EVEN, EVEN)
    assert story.baseline.shares().tobytes() == usual.baseline.shares().tobytes()


def test_a_suspected_series_stands_still_and_is_let_go_after_twelve_hours() -> None:
    story = Story()
    story.live(DAY, EVEN, EVEN)
    before = story.baseline.shares().tobytes()
    story.live(FREEZE_EPOCHS, leaning(1.0), leaning(1.0), suspected=True)
    assert story.baseline.shares().tobytes() == before
    story.live(DAY, leaning(1.0), leaning(1.0), suspected=True)
    assert np.abs(story.baseline.shares()[:, 1] - leaning(1.0)).max() < np.abs(story.baseline.shares()[:, 1] - EVEN).max()


def test_accepted_shares_are_the_normal_at_once() -> None:
    story = Story()
    story.live(DAY, EVEN, EVEN)
    story.live(20, leaning(1.0), leaning(1.0), suspected=True)
    assert story.baseline.shares()[:, 1] == pytest.approx(EVEN, abs=0.02)
    story.baseline.accept(np.array([True, True, False]))
    assert story.baseline.shares()[:, 1] == pytest.approx(leaning(1.0), abs=0.03)
    assert story.baseline.shares()[:, 2] == pytest.approx(EVEN, abs=0.02)


def test_what_happened_under_suspicion_is_not_learnt_once_it_is_over() -> None:
    story, usual = Story(), Story()
    for each in (story, usual):
        each.live(DAY, EVEN, EVEN)
        each.rng = np.random.default_rng(5)
    story.live(5, leaning(3.0), leaning(3.0), suspected=True)
    usual.live(5, EVEN, EVEN)
    for each in (story, usual):
        each.live(2 * LAG_EPOCHS, EVEN, EVEN)
    assert story.baseline.shares() == pytest.approx(usual.baseline.shares(), abs=2e-3)


def test_one_wild_epoch_weighs_no_more_than_a_few() -> None:
    story = Story()
    story.live(DAY, EVEN, EVEN)
    wild = np.zeros((N_BINS, 3))
    wild[-1, :2] = 1e6
    story.epoch(wild)
    story.live(LAG_EPOCHS, EVEN, EVEN)
    assert story.baseline.shares()[-1, 1] < 0.02


def test_a_missing_epoch_teaches_nothing() -> None:
    story, usual = Story(), Story()
    for each in (story, usual):
        each.live(DAY, EVEN, EVEN)
    for _ in range(20):
        story.epoch(np.zeros((N_BINS, 3)))
    for each in (story, usual):
        each.rng = np.random.default_rng(6)
        each.live(20, EVEN, EVEN)
    assert story.baseline.shares() == pytest.approx(usual.baseline.shares(), abs=1e-3)
    assert story.baseline.epochs.tolist() == usual.baseline.epochs.tolist()


def test_a_pooled_series_expects_what_its_parts_do() -> None:
    """Its mix swings from one part to the other, which are never alike, and neither scatter nor lean says so."""
    story = Story()
    for k in range(2 * DAY):
        one = story.rng.poisson(600.0 * (1.0 + 0.8 * np.sin(k / 40.0)) * leaning(-0.5))
        two = story.rng.poisson(600.0 * (1.0 - 0.8 * np.sin(k / 40.0)) * leaning(0.5))
        story.epoch(np.stack([one + two, one, two], axis=1).astype(np.float64))
    assert story.baseline.scatter()[0] < 1.4
    assert story.lean()[0, 0] < 0.1


def test_pooling_adds_up_the_parts() -> None:
    baseline = Story().baseline
    assert baseline.pool(np.array([[1.0, 2.0], [3.0, 4.0]])).tolist() == [[3.0, 1.0, 2.0], [7.0, 3.0, 4.0]]
    assert ShareBaseline(DAY, "both").pool(np.zeros((2, 0))).shape == (2, 0)


def test_the_lean_that_past_hours_have_shown_is_known_along_each_tilt() -> None:
    calm, wandering = Story(), Story()
    calm.live(2 * DAY, EVEN, EVEN)
    for hour in range(2 * DAY // 12):
        by = 0.1 * (-1.0) ** hour
        wandering.live(12, leaning(by), leaning(by))
    assert (calm.lean() < 0.12).all()
    # Along a tilt of a quarter of a standard deviation, a tenth is two fifths.
    assert wandering.lean()[0] == pytest.approx(np.full(3, 0.4), abs=0.12)


def test_a_small_series_cannot_be_known_better_than_its_events_allow() -> None:
    story = Story()
    story.live(2 * DAY, EVEN, EVEN, events=5000.0)
    large = story.lean()
    story.baseline.counts[:, 2] *= 50.0 / story.baseline.counts[:, 2].sum()
    assert (story.lean()[:, 2] > large[:, 2]).all()
    # 300 events, of which 200 are borrowed, tell a shift by a quarter to about a quarter of it.
    assert story.lean()[0, 2] == pytest.approx(1.0 / (0.25 * np.sqrt(300.0)), rel=0.1)


def test_a_new_series_disturbs_no_other_for_its_first_day() -> None:
    alone, joined = Story(seed=2), Story(seed=2)
    for each in (alone, joined):
        each.live(DAY + 7, EVEN, EVEN)
    joined.baseline.grow(np.zeros(4, dtype=np.int64), np.array([*PATHS.tolist(), [3, 3]]))
    for _ in range(DAY - 1):
        counts = alone.rng.poisson(600.0 * EVEN[:, None], (N_BINS, 3)).astype(np.float64)
        alone.epoch(counts)
        joined.epoch(np.concatenate([counts, 600.0 * leaning(2.0)[:, None]], axis=1))
    for found, usual in (
        (joined.baseline.shares(), alone.baseline.shares()),
        (joined.baseline.scatter(), alone.baseline.scatter()),
        (joined.lean(), alone.lean()),
    ):
        assert found[..., :3].tobytes() == usual.tobytes()
    assert joined.baseline.shares()[:, 3] == pytest.approx(leaning(2.0), abs=0.01)


@pytest.mark.parametrize("worse", ["higher", "lower", "both"])
def test_tilts_look_where_it_hurts(worse: str) -> None:
    tilts = tilts_for(EVEN, worse).factors
    assert tilts.shape == (len(tilts_for(EVEN, worse).names), N_BINS)
    means = [float((EVEN * np.exp(tilt) / (EVEN * np.exp(tilt)).sum()) @ bin_scores(EVEN)) for tilt in tilts]
    if worse == "higher":
        assert min(means) > 0.0
    elif worse == "lower":
        assert max(means) < 0.0
    else:
        assert min(means) < 0.0 < max(means)


def test_scores_are_those_of_a_normal_distribution() -> None:
    scores = bin_scores(EVEN)
    assert scores.tolist() == sorted(scores.tolist())
    assert scores == pytest.approx(-scores[::-1], abs=1e-9)
    assert (EVEN @ scores**2) == pytest.approx(1.0, abs=0.1)


def test_the_outer_bins_are_a_tenth_of_all() -> None:
    assert EVEN[list(OUTER)].sum() == pytest.approx(0.1)


@pytest.fixture(scope="module")
def known() -> Story:
    """A story of a day and a half."""
    story = Story(seed=9)
    story.live(DAY // 2, EVEN, leaning(0.3))
    return story


@given(scene=st.lists(st.tuples(st.sampled_from([0.0, 3.0, 600.0, 1e6]), st.booleans()), min_size=1, max_size=40), at=st.integers(0, 39))
@runs(max_examples=12)
def test_a_copy_made_anywhere_goes_on_as_if_it_were_the_first_and_only_the_past_counts(known: Story, scene: list[tuple[float, bool]], at: int) -> None:
    """Shares, scatter and lean of each epoch, told before it is learnt."""

    def told(story: Story, some: list[tuple[float, bool]]) -> list[bytes]:
        found = []
        for events, suspected in some:
            found.append(b"".join(each.tobytes() for each in (story.baseline.shares(), story.baseline.scatter(), story.lean())))
            story.live(1, leaning(0.1), EVEN, events, suspected=suspected)
        return found

    whole, story = told(copy.deepcopy(known), scene), copy.deepcopy(known)
    first = told(story, scene[:at])
    assert [*first, *told(copy.deepcopy(story), scene[at:])] == whole
