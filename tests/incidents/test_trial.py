"""The trial of a change: how seldom a harmless one is convicted, how soon a harmful one is, and what does not fool it."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import pytest

from rollguard.detectors import Account, SeriesName, Signal, Tick
from rollguard.incidents import ChangeSeen, Desk, Entry
from rollguard.incidents.books import Books
from rollguard.incidents.changes import ChangeBook
from rollguard.incidents.ratios import Counted, against_baseline, against_control, factors_of
from rollguard.incidents.trials import Trials
from tests.incidents.scenes import HOUR_MS, MINUTE, MINUTE_MS, ONSET, START, START_MS, Hurt, Shop, at_ms, decisions, deploy, of_harm, played, settings_with

ALPHA = 0.01
Floats = npt.NDArray[np.float64]


def counted(rng: np.random.Generator, mean: Floats, scatter: float) -> Counted:
    """Counts of some means, Poisson or negative binomial with a variance of so many means."""
    drawn = rng.poisson(mean) if scatter == 1.0 else rng.negative_binomial(mean / (scatter - 1.0), 1.0 / scatter)
    return Counted(drawn.astype(np.float64), mean, np.full(mean.shape, scatter), np.zeros(mean.shape))


def passed(nats: Floats) -> int:
    """How many of the columns' e-processes ever pass 1 / alpha."""
    sums = np.add.accumulate(nats, axis=0)
    return int(np.count_nonzero(np.exp(np.minimum(sums, 50.0)).mean(axis=2).max(axis=0) >= 1.0 / ALPHA))


def most(trials: int) -> float:
    """So many of them may pass, three standard errors of chance included."""
    return trials * ALPHA + 3.0 * math.sqrt(trials * ALPHA)


@pytest.mark.parametrize("worse", ["higher", "lower", "both"])
@pytest.mark.parametrize("scatter", [1.0, 3.0])
def test_a_harmless_change_passes_the_bound_no_oftener_than_alpha_whatever_the_scatter(worse: str, scatter: float) -> None:
    rng = np.random.default_rng([7, round(scatter), len(worse)])
    n = 2000
    one = np.ones((360, n))
    factors = np.tile(factors_of(worse, 0.1), (n, 1))
    assert passed(against_baseline(counted(rng, one * 4.0, scatter), one, factors)) <= most(n)


@pytest.mark.parametrize("scatter", [1.0, 2.0])
def test_what_moves_a_place_and_its_control_alike_convicts_nobody(scatter: float) -> None:
    rng = np.random.default_rng([8, round(scatter)])
    n = 2000
    # A storm: all of it swells to twice the baseline and ebbs to half of it, and the baseline knows nothing of that.
    storm = np.exp(0.7 * np.sin(np.linspace(0.0, 2.0 * np.pi, 360)))[:, None]
    near, far = np.full((360, n), 3.0), np.full((360, n), 9.0)
    seen, beside = counted(rng, near * storm, scatter), counted(rng, far * storm, scatter)
    factors = np.tile(factors_of("higher", 0.1), (n, 1))
    expected = Counted(seen.observed, near, seen.scatter, seen.error), Counted(beside.observed, far, beside.scatter, beside.error)
    assert passed(against_control(*expected, np.ones_like(near), factors)) <= most(n)
    # The same without a control would convict nearly everyone.
    assert passed(against_baseline(expected[0], np.ones_like(near), factors)) > n / 2


def test_a_quarter_more_at_twenty_a_minute_is_found_sooner_than_an_alarm_that_knows_no_change_could() -> None:
    rng = np.random.default_rng(9)
    n, mean, more = 400, 20.0 / 6.0, 1.25
    factors = np.tile(factors_of("higher", 0.1), (n, 1))
    base = np.full((600, n), mean)
    nats = against_baseline(Counted(rng.poisson(base * more).astype(np.float64), base, np.ones_like(base), np.zeros_like(base)), np.ones_like(base), factors)
    value = np.exp(np.minimum(np.add.accumulate(nats, axis=0), 50.0)).mean(axis=2)
    found = (value >= 1.0 / ALPHA).argmax(axis=0) + 1
    per_bucket = mean * (more * math.log(more) - more + 1.0)
    # One alarm in 90 days of such buckets, at best, by Lorden's bound; and there are many series to watch.
    assert float(np.mean(found)) < math.log(777_600) / per_bucket


def quiet_log(rng: np.random.Generator, last: int, *, rise: float = 1.0, since: int = 1 << 60) -> Iterator[Tick]:
    """Orders and errors of two regions that are what the baselines say, but for errors of one from a bucket on."""
    names = {m: tuple(SeriesName(metric=m, labels=labels) for labels in [(), (("region", "a"),), (("region", "b"),)]) for m in ("errors", "orders")}
    means = {"errors": np.array([3.0, 3.0]), "orders": np.array([10.0, 10.0])}
    for bucket in range(START - 60 * MINUTE, last):
        accounts = []
        for metric, mean in means.items():
            factor = np.array([rise if metric == "errors" and bucket >= since else 1.0, 1.0])
            drawn = rng.poisson(mean * factor).astype(np.float64)
            observed, expected = (np.concatenate([[each.sum()], each]) for each in (drawn, mean))
            error = np.full(3, 0.03)
            accounts.append(
                Account(metric=metric, series=names[metric], observed=observed, expected=expected, variance=expected, error=error, missing=False, silent=False)
            )
        yield Tick(bucket=bucket, accounts=tuple(accounts), ready=True)


