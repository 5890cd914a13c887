"""What a person is told of a rollback: that it helped and what it saved, as soon as that is sure, and once more when all is over."""

from __future__ import annotations

import msgspec

from rollguard.detectors import Signal
from rollguard.incidents import RolledBack
from rollguard.responders import Intent, Notice, Page, page_of
from rollguard.service.notices import rows_of
from tests.incidents.scenes import ONSET, Hurt, Shop, deploy, regional, settings_with
from tests.incidents.test_aftermath import DONE, told

LATE_MS = 20_000


def test_that_a_rollback_helped_and_what_it_saved_is_told_when_it_is_sure_and_at_the_end() -> None:
    shop = Shop(
        settings=settings_with(
            "respond: {link: 'https://wiki.example/{incident}', image: 'https://pictures.example/{incident}.png'}\nservices: {checkout: {runbook: 'https://wiki.example/checkout'}}"
        )
    )
    (left,) = [s for s in regional(shop) if isinstance(s, Signal)]
    shop.hurts = [Hurt("orders", 0.6, ONSET, DONE + 6, where={"region": "eu-west"})]
    returned = shop.returned("orders", DONE + 8, DONE + 6, region="eu-west")
    desk, entries = told(shop, [left, returned, *deploy()], done=True)
    record = RolledBack(incident_id=entries[0].incident_id, at_ms=0)
    rows = list(rows_of(record, entries, lambda _: None, shop.settings, offset=0, late_ms=LATE_MS, now_ms=0))
    (order,) = [msgspec.json.decode(row.body, type=Intent) for row in rows if row.kind == "rollback"]
    assert (order.plan.service, order.approved_by) == ("checkout", ())
    pages: list[Page] = [page_of(msgspec.json.decode(row.body, type=Notice), row.at_ms) for row in rows if row.kind == "page"]
    assert [page.event for page in pages][-2:] == ["trigger", "resolve"]
    for page in pages[-2:]:
        # Each pager shows the runbook by itself: once.
        assert [link.href for link in page.links] == [f"https://wiki.example/{page.dedup_key}"]
        assert page.image == f"https://pictures.example/{page.dedup_key}.png"
        assert page.runbook == "https://wiki.example/checkout"
        assert "the rollback of chg-1 helped" in " ".join(page.lines)
        assert "orders saved in the hour after it" in " ".join(page.lines)
    assert desk.incidents == []
