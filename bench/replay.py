"""A replay against a loop that one would write by hand: python -P bench/replay.py [--pairs N] [--small] [--only WORD] [--stages].

With --stages it tells instead what part of a replay's seconds each stage takes, and how near to the loop a replay would be if the arithmetic of detectors and
trials took no time at all, which is more than any compiled core could give.
The loop reads the same files, decodes each line, drops doubles, and counts by bucket, region, service and version; it knows no baseline, no evidence and no
blame. Pairs of one run each, A B A B, in processes of their own; the ratio is told as median and spread over the pairs, and what each took of memory.
Seconds are those of the processor, so that what else runs on the machine counts as little as can be. `--only` takes the cases with a word in their name.
Three cases, all simulated: five million events in a day; a thin one, 8 days of one order a second (69,000 buckets); and ten million events for the memory.
"""

from __future__ import annotations

import gzip
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict, deque
from pathlib import Path

import msgspec

from rollguard.detectors import Detect
from rollguard.detectors.watch import CountWatch, RatioWatch, ShareWatch
from rollguard.detectors.watched import Watched
from rollguard.incidents import Desk
from rollguard.incidents.trials import Trials
from rollguard.replay import Recipe, open_case, run_case, simulate_case
from rollguard.streams import Ingest

BUCKET_MS = 10_000
#: Buckets whose ids are kept: what comes later than that is late.
OPEN = 6
CASES = {"5 M events in a day": ("quiet", 1, 25.5), "thin: 8 days, 1 order/s": ("quiet", 8, 1.0), "10 M events": ("quiet", 2, 25.5)}
SMALL = {"small": ("quiet", 1, 0.5)}
#: Name of what detectors and trials work out, whichever stage it is in.
ARITHMETIC = "arithmetic"
RUNNING: dict[str, bool] = defaultdict(bool)


class Event(msgspec.Struct):
    """What the loop reads of a line."""

    event_id: str
    ts: int
    region: str
    service: str
    version: str


def by_hand(folder: Path) -> int:
    """Events that the loop counts."""
    decode = msgspec.json.Decoder(Event).decode
    counted = 0
    for source in ("orders", "deliveries", "errors"):
        counts: dict[tuple[int, str, str, str], int] = defaultdict(int)
        seen: dict[int, set[str]] = {}
        order: deque[int] = deque()
        with gzip.open(folder / f"{source}.jsonl.gz", "rb") as lines:
            for line in lines:
                event = decode(line)
                bucket = event.ts // BUCKET_MS
                ids = seen.get(bucket)
                if ids is None:
                    ids = seen[bucket] = set()
                    order.append(bucket)
                    if len(order) > OPEN:
                        del seen[order.popleft()]
                if event.event_id in ids:
                    continue
                ids.add(event.event_id)
                counts[bucket, event.region, event.service, event.version] += 1
        counted += sum(counts.values())
    return counted


def replayed(folder: Path) -> int:
    """Events that a replay counts."""
    return sum(source["kept"] for source in run_case(open_case(folder)).summary["sources"].values())


def staged(folder: Path) -> None:
    """Print what part of a replay's seconds each stage took, the reading of files with all else, and what is left without the arithmetic."""
    began = time.process_time()
    by_hand(folder)
    loop = time.process_time() - began
    spent: dict[str, float] = {}
    for stage in (Ingest, Detect, Desk):
        timed(stage, "feed", stage.__name__, spent)
    for watch in (CountWatch, RatioWatch, ShareWatch):
        for name in ("load", "step", "ahead", "settle"):
            timed(watch, name, ARITHMETIC, spent)
    timed(Watched, "close_epoch", ARITHMETIC, spent)
    timed(Trials, "step", ARITHMETIC, spent)
    began = time.process_time()
    replayed(folder)
    seconds = time.process_time() - began
    left = seconds - spent.pop(ARITHMETIC)
    parts = [*spent.items(), ("else", seconds - sum(spent.values()))]
    print(f"{seconds:.1f} s:", ", ".join(f"{name} {part:.1f} s ({part / seconds:.0%})" for name, part in parts))
    print(f"    without the arithmetic of detectors and trials {left:.1f} s, {loop / left:.2f} of the loop; with it {loop / seconds:.2f}")


