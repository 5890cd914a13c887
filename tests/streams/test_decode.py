import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rollguard.config import Layer, Settings, default_text, load_layers
from rollguard.streams import Decoded, Decoder
from rollguard.streams.refusal import MAX_DEPTH, REASONS, depth_of

TS = 1_775_001_603_094


def settings_of(text: str = "") -> Settings:
    return load_layers([Layer(text=default_text(), name="default.yaml"), Layer(text=text, name="test.yaml")])


#: Objects around the fields of a nested event.
WAYS = {
    "event_id": ("meta",),
    "ts": ("meta", "at"),
    "service": ("order", "shop"),
    "region": ("order", "shop"),
    "version": ("order", "build"),
    "promised_minutes": ("order",),
}


class Form:
    """One way in which the same fields stand in events, and what reads them.

    Parameters
    ----------
    path : str
        How the config names a field: `{way}` are the objects around it, `{name}` is its own key; empty: all stand at the top.
    more : str
        More config.
    """

    def __init__(self, path: str = "", more: str = "", *, lax: bool = False) -> None:
        self.ways = WAYS if path else {}
        # Null is no time, but to an expression it is nothing at all: the time has a plain way in every form.
        paths = {name: (path if name != "ts" else "{way}.{name}").format(way=".".join(way), name=name) for name, way in self.ways.items()}
        fields = {"id" if name == "event_id" else name: {"path": found} for name, found in paths.items()}
        layers = [default_text(), json.dumps({"sources": {"deliveries": {"fields": fields}}}), more]
        self.decoder = Decoder(load_layers([Layer(text, "test.yaml") for text in layers]), "deliveries", lax=lax)

    def event(self, **fields: Any) -> dict[str, Any]:
        usual = {"event_id": "d1", "ts": TS, "service": "checkout", "region": "eu", "version": "1", "promised_minutes": 30, "type": "delivery"}
        event: dict[str, Any] = {}
        for name, value in (usual | fields).items():
            holder = self.around(event, name)
            if value is not ...:
                holder[name] = value
        return event

    def around(self, event: dict[str, Any], name: str) -> dict[str, Any]:
        for key in self.ways.get(name, ()):
            event = event.setdefault(key, {})
        return event

    def line(self, **fields: Any) -> bytes:
        return json.dumps(self.event(**fields)).encode()

    def raw(self, rest: bytes, beside: str = "") -> bytes:
        """A good line with more behind it, or behind the fields around one field."""
        event = self.event()
        self.around(event, beside)["?"] = 0
        return json.dumps(event).encode().replace(b'"?": 0', rest)


FLAT = Form()
NESTED = Form("{way}.{name}")
#: The same ways as expressions, which have to be searched for.
SEARCHED = Form("{way} | {name}")
SIFTED = Form(more="sources: {deliveries: {where: {type: [delivery, 7]}, fields: {type: type}}}")
FORMS = {"flat": FLAT, "nested": NESTED, "searched": SEARCHED, "sifted": SIFTED}
DECODER = FLAT.decoder
LAX = Form(lax=True).decoder
line = FLAT.line
raw = FLAT.raw


def refusal(bad: bytes, decoder: Decoder = DECODER, form: Form = FLAT) -> tuple[str, str]:
    """Why a line is refused, and that the good ones around it are not."""
    decoded = decoder.decode([form.line(event_id="before"), bad, form.line(event_id="after")])
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


