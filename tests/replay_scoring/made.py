"""Labels and results made by hand: what really was, and what might have been found."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from rollguard.replay.scoring import CaseOutcome, Found, Label, Result, Truth, Undo, judge_case

#: 2 March 2026, 09:00 UTC.
NOON = 1_772_442_000_000
MIN = 60_000
DAY = 86_400_000


def label(**over: Any) -> Label:
    """An hour in which a change broke orders in one region."""
    usual: dict[str, Any] = {
        "incident_id": "i1",
        "onset_ms": NOON,
        "end_ms": NOON + 60 * MIN,
        "culprit": "chg-1",
        "metrics": ("orders",),
        "regions": ("eu",),
        "services": ("checkout",),
        "rollback": True,
        "oracle_s": 60.0,
        "lost_orders": 100.0,
    }
    return Label(**(usual | over))


def found(of: Label | None = None, **over: Any) -> Found:
    """That hour, or a given one, as a perfect Rollguard finds it: paged after a minute, blamed, undone, counted."""
    of = of or label()
    page_ms = of.onset_ms + MIN
    usual: dict[str, Any] = {
        "incident_id": f"inc-{of.incident_id}",
        "onset_ms": of.onset_ms,
        "opened_ms": page_ms,
        "closed_ms": of.end_ms + 10 * MIN,
        "paged_ms": page_ms,
        "verdict": "guilty" if of.culprit else "no_change",
        "metrics": of.metrics,
        "regions": of.regions,
        "services": of.services,
        "suspects": ((of.culprit, 1.0),) if of.culprit else (("chg-0", 0.0),),
        "no_change": 0.0 if of.culprit else 1.0,
        "orders_lost": of.lost_orders or 0.0,
        "undone": (Undo(at_ms=page_ms, deploy_id=of.culprit),) if of.rollback and of.culprit else (),
        "saved": of.lost_orders or 0.0,
        "doubts": ("orders: cannot be read",) if of.is_gap else (),
    }
    return Found(**(usual | over))


def judged(labels: list[Label], incidents: list[Found], *, name: str = "shop-1") -> CaseOutcome:
    """What becomes of a case with these."""
    truth = Truth(name=name, kind="shop", seed=None, labels=tuple(labels))
    return judge_case(truth, Result(name=name, watched_ms=30 * DAY, found=tuple(incidents)))


@st.composite
def some_labels(draw: st.DrawFn) -> list[Label]:
    """Up to four incidents of a case, one after the other."""
    labels = []
    for at in range(draw(st.integers(0, 4))):
        culprit = draw(st.sampled_from([None, f"chg-{at}"]))
        onset_ms = NOON + at * 6 * 60 * MIN + draw(st.integers(0, 60)) * MIN
        labels.append(
            label(
                incident_id=f"i{at}",
                onset_ms=onset_ms,
                end_ms=onset_ms + draw(st.integers(5, 120)) * MIN,
                culprit=culprit,
                metrics=tuple(draw(st.lists(st.sampled_from(["orders", "errors", "promised_minutes"]), min_size=1, unique=True))),
                regions=tuple(draw(st.lists(st.sampled_from(["eu", "us", "ap"]), unique=True))),
                rollback=culprit is not None and draw(st.booleans()),
                is_gap=culprit is None and draw(st.booleans()),
                oracle_s=draw(st.one_of(st.none(), st.floats(30, 1800))),
                # In tenths, as a bill is told.
                lost_orders=draw(st.one_of(st.none(), st.integers(10, 10_000_000).map(lambda tenths: tenths / 10))),
            )
        )
    return labels
