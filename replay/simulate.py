"""Stories made of chance numbers: a shop, its changes, and one that goes wrong.

The pieces (demand, changes, effects, arrival) are separate, so that other stories can be told with them.
"""

from __future__ import annotations

import gzip
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np
import numpy.typing as npt

from rollguard.replay.timeline import rfc3339

__all__ = ["Story", "march_story", "write_case"]

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Rng = np.random.Generator

MINUTE_MS = 60_000
HOUR_MS = 3_600_000
DAY_MS = 86_400_000
REGIONS = ("eu-west", "us-east", "us-west", "ap-south")
#: Share of demand and hours ahead of UTC, by region.
SHARE = np.array([0.34, 0.30, 0.20, 0.16])
OFFSET_H = np.array([1.0, -5.0, -8.0, 5.5])
SERVICES = ("checkout", "delivery-promise", "cart", "payments", "search", "catalog", "accounts")
#: How errors spread over services, normally and in the March story.
ERRORS_USUAL = np.array([0.18, 0.08, 0.12, 0.18, 0.24, 0.12, 0.08])
ERRORS_MARCH = np.array([0.45, 0.30, 0.20, 0.02, 0.01, 0.01, 0.01])
#: Errors to an order, normally.
ERROR_RATE = 0.3
#: Onset of the March story: 2 March 2026, 10:00 UTC.
MARCH_MS = 1_772_445_600_000
LOST_ORDERS, EXTRA_ERRORS = 120_000, 1_600_000
CULPRIT = "chg-302"
CHANGES_A_DAY = 25
#: Share of customers with a wrong promise who leave, about, once word has got round.
LOSS_IF_WRONG = 0.67
DOUBLED, LATE = 0.0005, 0.001


@dataclass(frozen=True, slots=True)
class Change:
    """A change of the simulated shop, with the places it reaches and when."""

    deploy_id: str
    service: str
    kind: str
    from_version: str
    version: str
    reach: tuple[tuple[str, int, int], ...]
    authors: tuple[str, ...]
    approvals: int
    ai_assisted: str
    reversible: bool


@dataclass(frozen=True, slots=True)
class Events:
    """Events of one kind, in order of time.

    Attributes
    ----------
    ts_ms : (n,) int64
    region, service : (n,) int64
        Places in `REGIONS` and `SERVICES`.
    """

    ts_ms: Ints
    region: Ints
    service: Ints

    def __len__(self) -> int:
        return len(self.ts_ms)


@dataclass(frozen=True, slots=True)
class Story:
    """A case before it is written, with the whole truth about it.

    Attributes
    ----------
    name : str
    start_ms, end_ms, onset_ms : int
    hours : float
        How long it really lasted.
    culprit : str
        Deploy id of the change that did it.
    changes : tuple of Change
    orders, errors : Events
    promised_minutes : (n_orders,) int64
        What each order was promised.
    wrong : (n_orders,) bool
        Which of those promises were wrong.
    lost_ms : (n,) int64
        When each lost order would have come.
    extra_errors : int
        Errors that came on top of the usual ones.
    versions : dict
        Version of a service at each order (and error), as lists of text.
    """

    name: str
    start_ms: int
    end_ms: int
    onset_ms: int
    hours: float
    culprit: str
    changes: tuple[Change, ...]
    orders: Events
    errors: Events
    promised_minutes: Ints
    wrong: npt.NDArray[np.bool_]
    lost_ms: Ints
    extra_errors: int
    versions: dict[str, list[str]]
    amounts: Floats
    codes: Ints
    arrival_seed: int

    @property
    def lost_orders(self) -> int:
        """Orders lost in all."""
        return len(self.lost_ms)

    def lost_until(self, when_ms: int) -> int:
        """Orders lost before a moment."""
        return int(np.searchsorted(self.lost_ms, when_ms))

    def orders_in_minute(self, minute: int) -> tuple[int, int]:
        """Orders that would have come in a minute after the onset, and those that came."""
        low, high = self.onset_ms + minute * MINUTE_MS, self.onset_ms + (minute + 1) * MINUTE_MS
        came = int(np.diff(np.searchsorted(self.orders.ts_ms, [low, high]))[0])
        return came + int(np.diff(np.searchsorted(self.lost_ms, [low, high]))[0]), came


