from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from rollguard.detectors import detect
from rollguard.detectors.chunk import Chunk
from rollguard.detectors.foreign import Bets, Cell, Floats, ForeignBank
from rollguard.detectors.model_watch import ModelWatch
from rollguard.detectors.recipe import Recipe
from rollguard.detectors.watch import CountWatch, RatioWatch, Watch, watch_for
from rollguard.streams import StateCodec
from tests.detectors.town import settings_of

SETTINGS = settings_of("bucket: 60s\nwarmup: 0s")
KEYS = (("cart", "eu", "1"), ("cart", "us", "1"))
MINUTE = 60_000
CODEC = StateCodec("models", [*detect._CODEC.types.values(), Bets, Cell, ForeignBank, ModelWatch, Recipe])


def watch_of(metric: str, name: str = "river.anomaly.GaussianScorer") -> ModelWatch:
    usual = watch_for(metric, SETTINGS)
    assert isinstance(usual, (CountWatch, RatioWatch))
    return ModelWatch(usual, ForeignBank(name, {}, SETTINGS.metrics[metric].worse, bucket_ms=MINUTE, warmup_ms=0))


def chunk(start: int, buckets: int, /, *, missing: tuple[int, ...] = (), other: tuple[int, ...] = (), **parts: list[tuple[int, int, int, int]]) -> Chunk:
    """Cells are (bucket, key, bin, value)."""
    gone, gone_other = np.zeros(buckets, dtype=bool), np.zeros(buckets, dtype=bool)
    gone[list(missing)] = True
    gone_other[list(other)] = True
    columns = {part: tuple(np.array(sorted(cells), dtype=np.int64).reshape(-1, 4).T) for part, cells in parts.items()}
    return Chunk(start, buckets, KEYS, columns, missing=gone, missing_other=gone_other, silent=np.zeros(buckets, dtype=bool), doubtful=np.zeros(buckets))  # type: ignore[arg-type]


def shown(watch: ModelWatch) -> dict[str, list[float]]:
    return {str(name): column for name, column in zip(watch.tree.names, watch.model.values.T.round(3).tolist(), strict=True)}


def run(watch: Watch, orders: Floats, start: int = 0) -> Floats:
    """Values of all together, fed by epochs of five buckets."""
    found = []
    for low in range(0, len(orders), 5):
        part = orders[low : low + 5]
        cells = [(start + low + at, key, 0, int(n)) for at, row in enumerate(part) for key, n in enumerate(row) if n > 0]
        watch.load(chunk(start + low, len(part), missing=tuple(np.flatnonzero(np.isnan(part[:, 0])).tolist()), count=cells))
        values = [watch.step(start + low + at) for at in range(len(part))]
        found += [float(value[0]) for value in values]
        watch.close_epoch(values[-1] >= np.exp(7.0))
    return np.array(found)


def test_a_model_watch_is_a_watch() -> None:
    watch: Watch = watch_of("orders")
    watch.load(chunk(0, 1, count=[(0, 0, 0, 5)]))
    assert watch.metric == "orders"
    assert watch.n_known(0) == len(watch.tree.parents) == len(watch.slack)
    assert watch.split(0) is None


def test_a_model_is_shown_counts_and_nothing_where_they_are_missing_or_not_yet_born() -> None:
    watch = watch_of("orders")
    accounts = watch.load(chunk(0, 4, missing=(2,), count=[(0, 0, 0, 5), (1, 1, 0, 2), (2, 0, 0, 9)]))
    nan = pytest.approx(np.nan, nan_ok=True)
    assert shown(watch)["orders"] == [5.0, 2.0, nan, 0.0]
    assert shown(watch)["orders{region=us}"] == [nan, 2.0, nan, 0.0]
    assert accounts.observed[:, 0].tolist() == [5.0, 2.0, 0.0, 0.0]


def test_of_a_ratio_a_model_is_shown_the_share_of_hits() -> None:
    watch = watch_of("errors")
    watch.load(chunk(0, 4, other=(3,), k=[(0, 0, 0, 1), (1, 0, 0, 3), (3, 0, 0, 3)], n=[(0, 0, 0, 9), (3, 0, 0, 5)]))
    nan = pytest.approx(np.nan, nan_ok=True)
    assert shown(watch)["errors"] == [0.1, 1.0, nan, nan]


@pytest.mark.parametrize("name", ["river.anomaly.GaussianScorer", "river.anomaly.StandardAbsoluteDeviation"])
def test_a_fall_in_orders_is_found_and_a_rise_is_not(name: str) -> None:
    quiet = np.random.default_rng(1).poisson(20.0, (600, 2)).astype(np.float64)
    for factor, found in ((0.2, True), (3.0, False)):
        watch = watch_of("orders", name)
        assert run(watch, quiet).max() < 1e3
        assert watch.ready.tolist() == [True] * 6
        assert bool(run(watch, np.random.default_rng(2).poisson(20.0 * factor, (20, 2)).astype(np.float64), 600).max() > 1e6) is found
        direction, onset = watch.best(0, 619)
        assert direction == "lower"
        assert not found or (600 <= onset.bucket <= 605 and onset.nats > 10.0)
        rows = np.array([0])
        assert bool(watch.mass(rows).max() > 10.0) is found
        assert watch.nats(619, rows).shape == watch.mass(rows).shape == (1, 1, 5)
        watch.forget(rows)
        assert watch.mass(rows).max() < 0.0


def test_a_restored_watch_goes_on_as_if_never_stopped() -> None:
    orders = np.random.default_rng(3).poisson(20.0, (700, 2)).astype(np.float64)
    orders[650:] /= 4.0
    orders[400:420] = np.nan
    unbroken, stopped = watch_of("orders"), watch_of("orders")
    for low, high in pairwise((0, 200, 405, 655, 700)):
        assert run(stopped, orders[low:high], low).tobytes() == run(unbroken, orders[low:high], low).tobytes()
        stopped = CODEC.load(CODEC.dump(stopped, SETTINGS), SETTINGS, ModelWatch)
    assert CODEC.dump(stopped, SETTINGS) == CODEC.dump(unbroken, SETTINGS)
