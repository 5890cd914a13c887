"""How far the data of an incident can be trusted: missing, uncertain, or known by silence alone."""

from __future__ import annotations

from dataclasses import dataclass

from rollguard.config import Settings, format_duration
from rollguard.incidents.books import Books, Sums
from rollguard.incidents.incident import Incident

__all__ = ["Quality", "quality_of"]

MINUTE_MS = 60_000
#: The last minutes of data that must be whole before anything is done.
WHOLE_MIN = 2
#: Late events and refused lines make a metric uncertain from this share of the last minutes' events on, if they are so many.
DOUBT_MIN, DOUBT_SHARE, DOUBT_LEAST = 5, 0.1, 5.0


@dataclass(frozen=True, slots=True)
class Quality:
    """What is doubtful about the data.

    Attributes
    ----------
    doubtful : tuple of str
        Metrics of the incident, and the money clock's, whose last minutes are missing or uncertain: they may page, and nothing is done on them.
    silent : tuple of str
        Those that rest on buckets closed by silence.
    notes : tuple of str
        A sentence for each doubt.
    """

    doubtful: tuple[str, ...]
    silent: tuple[str, ...]
    notes: tuple[str, ...]


def quality_of(incident: Incident, books: Books, settings: Settings, bucket: int, *, feed_silent: bool) -> Quality:
    """Judge the data of an incident's metrics.

    Parameters
    ----------
    incident : Incident
    books : Books
    settings : Settings
    bucket : int
        The last one closed.
    feed_silent : bool
        The change feed has fallen silent.
    """
    whole = max(WHOLE_MIN * MINUTE_MS // settings.bucket_ms, 1)
    doubt = max(DOUBT_MIN * MINUTE_MS // settings.bucket_ms, 1)
    doubtful, silent, notes = [], [], []
    money = settings.money_clock.metric
    for metric in sorted({*incident.metrics, money} if books.series(money) else incident.metrics):
        sums = books.window(metric, bucket - whole + 1, bucket)
        lately = books.window(metric, bucket - doubt + 1, bucket)
        why = []
        if not sums.buckets:
            why.append(f"{metric}: no bucket is known")
        if sums.missing:
            why.append(f"{metric}: {sums.missing} of the last {sums.buckets} buckets are missing")
        if lately.doubtful and _of_points(settings, metric):
            why.append(f"{metric}: {lately.doubtful:.0f} points came too late or were refused, each of which may stand for any number of events")
        elif lately.doubtful >= max(DOUBT_LEAST, DOUBT_SHARE * (lately.events + lately.doubtful)):
            of = f"{lately.events + lately.doubtful:.0f} events of the last {DOUBT_MIN} min"
            why.append(f"{metric}: {lately.doubtful:.0f} of the {of} came too late or were refused")
        if sums.unsettled:
            why.append(f"{metric}: the partitions of its topics have grown or contradict themselves, so its numbers are not settled")
        doubtful += [metric] * bool(why)
        notes += why
        if metric not in incident.metrics:
            continue
        stillness = _stillness(incident, books, settings, metric, lately=sums)
        silent += [metric] * bool(stillness)
        notes += [f"{metric}: {stillness}"] * bool(stillness)
    # What is the same everywhere is said once.
    for region, stretches in sorted({"": incident.dumb[""]}.items() if "" in incident.dumb else incident.dumb.items()):
        lasted = sum(stop - start for start, stop in stretches) * settings.bucket_ms
        where = f"{region}: no source had an event there" if region else "no source at all had an event"
        notes.append(
            f"{where} for {format_duration(lasted)}: the pipe that brings events is more likely broken than the shop, and what was lost then is not known"
        )
        if stretches[-1][1] > bucket - whole:
            doubtful += [metric for metric in incident.metrics if metric not in doubtful]
    if feed_silent:
        notes.append("changes: the feed is silent, so what changed is unknown")
    return Quality(tuple(doubtful), tuple(silent), tuple(notes))


def _stillness(incident: Incident, books: Books, settings: Settings, metric: str, *, lately: Sums) -> str:
    """How a metric rests on nothing having come, in words; empty: it does not."""
    since = books.since(metric, incident.onset_of(metric))
    if 0 < lately.buckets == lately.silent:
        return f"no event at all in the last {WHOLE_MIN} min"
    # A pipe may break in the middle of a bucket, and an onset is known to a bucket or two: mostly silence is only silence.
    if since.silent > since.buckets // 2:
        return f"{since.silent} of the {since.buckets} buckets since its onset are without any event"
    if incident.is_mute(metric, books.now or 0):
        # Without a figure: what changes with each bucket would be told with each bucket.
        source = settings.metrics[metric].source
        return f"from its onset on not one event of {source} came: either it stopped altogether, or the pipe that brings them broke and nothing was lost"
    return ""


def _of_points(settings: Settings, metric: str) -> bool:
    """Whether a record that a metric is made of may stand for many events."""
    sources = (settings.metrics[metric].source, settings.metrics[metric].against)
    return any(settings.sources[source].points is not None for source in sources if source is not None)
