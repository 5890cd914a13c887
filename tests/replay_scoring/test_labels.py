from __future__ import annotations

import json
import math
from typing import Any

import pytest

from rollguard.replay.scoring import LabelsError, truth_of
from tests.replay_scoring.made import NOON


def labels(**over: Any) -> bytes:
    incident = {"id": "i1", "onset": "2026-03-02T09:00:00Z", "end": "2026-03-02T10:00:00Z", "culprit": None, "page": True, "rollback": False} | over
    return json.dumps({"incidents": [incident], "lost_orders": 12.5}, indent=1).encode()


def test_labels_of_a_single_incident_have_what_the_case_lost() -> None:
    truth = truth_of("region_only-7", labels())
    assert (truth.kind, truth.labels[0].onset_ms, truth.labels[0].lost_orders) == ("region_only", NOON, 12.5)


def test_what_an_incident_says_of_itself_goes_first() -> None:
    extra = {"lost_orders": 3.0, "oracle_s": None, "data": True, "carriers": ["chg-2"], "culprit": "chg-1"}
    [one] = truth_of("x", json.dumps(json.loads(labels(**extra)) | {"kind": "gap", "seed": 3}).encode()).labels
    assert (one.lost_orders, one.is_gap, one.causes) == (3.0, True, frozenset({"chg-1", "chg-2"}))


def test_an_oracle_that_is_never_sure_is_not_one_that_nobody_asked() -> None:
    plain = json.loads(labels())
    plain["incidents"][0].pop("oracle_s", None)
    assert truth_of("x", json.dumps(plain).encode()).labels[0].oracle_s is None
    assert truth_of("x", labels(oracle_s=None)).labels[0].oracle_s == math.inf


@pytest.mark.parametrize(
    ("data", "line", "said"),
    [
        (labels().replace(b'"page": true', b'"page": yes'), 8, "invalid"),
        (labels(page="yes"), 8, "true or false"),
        (labels(onset="yesterday"), 5, "is no time"),
        (labels(onset="2026-03-02T09:00:00"), 5, "is no time"),
        (labels(end="2026-03-02T08:00:00Z"), 6, "before `onset`"),
        (b'{"incidents":\n[{"id": "i1"}]}', 2, "missing required field `onset`"),
        (b"", 1, "truncated"),
        (labels(lost_orders=-3.0), 10, "-3 orders were lost"),
        (labels().replace(b"12.5", b"-12.5"), 12, "-12.5 orders were lost"),
        (labels(oracle_s=-1), 10, "an oracle needs -1 s"),
        (labels(rollback=True), 9, "nothing to roll back"),
        (labels(carriers=["chg-2"]), 10, "no culprit set off"),
    ],
)
def test_broken_labels_are_told_with_their_line(data: bytes, line: int, said: str) -> None:
    with pytest.raises(LabelsError) as told:
        truth_of("x", data, file="x/labels.json")
    assert str(told.value).startswith(f"x/labels.json:{line}: ")
    assert said in str(told.value)


def test_two_incidents_of_one_name_are_a_mistake() -> None:
    both = json.loads(labels())
    both["incidents"] *= 2
    with pytest.raises(LabelsError, match="stands there twice"):
        truth_of("x", json.dumps(both).encode())
