from __future__ import annotations

import math
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ctrlserver.errors import UnitError
from ctrlserver.units import (
    BitRate,
    format_bits,
    format_bytes,
    format_count,
    format_duration,
    format_rate,
    parse_count,
    parse_duration,
    parse_escapes,
    parse_rate,
    parse_share,
    parse_size,
)

Parser = Callable[[object], float]
PARSERS: list[Parser] = [parse_duration, parse_size, parse_count, parse_rate]
every_parser = pytest.mark.parametrize("parse", PARSERS, ids=lambda parse: parse.__name__)


def outcome(parse: Parser, text: str) -> tuple[float | None, str]:
    """What the parser gives, or None, and its error."""
    try:
        return parse(text), ""
    except UnitError as error:
        return None, str(error)


def message_of(parse: Parser, given: object) -> str:
    with pytest.raises(UnitError) as caught:
        parse(given)
    return str(caught.value)


@pytest.mark.parametrize(
    ("expected", "given"),
    [
        (10.0, "10s"),
        (0.5, "500ms"),
        (120.0, "2m"),
        (5400.0, "1h30m"),
        (5400.0, " 1 h 30 m "),
        (90061.5, "1d1h1m1.5s"),
        (0.5, "0.5"),
        (0.5, ".5"),
        (3.0, 3),
        (0.25, 0.25),
        (0.00025, "250us"),
        (1e-9, "1ns"),
        (0.0, "0"),
    ],
)
def test_a_duration_is_given_in_seconds(expected: float, given: object) -> None:
    assert expected == parse_duration(given)


@pytest.mark.parametrize(
    ("expected", "given"),
    [
        (65536, "64KiB"),
        (1536, "1.5KiB"),
        (10 * 2**20, "10 MiB"),
        (1_000_000, "1MB"),
        (10 * 2**20, "10M"),
        (1000, "1kB"),
        (1024, "1k"),
        (65536, "64K"),
        (7, "7B"),
        (1024, 1024),
        (1024, "1024"),
        (2**60, "1EiB"),
    ],
)
def test_a_size_counts_kib_and_k_by_1024_and_kb_by_1000(expected: int, given: object) -> None:
    size = parse_size(given)

    assert expected == size
    assert isinstance(size, int)


@pytest.mark.parametrize(
    ("expected", "given"),
    [(5_000_000, "5M"), (10_000, "10_000"), (1_000_000, "1e6"), (1_000_000, 1e6), (100_000, "0.1M"), (7, 7), (0, "0")],
)
def test_a_count_is_whole_however_it_is_written(expected: int, given: object) -> None:
    count = parse_count(given)

    assert expected == count
    assert isinstance(count, int)


@pytest.mark.parametrize(
    ("expected", "given"), [(5000.0, "5k/s"), (5000.0, "5k"), (5000.0, "5 k/s"), (0.5, "0.5/s"), (2e6, "2M"), (7.0, 7)]
)
def test_a_rate_is_per_second_said_or_not(expected: float, given: object) -> None:
    assert expected == parse_rate(given)


@pytest.mark.parametrize(
    ("expected", "given"), [(10e6, "10Mbit/s"), (10e6, "10 Mbit"), (1e3, "1kbit/s"), (1e9, "1Gbit/s"), (8.0, "8bit/s")]
)
def test_a_rate_in_bits_is_told_from_one_in_packets(expected: float, given: str) -> None:
    rate = parse_rate(given)

    assert (BitRate, expected) == (type(rate), rate)


def test_bytes_per_second_are_not_taken_for_bits() -> None:
    assert "did you mean" not in message_of(parse_rate, "10MB/s")


@pytest.mark.parametrize(
    ("nearest", "parse", "given"),
    [
        ('"5s"', parse_duration, "-5s"),
        ("5", parse_duration, -5),
        ('"10s"', parse_duration, "10sec"),
        ('"10m"', parse_duration, "10 minutes"),
        ('"10s"', parse_duration, "10S"),
        ('"1h30m"', parse_duration, "30m1h"),
        ('"1h30m"', parse_duration, "1h30"),
        ('"1m30s"', parse_duration, "1min30sec"),
        ('"1.5s"', parse_duration, "1,5s"),
        ('"64KiB"', parse_size, "64kib"),
        ('"64kB"', parse_size, "64kb"),
        ('"10000"', parse_size, "10,000"),
        ("2", parse_size, 1.5),
        ('"3"', parse_count, "-3"),
        ('"5M"', parse_count, "5m"),
        ('"5M"', parse_count, "5 million"),
        ("2", parse_count, "1.5"),
        ('"5k/s"', parse_rate, "5k/sec"),
        ('"5k/s"', parse_rate, "5kpps"),
        ('"10Mbit/s"', parse_rate, "10Mbps"),
        ('"10Mbit/s"', parse_rate, "10mbits/sec"),
        ('"10Mbit/s"', parse_rate, "10Mb/s"),
    ],
)
def test_a_slip_is_told_with_the_nearest_good_value(nearest: str, parse: Parser, given: object) -> None:
    message = message_of(parse, given)

    assert message.endswith(f"; did you mean {nearest}?")
    assert parse(nearest.strip('"')) >= 0, "the value named must be a good one"


@every_parser
@pytest.mark.parametrize("given", [-1, "-1", math.nan, math.inf, "nan", "inf", "1e99", 1e99, 10**400, "9" * 5000])
def test_negative_undefined_and_absurd_numbers_are_refused(parse: Parser, given: object) -> None:
    assert "expected" in message_of(parse, given)


@every_parser
def test_a_number_past_the_bound_is_told_the_bound(parse: Parser) -> None:
    assert "at most" in message_of(parse, 10**400)
    assert "at most" in message_of(parse, "1e30")


