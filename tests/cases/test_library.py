"""A small part of the library of cases, made, replayed and scored by the command line: the bars hold. `bench/quality.py` does it over the whole."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

#: Kind and seed, of the unseen half; of each what its page shows how to do: find, blame, undo, leave alone, and doubt the data.
RECIPES = (("operator_config", 4), ("waves", 5), ("provider", 4), ("conversion_drop", 2), ("error_burst", 2), ("quiet", 2))


def rollguard(cwd: Path, *words: str) -> subprocess.CompletedProcess[str]:
    # Not from the root, where `rollguard` is a folder of sources.
    return subprocess.run([str(Path(sys.executable).with_name("rollguard")), *words], cwd=cwd, check=False, capture_output=True, text=True)


def test_the_bars_hold_on_a_part_of_the_library(tmp_path: Path) -> None:
    for kind, seed in RECIPES:
        assert rollguard(tmp_path, "simulate", "--kind", kind, "--seed", str(seed), "--out", "cases").returncode == 0
    done = rollguard(tmp_path, "replay", "--all", "cases", "--out", "results", "--jobs", "2")
    assert done.returncode == 0, done.stderr
    scored = rollguard(tmp_path, "score", "cases", "results", "--bars")
    assert "unseen (0)" not in scored.stdout, "none of these is of the unseen half: --bars holds nothing against anything"
    if scored.returncode != 0:
        pytest.fail(f"a bar is broken:\n{scored.stdout}\n{scored.stderr}")
