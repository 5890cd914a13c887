"""How good Rollguard is, over its library of cases: python -P bench/quality.py [--seeds 1-8] [--jobs 2] [--into FOLDER].

Makes every kind of case with every seed, replays them all, scores them, and writes the tables into docs/quality.md. The three commands of `rollguard` that do
it are printed as they run. Half a minute or more a case on one core; what is done already is kept, unless other seeds are asked for or the code has changed.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
from collections.abc import Iterable
from hashlib import blake2b
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
DOC = ROOT / "docs" / "quality.md"
BEGIN, END = "<!-- bench/quality.py -->", "<!-- end -->"
#: What a replay is made of.
REPLAYING = ("config", "streams", "detectors", "incidents", "replay")
COMMAND = str(Path(sys.executable).with_name("rollguard"))


def main() -> None:
    """Make, replay, score, and write the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", default="1-8")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--into", type=Path, default=ROOT / "build" / "library")
    asked = parser.parse_args()
    cases, results, table = asked.into / "cases", asked.into / "results", asked.into / "quality.md"
    made = Made(asked.into / "made.txt", asked.seeds)
    if not made.cases:
        shutil.rmtree(cases, ignore_errors=True)
        run("simulate", "--kind", "all", "--seeds", asked.seeds, "--jobs", str(asked.jobs), "--out", str(cases))
    if not (made.cases and made.results):
        shutil.rmtree(results, ignore_errors=True)
    made.note()
    run("replay", "--all", str(cases), "--out", str(results), "--jobs", str(asked.jobs))
    run("score", str(cases), str(results), "--markdown", str(table))
    write(table.read_text(encoding="utf-8"), asked.seeds)


class Made:
    """What a folder was made by: the seeds of its cases and the code that made them, and the code that replays them."""

    def __init__(self, path: Path, seeds: str) -> None:
        simulation = ROOT / "replay" / "simulation"
        replaying = [each for room in REPLAYING for each in (ROOT / room).rglob("*") if each.parent.name != simulation.name]
        self.path, self.lines = path, [f"seeds {seeds}, made by {digest_of(simulation.rglob('*'))}", f"replayed by {digest_of(replaying)}"]
        before = path.read_text(encoding="utf-8").splitlines() if path.is_file() else ["", ""]
        self.cases, self.results = before[0] == self.lines[0], before[1:] == self.lines[1:]

    def note(self) -> None:
        """Say what it is made by from now on."""
        self.path.write_text("\n".join(self.lines) + "\n", encoding="utf-8")


def digest_of(sources: Iterable[Path]) -> str:
    """Hash of some code."""
    digest = blake2b(digest_size=16)
    for source in sorted(each for each in sources if each.suffix in {".py", ".yaml"}):
        digest.update(source.read_bytes())
    return digest.hexdigest()


def run(*words: str) -> None:
    """One of our own commands, told as it runs."""
    print("+ rollguard", *words, flush=True)
    subprocess.run([COMMAND, *words], check=True)  # noqa: S603 - ourselves


def write(text: str, seeds: str) -> None:
    """Put the tables into their page, below the command that made them."""
    _, _, body = text.partition("\n\n")
    _, _, body = body.partition(": ")
    made = f"`python -P bench/quality.py --seeds {seeds}`: {body}".replace("\n## ", "\n### ")
    before, _, rest = DOC.read_text(encoding="utf-8").partition(BEGIN)
    DOC.write_text(f"{before}{BEGIN}\n\n{made.strip()}\n\n{rest[rest.index(END) :]}", encoding="utf-8")


if __name__ == "__main__":
    main()
