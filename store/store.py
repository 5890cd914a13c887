"""The room's one object: each call a transaction of its own, on a connection of its own."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import Connection, Engine

from rollguard.store import backups, batches, flags, forgetting, glance, journal, ledger, outbox, pruning, schema, snapshots, stages
from rollguard.store.engine import WRITES, open_engine, translated
from rollguard.store.records import (
    Anchor,
    Batch,
    Cutoffs,
    Flag,
    Flaw,
    Glance,
    IncidentRow,
    Kept,
    LedgerEntry,
    LedgerRow,
    Mention,
    OutboxKind,
    OutboxRow,
    OutboxState,
    Outcome,
    Owner,
    Pruned,
    Recorded,
    TimelineRow,
)

__all__ = ["Store"]


class Store:
    """A database that a process reads and writes, from any of its threads.

    Each call is one transaction: when it returns, all of it is on disk; when it raises, none of it is. A `StoreError` with
    `recoverable` may be tried again with back-off, whatever the call was: at worst `append` writes its rows twice, and a
    rollback that was taken unseen is listed by `unknown`. Made by `open`; one for each process, never shared across a fork.

    Parameters
    ----------
    engine : Engine
    where : str
        The database, without its password.
    """

    def __init__(self, engine: Engine, where: str) -> None:
        self.where = where
        self._engine = engine
        self._writer = engine.execution_options(**{WRITES: True})

    @classmethod
    def open(cls, url: str, *, password: str | None = None, wait_ms: int = 5_000) -> Store:
        """Reach a database; on SQLite create its file, readable by its owner alone.

        Parameters
        ----------
        url : str
            `sqlite:///FILE`, whose folder is there (WAL; one host), or `postgresql://USER@HOST:PORT/NAME`.
        password : str or None
            Of the user; never shown.
        wait_ms : int
            How long to wait for somebody else's lock. PostgreSQL ends the session of who holds one for twice as long without
            a word, and cancels a statement after six times as long.

        Raises
        ------
        StoreError
            If it cannot be reached; says what to do.
        """
        engine, where = open_engine(url, password=password, wait_ms=wait_ms)
        store = cls(engine, where)
        try:
            store.schema()
        except BaseException:
            store.close()
            raise
        return store

    def close(self) -> None:
        """Let go of all connections."""
        self._engine.dispose()

    def migrate(self) -> None:
        """Bring the schema up to date; several workers may do so at once.

        Raises
        ------
        StoreError
            If the database is newer than this version. Nothing was changed.
        """
        with self._writing() as connection:
            schema.migrate(connection, self.where)

    def downgrade(self, to: str) -> None:
        """Take the schema back to an earlier step, before an older version of Rollguard goes on.

        Parameters
        ----------
        to : str
            The step, as `schema` names it.

        Raises
        ------
        StoreError
            If it is no earlier step. Nothing was changed.
        """
        with self._writing() as connection:
            schema.downgrade(connection, self.where, to)

    @staticmethod
    def steps() -> list[str]:
        """Steps of the schema that this version knows, from the first to the newest."""
        return schema.steps()

    def schema(self) -> str | None:
        """The step of the schema that the database stands at; None: it is empty."""
        with self._reading() as connection:
            return schema.schema_of(connection, self.where)

    def refuse_newer(self) -> str | None:
        """As `schema`, and refuses a database of a newer version; changes nothing.

        Raises
        ------
        StoreError
            If it is newer.
        """
        with self._reading() as connection:
            return schema.refuse_newer(connection, self.where)

    def claim(self, stage: str, owner: str, now_ms: int, *, log: str = "") -> int:
        """Take a stage. Whoever held it is stale from now on, and what they wrote is complete: read `newest` after this.

        Parameters
        ----------
        stage : str
            As `detect/0` or `desk`.
        owner : str
            Who takes it, for a person to read.
        now_ms : int
        log : str
            Which log the stage reads, as cluster id and topic; empty: not said.

        Returns
        -------
        int
            The epoch that the holder shows from now on.

        Raises
        ------
        LogChangedError
            If the stage's offsets are of another log: nothing is claimed.
        """
        with self._writing() as connection:
            return stages.claim(connection, stage, owner, now_ms, log=log)

    def restart(self, stage: str, owner: str, now_ms: int, *, log: str = "") -> int:
        """Take a stage as `claim` does, on a log that was made anew: its snapshots and its applied offset are forgotten.

        Timeline, incidents, outbox and ledger stay.
        """
        with self._writing() as connection:
            return stages.restart(connection, stage, owner, now_ms, log=log)

    def forget(self, stage: str) -> None:
        """Let go of a stage and its snapshots: whoever claims it later begins anew."""
        with self._writing() as connection:
            stages.forget(connection, stage)

    def owner(self, stage: str) -> Owner | None:
        """Who holds a stage; None: nobody ever did."""
        with self._reading() as connection:
            return stages.owner(connection, stage)

    def owners(self) -> list[Owner]:
        """Who holds which stage, by its name."""
        with self._reading() as connection:
            return stages.owners(connection)

    def newest(self, stage: str) -> Kept | None:
        """The newest snapshot that is intact; None: none was ever kept.

        Raises
        ------
        DamagedError
            If some were kept and none is intact.
        """
        with self._reading() as connection:
            return snapshots.newest(connection, stage, self.where)

    def keep(self, stage: str, epoch: int, *, offset: int, state: bytes, now_ms: int) -> None:
        """Keep a snapshot beside the last intact one before it; older ones go.

        Parameters
        ----------
        stage, epoch : str, int
        offset : int
            The record to read next.
        state : bytes
        now_ms : int

        Raises
        ------
        StaleError
            If another has taken the stage.
        OffsetError
            If an intact snapshot lies beyond `offset`.
        """
        with self._writing() as connection:
            stages.fence(connection, stage, epoch)
            snapshots.keep(connection, stage, offset=offset, state=state, now_ms=now_ms)

    def record(self, stage: str, epoch: int, batch: Batch, now_ms: int) -> Recorded:
        """Write all that a stretch of the log came to. Rows of records that were applied before are let go.

        Parameters
        ----------
        stage, epoch : str, int
        batch : Batch
        now_ms : int
            Stands on its snapshot.

        Raises
        ------
        StaleError
            If another has taken the stage.
        OffsetError
            If the batch leaves out records and does not say so, or an intact snapshot lies beyond its own.
        ValueError
            If a row does not belong to the stretch, or breaks its own rules.
        """
        batches.check(batch)
        with self._writing() as connection:
            return batches.write(connection, stage, epoch, batch, now_ms=now_ms, where=self.where)

    def timeline(self, until_ms: int | None = None, *, incident_id: str | None = None) -> list[TimelineRow]:
        """Lines in the order they were written: all, those known at `until_ms`, those of one incident."""
        with self._reading() as connection:
            return journal.read_timeline(connection, until_ms=until_ms, incident_id=incident_id)

    def incidents(self, *, is_open: bool | None = None, limit: int | None = None) -> list[IncidentRow]:
        """Incidents in the order they opened: all, those open or closed; of more than `limit` the last ones."""
        with self._reading() as connection:
            return journal.read_incidents(connection, is_open=is_open, limit=limit)

    def due(self, kinds: Collection[OutboxKind], now_ms: int, limit: int, *, taken_by: str, lease_ms: int) -> list[OutboxRow]:
        """Take rows that are due, oldest first; before they are seen it is on disk that they were taken.

        A page or advice that is not settled when its lease runs out is due again. A rollback never is: see `unknown`; one
        that has expired is not handed out: see `overdue`. Of rows of one kind and key, the next is due when the one before
        is settled.

        Parameters
        ----------
        kinds : collection of str
        now_ms : int
        limit : int
        taken_by : str
            Who takes them; another name after each start.
        lease_ms : int
            How long they are theirs alone.
        """
        with self._writing() as connection:
            return outbox.due(connection, kinds, now_ms, limit, taken_by=taken_by, lease_ms=lease_ms)

    def holds(self, row_id: str, taken_by: str, now_ms: int) -> bool:
        """Whether a row that was taken is still theirs and has not expired: to be asked just before acting on it."""
        with self._reading() as connection:
            return outbox.holds(connection, row_id, taken_by, now_ms)

    def settle(
        self,
        row_id: str,
        taken_by: str,
        outcome: Outcome,
        now_ms: int,
        *,
        next_ms: int | None = None,
        detail: str = "",
        follow: Iterable[OutboxRow] = (),
        ledger_rows: Iterable[LedgerRow] = (),
    ) -> bool:
        """Tell what became of a row, and write what follows from it in the same transaction.

        Who took it may tell, also late, as long as nobody else took it. Of rollbacks others may too: "expired" of one that
        is `overdue`, anything of one that is `unknown`, and "done" or "failed" once it was settled as "unknown".

        Parameters
        ----------
        row_id, taken_by : str
        outcome : Outcome
            Of pages and advice "sent", "retry" or "parked"; of rollbacks "done", "failed", "expired" or "unknown".
        now_ms : int
        next_ms : int or None
            When a "retry" is due.
        detail : str
            For a person to read.
        follow : iterable of OutboxRow
            Rows to add, such as a page that says that an outcome is unknown.
        ledger_rows : iterable of LedgerRow

        Returns
        -------
        bool
            Whether the outcome stands, written now or before; False: it was not theirs to tell, and nothing was written.

        Raises
        ------
        ValueError
            If a row of this kind has no such outcome.
        """
        added = tuple(follow)
        for row in added:
            outbox.check(row)
        with self._writing() as connection:
            settled = outbox.settle(connection, row_id, taken_by, outcome, now_ms, next_ms=next_ms, detail=detail)
            if settled == "told":
                for row in added:
                    outbox.add(connection, row)
                ledger.append(connection, ledger_rows, self.where)
            return settled != "refused"

    def overdue(self, now_ms: int) -> list[OutboxRow]:
        """Rollbacks that nobody took before they expired, until they are settled as "expired"."""
        with self._reading() as connection:
            return outbox.overdue(connection, now_ms)

    def unknown(self, now_ms: int) -> list[OutboxRow]:
        """Rollbacks whose lease ran out untold, until they are settled: done or not, nobody knows, and none is tried again."""
        with self._reading() as connection:
            return outbox.unknown(connection, now_ms)

    def outbox(
        self,
        *,
        kinds: Collection[OutboxKind] | None = None,
        states: Collection[OutboxState] | None = None,
        incident_id: str | None = None,
        settled_since_ms: int | None = None,
    ) -> list[OutboxRow]:
        """Rows in the order they were written: of some kinds and states, of one incident, settled since a moment; takes none."""
        with self._reading() as connection:
            return outbox.read(connection, kinds=kinds, states=states, incident_id=incident_id, settled_since_ms=settled_since_ms)

    def raise_flag(self, name: str, value: str, now_ms: int) -> None:
        """Say what is so at a moment, as that the kill switch is on; of what was said later, nothing changes."""
        with self._writing() as connection:
            flags.raise_flag(connection, Flag(name=name, value=value, at_ms=now_ms))

    def flag(self, name: str) -> Flag | None:
        """What was said last under a name; None: nothing ever was."""
        with self._reading() as connection:
            return flags.read(connection, name)

    def prune(self, cutoffs: Cutoffs, now_ms: int, *, most: int = 500) -> Pruned:
        """Delete what is old and over, at most so many rows of each kind; to be called until nothing goes any more.

        Nothing goes of an incident that is open, no row of the outbox that is not settled, and no rollback before its incident may go.
        Whoever cuts off the ledger's beginning says so in an entry at its end, so that what is left can be verified.

        Parameters
        ----------
        cutoffs : Cutoffs
        now_ms : int
            Stands on that entry.
        most : int
        """
        with self._writing() as connection:
            return pruning.prune(connection, cutoffs, most, now_ms, self.where)

    def prunable(self, cutoffs: Cutoffs) -> Pruned:
        """How many rows `prune` would come to delete, one call after the other; deletes none."""
        with self._reading() as connection:
            return pruning.count(connection, cutoffs)

    def mentions(self, names: Collection[str]) -> list[Mention]:
        """Rows in which one of some names stands."""
        with self._reading() as connection:
            return forgetting.mentions(connection, names)

    def redact(self, names: Collection[str]) -> list[Mention]:
        """Put `[forgotten]` in the place of some names, but in the ledger, whose chain would break; gives the rows in which they stood."""
        with self._writing() as connection:
            return forgetting.redact(connection, names)

    def backup(self, path: Path) -> None:
        """Copy the database, as it is at one moment, into a new file, while others go on writing.

        Parameters
        ----------
        path : Path
            Of a file that is not there yet.

        Raises
        ------
        StoreError
            If it is PostgreSQL, which has tools of its own, or the file cannot be written.
        """
        backups.backup(self._engine, path, self.where)

    def exchange_flag(self, name: str, before: str | None, value: str, now_ms: int) -> bool:
        """Say what is so if what was said last is still `before` (None: nothing was); of several who try at once, one is told True."""
        with self._writing() as connection:
            return flags.exchange(connection, Flag(name=name, value=value, at_ms=now_ms), before)

    def glance(self, flag_names: Collection[str] = ()) -> Glance:
        """See how things stand, in one transaction that changes nothing: for whoever watches over Rollguard itself."""
        with self._reading() as connection:
            return glance.glance(connection, flag_names)

    def append(self, rows: Iterable[LedgerRow]) -> int:
        """Add rows to the ledger, and return the number of its last entry."""
        with self._writing() as connection:
            return ledger.append(connection, rows, self.where)

    def ledger(self, since: int = 0, limit: int | None = None) -> list[LedgerEntry]:
        """Entries of the ledger after number `since`, in order."""
        with self._reading() as connection:
            return ledger.read(connection, since, limit)

    def anchor(self) -> Anchor:
        """Where the ledger ends now: to be kept elsewhere."""
        with self._reading() as connection:
            return ledger.head(connection) or Anchor(seq=0, hash=ledger.START)

    def verify(self, anchors: Iterable[Anchor] = ()) -> list[Flaw]:
        """Read the whole ledger and say what was altered, removed, put elsewhere or cut off since it was written.

        Parameters
        ----------
        anchors : iterable of Anchor
            Kept elsewhere. Without one, nothing shows that somebody cut the end off, or made the whole chain anew.

        Returns
        -------
        list of Flaw
            By number; empty when all is well.

        Notes
        -----
        The hash of an entry is blake2b (32 bytes) of the hash before it (of the first: 32 zero bytes) and the entry as
        msgpack: an array of number, time, kind, offset or nil, and body.
        """
        with self._reading() as connection:
            return ledger.verify(connection, anchors)

    @contextmanager
    def _reading(self) -> Iterator[Connection]:
        with translated(self.where), self._engine.begin() as connection:
            yield connection

    @contextmanager
    def _writing(self) -> Iterator[Connection]:
        with translated(self.where), self._writer.begin() as connection:
            yield connection