def test_a_hundred_harmless_changes_at_once_are_hardly_ever_convicted() -> None:
    # Each as a shop sees it: several metrics, places and services in one number.
    settings = settings_with("labels: {watched: [region]}\nlookback: 6h")
    rng = np.random.default_rng(11)
    books, changes, trials = Books(2160), ChangeBook(settings.lookback_ms), Trials(settings)
    for number in range(100):
        region = ("a", "b", None)[number % 3]
        for seen in deploy(f"chg-{number}", started=START_MS + number * 3 * MINUTE_MS, regions=[region]):
            changes.add(seen)
    found = 0
    for tick in quiet_log(rng, START + 360 * MINUTE):
        books.add(tick)
        if tick.bucket % MINUTE:
            continue
        changes.learn(at_ms(tick.bucket))
        found += len(trials.step(tick, books, changes, settings, frozenset()))
    assert found <= most(100)


def entries_of(shop: Shop, *changes: list[ChangeSeen], last: int = START + 20 * MINUTE) -> list[Entry]:
    return played(shop, [seen for each in changes for seen in each], last)


def test_what_a_change_did_is_found_without_any_signal_and_closes_when_it_is_back() -> None:
    shop = Shop(hurts=[Hurt("orders", 0.6, ONSET, ONSET + 4 * MINUTE, where={"region": "eu-west"})])
    entries = entries_of(shop, deploy())
    assert entries[0].event == "opened"
    assert entries[0].incident is not None
    assert at_ms(ONSET) <= entries[0].at_ms <= at_ms(ONSET + 2 * MINUTE)
    assert (entries[0].incident.metrics, entries[0].incident.regions, entries[0].incident.onset_ms) == (("orders",), ("eu-west",), ONSET * 10_000)
    assert entries[-1].event == "closed"
    assert decisions(entries, "rollback")


def test_nobody_is_on_trial_for_what_hurt_before() -> None:
    shop = Shop(hurts=[Hurt("orders", 0.6, START - 60 * MINUTE, where={"region": "eu-west"})])
    assert entries_of(shop, deploy()) == []


def test_errors_that_come_with_as_many_more_orders_are_no_harm() -> None:
    shop = Shop(hurts=[Hurt(metric, 2.0, ONSET) for metric in ("orders", "errors")])
    assert entries_of(shop, deploy(regions=[None])) == []


def test_what_hurts_everywhere_alike_is_not_laid_at_the_door_of_a_change_to_one_place() -> None:
    shop = Shop(hurts=[Hurt("orders", 0.7, ONSET), Hurt("errors", 2.0, ONSET)])
    assert entries_of(shop, deploy(regions=["eu-west"])) == []


def test_a_missing_bucket_says_nothing() -> None:
    hurts = [Hurt("orders", 0.6, ONSET, where={"region": "eu-west"})]
    assert of_harm(entries_of(Shop(hurts=hurts, missing={"orders": range(ONSET, START + 30 * MINUTE)}), deploy())) == []


def test_a_second_wave_goes_on_with_the_same_trial() -> None:
    shop = Shop(hurts=[Hurt("orders", 0.6, START + 240 * MINUTE + MINUTE, where={"region": "us-east"})])
    later = START_MS + 4 * HOUR_MS
    entries = entries_of(shop, deploy(), deploy(regions=["us-east"], started=later), last=START + 245 * MINUTE)
    assert entries[0].event == "opened"
    assert entries[0].incident is not None
    assert entries[0].incident.regions == ("us-east",)


def test_a_signal_of_a_detector_takes_a_symptom_over_from_the_trial() -> None:
    shop = Shop(hurts=[Hurt("orders", 0.6, ONSET, ONSET + 10 * MINUTE, where={"region": "eu-west"})])
    signals: list[Signal] = [
        shop.left("orders", ONSET + 12, ONSET, region="eu-west"),
        shop.returned("orders", ONSET + 14 * MINUTE, ONSET + 10 * MINUTE, region="eu-west"),
    ]
    desk = Desk(shop.settings)
    desk.feed(shop.log(START - 10 * MINUTE, ONSET + 13 * MINUTE, [*signals, *deploy()]))
    (incident,) = desk.incidents
    assert incident.sure
    assert any(series.label("region") == "eu-west" for series in incident.away)


def test_a_bound_that_is_passed_but_once_pages_and_does_not_act_yet() -> None:
    shop = Shop(settings=settings_with("budget: {per_change: 0.00001}"))
    shop.hurts = [Hurt("orders", 0.85, ONSET, where={"region": "eu-west"})]
    entries = entries_of(shop, deploy())
    page, *others = decisions(entries)
    assert page.action == "page"
    assert any("not yet to act" in sentence for sentence in others[0].blocked_by)
    assert others[-1].action == "rollback"
