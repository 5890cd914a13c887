from __future__ import annotations

import json

import msgspec

from rollguard.store import Batch, LedgerRow, Mention, Store
from tests.store.rows import T0, a_line, a_page, an_incident

WHO = 'Zoë "o-4711"'


def told(store: Store, *, ascii_only: bool) -> None:
    """A person names an order in what they write."""
    body = json.dumps({"reason": f"{WHO} called"}, ensure_ascii=ascii_only).encode()
    batch = Batch(
        from_offset=0,
        to_offset=3,
        timeline=(msgspec.structs.replace(a_line(0), line=body), a_line(1)),
        incidents=(msgspec.structs.replace(an_incident(2), body=body),),
        outbox=(msgspec.structs.replace(a_page(1), body=body),),
        ledger=(LedgerRow(at_ms=T0, kind="command.ack", body=body, offset=2),),
    )
    store.record("desk", store.claim("desk", "host-a", T0), batch, T0)


def test_a_name_goes_wherever_it_stands_and_the_ledger_says_where_it_stays(store: Store) -> None:
    told(store, ascii_only=False)
    expected = [
        Mention(table="timeline", row="inc-1/0/0"),
        Mention(table="incidents", row="inc-1"),
        Mention(table="outbox", row="page/inc-1/1"),
        Mention(table="ledger", row="1"),
    ]
    assert store.mentions([WHO]) == expected
    assert store.redact([WHO]) == expected
    assert store.mentions([WHO]) == expected[-1:]
    assert json.loads(store.timeline()[0].line) == {"reason": "[forgotten] called"}
    assert json.loads(store.outbox()[0].body) == {"reason": "[forgotten] called"}
    # The chain is as it was.
    assert store.verify() == []


def test_a_name_is_found_however_json_writes_it(store: Store) -> None:
    told(store, ascii_only=True)
    assert len(store.redact([WHO])) == 4
    assert json.loads(store.incidents()[0].body) == {"reason": "[forgotten] called"}


def test_of_who_is_not_named_nothing_changes(store: Store) -> None:
    told(store, ascii_only=False)
    assert store.redact(["o-9999"]) == []