def demand(ts_ms: Ints, region: int) -> Floats:
    """Relative demand of a region at some moments: a daily curve in its own local time, 1 on average.

    Examples
    --------
    >>> times = np.arange(0, DAY_MS, HOUR_MS)
    >>> bool(abs(demand(times, 0).mean() - 1.0) < 0.01)
    True
    """
    local_h = (ts_ms / HOUR_MS + OFFSET_H[region]) % 24.0
    # Low at night, a shoulder in the morning, a peak in the evening.
    curve: Floats = 1.0 + 0.45 * np.cos((local_h - 18.0) * np.pi / 12.0) + 0.15 * np.cos((local_h - 11.0) * np.pi / 6.0)
    return curve


def day_levels(rng: Rng, n_days: int) -> Floats:
    """Level of each day: weekdays and weather move a shop by some per cent."""
    return np.exp(rng.normal(0.0, 0.05, n_days))


def arrivals(rng: Rng, start_ms: int, end_ms: int, per_second: float) -> Events:
    """Customers' arrivals in all regions: Poisson, with the daily curve and the level of the day."""
    n_minutes = (end_ms - start_ms) // MINUTE_MS
    middle = start_ms + np.arange(n_minutes, dtype=np.int64) * MINUTE_MS + MINUTE_MS // 2
    level = day_levels(rng, int(n_minutes * MINUTE_MS // DAY_MS) + 2)[(middle - start_ms) // DAY_MS]
    wander = _wander(rng, int(n_minutes))
    ts, region = [], []
    for place in range(len(REGIONS)):
        mean = per_second * 60.0 * SHARE[place] * demand(middle, place) * level * wander
        counts = rng.poisson(mean)
        ts.append(np.repeat(middle - MINUTE_MS // 2, counts) + rng.integers(0, MINUTE_MS, counts.sum()))
        region.append(np.full(counts.sum(), place, dtype=np.int64))
    all_ts = np.concatenate(ts)
    order = np.argsort(all_ts, kind="stable")
    return Events(all_ts[order], np.concatenate(region)[order], np.zeros(len(order), dtype=np.int64))


def _wander(rng: Rng, n_minutes: int) -> Floats:
    """Autocorrelated noise of demand: two per cent, with a memory of half an hour."""
    keep = np.exp(-1.0 / 30.0)
    steps = rng.normal(0.0, 0.02 * np.sqrt(1.0 - keep**2), n_minutes)
    out = np.empty(n_minutes)
    state = 0.0
    for i, step in enumerate(steps.tolist()):
        state = state * keep + step
        out[i] = state
    return np.exp(out)


def background_changes(rng: Rng, start_ms: int, end_ms: int) -> list[Change]:
    """Ordinary changes of a shop, all harmless: at once or in waves, with all kinds of papers."""
    n = rng.poisson(CHANGES_A_DAY * (end_ms - start_ms) / DAY_MS)
    versions = {service: int(rng.integers(1, 60)) for service in SERVICES}
    found = []
    for number, began in enumerate(np.sort(rng.integers(start_ms, end_ms, n)).tolist()):
        service = SERVICES[int(rng.integers(len(SERVICES)))]
        kind = str(rng.choice(["code", "code", "code", "flag", "config", "infra", "migration"]))
        before = f"4.{versions[service]}.0"
        if kind in {"code", "migration"}:
            versions[service] += 1
        found.append(
            Change(
                deploy_id=f"chg-{100 + number}",
                service=service,
                kind=kind,
                from_version=before,
                version=f"4.{versions[service]}.0",
                reach=_reach(rng, int(began)),
                authors=tuple(f"dev{i}" for i in rng.integers(1, 40, 2)),
                approvals=int(rng.choice([2, 2, 2, 1, 0])),
                ai_assisted=str(rng.choice(["yes", "no", "unknown", "advised"])),
                reversible=kind != "migration",
            )
        )
    return found


def _reach(rng: Rng, began_ms: int) -> tuple[tuple[str, int, int], ...]:
    """Waves half an hour apart, all places at once, or one place alone."""
    width_ms = int(rng.integers(2, 9)) * MINUTE_MS
    order = rng.permutation(len(REGIONS)).tolist()
    how = int(rng.integers(4))
    if how == 0:
        order = order[:1]
    step_ms = 0 if how == 1 else int(rng.choice([10, 30])) * MINUTE_MS
    return tuple((REGIONS[place], began_ms + wave * step_ms, began_ms + wave * step_ms + width_ms) for wave, place in enumerate(order))


def versions_of(rng: Rng, events: Events, service: int, changes: list[Change]) -> npt.NDArray[np.object_]:
    """Version of a service that each event met: mixed while a change rolls through its place."""
    mine = sorted((c for c in changes if c.service == SERVICES[service]), key=lambda c: c.reach[0][1])
    first = mine[0].from_version if mine else "4.1.0"
    out = np.full(len(events), first, dtype=object)
    luck = rng.random(len(events))
    for change in mine:
        for region, began, done in change.reach:
            # A place that an event lies in has the new version with a chance that grows from start to finish.
            chance = np.clip((events.ts_ms - began) / max(done - began, 1), 0.0, 1.0)
            out[(events.region == REGIONS.index(region)) & (luck < chance)] = change.version
    return out


def march_story(*, seed: int, scale: float, days_before: float = 2.5, hours_of_incident: float = 4.0) -> Story:
    """The story of 2 March: wrong promises behind HTTP 200 everywhere at once, orders fall, errors follow.

    Parameters
    ----------
    seed : int
    scale : float
        Share of 120,000 lost orders and 1.6 million extra errors.
    days_before : float
        Days of ordinary business before it.
    hours_of_incident : float
        How long it takes until somebody undoes the change.

    Returns
    -------
    Story

    Notes
    -----
    Each order met by the new version is promised a wrong time with a chance of nine in ten: at once, or in weeks. Customers
    who see it leave, six of ten, within minutes. Errors begin after 25 minutes, as carts and payments time out.
    """
    rng = np.random.default_rng(seed)
    onset_ms = MARCH_MS
    start_ms = onset_ms - round(days_before * DAY_MS)
    undone_ms = onset_ms + round(hours_of_incident * HOUR_MS)
    end_ms = undone_ms + HOUR_MS
    changes = background_changes(rng, start_ms, end_ms)
    began_ms = onset_ms - 10_000
    changes = [c for c in changes if c.service != "delivery-promise" or c.reach[-1][2] < onset_ms - 2 * HOUR_MS]
    culprit = Change(
        deploy_id=CULPRIT,
        service="delivery-promise",
        kind="code",
        from_version=_last_version(changes),
        version="5.0.0",
        reach=tuple((region, began_ms, began_ms + 90_000) for region in REGIONS),
        authors=("dev7",),
        approvals=1,
        ai_assisted="unknown",
        reversible=True,
    )
    changes.append(culprit)

    visitors = arrivals(rng, start_ms, end_ms, _rate(scale, onset_ms, hours_of_incident))
    met = versions_of(rng, visitors, SERVICES.index("delivery-promise"), changes)
    harmed = (met == culprit.version) & (visitors.ts_ms < undone_ms) & (visitors.ts_ms >= onset_ms)
    wrong = harmed & (rng.random(len(visitors)) < 0.9)
    # Word gets round within minutes; the share that leaves makes the bill what the scale asks for, whatever the day's level.
    leaves = wrong * -np.expm1(-((visitors.ts_ms - onset_ms) / (1.5 * MINUTE_MS)).clip(min=0.0))
    share = min(LOST_ORDERS * scale / float(np.add.accumulate(leaves)[-1]), 0.95)
    lost = rng.random(len(visitors)) < share * leaves
    stays = ~lost
    orders = Events(visitors.ts_ms[stays], visitors.region[stays], visitors.service[stays])
    promised = np.where(wrong, _wrong_promises(rng, len(visitors)), _promises(rng, len(visitors)))[stays]
    errors, extra = _errors(rng, visitors, scale, onset_ms, undone_ms)
    versions = {
        "orders": versions_of(rng, orders, SERVICES.index("checkout"), changes).tolist(),
        "deliveries": met[stays].tolist(),
        "errors": _error_versions(rng, errors, changes),
    }
    return Story(
        name="march",
        start_ms=start_ms,
        end_ms=end_ms,
        onset_ms=int(visitors.ts_ms[wrong].min()),
        hours=hours_of_incident,
        culprit=CULPRIT,
        changes=tuple(changes),
        orders=orders,
        errors=errors,
        promised_minutes=promised,
        wrong=wrong[stays],
        lost_ms=visitors.ts_ms[lost],
        extra_errors=extra,
        versions=versions,
        amounts=np.round(rng.lognormal(3.2, 0.6, len(orders)), 2),
        codes=rng.choice(np.array([500, 502, 503, 504]), len(errors)),
        arrival_seed=seed,
    )


def _rate(scale: float, onset_ms: int, hours: float) -> float:
    """Orders a second on an average day, so that the incident loses its share of 120,000."""
    minutes = onset_ms + np.arange(round(hours * 60), dtype=np.int64) * MINUTE_MS
    busy = sum(float(SHARE[place] * demand(minutes, place).mean()) for place in range(len(REGIONS)))
    return LOST_ORDERS * scale / (hours * 3600.0 * busy * 0.9 * LOSS_IF_WRONG * 0.99)


def _last_version(changes: list[Change]) -> str:
    mine = [c for c in changes if c.service == "delivery-promise"]
    return max(mine, key=lambda c: c.reach[0][1]).version if mine else "4.1.0"


def _promises(rng: Rng, n: int) -> Ints:
    """Minutes until delivery that an order is normally promised."""
    return np.round(rng.lognormal(np.log(2880.0), 0.45, n)).astype(np.int64)


def _wrong_promises(rng: Rng, n: int) -> Ints:
    """Promises of the bad version: within the minute, or in weeks."""
    return rng.choice(np.array([0, 1, 20_160, 43_200]), n)


def _errors(rng: Rng, visitors: Events, scale: float, onset_ms: int, undone_ms: int) -> tuple[Events, int]:
    """Website errors: a share of the traffic, and in the story many more, growing from 25 minutes after the onset."""
    usual = rng.random(len(visitors)) < ERROR_RATE
    usual_ts = visitors.ts_ms[usual] + rng.integers(-5_000, 5_000, usual.sum())
    began_ms = onset_ms + 25 * MINUTE_MS
    extra = rng.poisson(EXTRA_ERRORS * scale)
    # The root of a uniform number grows linearly: errors pile up as the day goes on.
    extra_ts = (began_ms + np.sqrt(rng.random(extra)) * (undone_ms - began_ms)).astype(np.int64)
    ts = np.concatenate([usual_ts, extra_ts])
    region = np.concatenate([visitors.region[usual], rng.choice(len(REGIONS), extra, p=SHARE)])
    service = np.concatenate(
        [rng.choice(len(SERVICES), usual.sum(), p=ERRORS_USUAL / ERRORS_USUAL.sum()), rng.choice(len(SERVICES), extra, p=ERRORS_MARCH / ERRORS_MARCH.sum())]
    )
    order = np.argsort(ts, kind="stable")
    return Events(ts[order], region[order], service[order]), int(extra)


def _error_versions(rng: Rng, errors: Events, changes: list[Change]) -> list[str]:
    out = np.empty(len(errors), dtype=object)
    for service in range(len(SERVICES)):
        mine = errors.service == service
        part = Events(errors.ts_ms[mine], errors.region[mine], errors.service[mine])
        out[mine] = versions_of(rng, part, service, changes)
    found: list[str] = out.tolist()
    return found


def write_case(story: Story, path: Path, *, on_progress: Callable[[float], None] | None = None) -> None:
    """Write a story as a case: events in order of arrival, some doubled, some late.

    Parameters
    ----------
    story : Story
    path : Path
        Folder; it is made if need be, its case files are overwritten.
    on_progress : callable, optional
        Called with the share that is done, 0..1.
    """
    path.mkdir(parents=True, exist_ok=True)
    writers: tuple[tuple[str, Callable[[Story], Iterator[str]], Events], ...] = (
        ("orders", _order_lines, story.orders),
        ("deliveries", _delivery_lines, story.orders),
        ("errors", _error_lines, story.errors),
    )
    for number, (name, lines, events) in enumerate(writers):
        # An order and its promise take different ways, so each file has an order of arrival of its own.
        arrived = _arrival(np.random.default_rng([story.arrival_seed, number]), events)
        made = list(lines(story))
        with gzip.GzipFile(path / f"{name}.jsonl.gz", "wb", compresslevel=1, mtime=0) as file:
            for start in range(0, len(arrived), 50_000):
                file.write("".join([made[i] for i in arrived[start : start + 50_000]]).encode())
        if on_progress is not None:
            on_progress((number + 1) / len(writers))
    (path / "case.yaml").write_text(f"name: {story.name}\nstart: {rfc3339(story.start_ms)}\nend: {rfc3339(story.end_ms)}\n", encoding="utf-8")
    records = sorted(_change_records(story), key=lambda record: (record["started_at"], record["deploy_id"], record["region"]))
    (path / "deploys.jsonl").write_bytes(b"".join(msgspec.json.encode(record) + b"\n" for record in records))
    (path / "labels.json").write_bytes(msgspec.json.format(msgspec.json.encode(_labels(story)), indent=1) + b"\n")


def _arrival(rng: Rng, events: Events) -> list[int]:
    """Places of the events in order of arrival, a few of them twice, a few of them late."""
    n = len(events)
    delay_ms = rng.exponential(1_500.0, n).clip(max=15_000.0)
    late = rng.random(n) < LATE
    delay_ms[late] += rng.uniform(15_000.0, 40_000.0, late.sum())
    again = np.flatnonzero(rng.random(n) < DOUBLED)
    at = np.concatenate([events.ts_ms + delay_ms, events.ts_ms[again] + delay_ms[again] + rng.uniform(0.0, 5_000.0, len(again))])
    which = np.concatenate([np.arange(n), again])
    found: list[int] = which[np.argsort(at, kind="stable")].tolist()
    return found


def _order_lines(story: Story) -> Iterator[str]:
    regions = [REGIONS[i] for i in story.orders.region.tolist()]
    for i, (ts, region, version, amount) in enumerate(zip(story.orders.ts_ms.tolist(), regions, story.versions["orders"], story.amounts.tolist(), strict=True)):
        head = f'"event_id":"o{i}","ts":{ts},"service":"checkout","region":"{region}","version":"{version}"'
        yield f'{{{head},"status":"placed","amount":{amount},"currency":"USD"}}\n'


def _delivery_lines(story: Story) -> Iterator[str]:
    regions = [REGIONS[i] for i in story.orders.region.tolist()]
    columns = zip(story.orders.ts_ms.tolist(), regions, story.versions["deliveries"], story.promised_minutes.tolist(), strict=True)
    for i, (ts, region, version, minutes) in enumerate(columns):
        yield f'{{"event_id":"d{i}","ts":{ts},"service":"delivery-promise","region":"{region}","version":"{version}","promised_minutes":{minutes}}}\n'


def _error_lines(story: Story) -> Iterator[str]:
    regions = [REGIONS[i] for i in story.errors.region.tolist()]
    services = [SERVICES[i] for i in story.errors.service.tolist()]
    columns = zip(story.errors.ts_ms.tolist(), services, regions, story.versions["errors"], story.codes.tolist(), strict=True)
    for i, (ts, service, region, version, code) in enumerate(columns):
        yield f'{{"event_id":"e{i}","ts":{ts},"service":"{service}","region":"{region}","version":"{version}","code":{code}}}\n'


def _change_records(story: Story) -> Iterator[dict[str, object]]:
    for change in story.changes:
        for number, (region, began, done) in enumerate(change.reach):
            yield {
                "deploy_id": change.deploy_id,
                "service": change.service,
                "region": region,
                "environment": "production",
                "change_kind": change.kind,
                "from_version": change.from_version,
                "version": change.version,
                "started_at": rfc3339(began),
                "finished_at": rfc3339(done),
                "author": change.authors[number % len(change.authors)],
                "approvals": change.approvals,
                "ai_assisted": change.ai_assisted,
                "rollback": {"supported": change.reversible, "to_version": change.from_version},
            }


def _labels(story: Story) -> dict[str, object]:
    incident = {
        "id": "i1",
        "onset": rfc3339(story.onset_ms),
        "end": rfc3339(MARCH_MS + round(story.hours * HOUR_MS)),
        "culprit": story.culprit,
        "metrics": ["promised_minutes", "orders", "errors"],
        "regions": list(REGIONS),
        "services": ["delivery-promise", "checkout", "cart"],
        "page": True,
        "rollback": True,
    }
    return {"incidents": [incident], "lost_orders": story.lost_orders}