def bad_lines(form: Form) -> dict[str, list[bytes]]:
    """Lines that are refused, by their reason."""
    return {
        "empty": [b"", b"  \t\r"],
        "size": [form.line(note="x" * 70_000), b"x" * 70_000],
        "bom": [b"\xef\xbb\xbf" + form.line()],
        "nul": [b"\0" * 100, form.line()[:-5] + b"\0" + form.line()[-5:]],
        "utf8": [b"\xff\xfe{", b"\x1f\x8b\x08", form.raw(b'"note":"\xff"'), form.line()[:-1] + b',"n\xc3":1}'],
        "depth": [
            b"[" * 60_000,
            form.raw(b'"note":' + b"[" * 32_000 + b"]" * 32_000),
            form.raw(b'"note":' + b'{"a":' * 12_000),
            form.raw(b'"note":' + b"[" * MAX_DEPTH + b"]" * MAX_DEPTH),
            form.line(promised_minutes="?").replace(b'"?"', b"[" * 900 + b"]" * 900),
        ],
        "json": [
            b"{",
            b"not json",
            form.line() + b"x",
            form.line() + form.line(),
            form.line()[:40],
            form.raw(b'"n":01'),
            form.line(event_id="?").replace(b"?", b"\\ud800"),
            b'{"a":1,}',
        ],
        "shape": [b"3", b'"text"', b"null", b"[]", b"[" + form.line() + b"]", b"true"],
        "missing": [
            form.line(**dict.fromkeys(WAYS, ...)),
            form.line(ts=...),
            form.line(event_id=...),
            form.line(service=...),
            form.line(region=...),
            form.line(region=None),
            form.line(event_id=None),
            form.line(service=""),
            form.line(event_id=""),
        ],
        "type": [
            form.line(promised_minutes="30"),
            form.line(promised_minutes=True),
            form.line(promised_minutes=[]),
            form.line(region=["eu"]),
            form.line(service=1.5),
            form.line(version=True),
            form.line(version={}),
            form.line(event_id=1.0),
            form.line(event_id=2**64),
            form.line(event_id={"a": 1}),
        ],
        "number": [
            form.line(promised_minutes=1e13),
            form.line(promised_minutes=-1.1e12),
            form.line(promised_minutes=2**70),
            form.line(promised_minutes=10**30),
            form.line(promised_minutes="?").replace(b'"?"', b"1e400"),
            form.line(promised_minutes=float("nan")),
            form.line(promised_minutes=float("-inf")),
            form.raw(b'"note":NaN'),
            form.raw(b'"note":[1,Infinity]'),
        ],
        "time": [
            form.line(ts=True),
            form.line(ts=None),
            form.line(ts=1.5),
            form.line(ts=float(TS)),
            form.line(ts=0),
            form.line(ts=-TS),
            form.line(ts=TS // 1000),
            form.line(ts=TS * 1000),
            form.line(ts=TS * 10**6),
            form.line(ts=10**30),
            form.line(ts=int("9" * 4000)),
            form.line(ts=946_684_799_999),
            form.line(ts=4_102_444_800_000),
            form.line(ts=str(TS)),
            form.line(ts=""),
            form.line(ts="yesterday"),
            form.line(ts="2026-04-01"),
            form.line(ts="2026-04-01T00:00:00"),
            form.line(ts="2026-04-01T00:00:60Z"),
            form.line(ts="2026-04-01T24:00:00Z"),
            form.line(ts="2026-02-30T00:00:00Z"),
            form.line(ts="2026-W14-3T00:00:00Z"),
            form.line(ts="2026-04-01T00:00:00+25:00"),
            form.line(ts="1999-12-31T23:59:59.999Z"),
            form.line(ts="2100-01-01T00:00:00Z"),
            form.line(ts="0001-01-01T00:00:00+14:00"),
            form.line(ts="9999-12-31T23:59:59-12:00"),
        ],
        "label": [form.line(service="x" * 201), form.line(version="\n"), form.line(region="a\0b"), form.line(region="\x1b[31m")],
        "twice": [
            form.raw(b'"ts":1775001603094', "ts"),
            form.raw(b'"region":"us"', "region"),
            form.raw(b'"region" : "eu"', "region"),
            form.raw(b'"\\u0072egion":"us"', "region"),
            form.raw(b'"promised_minutes":null', "promised_minutes"),
            form.raw(b'"note":12345,"version":"2"', "version"),
        ],
    }


def good_lines(form: Form) -> list[bytes]:
    """Lines that are kept, whatever else stands in them."""
    return [
        form.line(),
        form.line(version=...),
        form.line(version=None),
        form.line(promised_minutes=None),
        form.line(promised_minutes=...),
        form.line(promised_minutes=-3.5),
        form.line(promised_minutes=1e12),
        form.line(promised_minutes=0),
        form.line(promised_minutes=1e-320),
        form.line(note={"region": "nested", "ts": [1, {"service": 2}]}),
        form.line(note="ts", service="region"),
        form.line(note='é ☕ \\ " \\u0072egion'),
        form.line(service="zoë"),
        form.line(service="[[{{" * 20),
        form.line(note=[[[["x"]]]]),
        form.line(event_id="x" * 5000),
        form.line(note=int("1" * 4000)),
        form.raw(b'"note":1e400'),
        b"  " + form.line().replace(b": ", b" :\t") + b"\r",
    ]


BAD = {name: bad_lines(form) for name, form in FORMS.items()}
GOOD = {name: good_lines(form) for name, form in FORMS.items()}
for name in ("nested", "searched"):
    BAD[name]["missing"] += [
        b"{}",
        FORMS[name].line().replace(b'"order":', b'"odrer":'),
        FORMS[name].line(service=..., region=...).replace(b'"shop": {}', b'"shop": null'),
        FORMS[name].line(service=..., region=...).replace(b'"shop": {}', b'"shop": "checkout"'),
        FORMS[name].line(service=..., region=...).replace(b'"shop": {}', b'"shop": [{"service": "checkout", "region": "eu"}]'),
    ]
    BAD[name]["twice"] += [
        FORMS[name].line()[:-1] + b',"order":{"shop":{"service":"a","region":"b"}}}',
        FORMS[name].raw(b'"shop":{"service":"a","region":"b"}', "promised_minutes"),
        FORMS[name].raw(b'"build":null', "promised_minutes"),
        FORMS[name].raw(b'"\\u0062uild":7', "promised_minutes"),
    ]
    GOOD[name] += [
        FORMS[name].line(version=...),
        FORMS[name].line(version=...).replace(b'"build": {}', b'"build": null'),
        FORMS[name].line(version=...).replace(b'"build": {}', b'"build": "1"'),
        FORMS[name].line(version=...).replace(b'"build": {}', b'"build": [{"version": "1"}]'),
        FORMS[name].raw(b'"note":{"version":1,"version":2},"region":"eu","version":{}'),
    ]
#: A searched path may read anything beneath its first key.
BAD["searched"]["twice"].append(SEARCHED.raw(b'"note":[{"a":1,"b":{},"a":2}]', "service"))
GOOD["nested"].append(NESTED.raw(b'"note":[{"a":1,"b":{},"a":2}]', "service"))


@pytest.mark.parametrize(
    ("form", "reason", "bad"),
    [(form, reason, bad) for form in FORMS for reason, lines in BAD[form].items() for bad in lines],
    ids=lambda value: repr(value)[:48],
)
def test_a_bad_line_is_refused_for_its_reason_and_the_good_ones_around_it_are_kept(form: str, reason: str, bad: bytes) -> None:
    found, detail = refusal(bad, FORMS[form].decoder, FORMS[form])
    assert found == reason, detail
    assert len(detail) < 200
    assert detail.endswith(".")


def test_every_reason_but_the_future_and_a_weight_has_an_example_here() -> None:
    assert sorted([*BAD["flat"], "future", "weight"]) == list(REASONS) == sorted(REASONS)


@pytest.mark.parametrize(("form", "good"), [(form, good) for form in FORMS for good in GOOD[form]], ids=lambda value: repr(value[-60:]))
def test_what_is_not_read_may_hold_anything(form: str, good: bytes) -> None:
    assert FORMS[form].decoder.decode([good, FORMS[form].line()]).refusals == ()


@given(st.data(), st.sampled_from(sorted(FORMS)))
def test_a_line_is_read_as_if_it_stood_alone(data: st.DataObject, form: str) -> None:
    known = [*GOOD[form], *(bad for lines in BAD[form].values() for bad in lines if len(bad) < 4000), FORMS[form].line(type="other")]
    lines_alone(FORMS[form].decoder, data.draw(st.lists(st.one_of(st.sampled_from(known), st.binary(max_size=20)), max_size=12)))


@pytest.mark.parametrize("lines", [[b'{"x":[1', b"2]}", line() + b"," + line()], [line()[:-1] + b',"note":[' + line(), line() + b"]}"]])
def test_a_line_cannot_be_completed_by_its_neighbours(lines: list[bytes]) -> None:
    lines_alone(DECODER, lines)


def lines_alone(decoder: Decoder, lines: list[bytes]) -> None:
    together = decoder.decode(lines)
    alone = [decoder.decode([each]) for each in lines]
    assert plain(together) == [(at, *row[1:]) for at, each in enumerate(alone) for row in plain(each)]
    assert together.filtered == sum(each.filtered for each in alone)
    assert len(together.index) + len(together.refusals) + together.filtered == len(lines)


@given(st.binary(max_size=60))
def test_any_bytes_are_an_event_or_a_refusal(some: bytes) -> None:
    for decoder in (LAX, *(form.decoder for form in FORMS.values())):
        decoded = decoder.decode([some])
        assert len(decoded.index) + len(decoded.refusals) + decoded.filtered == 1


JSON = st.recursive(st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5), lambda inner: st.lists(inner, max_size=3), max_leaves=4)


