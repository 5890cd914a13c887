"""Lines read as the text they stand in are worth what they are worth one by one."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from rollguard.config import Layer, default_text, load_layers
from rollguard.replay.reader import EventFile
from rollguard.streams import Decoded, Decoder, Text, reading

SETTINGS = load_layers([Layer(text=default_text(), name="default.yaml"), Layer(text="sources: {orders: {max_bytes: 400}}", name="test.yaml")])
GOOD = b'{"event_id":"o1","ts":1775001603094,"service":"a","region":"eu","version":"1","status":"placed"}'
#: What stands in a file: events, and what makes one line look like two or two like one.
PIECES = [
    GOOD,
    GOOD,
    GOOD,
    GOOD.replace(b'"o1"', b'"o2"'),
    GOOD.replace(b'"status":"placed"', b'"region":"us"'),
    GOOD.replace(b'"placed"', b"[{},\n{}]"),
    GOOD.replace(b'"placed"', b'{"a":{}\n}'),
    GOOD.replace(b'"placed"', b'"}\n{"'),
    GOOD.replace(b'"placed"', b'"\xff"'),
    GOOD.replace(b'"placed"', b'"\\u0065\\"}"'),
    GOOD.replace(b'"status"', b'"re\\u0067ion"'),
    GOOD.replace(b'"placed"', b"[" * 40 + b"]" * 40),
    GOOD.replace(b"1775001603094", b"1"),
    GOOD[:40],
    GOOD[40:],
    b'{"status":' + GOOD + b"}",
    b'{"pad":"' + b"x" * 400 + b'",' + GOOD[1:],
    *(bytes([octet]) for octet in b'\n\n\n\n{}[]"\\,: \t\r\0\x0b1n'),
    b"\xef\xbb\xbf",
    b"{}",
    b"null",
]
FILES = st.lists(st.sampled_from(PIECES) | st.just(b"\n") | st.binary(max_size=3), max_size=12).map(b"".join)
LINES = st.lists(st.lists(st.sampled_from(PIECES), min_size=1, max_size=2).map(b"".join) | st.just(GOOD), max_size=8).map(b"\n".join)


def shown(decoded: Decoded) -> tuple[object, ...]:
    labels = [decoded.keys[code] for code in decoded.key.tolist()]
    return decoded.index.tolist(), decoded.ts_ms.tolist(), decoded.ids, labels, decoded.filters, decoded.refusals, decoded.filtered


@example(GOOD + GOOD + b"\n\n")
@example(GOOD + b" " + GOOD + b"\n" + b"{}"[:1] + b"\n" + GOOD[1:])
@example(GOOD.replace(b'"placed"', b"{}\n{}"))
@example(GOOD + GOOD.replace(b'"placed"', b"[{},{}\n,{}]"))
@example(GOOD + GOOD.replace(b'"placed"', b'{"a":{}\n}'))
@example(b"\n".join([GOOD, b"", GOOD + GOOD, GOOD]))
@example(b"\n".join([GOOD + GOOD, b"  ", GOOD]))
@example(b"\n".join([GOOD + b"\r" + GOOD, b"\r", GOOD]))
@given(FILES | LINES)
def test_a_text_is_read_as_its_lines_are_one_by_one(file: bytes) -> None:
    lines = list(Text(file))
    decoder = Decoder(SETTINGS, "orders")
    assert shown(decoder.decode(Text(file))) == shown(decoder.decode(lines))
    alone = [decoder.decode([line]) for line in lines]
    assert decoder.decode(Text(file)).index.tolist() == [at for at, each in enumerate(alone) if len(each.index)]


#: Events whose labels are new, no text, none, escaped, or empty.
LABELLED = [
    GOOD.replace(b'"version":"1"', b'"version":' + version).replace(b'"eu"', region)
    for version in (b'"1"', b'"2"', b'"3"', b"1", b"2", b"null", b'"\\u0031"', b"1.5", b'""', b'"\xc3\xa4"')
    for region in (b'"eu"', b'"us"', b"7")
]


@example([LABELLED[0]] * 3 + [LABELLED[3]] + [LABELLED[0]] * 2, 1)
@given(st.lists(st.sampled_from(LABELLED) | st.sampled_from(PIECES), max_size=16), st.integers(1, 4))
def test_labels_whose_values_are_known_are_read_like_others(lines: list[bytes], at_once: int) -> None:
    file = b"\n".join(lines)
    with pytest.MonkeyPatch.context() as patch:
        for name, value in (("AT_ONCE", at_once), ("FEW", 2), ("TURNS", 3)):
            patch.setattr(reading, name, value)
        decoder = Decoder(SETTINGS, "orders")
        for _ in range(2):
            found = decoder.decode(Text(file))
            assert shown(found) == shown(Decoder(SETTINGS, "orders").decode(list(Text(file))))
            assert [type(value) for key in found.keys for value in key] == [str] * 3 * len(found.keys)


def test_a_broken_line_among_thousands_costs_only_itself() -> None:
    lines = [GOOD] * 5000
    lines[10], lines[2500], lines[4999] = GOOD[:-1], GOOD.replace(b'"status":"placed"', b'"region":"us"'), b""
    decoded = Decoder(SETTINGS, "orders").decode(Text(b"\n".join(lines) + b"\n"))
    assert [(each.index, each.reason) for each in decoded.refusals] == [(10, "json"), (2500, "twice"), (4999, "empty")]
    assert len(decoded.index) == 4997


@given(st.lists(st.sampled_from([b"", b"a", b"bc", b"\r"]), max_size=6), st.integers(-8, 8), st.integers(-8, 8), st.sampled_from([1, 2, -1]))
def test_a_text_is_a_sequence_of_its_lines(lines: list[bytes], start: int, stop: int, step: int) -> None:
    text = Text(b"".join(line + b"\n" for line in lines))
    assert (len(text), list(text), [text[at] for at in range(-len(lines), len(lines))]) == (len(lines), lines, lines + lines)
    assert list(text[start:stop:step]) == lines[start:stop:step]
    cut = max(0, start)
    again = Text.together([part for part in (text[:cut], text[cut:]) if isinstance(part, Text)] or [text])
    assert (list(again), again.text) == (lines, text.text)
    assert np.array_equal(again.ends, text.ends)
    with pytest.raises(IndexError):
        text[len(lines)]


@given(st.lists(st.sampled_from([b"a", b"bc", b"\n", b"\r\n", b"\r", b"\xef\xbb\xbf"]), max_size=30).map(b"".join), st.integers(1, 9))
def test_a_file_is_cut_into_lines_wherever_its_pieces_end(tmp_path_factory: pytest.TempPathFactory, file: bytes, piece: int) -> None:
    path = tmp_path_factory.mktemp("file") / "orders.jsonl"
    path.write_bytes(file)
    expected = [line.removesuffix(b"\r") for line in file.removeprefix(b"\xef\xbb\xbf").split(b"\n")]
    # What follows the last line end is a line only if anything stands there.
    if file in {b"", b"\xef\xbb\xbf"} or not file.rpartition(b"\n")[2]:
        expected.pop()
    assert read(path, piece) == (expected if file != b"\xef\xbb\xbf" else [b""])


def read(path: Path, piece: int) -> list[bytes]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(EventFile.__iter__.__globals__["PIECE"], ".jsonl", piece)
        patch.setitem(EventFile.__iter__.__globals__, "LINES", 4)
        batches = list(EventFile(path))
    assert [batch.numbers for batch in batches] == np.cumsum([1, *(len(batch.lines) for batch in batches)])[:-1].tolist()
    return [line for batch in batches for line in batch.lines]