@every_parser
@pytest.mark.parametrize("given", [None, True, [], {}, "", " ", "five", "1 2", "1\n2", "0x10", "٣", "1__0", "1.", "s"])
def test_what_is_no_number_is_refused(parse: Parser, given: object) -> None:
    assert "expected" in message_of(parse, given)


@settings(deadline=None)
@given(parse=st.sampled_from(PARSERS), text=st.text())
def test_any_text_is_a_number_or_one_line(parse: Parser, text: str) -> None:
    number, message = outcome(parse, text)

    assert len(message.splitlines()) == (number is None)
    assert number is None or number >= 0


@settings(deadline=None)
@given(
    parse=st.sampled_from(PARSERS),
    text=st.from_regex(r"\A[-+]?[0-9][0-9.,_e]{0,6} ?[a-zA-Z/]{0,4}([0-9]{1,3}[a-z]{0,3})?\Z"),
)
def test_a_value_named_as_nearest_is_always_a_good_one(parse: Parser, text: str) -> None:
    _, message = outcome(parse, text)
    _, found, nearest = message.partition("; did you mean ")

    assert not found or parse(nearest.removesuffix("?").strip('"')) >= 0


@pytest.mark.parametrize(
    ("expected", "count"),
    [
        ("0", 0),
        ("999", 999),
        ("1.00 k", 1000),
        ("999 k", 999_499),
        ("1.00 M", 999_999),
        ("1.23 M", 1_234_567),
        ("12.3 M", 12_345_678),
        ("0.50", 0.5),
        ("-5.00 k", -5000),
        ("1000 E", 10**21),
    ],
)
def test_a_count_is_shown_with_three_digits(expected: str, count: float) -> None:
    assert expected == format_count(count)


def test_rates_and_bits_carry_their_unit() -> None:
    assert "72.4 k/s" == format_rate(72377.8)
    assert "7/s" == format_rate(7)
    assert "1.23 Gbit/s" == format_bits(1.23e9)
    assert "0 bit/s" == format_bits(0)


def test_bytes_are_shown_by_1024() -> None:
    assert "512 B" == format_bytes(512)
    assert "1.00 KiB" == format_bytes(1024)
    assert "10.0 MiB" == format_bytes(10 * 2**20)
    assert "1023 KiB" == format_bytes(1023 * 2**10)
    assert "1.00 MiB" == format_bytes(2**20 - 1)


@pytest.mark.parametrize(
    ("expected", "seconds"),
    [
        ("0 s", 0),
        ("1.000 ns", 1e-9),
        ("12.30 us", 1.23e-5),
        ("1.000 s", 0.99999),
        ("1.234 s", 1.2341),
        ("12.50 s", 12.5),
        ("1m", 59.999),
        ("1m30s", 90.2),
        ("1h30m", 5400),
        ("2d3h", 183_600),
        ("-2.000 s", -2),
    ],
)
def test_a_duration_is_shown_in_its_own_unit(expected: str, seconds: float) -> None:
    assert expected == format_duration(seconds)


@settings(deadline=None)
@given(seconds=st.floats(min_value=1e-9, max_value=3e9))
def test_a_duration_shown_reads_back_to_four_digits_or_the_second(seconds: float) -> None:
    back = parse_duration(format_duration(seconds))

    assert math.isclose(seconds, back, rel_tol=6e-4, abs_tol=0.51 if seconds > 59 else 0)


@settings(deadline=None)
@given(count=st.floats(min_value=0, max_value=1e30))
def test_a_count_shown_is_near_the_count(count: float) -> None:
    number, _, prefix = format_count(count).partition(" ")
    scale = 1000 ** ["", "k", "M", "G", "T", "P", "E"].index(prefix)

    assert math.isclose(count, float(number) * scale, rel_tol=6e-3, abs_tol=0.006)


# escapes


@pytest.mark.parametrize(
    ("expected", "text"),
    [
        (b"\x06", r"\x06"),
        (b"\x06", "\x06"),
        (b"OK\r\n", r"OK\r\n"),
        (b"\t\0\\", r"\t\0\\"),
        (b"\\n", r"\\n"),
        (b"\xff\xfe", r"\xff\xFE"),
        (b"0\x000", r"0\00"),
        ("grün".encode(), "grün"),
        (b"\x80", "\udc80"),
        (b"", ""),
    ],
)
def test_escapes_stand_for_one_byte_each(expected: bytes, text: str) -> None:
    assert expected == parse_escapes(text)


@pytest.mark.parametrize(("at", "text"), [(1, r"\q"), (3, r"ab\x4"), (3, r"\\" + "\\"), (1, r"\xZZ"), (2, "a\\\n")])
def test_an_unknown_escape_is_told_with_its_place(at: int, text: str) -> None:
    with pytest.raises(UnitError, match=rf"^unknown escape at character {at} of .*: expected .*$"):
        parse_escapes(text)


@settings(deadline=None)
@given(content=st.binary())
def test_every_byte_string_can_be_written_with_escapes(content: bytes) -> None:
    assert content == parse_escapes("".join(f"\\x{byte:02x}" for byte in content))


@pytest.mark.parametrize(
    ("expected", "given"), [(0.05, "5%"), (0.05, " 5 % "), (0.05, 0.05), (1.0, "1"), (2.5, "250%"), (0.0, "0%")]
)
def test_a_share_is_a_percentage_or_a_fraction(expected: float, given: object) -> None:
    assert expected == parse_share(given)


@pytest.mark.parametrize(
    ("given", "words"),
    [("5", 'did you mean "5%"?'), ("-5%", "expected"), ("5%%", "expected"), ("nan%", "expected"), ("1e99%", "at most")],
)
def test_what_is_no_share_is_refused(given: str, words: str) -> None:
    assert words in message_of(parse_share, given)
