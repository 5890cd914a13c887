"""`replay --all`, `score`, `compare`: the whole way over a small shop, and what is said of mistakes."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from rollguard.config import rfc3339
from rollguard.replay import Switches, Work, case_folders, replay_all
from tests.cli.terminal import Said, said
from tests.properties import shop as shops

SHOP = shops.a_shop()
QUIET = shops.a_shop(hours=0.5)
LABELS: dict[str, Any] = {
    "kind": "promise",
    "seed": 1,
    "incidents": [
        {
            "id": "i1",
            "onset": rfc3339(SHOP.onset_ms),
            "end": rfc3339(SHOP.onset_ms + 12 * shops.MINUTE_MS),
            "culprit": shops.CULPRIT,
            "metrics": ["orders", "errors"],
            "regions": [shops.HURT],
            "services": ["delivery-promise"],
            "page": True,
            "rollback": True,
            "oracle_s": 60.0,
        }
    ],
}


class Shell:
    """The command line, in a folder of its own."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], root: Path) -> None:
        self.monkeypatch, self.capsys = monkeypatch, capsys
        self.cases, self.results = root / "cases", root / "results"

    def __call__(self, *words: object) -> Said:
        return said(self.monkeypatch, self.capsys, *words)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two cases with labels, one of them without an incident, and their results."""
    root = tmp_path_factory.mktemp("scored")
    hours = {"promise-1": SHOP, "quiet-1": QUIET}
    for name, shop in hours.items():
        shops.write(root / "cases" / name, shop, end_ms=shop.end_ms)
    (root / "cases" / "promise-1" / "labels.json").write_text(json.dumps(LABELS, indent=1))
    (root / "cases" / "quiet-1" / "labels.json").write_text('{"incidents": [], "lost_orders": 0.0}')
    works = [Work(folder, root / "results" / folder.name, (), Switches()) for folder in case_folders(root / "cases")]
    assert [done.state for done in replay_all(works, 2)] == ["replayed", "replayed"]
    return root


@pytest.fixture
def shell(made: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Shell:
    shutil.copytree(made, tmp_path / "here")
    return Shell(monkeypatch, capsys, tmp_path / "here")


def test_all_cases_are_replayed_and_kept_the_next_time(shell: Shell) -> None:
    done = shell("replay", "--all", shell.cases, "--out", shell.results, "--json")
    found = json.loads(done.out)
    assert (done.code, found["broken"], [each["state"] for each in found["cases"]]) == (0, 0, ["kept", "kept"])
    table = shell("replay", "--all", shell.cases, "--out", shell.results)
    assert "2 cases: 2 kept." in table.out
    assert f"rollguard score {shell.cases} {shell.results}" in table.out


def test_a_broken_case_is_told_beside_the_others_and_ends_with_one(shell: Shell) -> None:
    (shell.cases / "broken-1").mkdir()
    done = shell("replay", "--all", shell.cases, "--out", shell.results)
    assert done.code == 1
    assert "3 cases: 2 kept, 1 broken." in done.out
    assert "broken-1: not replayed: " in done.err
    assert "no event file" in done.err


def test_the_score_of_a_shop_says_what_was_found(shell: Shell) -> None:
    done = shell("score", shell.cases, shell.results, "--json")
    score = json.loads(done.out)
    [whole, *halves] = score["parts"]
    figures = {each["name"]: each for each in whole["measures"]}
    assert (done.code, whole["cases"], [half["name"] for half in halves]) == (0, 2, ["seen", "unseen"])
    assert (figures["recall"]["value"], figures["precision"]["value"], figures["top1"]["value"]) == (1.0, 1.0, 1.0)
    assert 0 < figures["delay"]["value"] < 600
    assert figures["delay_oracle"]["value"] == pytest.approx(figures["delay"]["value"] / 60)
    assert [kind["name"] for kind in score["kinds"]] == ["promise", "quiet"]


def test_the_score_is_told_in_a_terminal_and_in_markdown(shell: Shell, tmp_path: Path) -> None:
    file = tmp_path / "quality.md"
    done = shell("score", shell.cases, shell.results, "--markdown", file, "--bars")
    assert "2 cases are few" in done.out
    for text in (done.out, file.read_text()):
        assert "page recall" in text
        assert "false blame where none is guilty" in text
    assert f"`rollguard score {shell.cases} {shell.results} --bars --markdown {file}`" in file.read_text()


def test_bars_stand_in_the_json_where_they_were_asked_for(shell: Shell) -> None:
    asked, plain = (json.loads(shell("score", shell.cases, shell.results, *more, "--json").out) for more in (["--bars"], []))
    assert plain["bars"] == []
    assert {(each["measured"]["name"], each["bar"]) for each in asked["bars"]} >= {("recall", ">= 0.97"), ("wrong_rollbacks", "<= 0")}
    assert {each["state"] for each in asked["bars"]} <= {"held", "broken", "not judged"}


def test_a_copied_case_does_not_count_twice(shell: Shell) -> None:
    shutil.copytree(shell.cases / "quiet-1", shell.cases / "quiet-2")
    shutil.copytree(shell.results / "quiet-1", shell.results / "quiet-2")
    done = shell("score", shell.cases, shell.results)
    assert done.code == 2
    assert f"{shell.cases / 'quiet-2'}: a copy of {shell.cases / 'quiet-1'}" in done.err


def test_a_bar_that_breaks_ends_with_one_and_says_which(shell: Shell) -> None:
    labels = json.loads(json.dumps(LABELS))
    labels["incidents"][0] |= {"onset": "2020-01-01T00:00:00Z", "end": "2020-01-01T01:00:00Z"}
    (shell.cases / "promise-1" / "labels.json").write_text(json.dumps(labels))
    half = next(each["split"] for each in json.loads(shell("score", shell.cases, shell.results, "--json").out)["cases"] if each["name"] == "promise-1")
    done = shell("score", shell.cases, shell.results, "--bars", "--split", half)
    assert done.code == 1
    assert "bar broken: page recall: 0.0 %" in done.err
    assert "bar broken: wrong rollbacks: 1" in done.err
    assert "missed i1" in done.out
    assert "wrong rollback: chg-7" in done.out
    other = "seen" if half == "unseen" else "unseen"
    assert "bar broken: page recall" not in shell("score", shell.cases, shell.results, "--bars", "--split", other).err


def test_two_scores_are_compared_as_files_and_as_folders(shell: Shell, tmp_path: Path) -> None:
    old, new = tmp_path / "old.json", tmp_path / "new.json"
    new.write_text(shell("score", shell.cases, shell.results, "--json").out)
    (shell.results / "promise-1" / "incidents.jsonl").write_bytes(b"")
    summary = shell.results / "promise-1" / "summary.json"
    summary.write_text(json.dumps(json.loads(summary.read_text()) | {"incidents": 0}))
    old.write_text(shell("score", shell.cases, shell.results, "--json").out)
    done = shell("compare", old, new)
    assert done.code == 0
    assert done.out.startswith("old → new, 2 cases: ")
    assert "- **promise-1**: i1: missed → paged" in done.out
    assert shell("compare", shell.results, new, "--cases", shell.cases).out.count("i1: missed → paged") == 1
    assert "Nothing." in shell("compare", new, new).out
    assert (shell("compare", old, new, "--out", tmp_path / "pr.md").code, (tmp_path / "pr.md").read_text()) == (0, done.out)


def test_a_result_that_is_missing_is_named_with_what_makes_it(shell: Shell) -> None:
    shutil.rmtree(shell.results / "quiet-1")
    (shell.results / "promise-1" / "summary.json").write_text('{"incid')
    done = shell("score", shell.cases, shell.results)
    assert done.code == 2
    assert "no whole result of promise-1, quiet-1" in done.err
    assert f"rollguard replay --all {shell.cases} --out {shell.results}" in done.err


def test_a_broken_result_is_told_with_its_line(shell: Shell) -> None:
    file = shell.results / "promise-1" / "incidents.jsonl"
    file.write_bytes(file.read_bytes() + b'{"incident_id": "x"}\n')
    done = shell("score", shell.cases, shell.results)
    assert (done.code, f"{file}:2: no 'decisions'" in done.err) == (2, True)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        pytest.param({"incidents": 7}, "incidents.jsonl: 1 incidents, and summary.json tells of 7", id="lines are lost"),
        pytest.param({"end": "soon"}, "summary.json: ", id="no time"),
    ],
)
def test_a_result_that_contradicts_itself_is_not_scored(shell: Shell, change: dict[str, object], expected: str) -> None:
    file = shell.results / "promise-1" / "summary.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | change))
    done = shell("score", shell.cases, shell.results)
    assert (done.code, expected in done.err, done.err.count("\n")) == (2, True, 1), done.err


def test_scores_without_a_common_case_are_not_compared(shell: Shell, tmp_path: Path) -> None:
    one, other = tmp_path / "one.json", tmp_path / "other.json"
    for file, gone in ((one, "quiet-1"), (other, "promise-1")):
        shutil.copytree(shell.cases, tmp_path / file.stem)
        shutil.rmtree(tmp_path / file.stem / gone)
        file.write_text(shell("score", tmp_path / file.stem, shell.results, "--json").out)
    done = shell("compare", one, other)
    assert (done.code, "no case in common" in done.err) == (2, True)


def test_persons_are_refused_in_cases_whose_services_have_a_mode_of_their_own(shell: Shell, tmp_path: Path) -> None:
    mine = tmp_path / "mine.yaml"
    mine.write_text("services: {checkout: {mode: auto}}\n")
    done = shell("replay", "--all", shell.cases, "--out", tmp_path / "out", "--approve-after", "5m", "--config", mine)
    assert (done.code, "gives checkout a mode of their own" in done.err) == (2, True), done.err


def test_broken_labels_are_told_with_their_line(shell: Shell) -> None:
    file = shell.cases / "promise-1" / "labels.json"
    file.write_text(file.read_text().replace('"page": true', '"page": "oh"'))
    done = shell("score", shell.cases, shell.results)
    line = 1 + file.read_text().split('"page"')[0].count("\n")
    assert done.code == 2
    assert done.err.startswith(f"{file}:{line}: ")
    file.unlink()
    assert "no labels" in shell("score", shell.cases, shell.results).err


def test_mistakes_in_words_are_said_in_one_line(shell: Shell, tmp_path: Path) -> None:
    (tmp_path / "nothing").mkdir()
    (tmp_path / "file.json").write_text("{}")
    case = shell.cases / "promise-1"
    for words, expected in (
        (("score", tmp_path / "nothing", shell.results), "no case in it"),
        (("score", tmp_path / "nowhere", shell.results), "no such folder"),
        (("score", case, shell.results), "this is a case itself"),
        (("compare", shell.results, shell.results), "--cases"),
        (("compare", tmp_path / "nowhere.json", tmp_path / "file.json"), "no such file"),
        (("compare", tmp_path / "file.json", tmp_path / "file.json"), "file.json: "),
        (("replay", "--all", shell.cases), "--out"),
        (("replay", case, "--all", shell.cases), "one of them"),
        (("replay", case, "--jobs", "2"), "--all"),
        (("replay", "--all", tmp_path / "nothing", "--out", tmp_path / "out"), "no case in it"),
        (("replay", case, "--approve-after", "soon"), "--approve-after soon"),
        (("replay", case, "--approve-after", "5m", "--mode", "advise"), "in mode advise"),
        (("replay", case, "--budget", "none"), "--budget none"),
        (("replay", case, "--budget", "0"), "--budget 0"),
        (("replay", case, "--budget", "1/0s"), "--budget 1/0s"),
        (("replay", "--from", "2026-03-02T00:00Z", "--staged-regions"), "--from"),
    ):
        done = shell(*words)
        assert (done.code, done.out) == (2, ""), words
        assert expected in done.err, words
        assert done.err.count("\n") == 1, words


def test_what_if_is_told_in_the_terminal_and_in_the_summary(shell: Shell) -> None:
    case = shell.cases / "promise-1"
    words = ("--approve-after", "2m", "--staged-regions", "--require-approvals", "2", "--budget", "1/7d")
    told = shell("replay", case, *words)
    assert told.code == 0
    for expected in (
        "What would have been different",
        "persons approve 2m after the page and a budget of 1 in 7d instead of 1 in 30d",
        "in waves",
        "at the gate",
    ):
        assert expected in " ".join(told.out.split()), expected
    found = json.loads(shell("replay", case, *words, "--json").out)["summary"]["otherwise"]
    assert [each["switch"] for each in found] == ["decided_anew", "staged_regions", "require_approvals"]
