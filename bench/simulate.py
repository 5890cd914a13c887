"""How fast cases are made, on one core: python -P bench/simulate.py.

CPU seconds of one process: the plan, the customers, the lines, gzip at level 1, labels. The bar is 200,000 events a second.

    --write    puts the table into docs/quality.md
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from pathlib import Path

sys.path.append(str(Path(__file__).parent.parent))
from bench.simulated import machine, publish
from rollguard.replay import Recipe, case_kinds, simulate_case

KINDS_MEASURED = ("promise_gross", "waves", "decoys", "doubled_events", "quiet")
#: Days and orders a second: a thin case, the default size, a busy shop.
SIZES = ((8, 0.5), (4, 2.0), (1, 20.0))
ROUNDS = 3
BAR = 200_000


def measured(kind: str, days: int, rate: float) -> tuple[int, float, int]:
    """Events of a case, CPU seconds that making it took (the median), and its bytes on the disk."""
    spent, events, size = [], 0, 0
    for _ in range(ROUNDS):
        with tempfile.TemporaryDirectory() as folder:
            recipe = Recipe(kind=kind, seed=1, days=days, rate=rate)
            began = time.process_time()
            events = simulate_case(recipe, Path(folder)).events
            spent.append(time.process_time() - began)
            size = sum(each.stat().st_size for each in (Path(folder) / recipe.name).iterdir())
    return events, statistics.median(spent), size


def main() -> None:
    """Print the table; fail where the bar breaks."""
    lines = [
        machine("python -P bench/simulate.py"),
        "| kind | days | orders/s | events | CPU s | events/s on one core | MB on the disk |",
        "|---|---|---|---|---|---|---|",
    ]
    # The first time pays for imports and memory.
    measured("quiet", 1, 0.5)
    slowest = float("inf")
    for days, rate in SIZES:
        for kind in KINDS_MEASURED:
            events, seconds, size = measured(kind, days, rate)
            slowest = min(slowest, events / seconds)
            lines.append(f"| {kind} | {days} | {rate:g} | {events:,} | {seconds:.2f} | {events / seconds:,.0f} | {size / 1e6:.1f} |")
    lines += ["", f"Slowest: {slowest:,.0f} events/s on one core (bar: {BAR:,}). {len(case_kinds())} kinds in all."]
    publish("bench/simulate.py", "\n".join(lines), page="quality.md")
    sys.exit(0 if slowest >= BAR else 1)


if __name__ == "__main__":
    main()
