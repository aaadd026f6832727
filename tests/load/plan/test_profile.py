from __future__ import annotations

import pytest

from ctrlserver.errors import UsageError
from ctrlserver.load.plan.profile import BitCurve, parse_profile, parse_table
from ctrlserver.load.plan.schedule import SECOND, Evenly, Piece


def test_pieces_follow_one_another() -> None:
    curve = parse_profile("10s@1k, 60s@1k..50k,sine(30s,5k,20k)")
    assert 100 * SECOND == curve.end
    assert (Piece.of(10, 1000, 1000), Piece.of(60, 1000, 50_000)) == curve.pieces[:2]
    assert [1000, 25_500, 5000] == [round(curve.rate(at * SECOND)) for at in (5, 40, 70)]
    assert 20_000 == round(curve.rate(85 * SECOND))


def test_a_sine_swings_once_and_has_the_packets_of_its_middle() -> None:
    curve = parse_profile("sine(30s,5k,20k)")
    assert [5000, 12_500, 20_000, 12_500] == [round(curve.rate(int(at * SECOND))) for at in (0, 7.5, 15, 22.5)]
    assert 375_000 == pytest.approx(Evenly(curve).due(30 * SECOND), rel=1e-6)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", 'piece 1 "": expected "10s@1k", "60s@1k..50k" or "sine(30s,5k,20k)"'),
        ("10s@1k,,", 'piece 2 "": expected "10s@1k"'),
        ("10s", 'piece 1 "10s": expected "10s@1k", "60s@1k..50k" or "sine(30s,5k,20k)"'),
        ("10s:1k", 'did you mean "10s@1k"?'),
        ("5s@1k,10s 2k..3k", '"sine(30s,5k,20k)"; did you mean "10s@2k..3k"?'),
        ("10s@1K,10@fast", 'piece 2 "10@fast": rate "fast": expected a number per second'),
        ("10x@1k", 'piece 1 "10x@1k": duration "10x": expected seconds such as 0.5'),
        ("0s@1k", 'piece 1 "0s@1k": duration "0s": expected more than 0, such as "10s"'),
        ("10s@-1k", 'rate "-1k": expected a number per second'),
        ("10s@1k..", "both ends of a slope need a rate"),
        ("sin(30s,5k,20k)", 'did you mean "sine(30s,5k,20k)"?'),
        ("sine(30s,20k,5k)", 'the lower rate comes first; did you mean "sine(30s,5k,20k)"?'),
        ("sine(30s,5k)", 'expected "sine(DURATION,LOWEST,HIGHEST)"'),
        ("sine(30s,5k,20k", 'piece 1 "sine(30s,5k,20k": expected "10s@1k"'),
        ("10s@0", "no packet is ever due"),
        ("10s@1k,5s@1Mbit/s", 'piece 2 "5s@1Mbit/s": rate "1Mbit/s": expected all rates in packets, or all in bits'),
        ("10s@1Mbit/s..20", 'rate "20": expected all rates in packets, or all in bits'),
        (",".join(["1s@1"] * 10_001), "10001 pieces: expected at most 10000"),
    ],
)
def test_a_bad_profile_is_one_line_that_names_the_piece(text: str, said: str) -> None:
    with pytest.raises(UsageError) as refused:
        parse_profile(text)
    assert said in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_profile_in_bits_becomes_one_in_packets() -> None:
    curve = parse_profile("1s@1Mbit/s,2s@0..8Mbit/s")
    table = parse_table("seconds,rate\n0,0\n1,8Mbit/s")
    assert isinstance(curve, BitCurve)
    assert isinstance(table, BitCurve)
    assert (Piece.of(1, 125, 125), Piece.of(2, 0, 1000)) == curve.in_packets(1 / 8000).pieces
    assert (Piece.of(1, 0, 1000),) == table.in_packets(1 / 8000).pieces


def test_a_table_is_joined_by_lines_and_its_words_are_skipped() -> None:
    curve = parse_table('seconds,rate\n# a comment\n\n0,1k\n"10","5000" # up\n10;0\n12\t0\n')
    assert (Piece.of(10, 1000, 5000), Piece.of(2, 0, 0)) == curve.pieces


def test_a_table_may_begin_late() -> None:
    assert (Piece.of(5, 10, 20),) == parse_table("100,10\n105,20").pieces


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "expected two lines or more"),
        ("0,1000", "expected two lines or more"),
        ("0,1000\n5", 'line 2 "5": expected two numbers'),
        ("0,1000\n5,fast", 'line 2 "5,fast": rate "fast"'),
        ("5,1000\n4,1000", 'line 2 "4,1000": the line before it says 5 s; expected seconds that rise'),
        ("0,0\n10,0", "no packet is ever due"),
        ("3,1\n3,1", "no packet is ever due"),
    ],
)
def test_a_bad_table_is_one_line_that_names_the_line(text: str, said: str) -> None:
    with pytest.raises(UsageError) as refused:
        parse_table(text)
    assert said in str(refused.value)
