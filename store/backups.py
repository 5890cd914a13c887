"""A copy of the database as it is at one moment, while others go on writing."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from pathlib import Path

from sqlalchemy import Engine

from rollguard.store.errors import StoreError

__all__ = ["backup"]


def backup(engine: Engine, path: Path, where: str) -> None:
    """Copy it; see `Store.backup`."""
    if engine.dialect.name != "sqlite":
        raise StoreError(where, "PostgreSQL is backed up by its own tools", f"Run: pg_dump --format=custom --file={path} --dbname={where}")
    try:
        # Pages, incidents and what persons said: for its owner alone, as the database itself.
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
    except FileExistsError as error:
        raise StoreError(str(path), "is there already", "Nothing was written. Name a new file for each backup") from error
    except OSError as error:
        raise StoreError(str(path), f"cannot be written ({(error.strerror or str(error)).lower()})", "Name a file in a folder that is there") from error
    try:
        said = _copied(engine, path)
    except sqlite3.Error as error:
        path.unlink(missing_ok=True)
        raise StoreError(str(path), f"cannot be written ({error})", "Make room on its disk and try again", recoverable=True) from error
    if said != "ok":
        path.unlink()
        raise StoreError(where, f"it is damaged ({said}), and so would be its copy", "Restore it from an older backup")


def _copied(engine: Engine, path: Path) -> str:
    """Copy page by page, and say whether the copy is whole: "ok", or what is wrong with it."""
    with engine.connect() as connection, closing(sqlite3.connect(path)) as copy:
        raw = connection.connection.driver_connection
        if not isinstance(raw, sqlite3.Connection):
            raise TypeError(f"a connection of {type(raw)!r}")
        raw.backup(copy)
        # One file that is whole, without a log beside it.
        copy.execute("PRAGMA journal_mode = DELETE")
        return str(copy.execute("PRAGMA integrity_check").fetchone()[0])
