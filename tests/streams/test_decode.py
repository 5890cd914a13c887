import json
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from rollguard.config import Layer, Settings, default_text, load_layers
from rollguard.streams import Decoded, Decoder
from rollguard.streams.refusal import MAX_DEPTH, REASONS, depth_of

TS = 1_775_001_603_094


def settings_of(text: str = "") -> Settings:
    return load_layers([Layer(text=default_text(), name="default.yaml"), Layer(text=text, name="test.yaml")])


DECODER = Decoder(settings_of(), "deliveries")
LAX = Decoder(settings_of(), "deliveries", lax=True)


def line(**fields: Any) -> bytes:
    event = {"event_id": "d1", "ts": TS, "service": "checkout", "region": "eu", "version": "1", "promised_minutes": 30} | fields
    return json.dumps({name: value for name, value in event.items() if value is not ...}).encode()


def raw(rest: bytes) -> bytes:
    """A good line with more behind it."""
    return line()[:-1] + b"," + rest + b"}"


def refusal(bad: bytes, decoder: Decoder = DECODER) -> tuple[str, str]:
    """Why a line is refused, and that the good ones around it are not."""
    decoded = decoder.decode([line(event_id="before"), bad, line(event_id="after")])
    assert decoded.index.tolist() == [0, 2]
    assert decoded.ids == ["before", "after"]
    assert [each.index for each in decoded.refusals] == [1]
    return decoded.refusals[0].reason, decoded.refusals[0].detail


def plain(decoded: Decoded) -> list[Any]:
    """All of it, line by line."""
    keys = [decoded.keys[code] for code in decoded.key.tolist()]
    numbers = [[None if np.isnan(value) else value for value in column.tolist()] for _, column in sorted(decoded.numbers.items())]
    events = zip(decoded.index.tolist(), decoded.ts_ms.tolist(), decoded.ids or [], keys, *numbers, strict=True)
    return sorted([*events, *((each.index, each.reason, each.detail) for each in decoded.refusals)], key=lambda each: each[0])


