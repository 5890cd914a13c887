"""The commands of docs/operate.md do what it says: those that need no Kafka, one after the other, in the order of the page."""

from __future__ import annotations

import re
from contextlib import closing
from pathlib import Path

import pytest

from rollguard.store import LedgerRow, Store
from tests.cli.terminal import said
from tests.service.test_restoring import DUMP, RESTORE
from tests.store.rows import T0, a_batch

PAGE = Path(__file__).parents[1] / "docs" / "operate.md"
#: These read topics: tests/live/test_operate_live.py runs them.
WITH_KAFKA = ("backfill", "forget")


def commands() -> list[list[str]]:
    """Words of every command that stands in a block of the console."""
    blocks = re.findall(r"```console\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    lines = [line for block in blocks for line in block.splitlines()]
    assert all(line.startswith("$ rollguard ") for line in lines)
    return [line.split()[2:] for line in lines]


def test_every_command_of_the_page_works(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    Path("shop.yaml").write_text("environment: production\n", encoding="utf-8")
    with closing(Store.open("sqlite:///rollguard.db")) as store:
        store.migrate()
        store.append([LedgerRow(at_ms=1, kind="note", body=b"{}") for _ in range(3)])
        store.record("desk", store.claim("desk", "host-a", T0), a_batch(0, 9), T0)
    told: dict[str, str] = {}
    for words in commands():
        if words[0] in WITH_KAFKA:
            continue
        found = said(monkeypatch, capsys, *words)
        assert (found.code, found.err) == (0, ""), words
        told[" ".join(words)] = found.out
    assert len(told) >= 9
    assert told["database version -c shop.yaml"].startswith("Schema 0003. Known: 0001, 0002, 0003.")
    assert "schema 0003 -> 0002" in told["database downgrade -c shop.yaml --to 0002"]
    # The one incident is open: whatever its age, nothing of it went.
    assert told["database prune -c shop.yaml --older-than 90d"] == (
        "deleted: 0 lines of timelines, 0 rows of the outbox, 0 incidents, 0 versions, 0 entries of the ledger\n"
    )
    with closing(Store.open("sqlite:///rollguard.db")) as store:
        assert store.ledger()[0].seq > 3
    assert "as they were written" in told["ledger verify -c shop.yaml"]
    with closing(Store.open("sqlite:///backup.db")) as copy:
        assert [row.incident_id for row in copy.incidents(is_open=True)] == ["inc-1"]


def test_what_is_too_young_to_go_is_refused(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    Path("shop.yaml").write_text("environment: production\n", encoding="utf-8")
    for words, problem in (
        (["--older-than", "10d"], "Expected: 40d at least"),
        (["--older-than", "soon"], "Expected: a whole number and a unit"),
        (["--ledger"], "older than what?"),
    ):
        found = said(monkeypatch, capsys, "database", "prune", "-c", "shop.yaml", *words)
        assert found.code == 2
        assert problem in found.err


def test_a_schema_goes_back_to_no_later_step(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    Path("shop.yaml").write_text("environment: production\n", encoding="utf-8")
    assert "empty" in said(monkeypatch, capsys, "database", "version", "-c", "shop.yaml").out
    assert said(monkeypatch, capsys, "database", "upgrade", "-c", "shop.yaml").out == "schema none -> 0003\n"
    assert said(monkeypatch, capsys, "database", "upgrade", "-c", "shop.yaml").out == "schema 0003, as before\n"
    found = said(monkeypatch, capsys, "database", "downgrade", "-c", "shop.yaml", "--to", "0009")
    assert found.code == 1
    assert "Nothing was changed. Expected one of 0001, 0002, 0003" in found.err


def test_the_page_names_the_commands_of_postgresql_that_are_tested() -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert DUMP.format(file="rollguard.dump", address="postgresql://rollguard@db/rollguard") in page
    assert RESTORE.format(file="rollguard.dump", address="postgresql://rollguard@db/restored") in page
