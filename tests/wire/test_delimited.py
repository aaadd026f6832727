from __future__ import annotations

import pytest

from ctrlserver.errors import FramingError
from ctrlserver.wire.delimited import LONG, Delimited, Lines


def delimited(delimiter: bytes, limit: int = 100) -> Delimited:
    return Delimited(f"delimited:{delimiter.hex()}", limit, delimiter)


def test_lines_end_with_lf_and_one_cr_before_it_is_not_payload() -> None:
    framing = Lines.of(100)
    assert [b"a", b"b", b"", b"", b"c\r", b"d\re"] == framing.feed(b"a\nb\r\n\n\r\nc\r\r\nd\re\nf\r")
    assert 2 == framing.pending_bytes
    assert [b"f"] == framing.feed(b"\n")


def test_a_cr_at_the_end_of_a_chunk_is_payload_where_no_lf_follows() -> None:
    framing = Lines.of(100)
    assert [] == framing.feed(b"a\r")
    assert [b"a\rb"] == framing.feed(b"b\n")


def test_a_line_of_the_limit_may_end_with_crlf() -> None:
    for chunks in ([b"x" * 100 + b"\r\n"], [b"x" * 100, b"\r", b"\n"], [b"x" * 100 + b"\r", b"\n"]):
        framing = Lines.of(100)
        assert [b"x" * 100] == [line for chunk in chunks for line in framing.feed(chunk)]
        framing = Lines.of(100)
        assert 1 == sum(framing.count(chunk) for chunk in chunks)
        assert framing.fault is None


@pytest.mark.parametrize("chunks", [[b"x" * 101], [b"x" * 100 + b"\r", b"x"], [b"ok\n" + b"x" * 101 + b"\n"]])
def test_a_longer_line_is_a_fault_without_its_lf(chunks: list[bytes]) -> None:
    framing = Lines.of(100)
    for chunk in chunks:
        framing.count(chunk)
    assert "line: a packet of more than 100 bytes" == str(framing.fault)
    assert 0 == framing.pending_bytes


def test_a_line_that_would_not_come_back_is_not_encoded() -> None:
    framing = Lines.of(100)
    for payload in (b"a\nb", b"\n", b"a\r", b"\r"):
        with pytest.raises(FramingError, match=r"^line: the payload "):
            framing.encode(payload)


def test_a_delimiter_cut_anywhere_is_found() -> None:
    delimiter = b"<end>"
    stream = b"a<en" + delimiter + b"<e<end" + delimiter + delimiter
    for cut in range(len(stream) + 1):
        framing = delimited(delimiter)
        assert [b"a<en", b"<e<end", b""] == framing.feed(stream[:cut]) + framing.feed(stream[cut:])
        framing = delimited(delimiter)
        assert 3 == framing.count(stream[:cut]) + framing.count(stream[cut:])


def test_the_leftmost_delimiter_ends_a_packet() -> None:
    for chunks in ([b"a\n\n\nb\n\n"], [b"a\n", b"\n\nb\n", b"\n"], [b"a", b"\n", b"\n", b"\n", b"b\n\n"]):
        framing = delimited(b"\n\n")
        assert [b"a", b"\nb"] == [packet for chunk in chunks for packet in framing.feed(chunk)]
        framing = delimited(b"\n\n")
        assert 2 == sum(framing.count(chunk) for chunk in chunks)
        assert 0 == framing.pending_bytes
    framing = delimited(b"\n\n")
    assert 1 == framing.count(b"\n\n\n")
    assert 1 == framing.pending_bytes


def test_a_payload_that_makes_a_delimiter_of_its_end_is_not_encoded() -> None:
    assert b"a\n\r\n" == delimited(b"\r\n").encode(b"a\n")
    assert b"a\r\r\n" == delimited(b"\r\n").encode(b"a\r")
    with pytest.raises(FramingError, match="delimiter"):
        delimited(b"\n\n").encode(b"a\n")
    with pytest.raises(FramingError, match="delimiter"):
        delimited(b"\r\n").encode(b"a\r\nb")


def test_long_and_short_packets_in_one_chunk_are_all_counted() -> None:
    lines = [b"x" * LONG, b"", b"y", b"x" * (LONG - 1), b"x" * 2 * LONG, b"y"]
    for first in range(len(lines)):
        stream = b"".join(line + b"\n" for line in lines[first:] + lines[:first])
        assert 6 == Lines.of(10 * LONG).count(stream)
        assert 6 == Lines.of(2 * LONG).count(stream)


def test_a_packet_over_the_limit_among_others_in_one_chunk_is_a_fault() -> None:
    for stream in (b"a\n" + b"x" * 101 + b"\nb\n", b"a\n" + b"x" * 101 + b"\n", b"a\n" + b"x" * 101):
        framing = Lines.of(100)
        assert 1 == framing.count(stream)
        assert framing.fault is not None
        framing = Lines.of(100)
        assert [b"a"] == framing.feed(stream)
        assert framing.fault is not None


def test_a_long_packet_byte_by_byte_costs_no_more_than_its_size() -> None:
    framing = delimited(b"\r\n", 3000)
    assert 0 == sum(framing.count(b"\r") for _ in range(3000))
    assert 3000 == framing.pending_bytes
    assert [b"\r" * 2999] == framing.feed(b"\n")
