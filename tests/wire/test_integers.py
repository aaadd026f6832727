from __future__ import annotations

import pytest

from ctrlserver.errors import FramingError
from ctrlserver.wire.framing import Framing, parse_framing
from ctrlserver.wire.prefixed import PATIENCE
from ctrlserver.wire.stride import WINDOW


def new(text: str, max_packet: int = 1 << 20) -> Framing:
    return parse_framing(text, max_packet=max_packet).new()


@pytest.mark.parametrize(
    ("text", "frame"),
    [
        ("int8", b"\x03abc"),
        ("int16", b"\0\x03abc"),
        ("int16:little", b"\x03\0abc"),
        ("int32", b"\0\0\0\x03abc"),
        ("int32:little", b"\x03\0\0\0abc"),
        ("int64", b"\0\0\0\0\0\0\0\x03abc"),
        ("int64:little", b"\x03\0\0\0\0\0\0\0abc"),
    ],
)
def test_the_prefix_has_its_width_and_order(text: str, frame: bytes) -> None:
    assert frame == new(text).encode(b"abc")
    assert [b"abc"] == new(text).feed(frame)


def test_a_length_over_the_limit_is_a_fault_when_the_header_is_read() -> None:
    framing = new("int32", 100)
    assert 2 == framing.count(b"\0\0\0\0\0\0\0\x01x\0\0\0")
    assert framing.fault is None
    assert 3 == framing.pending_bytes
    assert 0 == framing.count(b"\x65")
    assert "int32: a packet of 101 bytes; at most 100 are allowed" == str(framing.fault)


def test_the_length_of_one_whole_chunk_is_checked_as_well() -> None:
    framing = new("int32", 100)
    assert 0 == framing.count(b"\0\0\0\x65" + b"x" * 101)
    assert framing.fault is not None


def test_a_chunk_inside_a_packet_is_payload_even_where_it_looks_like_a_packet() -> None:
    framing = new("int32")
    assert 0 == framing.count(b"\0\0\0\x0e")
    assert 0 == framing.count(b"\0\0\0\x03abc")
    assert 1 == framing.count(b"\0\0\0\x03def")


def test_int8_carries_at_most_255_bytes_whatever_max_packet_says() -> None:
    assert [b"x" * 255] == new("int8").feed(new("int8").encode(b"x" * 255))
    with pytest.raises(FramingError, match=r"^int8: a payload of 256 bytes; at most 255 are allowed$"):
        new("int8").encode(b"x" * 256)


def test_equal_packets_then_other_sizes_then_equal_ones_are_all_counted() -> None:
    sizes = [64] * 1000 + [65] * 3 + [n % 90 for n in range(PATIENCE * 2)] + [64] * 3000 + [7] * 50 + [8] * 50
    framing = new("int32")
    stream = b"".join(framing.encode(b"\0\0\0\x40" * 16 if n == 64 else b"\0" * n) for n in sizes)
    for cut in (len(stream), WINDOW, WINDOW - 1, 4099):
        framing = new("int32")
        view = memoryview(stream)
        assert len(sizes) == sum(framing.count(view[at : at + cut]) for at in range(0, len(stream), cut))
        assert 0 == framing.pending_bytes


def test_a_length_over_the_limit_behind_equal_packets_is_a_fault() -> None:
    framing = new("int32", 100)
    stream = framing.encode(b"x" * 64) * 500
    assert 500 == framing.count(stream + b"\0\0\0\x65" + stream)
    assert framing.fault is not None


def test_a_packet_of_many_chunks_is_counted_with_its_last_byte() -> None:
    framing = new("int32")
    assert 0 == framing.count(b"\0\x0f\xff\xff")
    assert 0 == sum(framing.count(b"x" * 0xFFFF) for _ in range(16))
    assert 4 + 16 * 0xFFFF == framing.pending_bytes
    assert 1 == framing.count(b"x" * 15)
    assert 0 == framing.pending_bytes
