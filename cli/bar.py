"""Bars in a terminal: of a share, and of work that goes on."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

from rollguard.replay import Progress as Reached

__all__ = ["meter", "progress_bar", "with_progress"]

Done = TypeVar("Done")


def meter(share: float, width: int, colour: str) -> str:
    """A share as a bar and a percentage, in rich's markup.

    Examples
    --------
    >>> meter(0.5, 4, "red")
    '[red]██[/red][dim]░░[/dim]  50 %'
    """
    full = min(max(round(width * share), 0), width)
    return f"[{colour}]{'█' * full}[/{colour}][dim]{'░' * (width - full)}[/dim] {100 * share:3.0f} %"


@contextmanager
def progress_bar(title: str) -> Iterator[Callable[[float], None]]:
    """A progress bar on standard error, which only a terminal sees; it is moved by calling what is given, with a share of 0..1."""
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task(title, total=1.0)
        yield lambda share: bar.update(task, completed=share)


def with_progress(title: str, work: Callable[[Callable[[Reached], None]], Done]) -> Done:
    """Work through a case under a progress bar."""
    with progress_bar(title) as move:
        return work(lambda reached: move(reached.done / max(reached.total, 1)))
