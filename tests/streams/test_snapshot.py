import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rollguard.config import Settings, default_text, load
from rollguard.streams import SnapshotError
from rollguard.streams.rows import Rows
from rollguard.streams.snapshot import PackedRows, packed, packed_rows, unpacked, unpacked_rows


class Body(msgspec.Struct, frozen=True, kw_only=True):
    text: str
    numbers: list[int]


def settings() -> Settings:
    return load(default_text(), name="default.yaml")


SETTINGS = settings()


@given(st.text(), st.lists(st.integers(-(2**63), 2**63 - 1)))
def test_what_was_packed_comes_out_again(text: str, numbers: list[int]) -> None:
    body = Body(text=text, numbers=numbers)
    assert unpacked("stage", SETTINGS, packed("stage", SETTINGS, body), Body) == body


@given(st.binary(max_size=200))
def test_any_other_bytes_are_refused(data: bytes) -> None:
    with pytest.raises(SnapshotError):
        unpacked("stage", SETTINGS, data, Body)


@given(st.integers(0, 10_000), st.integers(1, 255))
def test_a_damaged_snapshot_is_refused(at: int, flip: int) -> None:
    data = bytearray(packed("stage", SETTINGS, Body(text="abc", numbers=[1, 2])))
    data[at % len(data)] ^= flip
    with pytest.raises(SnapshotError, match="refused"):
        unpacked("stage", SETTINGS, bytes(data), Body)


def test_another_stage_is_named() -> None:
    with pytest.raises(SnapshotError, match="its stage is one, expected other"):
        unpacked("other", SETTINGS, packed("one", SETTINGS, Body(text="", numbers=[])), Body)


def test_columns_that_do_not_fit_are_refused() -> None:
    one = packed_rows(Rows.none())
    eight = bytes(8)
    for bad in (
        PackedRows(bucket=eight, measure=one.measure, key=one.key, bin=one.bin, value=one.value),
        PackedRows(bucket=bytes(7), measure=one.measure, key=one.key, bin=one.bin, value=one.value),
        PackedRows(bucket=eight, measure=bytes(2), key=(5).to_bytes(4, "little"), bin=bytes(2), value=eight),
    ):
        with pytest.raises(SnapshotError):
            unpacked_rows(bad, 5)


def test_a_snapshot_of_a_newer_version_says_what_to_do() -> None:
    sealed = msgspec.msgpack.decode(packed("stage", SETTINGS, Body(text="", numbers=[])))
    for version, problem in ((99, r"a newer Rollguard made it \(format 99; this one reads up to 2\). Run the newer version again"), (1, "no longer read")):
        with pytest.raises(SnapshotError, match=problem):
            unpacked("stage", SETTINGS, msgspec.msgpack.encode(sealed | {"version": version}), Body)
