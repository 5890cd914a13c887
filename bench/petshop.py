"""Which component did it, on a real application: python -P bench/petshop.py [FOLDER] [--keep DIR].

FOLDER holds Amazon's PetShop dataset (CC-BY-4.0): requests, latency and availability of 41 components as points of five
minutes, and 34 injected issues with the component each was injected into. An issue's file has five rows. Each becomes a case of
points: the rows without an issue, moved so that they end where the issue's begin, then the issue's own rows, and a change
on every component at the moment of the injection, all alike: nothing but what the components show tells them apart.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import json
import math
import platform
import statistics
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.progress import track

from rollguard.config import ms_of, rfc3339
from rollguard.replay import open_case, run_case

STEP_S = 300
REGION = "us-west-2"
#: What is slow: longer than what so many of a hundred usually need at most, times a factor.
SLOW = {"slow": ("p95", 1.0), "stuck": ("p99", 2.0)}
CONFIG = """
bucket: 5m
warmup: 1d
labels: {watched: [service, region], compare: [], max_values: 200}
sources:
  orders: null
  deliveries: null
  served: {topic: served, lateness: 1m, points: {every: 5m, weight: requests}, fields: {ts: ts, service: service, region: region, requests: requests}}
  errors:
    topic: errors
    lateness: 1m
    points: {every: 5m, weight: requests}
    fields: {id: null, ts: ts, service: service, region: region, version: null, requests: requests}
  slow:
    topic: slow
    lateness: 1m
    points: {every: 5m, weight: requests}
    fields: {ts: ts, service: service, region: region, requests: requests}
  stuck:
    topic: stuck
    lateness: 1m
    points: {every: 5m, weight: requests}
    fields: {ts: ts, service: service, region: region, requests: requests}
metrics:
  orders: null
  promised_minutes: null
  actual_minutes: null
  served: {kind: count, source: served, worse: lower, watch: false}
  errors: {kind: ratio, source: errors, against: served, on: [service], worse: higher}
  slow: {kind: ratio, source: slow, against: served, on: [service], worse: higher}
  stuck: {kind: ratio, source: stuck, against: served, on: [service], worse: higher}
money_clock: {metric: served}
"""


@dataclass
class Rows:
    """Points of every component, as a metrics.csv has them.

    Attributes
    ----------
    times : list of float
        Start of each point, seconds since 1970.
    columns : dict of (component, metric, statistic) to list of float
        NaN where nothing was measured.
    """

    times: list[float]
    columns: dict[tuple[str, str, str], list[float]]

    @property
    def components(self) -> list[str]:
        """All that stand there."""
        return sorted({name for name, _, _ in self.columns})

    def at(self, name: str, metric: str, statistic: str, row: int) -> float:
        """One number."""
        column = self.columns.get((name, metric, statistic))
        return math.nan if column is None else column[row]


@dataclass
class Issue:
    """An injected issue."""

    name: str
    traffic: str
    half: str
    kind: str
    component: str
    injected_s: float
    command: str
    rows: Rows
    delay_min: float = math.inf  # from the injection to the page; infinite: there was none
    earlier: int = 0  # incidents of the history, where nothing was injected
    guilty: str | None = None  # component of a verdict "guilty", the first of them
    ranks: dict[str, int] = field(default_factory=dict)  # by who ranked; 99: not at all


def read_rows(path: Path) -> Rows:
    """A metrics.csv: component, metric and statistic stand above each column."""
    with path.open(encoding="utf-8") as file:
        names, metrics, statistics_, _, *lines = list(csv.reader(file))
    columns = {
        (names[at], metrics[at], statistics_[at]): [float(line[at]) if line[at] not in {"", "nan"} else math.nan for line in lines]
        for at in range(1, len(names))
    }
    return Rows([float(line[0]) for line in lines], columns)


def read_issues(folder: Path) -> Iterator[Issue]:
    """All issues of a dataset, with the component that each was injected into; what ranks never sees it."""
    for path in sorted(folder.glob("*/*/issue_*/target.json"), key=lambda path: (path.parts[-4], path.parts[-3], int(path.parts[-2].rpartition("_")[2]))):
        told = json.loads(path.read_text(encoding="utf-8"))
        traffic, half, name = path.parts[-4:-1]
        target = told["target"]
        rows = read_rows(path.with_name("metrics.csv"))
        command = told["metadata"]["reproducibility"]["command"]
        yield Issue(f"{traffic}/{half}/{name}", traffic, half, target["metric"], told["root_cause"]["node"], target["timestamp"], command, rows)


def graph_of(folder: Path, traffic: str) -> list[str]:
    """The components of the application's call graph: each of them may have been changed."""
    with (folder / traffic / "graph.csv").open(encoding="utf-8") as file:
        return next(csv.reader(file))[1:]


