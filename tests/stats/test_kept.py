"""Claims about the packets kept of a stream."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from ctrlserver.stats.kept import KeptPackets

PACKETS = st.lists(st.lists(st.binary(max_size=12), max_size=8), max_size=12)


def test_nothing_kept_yet_is_an_empty_list() -> None:
    kept = KeptPackets(3, 100)
    assert [] == kept.last(5)
    assert (0, 0, 0) == (len(kept), kept.total, kept.bytes)


def test_packets_carry_their_number_in_the_stream_from_one() -> None:
    kept = KeptPackets(3, 100)
    kept.add([b"a", b"b"])
    kept.add([b"c", b"d"])
    assert [(2, b"b"), (3, b"c"), (4, b"d")] == kept.last(3)


def test_asked_for_fewer_it_gives_the_newest() -> None:
    kept = KeptPackets(3, 100)
    kept.add([b"a", b"b", b"c"])
    assert [(3, b"c")] == kept.last(1)
    assert [] == kept.last(0)
    assert [] == kept.last(-1)


def test_the_newest_alone_have_their_numbers_and_fit_but_the_newest_one_is_there_in_any_case() -> None:
    kept = KeptPackets(9, 100)
    kept.add([b"a", b"bc", b"def"])
    assert [(2, b"bc"), (3, b"def")] == kept.newest(2, 100).last(9)
    assert [(3, b"def")] == kept.newest(2, 4).last(9) == kept.newest(2, 1).last(9)
    assert 3 == kept.newest(2, 4).total
    assert [] == KeptPackets(9, 100).newest(2, 4).last(9)


def test_the_bytes_are_a_bound_too() -> None:
    kept = KeptPackets(10, 5)
    kept.add([b"12", b"34", b"56"])
    assert [(2, b"34"), (3, b"56")] == kept.last(10)


def test_a_packet_longer_than_the_byte_bound_leaves_nothing_and_the_next_is_kept() -> None:
    kept = KeptPackets(10, 5)
    kept.add([b"12", b"123456"])
    assert [] == kept.last(10)
    kept.add([b"7"])
    assert [(3, b"7")] == kept.last(10)


def test_a_limit_of_zero_keeps_nothing_and_still_numbers() -> None:
    kept = KeptPackets(0, 100)
    kept.add([b"a", b"b"])
    assert ([], 2) == (kept.last(9), kept.total)


@given(PACKETS, st.integers(0, 6), st.integers(0, 40))
def test_what_is_kept_is_the_longest_end_of_the_stream_within_both_bounds(
    chunks: list[list[bytes]], limit: int, max_bytes: int
) -> None:
    kept = KeptPackets(limit, max_bytes)
    stream: list[tuple[int, bytes]] = []
    for chunk in chunks:
        kept.add(chunk)
        stream += [(len(stream) + i, packet) for i, packet in enumerate(chunk, 1)]
        ends = (stream[len(stream) - n :] for n in range(min(limit, len(stream)), -1, -1))
        longest = next(end for end in ends if sum(len(packet) for _, packet in end) <= max_bytes)
        assert kept.last(limit) == longest
        assert (len(kept), kept.total) == (len(longest), len(stream))
        assert kept.bytes == sum(len(packet) for _, packet in longest)