FIELDS = st.fixed_dictionaries({}, optional=dict.fromkeys(["event_id", "ts", "service", "region", "version", "promised_minutes", "x"], JSON))


@given(FIELDS)
def test_any_object_is_an_event_or_a_refusal(fields: dict[str, Any]) -> None:
    for decoder in (LAX, *(form.decoder for form in FORMS.values())):
        decoded = decoder.decode([line(**fields), json.dumps(fields).encode()])
        assert len(decoded.index) + len(decoded.refusals) + decoded.filtered == 2


@given(FIELDS)
def test_where_a_field_stands_does_not_change_what_it_is_worth(fields: dict[str, Any]) -> None:
    """A member of an object, the same as an expression, and with a `where` before it: as at the top of the event."""
    told = [FORMS[form].decoder.decode([FORMS[form].line(**fields), FORMS[form].line()]) for form in ("flat", "nested", "searched", "sifted")]
    reasons = [[(each.index, each.reason) for each in decoded.refusals] for decoded in told]
    assert reasons == reasons[:1] * len(reasons)
    events = [[row for row in plain(decoded) if len(row) > 3] for decoded in told]
    assert events == events[:1] * len(events)


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


def test_a_key_that_stands_twice_is_found_among_texts_of_its_length_and_first_letter() -> None:
    alike = b'{"note":"region","rolled":"remote","region":"eu","service":"a","event_id":"e1","ts":1775001603094}'
    twice = alike.replace(b'"rolled":"remote"', b'"region":"us"')
    decoded = DECODER.decode([alike, twice, alike])
    assert decoded.index.tolist() == [0, 2]
    assert [(each.index, each.reason) for each in decoded.refusals] == [(1, "twice")]


