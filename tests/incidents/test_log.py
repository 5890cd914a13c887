"""The log that the desk reads, as bytes: what was written comes back, and what is none is refused."""

from __future__ import annotations

from typing import get_args

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rollguard.detectors import Tick
from rollguard.incidents import ChangeSeen, Command, Desk, Kill, LogCodec, LogError, LogRecord, Probe, Pulse, RolledBack
from tests.incidents import scenes

NUMBERS = st.integers(0, 2**53)


def story() -> list[LogRecord]:
    """A log in which a change hurts, with every kind of record."""
    shop = scenes.Shop(appeared={scenes.START + 1: (("checkout", "eu-west", "2.0"), ("payments", "eu-west", "7.0"))})
    records = list(shop.log(scenes.START, scenes.START + 8 * scenes.MINUTE, [*scenes.regional(shop), *scenes.deploy()]))
    now_ms = scenes.at_ms(scenes.START)
    said = Command(id="c-1", verb="ack", at_ms=now_ms, by="dana", incident_id="inc-1")
    return [*records, Kill(on=True), Probe(at_ms=now_ms), Pulse(at_ms=now_ms), RolledBack(incident_id="inc-1", at_ms=now_ms), said]


def test_every_kind_of_record_is_in_the_story() -> None:
    assert {type(record) for record in story()} == set(get_args(LogRecord))


def test_a_desk_concludes_from_the_bytes_what_it_concludes_from_the_records() -> None:
    shop, records, codec = scenes.Shop(), story(), LogCodec()
    assert Desk(shop.settings).feed(codec.decode(codec.encode(record)) for record in records) == Desk(shop.settings).feed(records)


def test_a_tick_comes_back_with_all_its_columns() -> None:
    codec = LogCodec()
    for record in story():
        found = codec.decode(codec.encode(record))
        if not isinstance(record, Tick):
            assert found == record
            continue
        assert isinstance(found, Tick)
        assert (found.bucket, found.ready, found.appeared) == (record.bucket, record.ready, record.appeared)
        for one, other in zip(found.accounts, record.accounts, strict=True):
            for name in one.__struct_fields__:
                mine, theirs = getattr(one, name), getattr(other, name)
                if name == "split" and mine is not None:
                    assert mine.keys == theirs.keys
                    assert all(np.array_equal(getattr(mine, column), getattr(theirs, column)) for column in ("key", "hits", "trials", "expected"))
                elif isinstance(mine, np.ndarray):
                    assert np.array_equal(mine, theirs)
                    assert mine.dtype == theirs.dtype
                else:
                    assert mine == theirs


def test_names_of_series_are_read_once_and_shared_from_tick_to_tick() -> None:
    codec = LogCodec()
    ticks = [found for record in story() if isinstance(record, Tick) and isinstance(found := codec.decode(codec.encode(record)), Tick)]
    assert len({id(account.series) for tick in ticks for account in tick.accounts}) == len(ticks[0].accounts)


@given(st.sampled_from(story()), st.data())
def test_damage_is_refused_or_read_as_what_it_could_be(record: LogRecord, data: st.DataObject) -> None:
    codec = LogCodec()
    value = codec.encode(record)
    cut = data.draw(st.integers(0, len(value) - 1))
    with pytest.raises(LogError):
        codec.decode(value[:cut])


@given(st.binary(max_size=60))
def test_bytes_of_something_else_are_refused(value: bytes) -> None:
    with pytest.raises(LogError):
        LogCodec().decode(value)


@given(NUMBERS, NUMBERS)
def test_ids_are_made_from_what_a_record_says(one: int, other: int) -> None:
    ids = {LogCodec.id_of(Pulse(at_ms=at_ms)) for at_ms in (one, other)}
    assert len(ids) == len({one, other})
    known = next(record for record in story() if isinstance(record, ChangeSeen))
    assert LogCodec.id_of(known) == LogCodec.id_of(known)
