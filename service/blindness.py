"""Whether Rollguard itself is blind, and why: a judgement of what a look at database, brokers and outbox found. No clock, no IO."""

from __future__ import annotations

from typing import Literal, get_args

import msgspec

from rollguard.config import Settings, format_duration, rfc3339

__all__ = ["REASONS", "Blindness", "Reason", "Seen", "blindness_of", "seeing"]

Reason = Literal["brokers", "changes", "database", "frontier", "outbox"]
REASONS: tuple[Reason, ...] = get_args(Reason)


class Seen(msgspec.Struct, frozen=True, kw_only=True):
    """What is known at a moment. Times are epoch ms by the clock on the wall.

    Attributes
    ----------
    now_ms : int
    began_ms : int
        When somebody began to look: nothing has been missing for longer than that.
    database_since_ms, brokers_since_ms : int or None
        Since when they have not answered; None: they do.
    database_problem, brokers_problem : str
        What they said, or why they say nothing.
    frontier_ms : int or None
        How far event time has come; None: nothing ever closed.
    moved_ms : int or None
        When the frontier last moved.
    changed_ms : int or None
        When the change feed last brought something.
    waiting_ms : int or None
        Since when the oldest page has waited to be delivered; None: none does.
    waiting_for : tuple of str
        Pagers that pages wait for.
    """

    now_ms: int
    began_ms: int
    database_since_ms: int | None = None
    brokers_since_ms: int | None = None
    database_problem: str = ""
    brokers_problem: str = ""
    frontier_ms: int | None = None
    moved_ms: int | None = None
    changed_ms: int | None = None
    waiting_ms: int | None = None
    waiting_for: tuple[str, ...] = ()


class Blindness(msgspec.Struct, frozen=True, kw_only=True):
    """One reason for which Rollguard is blind.

    Attributes
    ----------
    since_ms : int
    title : str
    lines : tuple of str
        What it means, and what to do.
    """

    since_ms: int
    title: str
    lines: tuple[str, ...]


def blindness_of(seen: Seen, settings: Settings) -> dict[Reason, Blindness | None]:
    """Judge each reason.

    Parameters
    ----------
    seen : Seen
    settings : Settings

    Returns
    -------
    dict
        None: it is not blind for this reason, or not for long enough; see `seeing`. A reason that cannot be judged now is left out: without the
        database nobody knows of frontiers and outbox.
    """
    blind, now_ms = settings.blind, seen.now_ms
    found: dict[Reason, Blindness | None] = {
        "database": _lasting(seen.database_since_ms, now_ms, blind.database_ms, _database(seen)),
        "brokers": _lasting(seen.brokers_since_ms, now_ms, blind.brokers_ms, _brokers(seen)),
    }
    if seen.database_since_ms is not None:
        return found
    moved_ms = max(seen.moved_ms or 0, seen.began_ms)
    # A bucket that has just begun closes no sooner than after its own length.
    limit_ms = None if blind.frontier_ms is None else blind.frontier_ms + settings.bucket_ms
    found["frontier"] = _lasting(moved_ms, now_ms, limit_ms, _frontier(seen))
    changed_ms = seen.began_ms if seen.changed_ms is None else seen.changed_ms
    found["changes"] = _lasting(changed_ms, now_ms, settings.changes.quiet_ms, _changes(settings))
    found["outbox"] = _lasting(seen.waiting_ms, now_ms, blind.outbox_ms, _outbox(seen))
    return found


def seeing(seen: Seen, settings: Settings) -> frozenset[Reason]:
    """Say in which regard all is surely well: who has just started, and has not been blind for long, must not tell that it is over."""
    found: set[Reason] = set()
    if seen.brokers_since_ms is None:
        found.add("brokers")
    if seen.database_since_ms is not None:
        return frozenset(found)
    found.add("database")
    limit_ms = None if settings.blind.frontier_ms is None else settings.blind.frontier_ms + settings.bucket_ms
    if _within(seen.moved_ms, seen.now_ms, limit_ms):
        found.add("frontier")
    if _within(seen.changed_ms, seen.now_ms, settings.changes.quiet_ms):
        found.add("changes")
    if seen.waiting_ms is None or _within(seen.waiting_ms, seen.now_ms, settings.blind.outbox_ms):
        found.add("outbox")
    return frozenset(found)


def _within(at_ms: int | None, now_ms: int, limit_ms: int | None) -> bool:
    return limit_ms is None or (at_ms is not None and now_ms - at_ms < limit_ms)


Text = tuple[str, tuple[str, ...]]


def _lasting(since_ms: int | None, now_ms: int, limit_ms: int | None, text: Text) -> Blindness | None:
    if since_ms is None or limit_ms is None or now_ms - since_ms < limit_ms:
        return None
    title, lines = text
    return Blindness(since_ms=since_ms, title=f"Rollguard is blind: {title}", lines=(f"since {rfc3339(since_ms)}", *lines))


def _database(seen: Seen) -> Text:
    return "its database is away", (
        seen.database_problem,
        "no incident is opened, no page carried from the outbox and nothing rolled back until it is there again; nothing is lost, everything waits",
    )


def _brokers(seen: Seen) -> Text:
    return "no broker answers", (
        seen.brokers_problem,
        "no event is read, so no incident is found until one answers; then everything is read from where it stood",
    )


def _frontier(seen: Seen) -> Text:
    stands = "no bucket has ever closed" if seen.frontier_ms is None else f"event time stands still at {rfc3339(seen.frontier_ms)}"
    return "no bucket closes", (
        f"{stands}: what customers feel since then is unknown, not well",
        "look which stage stands still: /readyz and rollguard_frontier_timestamp_seconds of each worker, and its log",
    )


def _changes(settings: Settings) -> Text:
    quiet = format_duration(settings.changes.quiet_ms or 0)
    return "the change feed is silent", (
        f"nothing on the topic {settings.changes.topic} for longer than changes.quiet ({quiet})",
        "incidents are still found, but a change that caused one is not known, so verdicts are inconclusive and nothing is rolled back",
        "look at what writes changes to that topic; if it may be quiet for so long, raise changes.quiet",
    )


def _outbox(seen: Seen) -> Text:
    whom = ", ".join(seen.waiting_for) or "nobody knows which"
    return "pages are not delivered", (
        f"pages wait for: {whom}; told here, past the outbox, in case that pager is what is broken",
        "look at the incidents that wait: rollguard incidents -c FILE; and at the pager: rollguard page --test -c FILE",
    )
