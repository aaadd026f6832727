from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ctrlserver.errors import UnitError, UsageError
from ctrlserver.load.plan.pattern import (
    Pattern,
    Sizes,
    parse_sizes,
    payload_pattern,
    shares,
    size_pattern,
)
from ctrlserver.wire.datagram import DATAGRAM
from ctrlserver.wire.framing import parse_framing

SMALL = 200
"""Bytes of a block here, so that the tests go round it several times."""


def made(least: int, most: int, framing: str, seed: int = 1) -> Pattern:
    return size_pattern(Sizes(least, most), parse_framing(framing), seed, SMALL)


patterns = st.one_of(
    st.builds(lambda size: made(size, size, f"fixed:{size}"), st.integers(1, 300)),
    st.builds(lambda size, more, seed: made(size, size + more, "int16", seed), *([st.integers(0, 90)] * 3)),
    st.builds(lambda size, more, seed: made(size, size + more, "line", seed), *([st.integers(0, 90)] * 3)),
)


def sent(pattern: Pattern, nbytes: int) -> bytes:
    """The first bytes of the stream, as a sender takes them: in slices from any place."""
    view, out = pattern.sendable(70), b""
    while len(out) < nbytes:
        offset = len(out) % len(pattern.block)
        out += view[offset : offset + min(70, nbytes - len(out))]
    return out


@given(patterns, st.integers(0, 3000))
def test_the_packets_in_a_number_of_bytes_are_those_a_framing_counts(pattern: Pattern, nbytes: int) -> None:
    lengths = [len(view) for view in pattern.packet_views()]
    packets, at = 0, 0
    while at + lengths[packets % len(lengths)] <= nbytes:
        at += lengths[packets % len(lengths)]
        packets += 1
    assert packets == pattern.packets_in(nbytes)
    assert at == pattern.bytes_of(packets)
    assert nbytes - at == pattern.rest_in(nbytes)


@given(patterns, st.integers(0, 500))
def test_bytes_of_packets_and_packets_in_bytes_are_inverse(pattern: Pattern, packets: int) -> None:
    assert packets == pattern.packets_in(pattern.bytes_of(packets))
    assert 0 == pattern.rest_in(pattern.bytes_of(packets))


@given(patterns, st.integers(0, 3000))
def test_whole_is_the_next_end_of_a_packet(pattern: Pattern, nbytes: int) -> None:
    whole = pattern.whole(nbytes)
    assert whole >= nbytes
    assert 0 == pattern.rest_in(whole)
    assert pattern.packets_in(whole) - pattern.packets_in(nbytes) == (pattern.rest_in(nbytes) > 0)


@given(patterns, st.integers(0, 2000), st.integers(0, 40))
def test_the_packets_that_cover_bytes_are_the_fewest(pattern: Pattern, nbytes: int, start: int) -> None:
    packets = pattern.packets_to_cover(nbytes, start)
    assert pattern.bytes_of(start + packets) - pattern.bytes_of(start) >= nbytes
    if packets:
        assert pattern.bytes_of(start + packets - 1) - pattern.bytes_of(start) < nbytes


