from __future__ import annotations

from itertools import accumulate, pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ctrlserver.errors import FramingError
from ctrlserver.wire.fixed import FixedSize, Raw

some = settings(max_examples=50, deadline=None)


@some
@given(st.integers(1, 50), st.lists(st.integers(0, 200), max_size=20))
def test_advance_counts_as_count_does(size: int, lengths: list[int]) -> None:
    counting, advancing = FixedSize(size), FixedSize(size)
    for length in lengths:
        assert counting.count(b"x" * length) == advancing.advance(length)
        assert counting.pending_bytes == advancing.pending_bytes


def test_ten_mebibytes_and_a_hundred_bytes_are_10240_packets_and_100_pending() -> None:
    framing = FixedSize(1024)
    assert 10240 == sum(framing.advance(length) for length in [65536] * 160) + framing.advance(100)
    assert 100 == framing.pending_bytes


def test_a_packet_that_begins_under_advance_ends_under_feed_with_the_bytes_seen() -> None:
    framing = FixedSize(8)
    assert [] == framing.feed(b"abc")
    assert 0 == framing.advance(2)
    assert [b"fgh", b"01234567"] == framing.feed(b"fgh01234567")
    assert 1 == framing.advance(11)
    assert 3 == framing.pending_bytes
    assert 1 == framing.count(b"lmnop!")
    assert [b"!1234567"] == framing.feed(b"1234567")


@some
@given(st.integers(1, 9), st.binary(max_size=200), st.lists(st.integers(0, 200), max_size=8))
def test_the_packets_and_the_rest_are_the_stream(size: int, stream: bytes, cuts: list[int]) -> None:
    framing = FixedSize(size)
    packets = [
        packet
        for start, end in pairwise(accumulate([0, *sorted(cuts), 200], max))
        for packet in framing.feed(stream[start:end])
    ]
    assert [stream[at : at + size] for at in range(0, len(stream) - size + 1, size)] == packets
    assert len(stream) % size == framing.pending_bytes


def test_a_large_packet_byte_by_byte_costs_no_more_than_its_size() -> None:
    framing = FixedSize(3000)
    assert [b""] * 2999 == [b"".join(framing.feed(b"x")) for _ in range(2999)]
    assert [b"x" * 3000] == framing.feed(b"x")


def test_a_payload_of_another_size_is_not_encoded() -> None:
    for payload in (b"", b"x" * 1023, b"x" * 1025):
        with pytest.raises(FramingError, match=r"^fixed:1024: a payload of \d+ bytes, not 1024$"):
            FixedSize(1024).encode(payload)


def test_raw_has_no_packets_and_sends_payloads_as_they_are() -> None:
    framing = Raw()
    assert 0 == framing.count(b"abc")
    assert 0 == framing.advance(1 << 40)
    assert [] == framing.feed(memoryview(b"abc"))
    assert b"abc" == framing.encode(b"abc")
    assert 0 == framing.pending_bytes
    assert framing.fault is None
