"""How good Rollguard is, over its library of cases: python -P bench/quality.py [--seeds 1-8] [--jobs 2] [--into FOLDER] [--again].

Makes every kind of case with every seed, replays them all, scores them, and writes the tables into docs/quality.md. The three commands of `rollguard` that do
it are printed as they run. About fifty seconds a case on one core; what is done already is kept.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
DOC = ROOT / "docs" / "quality.md"
BEGIN, END = "<!-- bench/quality.py -->", "<!-- end -->"
COMMAND = str(Path(sys.executable).with_name("rollguard"))


def main() -> None:
    """Make, replay, score, and write the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", default="1-8")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--into", type=Path, default=ROOT / "build" / "library")
    parser.add_argument("--again", action="store_true", help="replay what is done already, too: do so when the code has changed")
    asked = parser.parse_args()
    cases, results, table = asked.into / "cases", asked.into / "results", asked.into / "quality.md"
    if not cases.is_dir():
        run("simulate", "--kind", "all", "--seeds", asked.seeds, "--jobs", str(asked.jobs), "--out", str(cases))
    run("replay", "--all", str(cases), "--out", str(results), "--jobs", str(asked.jobs), *(["--again"] if asked.again else []))
    run("score", str(cases), str(results), "--markdown", str(table))
    write(table.read_text(encoding="utf-8"), asked.seeds)


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
