"""What the README says is what the commands do."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
COMMAND = str(Path(sys.executable).with_name("rollguard"))


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    """What the demo prints at its shipped scale, and the folder in which it keeps what it made."""
    keep = tmp_path_factory.mktemp("demo") / "march"
    done = subprocess.run([COMMAND, "demo", "--keep", str(keep)], capture_output=True, text=True, check=True, cwd=keep.parent)
    assert done.stderr == ""
    return done.stdout, keep


def test_the_readme_shows_what_the_demo_prints(demo: tuple[str, Path]) -> None:
    found = re.search(r"<!-- demo -->\n(.*)<!-- /demo -->", (ROOT / "README.md").read_text(encoding="utf-8"), re.DOTALL)
    assert found is not None
    shown = [line[4:].rstrip() for line in found[1].splitlines() if line.strip() and line.strip() != "..."]
    printed = iter(line.rstrip() for line in demo[0].splitlines())
    assert [line for line in shown if line not in printed] == []
    assert len(shown) > 20


def test_in_the_demo_the_first_page_comes_within_a_minute_and_nearly_all_orders_are_saved(demo: tuple[str, Path]) -> None:
    said = re.search(r"a page (\d+) s after the first wrong promise.*?([\d.]+)\s+%\)", demo[0], re.DOTALL)
    assert said is not None
    assert float(said[1]) <= 60
    assert float(said[2]) >= 95
    incidents = [json.loads(line) for line in (demo[1] / "result" / "incidents.jsonl").read_text().splitlines()]
    assert [incident["suspects"][0]["deploy_id"] for incident in incidents] == ["chg-302"]
    assert sum(decision["action"] == "rollback" for decision in incidents[0]["decisions"]) == 1


def test_the_commands_of_the_readme_exist() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for target in re.findall(r"^    make (\S+)", (ROOT / "README.md").read_text(encoding="utf-8"), re.MULTILINE):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target
