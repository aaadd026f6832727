from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ctrlserver.wire.stride import FIRST, WORTH, equal_frames

some = settings(max_examples=100, deadline=None)


def leading_equal(octets: bytearray, at: int, stride: int, frames: int, head: int, trailer: bytes) -> int:
    """What equal_frames promises, frame by frame."""
    header = octets[at : at + head]
    for number in range(frames):
        frame = octets[at + number * stride : at + (number + 1) * stride]
        if frame[:head] != header or not frame.endswith(trailer):
            return number
    return frames


@some
@given(st.data())
def test_the_frames_up_to_the_first_other_byte_are_equal(data: st.DataObject) -> None:
    head = data.draw(st.integers(1, 9))
    trailer = data.draw(st.sampled_from([b"", b","]))
    stride = head + data.draw(st.integers(0, 20)) + len(trailer)
    frames = data.draw(st.sampled_from([1, 2, 3, WORTH, FIRST - 1, FIRST, FIRST + 1, 2 * FIRST]))
    at = data.draw(st.integers(0, 9))
    frame = (data.draw(st.binary(min_size=head, max_size=head)) + b"x" * stride)[: stride - len(trailer)] + trailer
    octets = bytearray(b"y" * at + frame * frames + b"z" * data.draw(st.integers(0, 9)))
    for place in data.draw(st.lists(st.integers(0, len(octets) - 1), max_size=2)):
        octets[place] ^= data.draw(st.integers(1, 255))
    expected = leading_equal(octets, at, stride, frames, head, trailer)
    assert expected == equal_frames(bytes(octets), at, stride, frames, head, trailer)
    assert expected == equal_frames(memoryview(octets), at, stride, frames, head, trailer)


@pytest.mark.parametrize("head", [1, 2, 3, 4, 8])
@pytest.mark.parametrize("payload", [0, 1, 2, 3, 60, 64])
def test_every_header_byte_of_every_frame_is_looked_at(head: int, payload: int) -> None:
    frames = WORTH + 5
    stride = head + payload
    octets = bytearray((bytes(range(1, head + 1)) + b"x" * payload) * frames)
    assert frames == equal_frames(bytes(octets), 0, stride, frames, head, b"")
    for number in range(1, frames):
        for place in range(head):
            octets[number * stride + place] ^= 0x80
            assert number == equal_frames(memoryview(octets), 0, stride, frames, head, b"")
            octets[number * stride + place] ^= 0x80


@pytest.mark.parametrize("period", [2, 3, 4, 8])
@pytest.mark.parametrize("stride", range(8, 17))
def test_headers_that_differ_in_turn_are_not_equal(period: int, stride: int) -> None:
    octets = b"".join(bytes([number % period]) * 8 + b"x" * (stride - 8) for number in range(80))
    for head in (2, 4, 8):
        assert 1 == equal_frames(octets, 0, stride, 80, head, b"")


def test_what_lies_before_and_after_the_frames_does_not_matter() -> None:
    frame = b"\0\x03abc"
    assert 40 == equal_frames(b"?" * 7 + frame * 40 + b"\0\x04", 7, 5, 40, 2, b"")
    assert 39 == equal_frames(frame * 40, 5, 5, 39, 2, b"")


def test_a_wrong_trailer_in_the_first_frame_gives_none() -> None:
    assert 0 == equal_frames(b"1:a;" + b"1:a," * 40, 0, 4, 41, 2, b",")
