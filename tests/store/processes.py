"""Processes that write to a database at once, or die while they do. Run as a program, so that what they fork is small and alone.

processes.py create FOLDER N      N processes open a database at the same moment that is not there yet; 15 times
processes.py migrate ADDRESS N    N processes bring the schema up to date at the same moment
processes.py crash ADDRESS        a desk that is killed before its first statement, its second, and so on, and what stands in the tables after each
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from itertools import count

from sqlalchemy import event

from rollguard.store import Batch, IncidentRow, LedgerRow, OutboxRow, Store, TimelineRow

WIDTH = 2


def forked(work: Callable[[], None]) -> int:
    """Do `work` in a process of its own; gives its id."""
    child = os.fork()
    if child == 0:
        try:
            work()
        except BaseException as error:  # noqa: BLE001 - whatever it was, the parent is told
            print(f"{type(error).__name__}: {error}", file=sys.stderr, flush=True)  # noqa: T201 - a process tells its parent
            os._exit(1)
        os._exit(0)
    return child


def ended(child: int) -> int:
    """Wait for a process; its exit code, or its signal as a negative number."""
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def at_once(n: int, work: Callable[[], None]) -> list[int]:
    """Do `work` in N processes at the same moment; their exit codes."""
    ready, go = os.pipe()

    def wait_and_work() -> None:
        os.close(go)
        os.read(ready, 1)
        work()

    children = [forked(wait_and_work) for _ in range(n)]
    # All of them wait for the end of this pipe.
    os.close(go)
    os.close(ready)
    return [ended(child) for child in children]


def create(folder: str, n: int) -> None:
    for number in range(15):

        def work(file: str = f"sqlite:///{folder}/{number}.db") -> None:
            Store.open(file).close()

        print(at_once(n, work), flush=True)  # noqa: T201 - a process tells its parent


def migrate(address: str, n: int) -> None:
    def work() -> None:
        with closing(Store.open(address)) as store:
            store.migrate()
            print(store.schema(), flush=True)  # noqa: T201 - a process tells its parent

    print(at_once(n, work), flush=True)  # noqa: T201 - a process tells its parent


def batch(at: int) -> Batch:
    """Something for every table."""
    offsets = range(at, at + WIDTH)
    return Batch(
        from_offset=at,
        to_offset=at + WIDTH,
        timeline=tuple(TimelineRow(id=f"line/{each}", at_ms=each, incident_id="inc", event="updated", line=b"{}", offset=each) for each in offsets),
        incidents=tuple(
            IncidentRow(incident_id="inc", opened_at_ms=0, closed_at_ms=None, state="open", verdict="guilty", body=b"%d" % each, offset=each)
            for each in offsets
        ),
        outbox=tuple(OutboxRow(id=f"page/{each}", kind="page", incident_id="inc", dedup_key="inc", at_ms=each, body=b"", offset=each) for each in offsets),
        ledger=tuple(LedgerRow(at_ms=each, kind="note", body=b"", offset=each) for each in offsets),
        snapshot=b"state before %d" % (at + WIDTH),
    )


def written(store: Store) -> str:
    """All offsets that stand in the tables, told from each table; all the same when nothing is half written."""
    incidents, kept, owner = store.incidents(), store.newest("desk"), store.owner("desk")
    told = {
        owner.applied if owner and owner.applied is not None else 0,
        len(store.timeline()),
        len(store.outbox()),
        len(store.ledger()),
        int(incidents[0].body) + 1 if incidents else 0,
        kept.offset if kept else 0,
    }
    flaws = store.verify([store.anchor()])
    return f"{sorted(told)} {flaws}"


def killed_before(address: str, statement: int, epoch: int, at: int) -> Callable[[], None]:
    """A desk that dies before its k-th statement, or its commit."""

    def work() -> None:
        steps: Iterator[int] = count(0)
        with closing(Store.open(address)) as store:

            def die(*_: object) -> None:
                if next(steps) == statement:
                    os.kill(os.getpid(), signal.SIGKILL)

            event.listen(store._engine, "before_cursor_execute", die)
            event.listen(store._engine, "commit", die)
            store.record("desk", epoch, batch(at), 0)

    return work


def crash(address: str) -> None:
    with closing(Store.open(address)) as store:
        store.migrate()
        epoch = store.claim("desk", "host", 0)
    at = 0
    for statement in count(0):
        code = ended(forked(killed_before(address, statement, epoch, at)))
        with closing(Store.open(address)) as store:
            after = written(store)
            # The desk that comes next reads the same records again.
            store.record("desk", epoch, batch(at), 0)
            print(f"{code} {at} {after} -> {written(store)}", flush=True)  # noqa: T201 - a process tells its parent
        at += WIDTH
        if code == 0:
            return


if __name__ == "__main__":
    if sys.argv[1] == "crash":
        crash(sys.argv[2])
    else:
        {"create": create, "migrate": migrate}[sys.argv[1]](sys.argv[2], int(sys.argv[3]))
