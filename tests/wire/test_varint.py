from __future__ import annotations

import pytest

from ctrlserver.wire.varint import Varint


@pytest.mark.parametrize(
    ("length", "head"),
    [(0, b"\0"), (1, b"\1"), (127, b"\x7f"), (128, b"\x80\1"), (300, b"\xac\2"), (16384, b"\x80\x80\1")],
)
def test_the_length_has_as_few_groups_as_it_needs(length: int, head: bytes) -> None:
    framing = Varint.of(1 << 20)
    frame = framing.encode(b"x" * length)
    assert head + b"x" * length == frame
    assert [b"x" * length] == framing.feed(frame)
    assert 3 == framing.count(frame * 3)


@pytest.mark.parametrize("head", [b"\x83\0", b"\x83\x80\0", b"\x83" + b"\x80" * 8 + b"\0"])
def test_a_length_padded_with_zero_groups_is_read_up_to_ten_bytes(head: bytes) -> None:
    framing = Varint.of(100)
    assert [b"abc", b"d"] == framing.feed(head + b"abc\1d")
    assert 2 == framing.count(head + b"abc\1d")


def test_an_eleventh_group_is_a_fault() -> None:
    framing = Varint.of(100)
    assert 1 == framing.count(b"\1x" + b"\x80" * 9)
    assert framing.fault is None
    framing.count(b"\x80")
    assert "varint: a length of more than 10 bytes" == str(framing.fault)


def test_a_length_over_the_limit_is_a_fault_at_the_group_that_passes_it() -> None:
    framing = Varint.of(300)
    assert 0 == framing.count(b"\xac\2" + b"x" * 299)
    assert 1 == framing.count(b"x")
    assert 0 == framing.count(b"\xad\x82")
    assert "varint: a packet of 301 bytes or more; at most 300 are allowed" == str(framing.fault)
    framing = Varint.of(100)
    assert 0 == framing.count(b"\x65")
    assert framing.fault is not None
