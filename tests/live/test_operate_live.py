"""The commands of docs/operate.md that read topics, on a real broker."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from rollguard.service import open_store
from rollguard.store import LedgerRow
from tests.cli.terminal import said
from tests.live.servers import Broker, Names, until
from tests.live.workers import Service, shop_topics
from tests.properties import shop as shops
from tests.test_operate import WITH_KAFKA, commands


def test_what_reads_topics_works_as_the_page_says(
    broker: Broker, names: Names, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shop_topics(broker, names, partitions=1)
    order = {"event_id": "o-4711", "ts": shops.START_MS, "service": "checkout", "region": "eu-west", "version": "1"}
    with Service(broker, tmp_path / "live", names) as service:
        service.send(names.topic("orders"), [msgspec.json.encode(order | {"ts": "soon"})])
        worker = service.ready("--only", "ingest")
        until(lambda: service.end_of(service.topic("deadletter")) >= 1, "the refused record is put away")
        assert worker.end() == 0
        config = service.path().read_text(encoding="utf-8")
        monkeypatch.chdir(tmp_path)
        for name in ("shop.yaml", "new.yaml"):
            Path(name).write_text(config, encoding="utf-8")
        store = open_store(service.settings)
        store.append([LedgerRow(at_ms=1, kind="command.ack", body=b'{"reason":"o-4711 called"}')])
        store.close()
        told = {" ".join(words): said(monkeypatch, capsys, *words) for words in commands() if words[0] in WITH_KAFKA}
    assert all(found.err == "" for found in told.values())
    # Nothing was counted with the settings of before: there is nothing to fill.
    assert {found.code for words, found in told.items() if words.startswith("backfill")} == {0}
    for words in ("forget -c shop.yaml --order o-4711 --dry-run", "forget -c shop.yaml --order o-4711"):
        assert told[words].code == 1
        assert "ledger 1: stands in the chain" in told[words].out
        assert "dead letter 0@0 of 20" in told[words].out
