"""When it began: from all that was counted, not from the moment a signal named."""

from __future__ import annotations

import numpy as np

from rollguard.detectors import Account, SeriesName, Tick
from rollguard.incidents.books import Books
from rollguard.incidents.incident import Incident
from rollguard.incidents.onset import Moment, starts_of
from rollguard.incidents.places import Symptom
from tests.incidents.scenes import KNOWN, MINUTE, ONSET, START, Hurt, Shop, deploy, played, regional

REGIONS = ("a", "b", "c")
FIRST, BEGUN, LAST = 1000, 1200, 1300


def books_of(rng: np.random.Generator, factors: dict[str, float], *, scatter: float = 1.0, begun: dict[str, int] | None = None) -> Books:
    """Orders and errors of some regions, off by a factor from a bucket on."""
    books = Books(2000)
    for bucket in range(FIRST, LAST):
        accounts = []
        for metric, mean in (("errors", 1.0), ("orders", 2.0)):
            since = (begun or {}).get(metric, BEGUN)
            factor = factors.get(metric, 1.0) if bucket >= since else 1.0
            expected = np.full(len(REGIONS), mean)
            rate = expected * factor
            drawn = rng.poisson(rate) if scatter == 1.0 else rng.negative_binomial(rate / (scatter - 1.0), 1.0 / scatter)
            names = tuple(SeriesName(metric=metric, labels=(("region", region),)) for region in REGIONS)
            accounts.append(
                Account(
                    metric=metric,
                    series=names,
                    observed=drawn.astype(np.float64),
                    expected=expected,
                    variance=expected * scatter,
                    error=np.zeros(len(REGIONS)),
                    missing=False,
                    silent=False,
                )
            )
        books.add(Tick(bucket=bucket, accounts=tuple(accounts), ready=True))
    return books


ORDERS = Symptom(metric="orders", service=None, direction=-1.0, smallest=0.1)
ERRORS = Symptom(metric="errors", service=None, direction=1.0, smallest=0.1)


def together(books: Books, *symptoms: Symptom) -> Moment:
    starts = starts_of(books, symptoms, REGIONS, range(FIRST, LAST), {})
    return starts.moment(starts.joint(dict.fromkeys(REGIONS, 0)))


def test_places_that_began_together_tell_the_moment_better_than_one_of_them() -> None:
    alone, joined, told = [], [], []
    for seed in range(40):
        books = books_of(np.random.default_rng([1, seed]), {"orders": 0.5})
        starts = starts_of(books, [ORDERS], REGIONS, range(FIRST, LAST), {})
        one, all_ = starts.moment(starts.nats["a"]), starts.moment(starts.joint(dict.fromkeys(REGIONS, 0)))
        alone.append(abs(one.bucket - BEGUN))
        joined.append(abs(all_.bucket - BEGUN))
        told.append(abs(all_.bucket - BEGUN) <= 3.0 * all_.error)
    assert np.mean(joined) < np.mean(alone) / 1.5
    # Its error is what it says.
    assert np.mean(told) > 0.9


def test_scattered_counts_say_less() -> None:
    sharp = np.mean([together(books_of(np.random.default_rng([2, seed]), {"orders": 0.5}), ORDERS).error for seed in range(10)])
    blunt = np.mean([together(books_of(np.random.default_rng([2, seed]), {"orders": 0.5}, scatter=4.0), ORDERS).error for seed in range(10)])
    assert blunt > 1.5 * sharp


def test_a_symptom_that_surely_began_later_has_no_say() -> None:
    books = books_of(np.random.default_rng(3), {"errors": 8.0, "orders": 0.1}, begun={"errors": BEGUN - 60})
    assert abs(together(books, ORDERS, ERRORS).bucket - (BEGUN - 60)) <= 3


def test_what_nobody_expected_anything_of_gives_every_bucket_the_same_chance() -> None:
    starts = starts_of(Books(10), [ORDERS], ("",), range(FIRST, LAST), {})
    assert not starts.nats[""].any()


def test_a_signal_that_named_the_onset_two_minutes_late_is_set_right() -> None:
    shop = Shop()
    regional(shop)
    entries = played(shop, [shop.left("orders", ONSET + 15, ONSET + 12, region="eu-west"), *deploy(started=(ONSET - 3 * MINUTE) * 10_000)])
    last = next(entry.incident for entry in reversed(entries) if entry.incident is not None)
    assert last.onset_ms == ONSET * 10_000


def test_a_place_where_nothing_left_by_itself_and_no_start_stands_out_began_with_the_others() -> None:
    shop = Shop(labels={"service": ("checkout",), "region": ("eu-west", "us-east")})
    # A twelfth fewer orders, for longer, are as likely none as an effect.
    shop.hurts = [Hurt("orders", 0.6, ONSET, where={"region": "eu-west"}), Hurt("orders", 0.92, ONSET - 20 * MINUTE, where={"region": "us-east"})]
    books = Books(2000)
    for bucket in range(START - 30 * MINUTE, KNOWN + 10 * MINUTE):
        books.add(shop.tick(bucket))
    signal = shop.left("orders", KNOWN, ONSET, region="eu-west")
    incident = Incident.opened_by(signal)
    incident.take(signal, frozenset({"eu-west"}))
    incident.pinned.add("us-east")
    incident.look(books, shop.settings)
    assert incident.began.keys() == {"eu-west"}
    assert incident.onset_in("us-east") == incident.onset_in("eu-west")
    assert abs(incident.onset - ONSET) <= 1
