from __future__ import annotations

import pytest

from ctrlserver.wire.netstring import Netstring


def test_djbs_example_and_the_empty_string() -> None:
    framing = Netstring.of(100)
    assert b"12:hello world!," == framing.encode(b"hello world!")
    assert b"0:," == framing.encode(b"")
    assert [b"hello world!", b"", b"0:,"] == framing.feed(b"12:hello world!,0:,3:0:,,")


@pytest.mark.parametrize(
    ("stream", "problem"),
    [
        (b"00:,", "a length with a leading zero"),
        (b"05:hello,", "a length with a leading zero"),
        (b":,", "byte 0x3a in a length"),
        (b"-1:,", "byte 0x2d in a length"),
        (b"1 :a,", "byte 0x20 in a length"),
        (b"1_0:", "byte 0x5f in a length"),
        (b"GET / HTTP/1.1\r\n", "byte 0x47 in a length"),
        (b"5:hello;", "no comma after 5 bytes"),
        (b"5:hello\n", "no comma after 5 bytes"),
        (b"0:;", "no comma after 0 bytes"),
        (b"101", "a packet of 101 bytes or more; at most 100 are allowed"),
        (b"999", "a packet of 999 bytes or more; at most 100 are allowed"),
        (b"1000000000000000000000", "a packet of 1000 bytes or more; at most 100 are allowed"),
    ],
)
def test_a_broken_netstring_is_a_fault_however_it_is_cut(stream: bytes, problem: str) -> None:
    for cut in range(len(stream)):
        framing = Netstring.of(100)
        assert [b"good"] == framing.feed(b"4:good," + stream[:cut]) + framing.feed(stream[cut:])
        assert f"netstring: {problem}" == str(framing.fault)
        framing = Netstring.of(100)
        assert 1 == framing.count(b"4:good," + stream[:cut]) + framing.count(stream[cut:])
        assert f"netstring: {problem}" == str(framing.fault)


def test_equal_netstrings_are_counted_up_to_the_one_without_a_comma() -> None:
    frame = Netstring.of(100).encode(b"1:a," * 15)
    broken = frame[:-1] + b";"
    for good in (0, 1, 31, 33, 300, 999):
        framing = Netstring.of(100)
        assert good == framing.count(frame * good + broken + frame * 50)
        assert "netstring: no comma after 60 bytes" == str(framing.fault)


def test_a_megabyte_of_digits_is_one_fault_and_little_work() -> None:
    framing = Netstring.of(1 << 20)
    assert 0 == framing.count(b"1" * (1 << 20))
    assert "netstring: a packet of 1111111 bytes or more; at most 1048576 are allowed" == str(framing.fault)