@given(patterns, st.integers(1, 2000))
def test_slices_from_any_place_join_to_the_block_over_and_over(pattern: Pattern, nbytes: int) -> None:
    expected = (pattern.block * (nbytes // len(pattern.block) + 1))[:nbytes]
    assert expected == sent(pattern, nbytes)


@pytest.mark.parametrize("framing", ["int8", "int32:little", "varint", "line", "delimited:3031", "netstring"])
def test_a_framing_cuts_the_stream_into_the_sizes_asked_for(framing: str) -> None:
    spec = parse_framing(framing)
    pattern = size_pattern(Sizes(3, 60), spec, 7)
    payloads = spec.new().feed(pattern.block)
    assert pattern.packets_a_block == len(payloads)
    assert set(map(len, payloads)) == set(range(3, 61))


def test_the_same_seed_gives_the_same_bytes_and_another_one_others() -> None:
    first, same, other = (made(1, 200, "int16", seed) for seed in (5, 5, 6))
    assert first.block == same.block
    assert first.block != other.block


def test_a_payload_with_the_delimiter_in_it_is_filled_with_something_else() -> None:
    spec = parse_framing("delimited:" + b"abc".hex())
    pattern = size_pattern(Sizes(100, 100), spec, 1)
    assert [100] * pattern.packets_a_block == [len(payload) for payload in spec.new().feed(pattern.block)]


def test_a_block_holds_at_least_one_packet_however_long() -> None:
    pattern = made(5000, 5000, "fixed:5000")
    assert (5000, 1) == (len(pattern.block), pattern.packets_a_block)


def test_a_payload_of_ones_own_is_repeated() -> None:
    pattern = payload_pattern(b"PING\r\n", parse_framing("raw"))
    assert 6 == pattern.stride
    assert pattern.block.startswith(b"PING\r\nPING\r\n")


@pytest.mark.parametrize(
    ("sizes", "framing", "words"),
    [
        (Sizes(1024, 1024), "fixed:512", "--size 1024: framing fixed:512 cannot carry it"),
        (Sizes(64, 1024), "fixed:64", "--size 64..1024: framing fixed:64 cannot carry it"),
        (Sizes(300, 300), "int8", "--size 300: framing int8 cannot carry it"),
        (Sizes(0, 0), "raw", "packets of no bytes go over udp: only"),
        (Sizes(0, 9), "raw", "packets of no bytes go over udp: only, and only if all"),
    ],
)
def test_a_size_the_framing_cannot_carry_is_refused_in_one_line(sizes: Sizes, framing: str, words: str) -> None:
    with pytest.raises(UsageError, match=words) as caught:
        size_pattern(sizes, parse_framing(framing), 1)
    assert "\n" not in str(caught.value)


def test_a_payload_the_framing_cannot_carry_is_refused() -> None:
    with pytest.raises(UsageError, match="--payload: framing line cannot carry it"):
        payload_pattern(b"a\nb", parse_framing("line"))


@given(st.integers(0, 10**6), st.integers(1, 100))
def test_shares_add_up_and_differ_by_one_at_most(total: int, streams: int) -> None:
    dealt = shares(total, streams)
    assert total == sum(dealt)
    assert max(dealt) - min(dealt) <= 1
    assert sorted(dealt, reverse=True) == dealt


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1024", Sizes(1024, 1024)),
        ("64KiB", Sizes(65536, 65536)),
        ("64..1024", Sizes(64, 1024)),
        ("1k..2k", Sizes(1024, 2048)),
    ],
)
def test_sizes_are_read(text: str, expected: Sizes) -> None:
    assert expected == parse_sizes(text)


def test_a_size_goes_into_the_options_as_it_was_meant() -> None:
    assert (64, "64..1024") == (Sizes(64, 64).as_option(), Sizes(64, 1024).as_option())
    assert "64..1024" == str(Sizes(64, 1024))


@pytest.mark.parametrize("text", ["", "x", "64..", "..64", "64...1024", "1..2..3", "-1", "1e99"])
def test_what_is_no_size_is_refused(text: str) -> None:
    with pytest.raises(UnitError):
        parse_sizes(text)


def test_a_range_the_wrong_way_round_says_which_way() -> None:
    with pytest.raises(UnitError, match=r'did you mean "64\.\.1024"'):
        parse_sizes("1024..64")


def test_empty_datagrams_are_counted_one_by_one_and_have_no_bytes() -> None:
    for pattern in (size_pattern(Sizes(0, 0), DATAGRAM, seed=1), payload_pattern(b"", DATAGRAM)):
        assert pattern.empty
        assert (7, 7, 0) == (pattern.bytes_of(7), pattern.packets_in(7), pattern.rest_in(7))


def test_some_packets_of_no_bytes_among_others_are_refused() -> None:
    with pytest.raises(UsageError, match="only if all of them are so"):
        size_pattern(Sizes(0, 10), DATAGRAM, seed=1)