BAD = {
    "empty": [b"", b"  \t\r"],
    "size": [line(note="x" * 70_000), b"x" * 70_000],
    "bom": [b"\xef\xbb\xbf" + line()],
    "nul": [b"\0" * 100, line()[:-5] + b"\0" + line()[-5:]],
    "utf8": [b"\xff\xfe{", b"\x1f\x8b\x08", raw(b'"note":"\xff"'), line()[:-1] + b',"n\xc3":1}'],
    "depth": [
        b"[" * 60_000,
        raw(b'"note":' + b"[" * 32_000 + b"]" * 32_000),
        raw(b'"note":' + b'{"a":' * 12_000),
        raw(b'"note":' + b"[" * MAX_DEPTH + b"]" * MAX_DEPTH),
        raw(b'"promised_minutes":' + b"[" * 900 + b"]" * 900),
    ],
    "json": [b"{", b"not json", line() + b"x", line() + line(), line()[:40], raw(b'"n":01'), line(event_id="?").replace(b"?", b"\\ud800"), b'{"a":1,}'],
    "shape": [b"3", b'"text"', b"null", b"[]", b"[" + line() + b"]", b"true"],
    "missing": [
        b"{}",
        line(ts=...),
        line(event_id=...),
        line(service=...),
        line(region=...),
        line(region=None),
        line(event_id=None),
        line(service=""),
        line(event_id=""),
    ],
    "type": [
        line(promised_minutes="30"),
        line(promised_minutes=True),
        line(promised_minutes=[]),
        line(region=["eu"]),
        line(service=1.5),
        line(version=True),
        line(version={}),
        line(event_id=1.0),
        line(event_id=2**64),
        line(event_id={"a": 1}),
    ],
    "number": [
        line(promised_minutes=1e13),
        line(promised_minutes=-1.1e12),
        line(promised_minutes=2**70),
        line(promised_minutes=10**30),
        line(promised_minutes=...)[:-1] + b',"promised_minutes":1e400}',
        line(promised_minutes=float("nan")),
        line(promised_minutes=float("-inf")),
        raw(b'"note":NaN'),
        raw(b'"note":[1,Infinity]'),
    ],
    "time": [
        line(ts=True),
        line(ts=None),
        line(ts=1.5),
        line(ts=float(TS)),
        line(ts=0),
        line(ts=-TS),
        line(ts=TS // 1000),
        line(ts=TS * 1000),
        line(ts=TS * 10**6),
        line(ts=10**30),
        line(ts=int("9" * 4000)),
        line(ts=946_684_799_999),
        line(ts=4_102_444_800_000),
        line(ts=str(TS)),
        line(ts=""),
        line(ts="yesterday"),
        line(ts="2026-04-01"),
        line(ts="2026-04-01T00:00:00"),
        line(ts="2026-04-01T00:00:60Z"),
        line(ts="2026-04-01T24:00:00Z"),
        line(ts="2026-02-30T00:00:00Z"),
        line(ts="2026-W14-3T00:00:00Z"),
        line(ts="2026-04-01T00:00:00+25:00"),
        line(ts="1999-12-31T23:59:59.999Z"),
        line(ts="2100-01-01T00:00:00Z"),
        line(ts="0001-01-01T00:00:00+14:00"),
        line(ts="9999-12-31T23:59:59-12:00"),
    ],
    "label": [line(service="x" * 201), line(version="\n"), line(region="a\0b"), line(region="\x1b[31m")],
    "twice": [
        raw(b'"ts":1775001603094'),
        raw(b'"region":"us"'),
        raw(b'"region" : "eu"'),
        raw(b'"\\u0072egion":"us"'),
        raw(b'"promised_minutes":null'),
        raw(b'"note":12345,"version":"2"'),
    ],
}


@pytest.mark.parametrize(("reason", "bad"), [(reason, bad) for reason, lines in BAD.items() for bad in lines], ids=lambda value: repr(value)[:48])
def test_a_bad_line_is_refused_for_its_reason_and_the_good_ones_around_it_are_kept(reason: str, bad: bytes) -> None:
    found, detail = refusal(bad)
    assert found == reason, detail
    assert len(detail) < 200
    assert detail.endswith(".")


def test_every_reason_but_the_future_has_an_example_here() -> None:
    assert sorted([*BAD, "future"]) == list(REASONS) == sorted(REASONS)


GOOD = [
    line(),
    line(version=...),
    line(version=None),
    line(promised_minutes=None),
    line(promised_minutes=...),
    line(promised_minutes=-3.5),
    line(promised_minutes=1e12),
    line(promised_minutes=0),
    line(promised_minutes=1e-320),
    line(note={"region": "nested", "ts": [1, {"service": 2}]}),
    line(note="ts", service="region"),
    line(note='é ☕ \\ " \\u0072egion'),
    line(service="zoë"),
    line(service="[[{{" * 20),
    line(note=[[[["x"]]]]),
    line(event_id="x" * 5000),
    line(note=int("1" * 4000)),
    raw(b'"note":1e400'),
    b"  " + line().replace(b": ", b" :\t") + b"\r",
]


@pytest.mark.parametrize("good", GOOD, ids=lambda value: repr(value[-60:]))
def test_what_is_not_read_may_hold_anything(good: bytes) -> None:
    assert DECODER.decode([good, line()]).refusals == ()


@given(st.lists(st.one_of(st.sampled_from(GOOD + [bad for lines in BAD.values() for bad in lines if len(bad) < 4000]), st.binary(max_size=20)), max_size=12))
@example([b'{"x":[1', b"2]}", line() + b"," + line()])
@example([line()[:-1] + b',"note":[' + line(), line() + b"]}"])
def test_a_line_is_read_as_if_it_stood_alone(lines: list[bytes]) -> None:
    together = plain(DECODER.decode(lines))
    alone = [plain(DECODER.decode([each]))[0] for each in lines]
    assert together == [(at, *each[1:]) for at, each in enumerate(alone)]


@given(st.binary(max_size=60))
def test_any_bytes_are_an_event_or_a_refusal(some: bytes) -> None:
    for decoder in (DECODER, LAX):
        decoded = decoder.decode([some])
        assert len(decoded.index) + len(decoded.refusals) == 1


JSON = st.recursive(st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5), lambda inner: st.lists(inner, max_size=3), max_leaves=4)


@given(st.fixed_dictionaries({}, optional=dict.fromkeys(["event_id", "ts", "service", "region", "version", "promised_minutes", "x"], JSON)))
def test_any_object_is_an_event_or_a_refusal(fields: dict[str, Any]) -> None:
    for decoder in (DECODER, LAX):
        decoded = decoder.decode([line(**fields), json.dumps(fields).encode()])
        assert len(decoded.index) + len(decoded.refusals) == 2


@pytest.mark.parametrize(
    ("text", "ms"),
    [
        ("2026-04-01T00:00:03.094Z", TS),
        ("2026-04-01T00:00:03.094z", TS),
        ("2026-04-01t00:00:03.094Z", TS),
        ("2026-04-01 00:00:03.094Z", TS),
        ("2026-04-01T00:00:03.0949Z", TS),
        ("2026-04-01T00:00:03.094999Z", TS),
        ("2026-04-01T02:00:03.094+02:00", TS),
        ("2026-03-31T20:30:03.094-03:30", TS),
        ("2026-04-01T00:00:03.094-00:00", TS),
        ("2026-04-01T00:00:03Z", TS - 94),
        ("2024-02-29T00:00:00Z", 1_709_164_800_000),
        ("2000-01-01T00:00:00Z", 946_684_800_000),
        ("2099-12-31T23:59:59.999Z", 4_102_444_799_999),
    ],
)
def test_a_time_with_an_offset_is_a_point_in_time(text: str, ms: int) -> None:
    decoded = DECODER.decode([line(ts=text), line()])
    assert decoded.ts_ms.tolist() == [ms, TS]


