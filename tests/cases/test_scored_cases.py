"""Two past incidents from the command line: replayed all at once, and scored against what really happened."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

CASES = Path(__file__).parents[3] / "shared" / "data" / "cases"
NAMES = ("quiet-7", "region_only-7")

pytestmark = pytest.mark.skipif(not CASES.is_dir(), reason="the shared cases are not here: ../shared/data/cases")


def rollguard(cwd: Path, *words: str) -> str:
    # Not from the root, where `rollguard` is a folder of sources.
    done = subprocess.run([str(Path(sys.executable).with_name("rollguard")), *words], cwd=cwd, check=False, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


@pytest.fixture(scope="module")
def score(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    root = tmp_path_factory.mktemp("scored")
    (root / "cases").mkdir()
    for name in NAMES:
        (root / "cases" / name).symlink_to(CASES / name, target_is_directory=True)
    rollguard(root, "replay", "--all", "cases", "--out", "results", "--jobs", "2")
    scored: dict[str, Any] = json.loads(rollguard(root, "score", "cases", "results", "--json"))
    return scored


def test_a_quiet_case_has_no_page_and_a_region_that_was_hurt_has_one(score: dict[str, Any]) -> None:
    quiet, region = score["cases"]
    assert (quiet["right_pages"], quiet["false_pages"], quiet["remarks"]) == (0, [], [])
    assert (region["right_pages"], region["false_pages"], region["wrong_rollbacks"]) == (1, [], [])


def test_the_culprit_of_the_region_comes_first_and_its_bill_is_near(score: dict[str, Any]) -> None:
    [label] = score["cases"][1]["labels"]
    assert (label["rank"], label["rolled_back"], label["lost"]) == (1, True, 367.7)
    figures = {each["name"]: each["value"] for each in score["parts"][0]["measures"]}
    assert figures["recall"] == figures["precision"] == figures["top1"] == 1.0
    assert figures["bill_size"] < 0.5
