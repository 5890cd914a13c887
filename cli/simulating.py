"""`rollguard simulate`: cases of known kinds, made of chance numbers, each with the whole truth about it."""

from __future__ import annotations

import multiprocessing
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import msgspec
import typer

from rollguard.cli.bar import progress_bar
from rollguard.cli.working import UsageError, unknown
from rollguard.replay import Recipe, Simulated, case_kinds, kinds_table, make_out, simulate_case

__all__ = ["simulate"]

KINDS = case_kinds()
ALL = "all"
MOST_SEEDS = 10_000
#: Orders a second, least and most.
RATES = (0.001, 1000.0)
#: Orders in a case; making one takes about 180 bytes of memory for each.
MOST_ORDERS = 20_000_000
#: A range of seeds, as it is typed.
SEEDS = "expected: numbers and ranges, as 1-10 or 1-5,8"


def simulate(
    *,
    kind: Annotated[
        list[str] | None, typer.Option("--kind", "-k", help="What happens; may be given again. `all`: every kind. --list tells them.", metavar="KIND")
    ] = None,
    seed: Annotated[list[int] | None, typer.Option("--seed", help="Another seed, another case; may be given again. [default: 1]", min=0, metavar="N")] = None,
    seeds: Annotated[str | None, typer.Option("--seeds", help="Several at once, as 1-10 or 1-5,8.", metavar="RANGE")] = None,
    days: Annotated[
        int, typer.Option("--days", help="Length of a case. The incident lies in the last day; the shipped config learns for two.", min=1, max=366)
    ] = 4,
    rate: Annotated[float, typer.Option("--rate", help="Orders a second on an average day; as many promises, and three errors in ten.")] = 2.0,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="Folder in which each case gets one of its own, KIND-SEED.", metavar="DIR")] = None,
    jobs: Annotated[int, typer.Option("--jobs", "-j", help="Cases made at the same time. It changes nothing in them.", min=1, max=256)] = 1,
    list_kinds: Annotated[bool, typer.Option("--list", help="Print the kinds and stop.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print the cases (with --list: the kinds) as one JSON array, for machines.")] = False,
) -> None:
    """Make cases of known kinds, each with labels that say what really happened.

    A case is a folder as `rollguard replay` takes it. Its shop is made of chance numbers: demand in local time, with weekends and noise; dozens of
    ordinary changes, of which one may be guilty; and whatever its kind says. The same kind, seed, days and rate give the same bytes.

        rollguard simulate --list

        rollguard simulate --kind promise_gross --seed 1 --out cases && rollguard replay cases/promise_gross-1

        rollguard simulate --kind all --seeds 1-10 --jobs 2 --out cases

    Exit codes: 0 fine, 1 the run failed, 2 wrong usage.
    """
    if list_kinds:
        typer.echo(_kinds_as_json() if json else kinds_table(), nl=json)
        return
    recipes = _recipes(_kinds(kind or []), _seeds(seed or [], seeds), days, rate)
    if out is None:
        raise UsageError("--out: not given. Expected: the folder in which the cases are to be made, as --out cases.")
    there = [recipe.name for recipe in recipes if (out / recipe.name).exists()]
    if there:
        more = f", and {len(there) - 1:,} more" if len(there) > 1 else ""
        raise UsageError(f"{out / there[0]}: is there already{more}. Nothing was made; take it away, or name another folder with --out.")
    make_out(out)
    began = time.monotonic()
    with progress_bar("making cases") as move:
        found = _made(recipes, out, jobs, move)
    if json:
        typer.echo(msgspec.json.format(msgspec.json.encode([_as_record(each, out) for each in found]), indent=2).decode())
        return
    _tell(found, out, time.monotonic() - began)


def _kinds(names: Sequence[str]) -> list[str]:
    if not names:
        raise UsageError(f"--kind: not given. Expected: one of --list, or `{ALL}`.")
    for name in names:
        if name not in KINDS and name != ALL:
            raise unknown("--kind", name, (*KINDS, ALL), of="no such kind")
    return list(KINDS) if ALL in names else list(dict.fromkeys(names))