def test_no_lines_give_no_events() -> None:
    decoded = DECODER.decode([])
    assert (len(decoded.index), decoded.keys, decoded.refusals) == (0, [], ())


@pytest.mark.parametrize(
    "other",
    [
        FLAT.line(type="other"),
        FLAT.line(type=...),
        FLAT.line(type=None),
        FLAT.line(type="7.0"),
        FLAT.line(type=True),
        FLAT.line(type=["delivery"]),
        FLAT.line(type={"delivery": 7}),
        FLAT.line(type="other", ts=0, service=[], promised_minutes="many", event_id=None),
        FLAT.raw(b'"type":"other"').replace(b'"type": "delivery", ', b"").replace(b'"ts":', b'"region":1,"ts":'),
        b"{}",
        b'{"type":"other"}',
    ],
    ids=repr,
)
def test_a_record_of_another_source_is_filtered_whatever_else_it_holds(other: bytes) -> None:
    decoded = SIFTED.decoder.decode([other, line(), other])
    assert (decoded.filtered, decoded.index.tolist(), decoded.refusals) == (2, [1], ())


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (b"[]", "shape"),
        (b'"other"', "shape"),
        (b'{"type":"other"', "json"),
        (b'{"type":"other","x":NaN}', "number"),
        (b'{"type":"other","x":"\xff"}', "utf8"),
        (b'{"type":"other","x":' + b"[" * 40 + b"]" * 40 + b"}", "depth"),
        (b'{"type":"other","x":"' + b"x" * 70_000 + b'"}', "size"),
        (b'{"type":"other","type":"delivery"}', "twice"),
        (b'{"type":"other","\\u0074ype":"delivery"}', "twice"),
        (b'{"type":1e400}', "number"),
        (b"", "empty"),
    ],
    ids=lambda value: repr(value)[:40],
)
def test_what_nobody_can_tell_the_source_of_is_refused(bad: bytes, reason: str) -> None:
    decoded = SIFTED.decoder.decode([bad, line(), b'{"type":"other"}'])
    assert [(each.index, each.reason) for each in decoded.refusals] == [(0, reason)]
    assert (decoded.filtered, decoded.index.tolist()) == (1, [1])


