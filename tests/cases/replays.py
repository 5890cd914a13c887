"""The shared cases, each replayed once for all who ask."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

__all__ = ["CASES", "NAMES", "Replayed", "replayed_into"]

CASES = Path(__file__).parents[3] / "shared" / "data" / "cases"
NAMES = ("decoys-7", "promise-7", "promo-7", "provider-7", "quiet-7", "region_only-7")


@dataclass(frozen=True)
class Replayed:
    """A case's labelled incidents, and those that were found; and the page of it."""

    name: str
    page: Path
    labelled: list[dict[str, Any]]
    found: list[dict[str, Any]]

    def decisions(self, action: str) -> list[tuple[dict[str, Any], dict[str, Any]]]:
        """Decisions of one kind, each with its incident."""
        return [(incident, decision) for incident in self.found for decision in incident["decisions"] if decision["action"] == action]


def replayed_into(name: str, out: Path) -> Replayed:
    """Replay a case from the command line."""
    command = Path(sys.executable).with_name("rollguard")
    # Not from the root, where `rollguard` is a folder of sources.
    done = subprocess.run([str(command), "replay", str(CASES / name), "--out", str(out)], cwd=out, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    found = [msgspec.json.decode(line) for line in (out / "incidents.jsonl").read_bytes().splitlines()]
    return Replayed(name, out / "report.html", msgspec.json.decode((CASES / name / "labels.json").read_bytes())["incidents"], found)