@pytest.mark.parametrize(
    ("ts", "hint"),
    [
        (TS // 1000, "looks like seconds: set `epoch: s`"),
        (TS * 1000, "looks like microseconds: set `epoch: us`"),
        (TS * 10**6, "looks like nanoseconds: set `epoch: ns`"),
        ("2026-04-01T00:00:00", "without an offset"),
        ("2026-04-01T00:00:60Z", "leap second"),
        (str(TS), "in quotes"),
    ],
)
def test_a_wrong_time_says_what_was_probably_meant(ts: object, hint: str) -> None:
    assert hint in refusal(line(ts=ts))[1]


def test_a_line_nested_a_hundred_thousand_deep_is_refused() -> None:
    decoder = Decoder(settings_of("sources: {deliveries: {max_bytes: 1000000}}"), "deliveries")
    for bad in (raw(b'"x":' + b"[" * 100_000 + b"]" * 100_000), b"[" * 100_000, raw(b'"x":' + b'{"a":' * 100_000 + b"1" + b"}" * 100_000)):
        assert refusal(bad, decoder)[0] == "depth"


def test_the_deepest_allowed_line_is_kept() -> None:
    deep = b"[" * (MAX_DEPTH - 1) + b"]" * (MAX_DEPTH - 1)
    assert DECODER.decode([raw(b'"x":' + deep)] * 3).refusals == ()
    assert depth_of(b'{"a":"\\"[[["}') == 1


def test_ids_and_labels_may_be_whole_numbers() -> None:
    decoded = DECODER.decode([line(event_id=7, service=12), line(event_id="7", service="12"), line(event_id=-(2**63))])
    assert decoded.ids == ["7", "7", str(-(2**63))]
    assert [decoded.keys[code] for code in decoded.key.tolist()] == [("12", "eu", "1"), ("12", "eu", "1"), ("checkout", "eu", "1")]


def test_a_compare_label_may_be_absent() -> None:
    decoded = DECODER.decode([line(version=...), line(version=None), line(version="")])
    assert decoded.keys == [("checkout", "eu", "")]
    assert decoded.key.tolist() == [0, 0, 0]


def test_long_ids_are_kept_as_short_ones_that_still_differ() -> None:
    decoded = DECODER.decode([line(event_id="x" * 999), line(event_id="x" * 999), line(event_id="x" * 1000)])
    assert decoded.ids is not None
    assert max(map(len, decoded.ids)) <= 64
    assert decoded.ids[0] == decoded.ids[1] != decoded.ids[2]


def test_fields_have_the_names_that_the_config_gives_them() -> None:
    settings = settings_of("sources: {orders: {fields: {ts: at, id: order/no, service: svc, region: où}}}")
    decoded = Decoder(settings, "orders").decode(
        [json.dumps({"at": TS, "order/no": "o1", "svc": "s", "où": "r"}, ensure_ascii=flag).encode() for flag in (True, False)]
    )
    assert decoded.refusals == ()
    assert decoded.ids == ["o1", "o1"]
    assert decoded.keys == [("s", "r", "")]


def test_filters_compare_texts() -> None:
    settings = settings_of("metrics: {errors: {where: {code: [500]}}}\nsources: {errors: {fields: {code: code}}}")
    lines = [line(code=code) for code in (500, "500", 500.0, 500.5, True, None, ...)]
    assert Decoder(settings, "errors").decode(lines).filters == {"code": ["500", "500", "500", "500.5", "true", None, None]}


def test_lax_reads_numbers_in_quotes_and_takes_an_empty_text_for_nothing() -> None:
    decoded = LAX.decode(
        [line(ts=str(TS), promised_minutes=" 3.5e1 ", version=""), line(promised_minutes=""), line(ts="2026-04-01T00:00:03.094Z", promised_minutes="-.5")]
    )
    assert decoded.refusals == ()
    assert decoded.ts_ms.tolist() == [TS] * 3
    assert plain(decoded)[0][-1] == 35.0
    assert plain(decoded)[1][-1] is None
    assert plain(decoded)[2][-1] == -0.5


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (line(ts=""), "missing"),
        (line(event_id=""), "missing"),
        (line(region=""), "missing"),
        (line(promised_minutes="nan"), "type"),
        (line(promised_minutes="1e400"), "number"),
        (line(promised_minutes="1e13"), "number"),
        (line(promised_minutes="0x10"), "type"),
        (line(promised_minutes="1,5"), "type"),
        (line(ts=str(TS // 1000)), "time"),
        (line(ts="1.5"), "time"),
        (b"[]", "shape"),
        (b"{", "json"),
    ],
)
def test_lax_is_strict_about_the_rest(bad: bytes, reason: str) -> None:
    assert refusal(bad, LAX)[0] == reason


def test_no_lines_give_no_events() -> None:
    decoded = DECODER.decode([])
    assert (len(decoded.index), decoded.keys, decoded.refusals) == (0, [], ())
