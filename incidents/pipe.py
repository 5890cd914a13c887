"""Times in which no source said anything of a place: more likely the pipe of events broke than the shop, and what was lost is not known."""

from __future__ import annotations

from rollguard.config import Settings
from rollguard.incidents.books import Books, Sums

__all__ = ["Stretch", "joined", "speechless", "unheard"]

HOUR_MS = 60 * 60_000
#: Of each source so many events would have come, at least: that by chance none of any did happens once in thousands of years.
SURELY = 8.0
#: Where a source breaks in the middle of a bucket, and its metric's onset is known to a bucket or two, a few events still come.
BREAKS_BUCKETS = 2
#: Buckets from the first until before the last.
Stretch = tuple[int, int]


def speechless(books: Books, settings: Settings, region: str, first: int, *, before: int) -> list[Stretch]:
    """Stretches until now in which no source had an event in a place, though each would have had several.

    A shop whose orders stop still has visitors, and their errors; that all fall silent in the same bucket is a pipe, or an outage of everything.

    Parameters
    ----------
    books : Books
    settings : Settings
    region : str
        Empty: everywhere.
    first : int
        Bucket from which on is looked.
    before : int
        Bucket of the hour before which is learnt what usually comes.

    Returns
    -------
    list of Stretch
        In order. Of a shop with a single source that counts events none: it has no witness.
    """
    rows = _rows(books, settings, region)
    if len({settings.metrics[metric].source for metric in rows}) < 2 or not books.ticks:
        return []
    stretches: list[Stretch] = []
    for tick in books.between(first, books.ticks[-1].bucket):
        seen = [account for account in tick.accounts if account.metric in rows and not account.missing]
        if not seen or any(account.observed[rows[account.metric]] for account in seen if rows[account.metric] < len(account.observed)):
            continue
        if stretches and stretches[-1][1] == tick.bucket:
            stretches[-1] = (stretches[-1][0], tick.bucket + 1)
        else:
            stretches.append((tick.bucket, tick.bucket + 1))
    if not stretches:
        return []
    least = _least(books, settings, rows, before)
    return [stretch for stretch in stretches if (stretch[1] - stretch[0]) * least >= SURELY]


def unheard(books: Books, settings: Settings, metric: str, onset: int) -> Stretch | None:
    """The stretch from a metric's onset on in which its source brought no event at all, though several would have come.

    A shop that sells nothing and a pipe that brings no orders look alike; one order, even of a hundred, tells them apart.

    Parameters
    ----------
    books : Books
    settings : Settings
    metric : str
    onset : int
        First bucket of its symptom; it must still be kept.

    Returns
    -------
    Stretch or None
        None: events came, or too few would have come to tell.
    """
    now = books.ticks[-1].bucket
    start, stop = onset, now + 1
    # A metric may count only some of its source's events: another one that goes on tells that the source does.
    source = settings.metrics[metric].source
    witnesses = {name for name, each in settings.metrics.items() if each.source == source}
    for tick in books.between(onset, now):
        if any(account.metric in witnesses and account.events and not account.missing for account in tick.accounts):
            if tick.bucket >= onset + BREAKS_BUCKETS:
                stop = tick.bucket
                break
            start = tick.bucket + 1
    # Of most incidents events go on, and then nothing has to be added up.
    if stop <= start:
        return None
    hours = [_hour_before(books, settings, name, onset) for name in sorted(witnesses)]
    usual = max(before.events / known if known else 0.0 for before, known in hours)
    return (start, stop) if (stop - start) * usual >= SURELY else None


def joined(one: list[Stretch], other: list[Stretch]) -> list[Stretch]:
    """Both together, in order, those that touch as one.

    Examples
    --------
    >>> joined([(1, 4), (9, 11)], [(3, 6), (6, 7)])
    [(1, 7), (9, 11)]
    """
    found: list[Stretch] = []
    for start, stop in sorted([*one, *other]):
        if found and start <= found[-1][1]:
            found[-1] = (found[-1][0], max(stop, found[-1][1]))
        else:
            found.append((start, stop))
    return found


def _rows(books: Books, settings: Settings, region: str) -> dict[str, int]:
    """The row of a place in each metric that counts a source's events."""
    labels = {"region": region} if region else {}
    counting = (name for name, metric in sorted(settings.metrics.items()) if metric.kind in {"count", "ratio"})
    return {name: row for name in counting if (row := books.row(name, **labels)) is not None}


def _least(books: Books, settings: Settings, rows: dict[str, int], before: int) -> float:
    """Events a bucket of the source that usually has the fewest."""
    found: dict[str, float] = {}
    for metric, row in rows.items():
        sums, known = _hour_before(books, settings, metric, before)
        usual = float(sums.observed[row]) / known if known and row < len(sums.observed) else 0.0
        source = settings.metrics[metric].source
        found[source] = max(found.get(source, 0.0), usual)
    return min(found.values(), default=0.0)


def _hour_before(books: Books, settings: Settings, metric: str, bucket: int) -> tuple[Sums, int]:
    """What was counted in the hour before a bucket, and of how many buckets it is known."""
    sums = books.window(metric, bucket - HOUR_MS // settings.bucket_ms, bucket - 1)
    return sums, sums.buckets - sums.missing