def slower_than(rows: Rows, name: str, row: int, limit: float) -> float:
    """Share of a point's requests that took longer, read off its quantiles on a log scale."""
    known = [(share, rows.at(name, "latency", statistic, row)) for share, statistic in ((0.5, "p50"), (0.9, "p90"), (0.95, "p95"), (0.99, "p99"))]
    if not limit > 0 or any(not value > 0 for _, value in known):
        return 0.0
    logs = np.maximum.accumulate([math.log(value) for _, value in known])
    share = np.interp(math.log(limit), logs, [share for share, _ in known], left=math.nan, right=1.0)
    # Below the median nothing is told but that it lies there.
    return 1.0 if math.isnan(share) else float(1.0 - share)


def write_case(folder: Path, issue: Issue, before: Rows, graph: list[str]) -> None:
    """Make a case of an issue: its history, its own rows, and a change on every component when it was injected."""
    folder.mkdir(parents=True, exist_ok=True)
    shift = issue.rows.times[0] - STEP_S - before.times[-1]
    limits = {
        (source, name): _mean(before.columns.get((name, "latency", statistic), [])) * factor
        for source, (statistic, factor) in SLOW.items()
        for name in sorted({*before.components, *issue.rows.components})
    }
    lines: dict[str, list[str]] = {"served": [], "errors": [], **{source: [] for source in SLOW}}
    for rows, moved in ((before, shift), (issue.rows, 0.0)):
        for row, start in enumerate(rows.times):
            for name in rows.components:
                _add_point(lines, rows, (name, row), round((start + moved) * 1000), limits)
    for source, found in lines.items():
        (folder / f"{source}.jsonl").write_text("".join(found), encoding="utf-8")
    start_s, end_s = before.times[0] + shift, issue.rows.times[-1] + STEP_S
    spoken = f"name: {issue.name}\nstart: {rfc3339(round(start_s // STEP_S * STEP_S * 1000))}\nend: {rfc3339(round((end_s // STEP_S + 1) * STEP_S * 1000))}\n"
    (folder / "case.yaml").write_text(spoken + CONFIG, encoding="utf-8")
    changes = [_change(issue, name) for name in graph]
    (folder / "deploys.jsonl").write_text("".join(json.dumps(change) + "\n" for change in changes), encoding="utf-8")
    culprit = change_id(issue, issue.component)
    label = {"id": issue.name, "onset": rfc3339(round(issue.injected_s * 1000)), "culprit": culprit, "services": [issue.component], "page": True}
    (folder / "labels.json").write_text(json.dumps({"incidents": [label | {"command": issue.command}]}), encoding="utf-8")


def _add_point(lines: dict[str, list[str]], rows: Rows, at: tuple[str, int], ts_ms: int, limits: dict[tuple[str, str], float]) -> None:
    name, row = at
    requests = rows.at(name, "requests", "Sum", row)
    if math.isnan(requests):
        return
    point = {"ts": ts_ms, "service": name, "region": REGION}
    n = round(requests)
    availability = rows.at(name, "availability", "Average", row)
    failed = 0 if math.isnan(availability) else min(n, max(0, round(n * (1.0 - availability / 100.0))))
    lines["served"].append(json.dumps(point | {"requests": n - failed}) + "\n")
    lines["errors"].append(json.dumps(point | {"requests": failed}) + "\n")
    for source in SLOW:
        share = slower_than(rows, name, row, limits[source, name])
        lines[source].append(json.dumps(point | {"requests": round(n * share)}) + "\n")


def _mean(column: list[float]) -> float:
    known = [value for value in column if value > 0]
    return statistics.fmean(known) if known else 0.0


def change_id(issue: Issue, name: str) -> str:
    """Says nothing of the component, so that ties are broken by chance, the same chance each time."""
    return hashlib.blake2b(f"{issue.name} {name}".encode(), digest_size=6).hexdigest()


def _change(issue: Issue, name: str) -> dict[str, object]:
    began_ms = round(issue.injected_s * 1000)
    return {
        "deploy_id": change_id(issue, name),
        "service": name,
        "region": REGION,
        "environment": "production",
        "change_kind": "config",
        "from_version": "1",
        "version": "2",
        "started_at": rfc3339(began_ms),
        "finished_at": rfc3339(began_ms + 60_000),
        "author": "injector",
        "approvals": 1,
        "rollback": {"supported": True, "to_version": "1"},
    }


def blamed(folder: Path, issue: Issue) -> list[str]:
    """Components by the probability that Rollguard gives the change on each."""
    run = run_case(open_case(folder))
    chances: dict[str, float] = {}
    for incident in run.incidents:
        if ms_of(incident["opened_at"]) < issue.injected_s * 1000:
            issue.earlier += 1
            continue
        pages = [ms_of(each["at"]) for each in incident["decisions"] if each["action"] == "page"]
        issue.delay_min = min([issue.delay_min, *((at / 1000 - issue.injected_s) / 60 for at in pages)])
        if incident["verdict"] == "guilty" and issue.guilty is None:
            issue.guilty = incident["suspects"][0]["service"]
        for suspect in incident["suspects"]:
            name = suspect["service"]
            chances[name] = max(chances.get(name, 0.0), suspect["probability"])
    return sorted(chances, key=lambda name: (-chances[name], change_id(issue, name)))


