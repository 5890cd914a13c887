"""`rollguard ledger`: a whole ledger is said to be whole, and the first entry that somebody touched is named."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path

import pytest

from rollguard.store import LedgerRow, Store
from tests.cli.terminal import said


@pytest.fixture
def config(tmp_path: Path) -> str:
    """Of a service with nine entries in its ledger."""
    store = Store.open(f"sqlite:///{tmp_path / 'rollguard.db'}")
    store.migrate()
    store.append(LedgerRow(at_ms=number, kind="decided.page", body=b"{}") for number in range(9))
    store.close()
    (tmp_path / "shop.yaml").write_text(f'store: {{url: "sqlite:///{tmp_path / "rollguard.db"}"}}\n', encoding="utf-8")
    return str(tmp_path / "shop.yaml")


def test_a_whole_ledger_is_whole_also_against_its_own_head(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], config: str) -> None:
    anchor = said(monkeypatch, capsys, "ledger", "head", "-c", config).out.strip()
    assert anchor.startswith("9:")
    told = said(monkeypatch, capsys, "ledger", "verify", "-c", config, "--anchor", anchor)
    assert (told.code, told.out) == (0, "9 entries, all as they were written, held against 1 anchor.\n")


@pytest.mark.parametrize(
    ("sql", "entry", "problem"),
    [
        ("UPDATE ledger SET body = x'00' WHERE seq = 4", 4, "altered"),
        ("DELETE FROM ledger WHERE seq = 4", 4, "missing"),
        ("DELETE FROM ledger WHERE seq = 9", 9, "missing"),
    ],
)
def test_the_first_entry_that_was_touched_is_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], config: str, tmp_path: Path, sql: str, entry: int, problem: str
) -> None:
    with sqlite3.connect(tmp_path / "rollguard.db") as connection:
        connection.execute(sql)
    connection.close()
    told = said(monkeypatch, capsys, "ledger", "verify", "-c", config)
    assert told.code == 1
    assert told.out.startswith(f"entry {entry}: {problem}. ")
    flaws = json.loads(said(monkeypatch, capsys, "ledger", "verify", "-c", config, "--json").out)
    assert (flaws[0]["seq"], flaws[0]["problem"]) == (entry, problem)


def test_a_ledger_whose_end_was_cut_off_with_its_head_is_found_by_an_anchor(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], config: str, tmp_path: Path
) -> None:
    anchor = said(monkeypatch, capsys, "ledger", "head", "-c", config).out.strip()
    with sqlite3.connect(tmp_path / "rollguard.db") as connection:
        connection.execute("DELETE FROM ledger WHERE seq > 6")
        connection.execute("UPDATE ledger_head SET seq = 6, hash = (SELECT hash FROM ledger WHERE seq = 6)")
    connection.close()
    assert said(monkeypatch, capsys, "ledger", "verify", "-c", config).code == 0
    told = said(monkeypatch, capsys, "ledger", "verify", "-c", config, "--anchor", anchor)
    assert told.code == 1
    assert told.out.startswith("entry 7: missing. Entries 7 to 9 cannot be found.")


def test_an_anchor_that_is_none_is_refused(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], config: str) -> None:
    told = said(monkeypatch, capsys, "ledger", "verify", "-c", config, "--anchor", "nine")
    assert told.code == 2
    assert "Expected: NUMBER:HASH" in told.err