def test_a_source_can_be_chosen_by_a_label_a_path_and_more_than_one_field() -> None:
    where = "sources: {deliveries: {where: {service: [checkout, 7], kind: [a]}, fields: {kind: {path: 'kinds[0]'}}}}"
    decoder = Decoder(settings_of(where), "deliveries")
    lines = [line(kinds=["a", "b"]), line(kinds=["b"]), line(kinds=["a"], service="cart"), line(kinds=["a"], service=7), line(kinds=["a"], service=7.0), line()]
    decoded = decoder.decode(lines)
    assert (decoded.index.tolist(), decoded.filtered) == ([0, 3], 3)
    # It belongs to the source, and 7.0 is no label.
    assert [(each.index, each.reason) for each in decoded.refusals] == [(4, "type")]


def paths(**fields: str) -> Decoder:
    found = {name: {"path": path} for name, path in fields.items()}
    return Decoder(settings_of(json.dumps({"sources": {"deliveries": {"fields": found}}})), "deliveries")


@pytest.mark.parametrize(
    ("path", "event", "region"),
    [
        ("where.region", {"where": {"region": "eu"}}, "eu"),
        ('"where.region"', {"where.region": "eu"}, "eu"),
        ('"a\\"b".region', {'a"b': {"region": "eu"}}, "eu"),
        ("stops[-1].region", {"stops": [{"region": "us"}, {"region": "eu"}]}, "eu"),
        ("stops[?last].region | [0]", {"stops": [{"region": "us", "last": False}, {"region": "eu", "last": True}]}, "eu"),
        ("area || zone", {"zone": "eu"}, "eu"),
        ("*.region | [0]", {"region": None, "a": {"region": "eu"}}, "eu"),
        ("@.where.region", {"where": {"region": "eu"}}, "eu"),
        ("join('-', [continent, `\"1\"`])", {"continent": "eu"}, "eu-1"),
        ("max_by(stops, &at).region", {"stops": [{"region": "us", "at": 1}, {"region": "eu", "at": 2}]}, "eu"),
        ("length(stops)", {"stops": [1, 2]}, "2"),
        ("'eu'", {}, "eu"),
    ],
)
def test_a_path_is_followed_as_jmespath_says(path: str, event: dict[str, Any], region: str) -> None:
    decoded = paths(region=path).decode([line(**({"region": ...} | event))] * 2)
    assert decoded.refusals == ()
    assert decoded.keys == [("checkout", region, "1")]


@pytest.mark.parametrize(
    ("fields", "event", "reason", "words"),
    [
        ({"region": "stops[*].region"}, {"stops": [{"region": "eu"}]}, "type", "stops[*].region is an array, expected one value."),
        ({"ts": "at || when"}, {"at": {"s": 1}}, "type", "at || when is an object, expected one value."),
        ({"version": "{a: version}"}, {}, "type", "is an object"),
        ({"region": "length(stops)"}, {"stops": 5}, "type", "length(stops): length() does not take what stands there."),
        ({"region": "stops[0]"}, {"stops": []}, "missing", "has no field 'stops[0]'."),
        ({"region": "stops[0]"}, {"stops": [None]}, "missing", "has no field 'stops[0]'."),
        ({"region": "place.region"}, {"place": "eu"}, "missing", "has no field 'place.region'."),
        ({"region": "place.region"}, {"place": {"region": None}}, "missing", "field 'place.region' is null."),
        ({"promised_minutes": "to_number(minutes)"}, {"minutes": "nan"}, "number", "at most 10^12"),
        ({"promised_minutes": "to_number(minutes)"}, {"minutes": "inf"}, "number", "at most 10^12"),
        ({"promised_minutes": "ceil(to_number(minutes))"}, {"minutes": "inf"}, "type", "cannot be worked out"),
        ({"promised_minutes": "minutes == `1`"}, {"minutes": 1}, "type", "is true, expected a number"),
        ({"ts": "to_number(at)"}, {"at": "nan"}, "time", "expected whole milliseconds"),
    ],
)
def test_a_path_that_leads_to_no_plain_value_is_a_refusal(fields: dict[str, str], event: dict[str, Any], reason: str, words: str) -> None:
    decoded = paths(**fields).decode([line(**event)])
    assert [each.reason for each in decoded.refusals] == [reason]
    assert words in decoded.refusals[0].detail