def _seeds(numbers: Sequence[int], text: str | None) -> list[int]:
    """Seeds that were typed, each once, in order."""
    found = dict.fromkeys(numbers)
    for part in [] if text is None else text.split(","):
        low, dash, high = (piece.strip() for piece in part.partition("-"))
        if not (low.isascii() and low.isdigit() and (not dash or (high.isascii() and high.isdigit()))):
            raise UsageError(f"--seeds {text}: {part.strip() or 'nothing'!r} is no range of seeds; {SEEDS}.")
        first, last = int(low), int(high or low)
        if last < first:
            raise UsageError(f"--seeds {text}: {part.strip()!r} ends before it begins; {SEEDS}. Did you mean {last}-{first}?")
        if last - first >= MOST_SEEDS:
            raise UsageError(f"--seeds {text}: {last - first + 1:,} seeds; at most {MOST_SEEDS:,} at once.")
        found |= dict.fromkeys(range(first, last + 1))
    return sorted(found) or [1]


def _recipes(kinds: Sequence[str], seeds: Sequence[int], days: int, rate: float) -> list[Recipe]:
    if not RATES[0] <= rate <= RATES[1]:
        raise UsageError(f"--rate {rate:g}: expected orders a second, from {RATES[0]:g} to {RATES[1]:g}.")
    if (orders := rate * days * 86_400) > MOST_ORDERS:
        raise UsageError(f"--days {days} --rate {rate:g}: about {orders:,.0f} orders in a case; at most {MOST_ORDERS:,}, which fit into 4 GB of memory.")
    return [Recipe(kind=kind, seed=seed, days=days, rate=rate) for kind in kinds for seed in seeds]


def _made(recipes: Sequence[Recipe], out: Path, jobs: int, move: Callable[[float], None]) -> list[Simulated]:
    """Make all cases; in the order of their recipes, whoever was first."""
    found: dict[Recipe, Simulated] = {}
    for number, made in enumerate(_each(recipes, out, min(jobs, len(recipes)))):
        found[made.recipe] = made
        move((number + 1) / len(recipes))
    return [found[recipe] for recipe in recipes]


def _each(recipes: Sequence[Recipe], out: Path, jobs: int) -> Iterator[Simulated]:
    if jobs == 1:
        yield from (simulate_case(recipe, out) for recipe in recipes)
        return
    # Spawned, not forked: a fork would take along whatever locks the thread holds that draws the bar.
    with ProcessPoolExecutor(jobs, mp_context=multiprocessing.get_context("spawn")) as pool:
        with _deaf_to_interrupts():
            waiting = [pool.submit(simulate_case, recipe, out) for recipe in recipes]
        try:
            for done in as_completed(waiting):
                yield done.result()
        finally:
            # Cases that were begun are finished, no other is begun.
            pool.shutdown(wait=True, cancel_futures=True)


@contextmanager
def _deaf_to_interrupts() -> Iterator[None]:
    """Processes that are started here leave Ctrl-C, which a terminal sends to all of them, to this one."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _as_record(made: Simulated, out: Path) -> dict[str, object]:
    recipe = made.recipe
    return {"case": str(out / recipe.name), "kind": recipe.kind, "seed": recipe.seed, "days": recipe.days, "rate": recipe.rate, "events": made.events} | {
        name: made.labels[name] for name in ("incidents", "lost_orders")
    }


def _kinds_as_json() -> str:
    rows = [{"kind": name, "sentence": kind.sentence, "culprit": kind.culprit, "page": kind.page} for name, kind in KINDS.items()]
    return msgspec.json.format(msgspec.json.encode(rows), indent=2).decode()


def _tell(found: Sequence[Simulated], out: Path, took_s: float) -> None:
    events = sum(made.events for made in found)
    incidents = sum(len(made.labels["incidents"]) for made in found)
    lost = sum(made.labels["lost_orders"] for made in found)
    many = "1 case" if len(found) == 1 else f"{len(found):,} cases"
    typer.echo(
        f"{out}: {many}, {events:,} events, {incidents:,} incident{'' if incidents == 1 else 's'}, {lost:,} orders lost; "
        f"{took_s:.1f} s, {events / max(took_s, 1e-9):,.0f} events/s."
    )
    typer.echo(f"Next: rollguard replay {out / found[0].recipe.name}")
