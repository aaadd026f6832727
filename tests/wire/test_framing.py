from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ctrlserver.errors import FramingSpecError
from ctrlserver.wire.framing import FRAMINGS, MAX_DELIMITER, MAX_PACKET, parse_framing

ALL = [text.replace(":N", ":1024").replace(":HEX", ":0d0a") for text in FRAMINGS]


@pytest.mark.parametrize("text", ALL)
def test_every_known_form_parses_and_is_its_own_canonical_text(text: str) -> None:
    spec = parse_framing(text)
    assert text == spec.text
    assert MAX_PACKET == spec.max_packet
    assert (1024 if text == "fixed:1024" else None) == spec.size
    assert (text in ("fixed:1024", "raw")) == spec.by_length
    assert (text != "raw") == spec.counts_packets
    assert hasattr(spec.new(), "advance") == spec.by_length


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("FIXED:1024", "fixed:1024"),
        ("fixed:0010", "fixed:10"),
        ("int32:big", "int32"),
        ("int32:Little", "int32:little"),
        ("int8:little", "int8"),
        ("delimited:0D0A", "delimited:0d0a"),
        ("Line", "line"),
    ],
)
def test_other_spellings_have_one_canonical_text(text: str, canonical: str) -> None:
    assert canonical == parse_framing(text).text
    assert parse_framing(canonical) == parse_framing(text)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("fxied:1024", 'unknown framing "fxied:1024"; did you mean "fixed:1024"?'),
        ("fixd:99", 'unknown framing "fixd:99"; did you mean "fixed:99"?'),
        ("fixd:many", 'unknown framing "fixd:many"; did you mean "fixed:1024"?'),
        ("fxied", 'unknown framing "fxied"; did you mean "fixed:1024"?'),
        ("lines", 'unknown framing "lines"; did you mean "line"?'),
        ("netstrings", 'unknown framing "netstrings"; did you mean "netstring"?'),
        ("int31:little", 'unknown framing "int31:little"; did you mean "int32:little"?'),
        ("delimted:0a", 'unknown framing "delimted:0a"; did you mean "delimited:0a"?'),
        ("fixed:0", 'framing "fixed:0": the size must be 1 to 1048576 bytes'),
        ("fixed:-1", 'framing "fixed:-1": the size must be 1 to 1048576 bytes'),
        ("fixed:1e99", 'framing "fixed:1e99": the size must be 1 to 1048576 bytes'),
        ("fixed:1.5", 'framing "fixed:1.5": the size must be 1 to 1048576 bytes'),
        ("fixed:nan", 'framing "fixed:nan": the size must be 1 to 1048576 bytes'),
        ("fixed:1_000", 'framing "fixed:1_000": the size must be 1 to 1048576 bytes; did you mean "fixed:1000"?'),
        ("fixed: 7", 'framing "fixed: 7": the size must be 1 to 1048576 bytes; did you mean "fixed:7"?'),
        ("Fixed:64K", 'framing "Fixed:64K": the size must be 1 to 1048576 bytes; did you mean "fixed:65536"?'),
        ("fixed:64M", 'framing "fixed:64M": the size must be 1 to 1048576 bytes'),
        ("fixed:1048577", 'framing "fixed:1048577": the size must be 1 to 1048576 bytes'),
        ("fixed:1:2", 'framing "fixed:1:2": the size must be 1 to 1048576 bytes'),
        ("fixed", 'framing "fixed": the size is missing; write fixed:N, such as "fixed:1024"'),
        ("fixed:", 'framing "fixed:": the size is missing; write fixed:N, such as "fixed:1024"'),
        ("line:5", 'framing "line:5": "line" takes no argument; write "line"'),
        ("raw:", 'framing "raw:": "raw" takes no argument; write "raw"'),
        (
            "int32:litle",
            'framing "int32:litle": the byte order must be "little" or "big"; did you mean "int32:little"?',
        ),
        (
            "delimited",
            'framing "delimited": the delimiter must be 1 to 64 bytes in hex, such as "delimited:0d0a"',
        ),
        (
            "delimited:0",
            'framing "delimited:0": the delimiter must be 1 to 64 bytes in hex, such as "delimited:0d0a"',
        ),
        (
            "delimited:0 0a",
            'framing "delimited:0 0a": the delimiter must be 1 to 64 bytes in hex, such as "delimited:0d0a"',
        ),
    ],
)
def test_a_spec_that_does_not_parse_says_what_would(text: str, message: str) -> None:
    with pytest.raises(FramingSpecError) as caught:
        parse_framing(text)
    assert message == str(caught.value)


def test_a_spec_like_none_is_answered_with_all_there_are() -> None:
    with pytest.raises(FramingSpecError, match=r"^unknown framing \"quic\"; known are fixed:N, int8, .*, raw$"):
        parse_framing("quic")


@settings(max_examples=100, deadline=None)
@given(st.one_of(st.text(max_size=200), st.sampled_from(ALL).flatmap(lambda text: st.text().map(text.__add__))))
def test_whatever_is_given_the_answer_is_a_spec_or_one_short_line(text: str) -> None:
    answer = ""
    try:
        spec = parse_framing(text)
        assert spec == parse_framing(spec.text)
    except FramingSpecError as error:
        answer = str(error)
    assert answer.isprintable()
    assert len(answer) < 1000


def test_max_packet_bounds_the_fixed_size_and_must_be_positive() -> None:
    assert 100 == parse_framing("fixed:100", max_packet=100).size
    with pytest.raises(FramingSpecError, match=r"the size must be 1 to 100 bytes$"):
        parse_framing("fixed:101", max_packet=100)
    for max_packet in (0, -1):
        with pytest.raises(FramingSpecError, match=r"max_packet .*at least 1 byte$"):
            parse_framing("line", max_packet=max_packet)


def test_the_longest_delimiter_is_allowed_and_a_longer_one_is_not() -> None:
    assert [b"x"] == parse_framing("delimited:" + "0a" * MAX_DELIMITER).new().feed(b"x" + b"\n" * MAX_DELIMITER)
    with pytest.raises(FramingSpecError):
        parse_framing("delimited:" + "0a" * (MAX_DELIMITER + 1))


@pytest.mark.parametrize("text", ALL)
def test_each_stream_has_its_own_state(text: str) -> None:
    spec = parse_framing(text)
    first, second = spec.new(), spec.new()
    first.feed(b"1")
    assert 0 == second.pending_bytes
    assert first is not second
