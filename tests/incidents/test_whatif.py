"""What would change a verdict, and what never does."""

from __future__ import annotations

from typing import Any

import pytest

from rollguard.detectors import Signal
from rollguard.incidents import ChangeSeen, Entry, IncidentState
from tests.incidents.scenes import HOUR_MS, START_MS, Shop, deploy, everywhere, played, regional, settings_with


def last_of(entries: list[Entry]) -> IncidentState:
    return next(entry.incident for entry in reversed(entries) if entry.incident is not None)


def test_of_a_guilty_change_is_told_what_would_acquit_it_and_each_by_the_probability_it_would_leave() -> None:
    shop = Shop()
    told = last_of(played(shop, [*regional(shop), *deploy()]))
    assert told.verdict == "guilty"
    assert any(sentence.startswith("chg-1 would not be guilty if it had begun to hurt an hour before the change (") for sentence in told.would_change)
    for sentence in told.would_change:
        assert float(sentence.rsplit("(", 1)[1].removesuffix(" %)")) < 80.0


def test_of_a_change_in_doubt_is_told_what_would_convict_it() -> None:
    shop = Shop()
    told = last_of(played(shop, [*regional(shop), *deploy(started=START_MS - 3 * HOUR_MS)]))
    assert told.verdict != "guilty"
    assert any(sentence.startswith("chg-1 would be guilty if it had begun to hurt while the change was being made (") for sentence in told.would_change)


def test_a_dead_change_feed_is_what_stands_in_the_way() -> None:
    shop = Shop(settings=settings_with("changes: {quiet: 1m}"))
    told = last_of(played(shop, [*regional(shop), *deploy()]))
    assert told.verdict == "inconclusive"
    assert told.would_change[0].startswith("a change feed that speaks again would")


def test_without_a_suspect_a_missing_record_is_named() -> None:
    shop = Shop()
    assert last_of(played(shop, regional(shop))).would_change == ("no known change could have done it: a change record that is missing would change this",)


#: One look after the other, and the two extremes.
LOOKS: list[dict[str, Any]] = [
    *({"approvals": approvals} for approvals in (None, 0, 3)),
    *({"ai_assisted": ai} for ai in ("no", "unknown", "advised", "yes")),
    {"author": "a-bot"},
    {"approvals": 0, "ai_assisted": "yes", "author": None},
]


@pytest.mark.parametrize("where", ["one region", "everywhere"])
def test_approvals_authors_and_ai_are_shown_and_never_alter_verdict_or_decision(where: str) -> None:
    outlines, facts = set(), set()
    for looks in LOOKS:
        shop = Shop()
        regions = ["eu-west"] if where == "one region" else ["eu-west", "us-east"]
        signals: list[ChangeSeen | Signal] = regional(shop) if where == "one region" else everywhere(shop)
        entries = played(shop, [*signals, *deploy(regions=regions, **looks), *deploy("chg-2", started=START_MS - HOUR_MS, service="payments")])
        told = last_of(entries)
        facts.add(told.suspects[0].facts)
        outlines.add(
            (
                told.verdict,
                told.no_change_probability,
                tuple((s.deploy_id, s.probability) for s in told.suspects),
                tuple((e.at_ms, e.decision.action, e.decision.target) for e in entries if e.decision is not None),
            )
        )
    assert len(outlines) == 1
    assert len(facts) == 8