def deviating(issue: Issue, before: Rows) -> list[str]:
    """The yardstick: components by the largest z-score of any statistic of latency, or of availability, after the injection."""
    scores: dict[str, float] = {}
    for (name, metric, statistic), column in issue.rows.columns.items():
        usual = [value for value in before.columns.get((name, metric, statistic), []) if not math.isnan(value)]
        if metric == "requests" or len(usual) < 10:
            continue
        mean, spread = statistics.fmean(usual), max(statistics.pstdev(usual), 1e-3 * abs(statistics.fmean(usual)), 1e-9)
        for start, value in zip(issue.rows.times, column, strict=True):
            if start + STEP_S > issue.injected_s and not math.isnan(value):
                score = (value - mean) / spread * (-1.0 if metric == "availability" else 1.0)
                scores[name] = max(scores.get(name, -math.inf), score)
    return sorted(scores, key=lambda name: (-scores[name], change_id(issue, name)))


def wilson(hits: int, n: int) -> tuple[float, float]:
    """Interval of a share that covers it in 95 of 100 cases (E. B. Wilson, JASA 22, 1927)."""
    z = 1.96
    share, middle = hits / n, (hits / n + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    return max(0.0, middle - half), min(1.0, middle + half)


def told(issues: list[Issue], who: str, top: int) -> str:
    """A share with its interval."""
    hits = sum(issue.ranks[who] <= top for issue in issues)
    low, high = wilson(hits, len(issues))
    return f"{hits} ({100 * hits / len(issues):.0f} %, {100 * low:.0f}-{100 * high:.0f})"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", nargs="?", type=Path, default=Path("../shared/data/petshop/dataset"))
    parser.add_argument("--keep", type=Path, help="write the cases here and leave them")
    parser.add_argument("--only", default="", help="issues whose name holds this, as test/issue_3")
    given = parser.parse_args()
    issues = [issue for issue in read_issues(given.folder) if given.only in issue.name]
    quiet = given.folder / "low_traffic" / "noissue" / "metrics.csv"
    if not issues or not quiet.is_file():
        sys.exit(f"bench/petshop.py: no issues in {given.folder}. Expected the folder `dataset` of PetShop, with low_traffic/noissue and issue_* in it.")
    before = read_rows(quiet)
    with tempfile.TemporaryDirectory() as scratch:
        for issue in track(issues, console=Console(stderr=True), description="issues", transient=True):
            folder = (given.keep or Path(scratch)) / issue.name.replace("/", "-")
            write_case(folder, issue, before, graph_of(given.folder, issue.traffic))
            for who, order in (("blame", blamed(folder, issue)), ("z-score", deviating(issue, before))):
                issue.ranks[who] = order.index(issue.component) + 1 if issue.component in order else 99
            if given.keep is None:
                for path in folder.iterdir():
                    path.unlink()
    report(issues)


def report(issues: list[Issue]) -> None:
    """Print what came out."""
    print(f"{platform.machine()}, Python {platform.python_version()}: python -P bench/petshop.py")
    print()
    print("| issues | n | blame: first | blame: in the first three | largest z-score: first | in the first three |")
    print("|---|---|---|---|---|---|")
    groups = [("all", issues)]
    groups += [
        (f"{key} {value}", [i for i in issues if getattr(i, key) == value])
        for key in ("traffic", "kind", "half")
        for value in sorted({getattr(i, key) for i in issues})
    ]
    groups += [(f"in {name.partition('_')[0]}", [i for i in issues if i.component == name]) for name in sorted({i.component for i in issues})]
    for name, group in groups:
        print(f"| {name} | {len(group)} | {' | '.join(told(group, who, top) for who in ('blame', 'z-score') for top in (1, 3))} |")
    paged = [issue.delay_min for issue in issues if math.isfinite(issue.delay_min)]
    convicted = [issue for issue in issues if issue.guilty is not None]
    print()
    print(f"Paged: {len(paged)} of {len(issues)}" + (f", {statistics.median(paged):.0f} min after the injection in the median." if paged else "."))
    right = sum(issue.guilty == issue.component for issue in convicted)
    print(f"A verdict of guilty: {len(convicted)}, {right} of the faulty component.")
    print(f"Incidents in the day that is watched before each: {statistics.mean(issue.earlier for issue in issues):.1f}; nothing was injected there.")
    missed = [issue for issue in issues if issue.ranks["blame"] > 3]
    print()
    print(
        "Missed: "
        + ("; ".join(f"{i.name} ({i.component.partition('_')[0]}, rank {i.ranks['blame'] if i.ranks['blame'] < 99 else '-'})" for i in missed) or "none")
        + "."
    )


if __name__ == "__main__":
    main()
