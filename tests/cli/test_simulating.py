"""`rollguard simulate`, as one types it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from rollguard.replay import case_kinds
from tests.cli.terminal import Said, said

ROOT = Path(__file__).resolve().parent.parent.parent
KINDS = case_kinds()
SMALL = ("--days", "1", "--rate", "0.05")

Rollguard = Callable[..., Said]


@pytest.fixture
def rollguard(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Rollguard:
    return partial(said, monkeypatch, capsys)


def test_the_kinds_that_it_lists_stand_in_the_docs(rollguard: Rollguard) -> None:
    told = rollguard("simulate", "--list")
    assert told.code == 0
    page = (ROOT / "docs" / "quality.md").read_text(encoding="utf-8")
    assert f"<!-- rollguard simulate --list -->\n\n{told.out}\n<!-- end -->" in page
    assert all(f"| {name} " in told.out for name in KINDS)


def test_the_number_of_kinds_that_the_readme_tells_is_so() -> None:
    assert f"of {len(KINDS)} kinds" in (ROOT / "README.md").read_text(encoding="utf-8")


def test_machines_get_the_kinds_as_json(rollguard: Rollguard) -> None:
    assert [row["kind"] for row in json.loads(rollguard("simulate", "--list", "--json").out)] == list(KINDS)


def test_each_case_gets_a_folder_named_after_kind_and_seed(rollguard: Rollguard, tmp_path: Path) -> None:
    told = rollguard("simulate", "-k", "quiet", "-k", "sale", "--seeds", "1-2,7", "--seed", "4", *SMALL, "--out", tmp_path / "cases")
    assert told.code == 0, told.err
    assert sorted(each.name for each in (tmp_path / "cases").iterdir()) == [f"{kind}-{seed}" for kind in ("quiet", "sale") for seed in (1, 2, 4, 7)]
    assert told.out.startswith(f"{tmp_path / 'cases'}: 8 cases, ")
    assert f"Next: rollguard replay {tmp_path / 'cases' / 'quiet-1'}" in told.out


def test_jobs_change_nothing_in_the_cases(rollguard: Rollguard, tmp_path: Path) -> None:
    for jobs in (1, 3):
        told = rollguard("simulate", "-k", "waves", "-k", "provider", "--seeds", "1-2", *SMALL, "--jobs", jobs, "--out", tmp_path / str(jobs), "--json")
        assert told.code == 0, told.err
        assert [row["case"] for row in json.loads(told.out)] == [
            str(tmp_path / str(jobs) / name) for name in ("waves-1", "waves-2", "provider-1", "provider-2")
        ]
    alone = sorted(each.relative_to(tmp_path / "1") for each in (tmp_path / "1").rglob("*") if each.is_file())
    assert len(alone) == 24
    for name in alone:
        assert (tmp_path / "1" / name).read_bytes() == (tmp_path / "3" / name).read_bytes()


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("-k", "promise_gros"), "--kind promise_gros: no such kind. Expected one of: promise_gross, "),
        (("-k", "promise_gros"), "Did you mean 'promise_gross'?"),
        ((), "--kind: not given. Expected: one of --list, or `all`."),
        (("-k", "quiet", "--seeds", "9-3"), "--seeds 9-3: '9-3' ends before it begins; expected: numbers and ranges, as 1-10 or 1-5,8. Did you mean 3-9?"),
        (("-k", "quiet", "--seeds", "1-x"), "--seeds 1-x: '1-x' is no range of seeds"),
        (("-k", "quiet", "--seeds", "1,"), "'nothing' is no range of seeds"),
        (("-k", "quiet", "--seeds", "-3"), "--seeds -3: '-3' is no range of seeds"),
        (("-k", "quiet", "--seeds", "1-999999"), "999,999 seeds; at most 10,000 at once."),
        (("-k", "quiet", "--rate", "0"), "--rate 0: expected orders a second, from 0.001 to 1000."),
        (("-k", "quiet", "--rate", "nan"), "--rate nan: expected orders a second"),
        (("-k", "quiet", "--days", "0"), "--days"),
        (("-k", "quiet", "--days", "100", "--rate", "50"), "--days 100 --rate 50: about 432,000,000 orders in a case; at most 20,000,000"),
    ],
)
def test_what_is_typed_wrong_is_said_and_nothing_is_made(rollguard: Rollguard, tmp_path: Path, words: tuple[str, ...], expected: str) -> None:
    told = rollguard("simulate", *words, "--out", tmp_path / "cases")
    assert told.code == 2
    assert expected in told.err
    assert not (tmp_path / "cases").exists()


def test_an_interrupt_leaves_whole_cases_alone(tmp_path: Path) -> None:
    """Ctrl-C in a terminal reaches every process: what was begun is finished or taken away, and no process complains."""
    words = (str(Path(sys.executable).with_name("rollguard")), "simulate", "-k", "quiet", "--seeds", "1-3000", *SMALL, "--jobs", "2", "--out", str(tmp_path))
    running = subprocess.Popen(words, stderr=subprocess.PIPE, start_new_session=True, text=True)
    until = time.monotonic() + 120.0
    while not (tmp_path / "quiet-1").exists() and time.monotonic() < until:
        time.sleep(0.05)
    os.killpg(running.pid, signal.SIGINT)
    _, complaint = running.communicate()
    assert running.returncode not in {0, 1}
    assert "Traceback" not in complaint
    names = [each.name for each in tmp_path.iterdir()]
    assert 0 < len(names) < 3000
    assert not [name for name in names if name.startswith(".")]
    assert all((tmp_path / name / "case.yaml").exists() for name in names)


def test_without_a_folder_it_asks_for_one(rollguard: Rollguard) -> None:
    told = rollguard("simulate", "-k", "quiet")
    assert (told.code, told.err.strip()) == (2, "--out: not given. Expected: the folder in which the cases are to be made, as --out cases.")


def test_a_case_that_is_there_stops_it_before_anything_is_made(rollguard: Rollguard, tmp_path: Path) -> None:
    (tmp_path / "quiet-2").mkdir()
    told = rollguard("simulate", "-k", "quiet", "--seeds", "1-3", *SMALL, "--out", tmp_path)
    assert told.code == 2
    assert f"{tmp_path / 'quiet-2'}: is there already. Nothing was made" in told.err
    assert [each.name for each in tmp_path.iterdir()] == ["quiet-2"]


def test_a_file_where_the_folder_should_be_is_said(rollguard: Rollguard, tmp_path: Path) -> None:
    (tmp_path / "cases").write_text("", encoding="utf-8")
    told = rollguard("simulate", "-k", "quiet", *SMALL, "--out", tmp_path / "cases")
    assert told.code == 1
    assert "it is a file" in told.err
