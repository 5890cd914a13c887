"""docs/observe.md says of every metric, route and reason what it is, and of none that is not there."""

from __future__ import annotations

import re
from pathlib import Path

from rollguard.service.blindness import REASONS
from tests.service.registry import whole_registry

TEXT = (Path(__file__).parents[2] / "docs" / "observe.md").read_text(encoding="utf-8")


def test_the_table_of_metrics_is_the_registry() -> None:
    shown = {}
    for family in whole_registry().collect():
        if not family.name.startswith("process_"):
            shown[family.name + ("_total" if family.type == "counter" else "")] = family.type
    rows = dict(re.findall(r"^\| `(rollguard_\w+)` \| (\w+), [^|]+ \|", TEXT, re.MULTILINE))
    assert rows == shown


def test_a_unit_closes_a_metrics_name() -> None:
    for name, unit in re.findall(r"^\| `(rollguard_\w+)` \| \w+, ([^|]+?) \|", TEXT, re.MULTILINE):
        assert ("seconds" in unit) == name.endswith("_seconds"), name


def test_every_reason_for_blindness_is_told() -> None:
    table = TEXT[TEXT.index("| reason | when") :]
    assert sorted(re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE)) == sorted(REASONS)