def timed(owner: type, name: str, part: str, spent: dict[str, float]) -> None:
    """Add up the seconds of a method under the name of a part; what it calls of the same part counts once."""
    whole = getattr(owner, name)
    spent.setdefault(part, 0.0)

    def method(*words: object, **named: object) -> object:
        if RUNNING[part]:
            return whole(*words, **named)
        RUNNING[part] = True
        began = time.process_time()
        try:
            return whole(*words, **named)
        finally:
            spent[part] += time.process_time() - began
            RUNNING[part] = False

    setattr(owner, name, method)


def child(which: str, folder: Path) -> None:
    """Do it once and print seconds, megabytes and events."""
    if which == "stages":
        staged(folder)
        return
    began = time.process_time()
    events = by_hand(folder) if which == "loop" else replayed(folder)
    seconds = time.process_time() - began
    print(seconds, peak_mb(), events)


def peak_mb() -> float:
    """Most memory of this process alone; what `getrusage` tells begins with that of whoever started it."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024


def once(which: str, folder: Path) -> tuple[float, float, int]:
    """The same in a process of its own."""
    words = [sys.executable, "-P", __file__, "--child", which, str(folder)]
    done = subprocess.run(words, check=True, capture_output=True, text=True)  # noqa: S603 - ourselves
    seconds, megabytes, events = done.stdout.split()
    return float(seconds), float(megabytes), int(events)


def main() -> None:
    """Print the table."""
    words = sys.argv[1:]
    if words[:1] == ["--child"]:
        child(words[1], Path(words[2]))
        return
    pairs = int(words[words.index("--pairs") + 1]) if "--pairs" in words else 3
    stages = "--stages" in words
    print(f"{platform.machine()}, Python {platform.python_version()}, {f'{pairs} pairs, ' * (not stages)}one core each\n")
    if not stages:
        print(f"{'case':<26}{'events':>12}{'loop s':>9}{'replay s':>10}{'ratio':>8}{'spread':>14}{'events/s':>11}{'loop MB':>9}{'replay MB':>11}")
    with tempfile.TemporaryDirectory() as folder:
        only = words[words.index("--only") + 1] if "--only" in words else ""
        for name, (kind, days, rate) in (SMALL if "--small" in words else CASES).items():
            if only not in name:
                continue
            recipe = Recipe(kind=kind, seed=1, days=days, rate=rate)
            simulate_case(recipe, Path(folder))
            case = Path(folder) / recipe.name
            if stages:
                subprocess.run([sys.executable, "-P", __file__, "--child", "stages", str(case)], check=True)  # noqa: S603 - ourselves
                shutil.rmtree(case)
                continue
            runs = [(once("loop", case), once("replay", case)) for _ in range(pairs)]
            ratios = sorted(loop[0] / replay[0] for loop, replay in runs)
            loop_s, replay_s = (statistics.median(run[at][0] for run in runs) for at in (0, 1))
            events = runs[0][1][2]
            spread = f"{ratios[0]:.2f} to {ratios[-1]:.2f}"
            loop_mb, replay_mb = (max(run[at][1] for run in runs) for at in (0, 1))
            shutil.rmtree(case)
            print(
                f"{name:<26}{events:>12,}{loop_s:>9.1f}{replay_s:>10.1f}{statistics.median(ratios):>8.2f}{spread:>14}"
                f"{events / replay_s:>11,.0f}{loop_mb:>9.0f}{replay_mb:>11.0f}",
                flush=True,
            )


if __name__ == "__main__":
    main()
