from __future__ import annotations

import random

import pytest

from ctrlserver.inject.parsing import parse_spec
from ctrlserver.inject.strikes import Injection
from ctrlserver.load.plan.pattern import Pattern, Sizes, size_pattern
from ctrlserver.load.plan.pieces import Piece, Pieces
from ctrlserver.wire.datagram import DATAGRAM
from ctrlserver.wire.framing import parse_framing

EQUAL = size_pattern(Sizes(100, 100), parse_framing("fixed:100"), 1)
MIXED = size_pattern(Sizes(10, 300), parse_framing("int16"), 1, 4000)


def pieces(spec: str, pattern: Pattern = EQUAL, *, seed: int = 1, single: bool = False, udp: bool = False) -> Pieces:
    course = Injection(parse_spec(spec), seed).stream("udp" if udp else "tcp")
    return Pieces(course, pattern, pattern.sendable(1 << 16), most=1 << 16, single=single, datagrams=udp)


def all_of(made: Pieces, pattern: Pattern, packets: int, step: int = 0) -> list[Piece]:
    """The pieces of so many packets, released ``step`` at a time, each sent in whole."""
    found, sent, released = [], 0, 0
    while released < packets:
        released = min(packets, released + (step or packets))
        while sent < pattern.bytes_of(released):
            piece = made.next(sent, pattern.bytes_of(released))
            found.append(piece)
            if piece.action == "stall":
                return found
            sent = piece.end
    return found


def struck(found: list[Piece], pattern: Pattern = EQUAL) -> list[tuple[str, int]]:
    """What was done, and to which packet, by number from 1."""
    return [(each.action, pattern.packets_in(each.end)) for each in found if each.action]


def sent(found: list[Piece]) -> bytes:
    return b"".join(bytes(each.octets) * each.copies for each in found)


def test_what_nothing_strikes_is_the_pattern_in_long_pieces() -> None:
    found = all_of(pieces("1000*ok->reset"), EQUAL, 900)
    assert (EQUAL.block * 2)[:90_000] == sent(found)
    assert [] == struck(found)
    assert 2 == len(found)


@pytest.mark.parametrize("step", [0, 1, 7])
@pytest.mark.parametrize("pattern", [EQUAL, MIXED], ids=["equal", "mixed"])
def test_every_tenth_is_struck_however_many_are_released_at_once(pattern: Pattern, step: int) -> None:
    made = pieces("10th*duplicate", pattern)
    found = all_of(made, pattern, 95, step)
    assert [("duplicate", number) for number in range(10, 91, 10)] == struck(found, pattern)
    assert 9 == made.hits
    assert pattern.bytes_of(95) + sum(len(each.octets) // 2 for each in found if each.action) == len(sent(found))


def test_a_stretch_taken_in_part_goes_on_where_it_stopped() -> None:
    made = pieces("5*ok->truncate(10)")
    first = made.next(0, 1000)
    assert 500 == len(first.octets)
    assert EQUAL.block[123:500] == bytes(made.next(123, 1000).octets)
    assert EQUAL.block[:10] == bytes(made.next(500, 1000).octets)


def test_sizes_are_counted_over_packets_that_differ() -> None:
    sizes = [MIXED.bytes_of(number + 1) - MIXED.bytes_of(number) for number in range(60)]
    whole = next(number for number in range(60) if sum(sizes[: number + 1]) > 2048)
    found = all_of(pieces("2KiB*ok->1*reset->off", MIXED), MIXED, 60)
    assert [("reset", whole + 1)] == struck(found, MIXED)
    assert MIXED.bytes_of(60) == len(sent(found))


@pytest.mark.parametrize("pattern", [EQUAL, MIXED], ids=["equal", "mixed"])
def test_chance_strikes_the_same_packets_of_a_seed_however_they_are_released(pattern: Pattern) -> None:
    draw = random.Random(7)
    whole = all_of(pieces("5%*corrupt(2 bits)", pattern, seed=3), pattern, 2000)
    for _ in range(5):
        assert sent(whole) == sent(
            all_of(pieces("5%*corrupt(2 bits)", pattern, seed=3), pattern, 2000, draw.randint(1, 99))
        )
    other = all_of(pieces("5%*corrupt(2 bits)", pattern, seed=4), pattern, 2000)
    assert struck(whole, pattern) != struck(other, pattern)
    assert 60 <= len(struck(whole, pattern)) <= 140


def test_what_ends_a_stream_strikes_with_its_packet_and_a_stall_before_it() -> None:
    reset = all_of(pieces("3*ok->reset"), EQUAL, 4)[-1]
    assert ("reset", 100, 400) == (reset.action, len(reset.octets), reset.end)
    stall = all_of(pieces("3*ok->stall"), EQUAL, 9)[-1]
    assert ("stall", 0, 300) == (stall.action, len(stall.octets), stall.end)


def test_the_pace_of_a_drip_and_of_reading_stands_at_the_piece() -> None:
    drip, slow = pieces("drip(3B/10ms)").next(0, 100), pieces("slow-read(10KiB/s)").next(0, 100)
    assert drip.drip is not None
    assert (3, 10_000_000, None, False) == (drip.drip.nbytes, drip.drip.ns, drip.rate, drip.changed)
    assert (None, 10_240, False) == (slow.drip, slow.rate, slow.changed)


def test_over_udp_a_duplicate_is_a_second_datagram_and_a_piece_is_one() -> None:
    found = all_of(pieces("2nd*duplicate", single=True, udp=True), EQUAL, 4)
    assert [1, 2, 1, 2] == [each.copies for each in found]
    assert {100} == {len(each.octets) for each in found}


def test_empty_datagrams_have_no_size() -> None:
    empty = size_pattern(Sizes(0, 0), DATAGRAM, 1)
    found = all_of(pieces("1B*ok->2nd*duplicate", empty, single=True, udp=True), empty, 4)
    assert [] == struck(found, empty)