def test_one_field_may_stand_inside_another() -> None:
    decoder = paths(version="build", region="build.region")
    decoded = decoder.decode([line(build="7", region="x"), line(build={"region": "eu"})])
    assert [each.detail for each in decoded.refusals] == ["has no field 'build.region'.", "build is an object, expected a text or a whole number."]


def test_a_path_and_a_name_for_the_same_key_are_one_field() -> None:
    decoded = paths(version="region").decode([line()])
    assert decoded.keys == [("checkout", "eu", "eu")]


def epoch(unit: str, *, lax: bool = False) -> Decoder:
    return Decoder(settings_of(f"sources: {{deliveries: {{epoch: {unit}}}}}"), "deliveries", lax=lax)


@pytest.mark.parametrize(
    ("unit", "ts", "ms"),
    [
        ("s", TS // 1000, TS - 94),
        ("s", TS / 1000, TS),
        ("s", (TS + 0.9) / 1000, TS),
        ("s", 1.775001603e9, TS - 94),
        ("s", 946_684_800, 946_684_800_000),
        ("s", 4_102_444_799.999, 4_102_444_799_999),
        ("us", TS * 1000, TS),
        ("us", TS * 1000 + 999, TS),
        ("ns", TS * 10**6, TS),
        ("ns", TS * 10**6 + 999_999, TS),
        *((unit, "2026-04-01T00:00:03.094Z", TS) for unit in ("ms", "s", "us", "ns")),
    ],
)
def test_a_time_is_a_number_of_the_unit_that_the_source_names_or_rfc_3339(unit: str, ts: object, ms: int) -> None:
    for lines in ([line(ts=ts)], [line(ts=ts), line(ts="2026-04-01T00:00:00Z")]):
        assert epoch(unit).decode(lines).ts_ms.tolist()[0] == ms
    assert epoch(unit, lax=True).decode([line(ts=str(ts))]).ts_ms.tolist() == [ms]


@given(st.integers(946_684_800_000, 4_102_444_799_999))
def test_milliseconds_survive_as_decimal_seconds(ms: int) -> None:
    text = f"{ms // 1000}.{ms % 1000:03}"
    assert epoch("s").decode([line(ts="?").replace(b'"?"', text.encode())]).ts_ms.tolist() == [ms]


@pytest.mark.parametrize(
    ("unit", "ts", "words"),
    [
        ("s", TS, "in seconds; it looks like milliseconds: set `epoch: ms`."),
        ("s", 4_102_444_799.9999999, "which is not between 2000 and 2100 in seconds."),
        ("s", True, "expected seconds since 1970 or RFC 3339"),
        ("us", TS, "in microseconds; it looks like milliseconds: set `epoch: ms`."),
        ("us", TS * 1000 + 0.5, "expected whole microseconds since 1970 or RFC 3339"),
        ("ns", TS * 1000, "it looks like microseconds: set `epoch: us`."),
        ("ns", 2**63, "which is not between 2000 and 2100 in nanoseconds."),
        ("ms", TS / 1000, "it looks like seconds: set `epoch: s`."),
        ("ns", "2026-04-01T00:00:00", "without an offset"),
    ],
)
def test_a_time_in_another_unit_is_refused_with_a_guess_at_it(unit: str, ts: object, words: str) -> None:
    for lines in ([line(ts=ts)], [line(ts=ts), line(ts="2026-04-01T00:00:00Z")]):
        refused = epoch(unit).decode(lines).refusals
        assert [each.reason for each in refused] == ["time"]
        assert words in refused[0].detail
