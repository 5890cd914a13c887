"""A small town's orders, errors and promises as closed buckets, and what came out as plain values that can be compared."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from rollguard.config import Layer, Settings, default_text, load_layers
from rollguard.detectors import Account, Signal, Tick
from rollguard.detectors.bank import Bank
from rollguard.detectors.evidence import Singles
from rollguard.streams import Closed, Key, bin_of, measures

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

#: Buckets of a minute and only three metrics: the same numbers in a sixth of the time.
QUICK = "bucket: 60s\nmetrics: {actual_minutes: null}\n"
DAY = 1440
#: A Tuesday: a baseline of few days is less sure of weekends, and of Mondays.
START = 20_004 * DAY
KEYS: tuple[Key, ...] = (("cart", "eu", "1"), ("cart", "us", "1"), ("checkout", "eu", "1"), ("checkout", "us", "1"))
MINUTES = np.arange(10.0, 71.0, 5.0)
#: What everybody is promised, about a log-normal around 35 minutes.
PROMISED = np.exp(-0.5 * ((np.log(MINUTES) - np.log(35.0)) / 0.3) ** 2)
PROMISED /= PROMISED.sum()


def settings_of(text: str = QUICK) -> Settings:
    """The shipped settings with some changes."""
    return load_layers([Layer(text=default_text(), name="default.yaml"), Layer(text=text, name="test.yaml")])


@dataclass
class Town:
    """Some buckets of a town.

    Attributes
    ----------
    start : int
        First bucket.
    keys : tuple of keys
        In the order of the columns below.
    orders, errors : (n, n_keys) int64
    promised : (n, n_keys, len(MINUTES)) int64
    absurd : (n, n_keys) int64
        Promises of 3,000 minutes.
    missing : set of (source, bucket)
    """

    start: int
    keys: tuple[Key, ...]
    orders: Ints
    errors: Ints
    promised: Ints
    absurd: Ints
    missing: set[tuple[str, int]] = field(default_factory=set)

    def __len__(self) -> int:
        return len(self.orders)

    def closed(self, settings: Settings, since: int = 0, until: int | None = None) -> Closed:
        """The buckets from `since` up to, not with, `until`, counted from `start`, as the merger would give them."""
        until = len(self) if until is None else until
        number: dict[tuple[str, str], int] = {(each.metric, each.part): at for at, each in enumerate(measures(settings))}
        parts: list[tuple[tuple[str, str], int, Ints]] = [
            (("orders", "count"), 0, self.orders),
            (("errors", "n"), 0, self.orders),
            (("errors", "k"), 0, self.errors),
            *((("promised_minutes", "bins"), int(b), self.promised[:, :, at]) for at, b in enumerate(bin_of(MINUTES))),
            (("promised_minutes", "bins"), int(bin_of(np.array([3000.0]))[0]), self.absurd),
        ]
        parts = [part for part in parts if part[0] in number]
        keys, code = self._numbered(until, [counts for _, _, counts in parts])
        columns: list[Ints] = []
        for part, fine, counts in parts:
            bucket, column = np.nonzero(counts[since:until])
            value = counts[since:until][bucket, column]
            same = np.ones_like(value)
            columns.append(np.stack([bucket + since + self.start, number[part] * same, code[column], fine * same, value]))
        rows = np.concatenate(columns, axis=1)
        rows = rows[:, np.lexsort(rows[3::-1])]
        missing = {source: np.zeros(until - since, dtype=bool) for source in settings.sources}
        for source, at in self.missing:
            if since <= at < until:
                missing[source][at - since] = True
        return Closed(
            start=self.start + since,
            end=self.start + until,
            keys=keys,
            bucket=rows[0],
            measure=rows[1].astype(np.int16),
            key=rows[2].astype(np.int32),
            bin=rows[3].astype(np.int16),
            value=rows[4],
            missing=missing,
            silent={source: np.zeros(until - since, dtype=bool) for source in settings.sources},
        )

    def _numbered(self, until: int, counts: Sequence[Ints]) -> tuple[tuple[Key, ...], Ints]:
        """Keys by their first bucket, then by value; later ones are not known yet."""
        seen = np.zeros((until, len(self.keys)), dtype=bool)
        for each in counts:
            seen |= each[:until] > 0
        order = sorted((int(seen[:, at].argmax()), key, at) for at, key in enumerate(self.keys) if seen[:, at].any())
        code = np.full(len(self.keys), -1, dtype=np.int64)
        for place, (_, _, at) in enumerate(order):
            code[at] = place
        return tuple(key for _, key, _ in order), code


def curve(start: int, n: int) -> Floats:
    """(n, 1) demand by time of day, 1 on average."""
    return 1.0 + 0.5 * np.sin(2.0 * np.pi * (np.arange(start, start + n)[:, None] % DAY) / DAY)


def quiet(seed: int, start: int, n: int, *, keys: tuple[Key, ...] = KEYS, orders: float = 30.0, errors: float = 6.0) -> Town:
    """Nothing but chance: Poisson counts around a daily curve, `orders` and `errors` a bucket and key on average."""
    rng = np.random.default_rng(seed)
    rate = curve(start, n) * np.ones(len(keys))
    sold = rng.poisson(orders * rate)
    promised = rng.multinomial(sold, PROMISED)
    return Town(start, keys, sold, rng.poisson(errors * rate), promised, np.zeros_like(sold))


def plain(records: Sequence[Signal | Tick]) -> list[object]:
    """What can be compared bit for bit; a split's keys are looked up, since its table may know keys that it does not use."""
    return [record if isinstance(record, Signal) else (record.bucket, record.ready, [_plain_account(a) for a in record.accounts]) for record in records]


def _plain_account(account: Account) -> tuple[object, ...]:
    split = account.split
    columns = (account.observed, account.expected, account.variance, account.error)
    shown = None
    if split is not None:
        shown = ([split.keys[k] for k in split.key.tolist()], split.hits.tobytes(), split.trials.tobytes(), split.expected.tobytes())
    flags = (account.missing, account.silent, account.events, account.doubtful)
    return (account.metric, account.series, *(column.tobytes() for column in columns), flags, shown)


def signals_of(records: Sequence[Signal | Tick], kind: str = "left") -> list[Signal]:
    """The signals of one kind."""
    return [record for record in records if isinstance(record, Signal) and record.kind == kind]


def taken(bank: Bank, start: int, end: int, together: int) -> list[Singles]:
    """Values of loaded buckets; with `together` as many at once as the bank looks ahead, and so many at most."""
    found: list[Singles] = []
    while start < end:
        ahead = bank.ahead(start) if together else None
        if ahead is None:
            found.append(bank.step(start).copy())
        else:
            found += list(ahead[:together])
            assert bank.settle(start + len(ahead[:together]) - 1).tobytes() == found[-1].tobytes()
        start += 1 if ahead is None else len(ahead[:together])
    return found
