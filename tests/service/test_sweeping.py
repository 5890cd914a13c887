"""What the settings let go is worked out from the clock, and goes a few rows at a time."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

from rollguard.config import Layer, default_text, load_layers
from rollguard.service import cutoffs_of, swept
from rollguard.store import Batch, Cutoffs, Pruned, Store
from tests.store.rows import T0, a_line, an_incident

DAY_MS = 86_400_000
SETTINGS = load_layers([Layer(default_text(), "default.yaml")])


def test_the_shipped_settings_keep_the_ledger_for_ever_and_the_rest_for_a_while() -> None:
    assert cutoffs_of(SETTINGS, T0) == Cutoffs(incidents_ms=T0 - 400 * DAY_MS, outbox_ms=T0 - 90 * DAY_MS, releases_ms=T0 - 180 * DAY_MS, ledger_ms=None)


def test_all_that_is_over_goes_however_much_it_is(tmp_path: Path) -> None:
    n = 1_200
    with closing(Store.open(f"sqlite:///{tmp_path / 'rollguard.db'}")) as store:
        store.migrate()
        closed = an_incident(0, state="closed", closed_at_ms=T0)
        batch = Batch(from_offset=0, to_offset=n, timeline=tuple(a_line(offset) for offset in range(n)), incidents=(closed,))
        store.record("desk", store.claim("desk", "host-a", T0), batch, T0)
        seen: list[int] = []
        gone = swept(store, cutoffs_of(SETTINGS, T0 + 401 * DAY_MS), T0, on_batch=lambda so_far: seen.append(so_far.rows))
        assert gone == Pruned(timeline=n, incidents=1)
        # Several transactions, so that the desk is never kept waiting for long.
        assert len(seen) >= 3
        assert (store.timeline(), store.incidents()) == ([], [])
