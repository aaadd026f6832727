"""Datagrams: each is a packet, whatever is in it; a batch is cut where its size says."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ctrlserver.errors import FramingError
from ctrlserver.wire.datagram import DATAGRAM, LONGEST_DATAGRAM, cut, packets_in, packets_in_all


@given(st.lists(st.binary(max_size=64)))
def test_each_datagram_is_a_packet_and_empty_ones_are_too(datagrams: list[bytes]) -> None:
    framing = DATAGRAM.new()
    assert len(datagrams) == sum(framing.count(datagram) for datagram in datagrams)
    assert datagrams == [packet for datagram in datagrams for packet in framing.feed(framing.encode(datagram))]
    assert (None, 0) == (framing.fault, framing.pending_bytes)


def test_a_payload_that_no_datagram_holds_is_refused() -> None:
    framing = DATAGRAM.new()
    assert LONGEST_DATAGRAM == len(framing.encode(bytes(LONGEST_DATAGRAM)))
    with pytest.raises(FramingError, match="at most 65507"):
        framing.encode(bytes(LONGEST_DATAGRAM + 1))


@given(st.integers(1, 2000), st.integers(1, 64), st.data())
def test_a_batch_is_cut_into_equal_datagrams_and_a_last_one(segment: int, packets: int, data: st.DataObject) -> None:
    last = data.draw(st.integers(1, segment))
    batch = bytes((packets - 1) * segment + last)
    assert packets == packets_in(len(batch), segment)
    assert [segment] * (packets - 1) + [last] == [len(each) for each in cut(memoryview(batch), segment)]


def test_several_reads_are_counted_together_and_one_without_a_segment_is_a_datagram() -> None:
    assert 2 + 1 + 3 + 1 == packets_in_all([100, 100, 121, 0], [50, 0, 60, 0])


def test_an_empty_read_is_one_empty_datagram() -> None:
    assert 1 == packets_in(0, 1)
    assert [b""] == cut(memoryview(b""), 1)
