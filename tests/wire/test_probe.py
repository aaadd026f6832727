"""Claims about the header of probe packets; numpy and struct must say the same of any bytes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ctrlserver.wire import probe
from ctrlserver.wire.probe import (
    BULK,
    HEADER_SIZE,
    MAGIC,
    Heads,
    ProbeBlock,
    decode,
    decode_each,
    decode_plain,
    encode,
    encode_into,
    has_numpy,
)

SEQUENCES = st.integers(0, 2**64 - 1)
TIMES = st.integers(-(2**63), 2**63 - 1)
SESSIONS = st.integers(0, 2**16 - 1)
HEADERS = st.tuples(SESSIONS, SEQUENCES, TIMES)


def listed(runs: list[Heads]) -> list[tuple[int, int, int]]:
    """The same packets, whichever form decoded them."""
    packets = []
    for session, sequences, sent in runs:
        sessions = session if isinstance(session, list) else [session] * len(sequences)
        packets += [(number, int(n), int(t)) for number, n, t in zip(sessions, sequences, sent, strict=True)]
    return packets


def test_the_layout_is_the_one_that_is_written_down() -> None:
    assert bytes.fromhex("c7505242 01 00 0102 0000000000000003 0000000000000004") == encode(3, 4, session=0x0102)
    assert HEADER_SIZE == len(encode(0, 0))


def test_the_magic_is_no_text() -> None:
    with pytest.raises(UnicodeDecodeError):
        MAGIC.decode()


def test_numpy_is_there_for_the_tests() -> None:
    assert has_numpy()


@given(st.lists(HEADERS, min_size=1, max_size=2 * BULK), st.integers(0, 40), st.integers(0, 10))
def test_what_was_encoded_is_decoded(headers: list[tuple[int, int, int]], fill: int, at: int) -> None:
    chunk = bytes(at) + b"".join(encode(sequence, sent, session) + b"." * fill for session, sequence, sent in headers)

    assert headers == listed(decode(memoryview(chunk), HEADER_SIZE + fill, len(headers), at))


@given(
    st.lists(
        st.one_of(
            st.builds(encode, SEQUENCES, TIMES, st.integers(0, 2)),
            st.binary(min_size=HEADER_SIZE, max_size=HEADER_SIZE),
            st.just(MAGIC + b"\x02" + bytes(19)),
            st.just(MAGIC + b"\x01\xff" + bytes(18)),
        ),
        min_size=BULK,
        max_size=3 * BULK,
    )
)
def test_numpy_and_struct_say_the_same_of_any_bytes(headers: list[bytes]) -> None:
    chunk = b"".join(headers)

    assert listed(decode_plain(chunk, HEADER_SIZE, len(headers))) == listed(decode(chunk, HEADER_SIZE, len(headers)))


@pytest.mark.parametrize("factor", [1, 2, 4])
def test_a_sender_whose_sessions_alternate_costs_one_item_and_not_one_a_packet(factor: int) -> None:
    packets = 1000 * factor
    headers = [(number % 3, number, 7) for number in range(packets)]
    chunk = b"".join(encode(sequence, sent, session) for session, sequence, sent in headers)
    runs = decode(chunk, HEADER_SIZE, packets)
    assert 1 == len(runs)
    assert headers == listed(runs)


@pytest.mark.parametrize("packets", [1, BULK])
def test_packets_that_are_no_probes_are_left_out(packets: int) -> None:
    assert [] == decode(bytes(64 * packets), 64, packets)
    assert [] == decode(encode(1, 2).replace(b"\x01", b"\x02", 1) * packets, HEADER_SIZE, packets)
    assert [] == decode(MAGIC * packets, len(MAGIC), packets)


@pytest.mark.parametrize("packets", [1, BULK])
def test_flags_are_ignored(packets: int) -> None:
    flagged = bytearray(encode(1, 2, 3))
    flagged[5] = 0xFF

    assert [(3, 1, 2)] * packets == listed(decode(flagged * packets, HEADER_SIZE, packets))


def test_what_is_decoded_outlives_the_chunk() -> None:
    chunk = bytearray(encode(7, 8) * BULK)
    runs = decode(chunk, HEADER_SIZE, BULK)
    chunk[:] = bytes(len(chunk))

    assert [(0, 7, 8)] * BULK == listed(runs)


@given(st.integers(1, 2 * BULK), st.integers(0, 2**63), SESSIONS, st.integers(0, 20))
def test_a_buffer_of_packets_gets_its_headers_and_keeps_the_rest(
    packets: int, sequence: int, session: int, fill: int
) -> None:
    size = HEADER_SIZE + fill
    sent = [1_700_000_000_000_000_000 + 17 * at for at in range(packets)]
    buffer = bytearray(b"." * (packets * size + 3))
    encode_into(buffer, size, sequence, sent, session)

    expected = b"".join(encode(sequence + at, sent[at], session) + b"." * fill for at in range(packets)) + b"..."
    assert expected == bytes(buffer)


def test_a_buffer_too_short_is_refused_untouched() -> None:
    buffer = bytearray(2 * HEADER_SIZE - 1)
    with pytest.raises(ValueError, match="no 2 probe packets of 24 bytes fit into 47 bytes"):
        encode_into(buffer, HEADER_SIZE, 0, [1, 2])
    with pytest.raises(ValueError, match="no 1 probe packets of 23 bytes"):
        encode_into(buffer, HEADER_SIZE - 1, 0, [1])
    assert bytes(len(buffer)) == buffer


def test_packets_of_any_length_are_decoded_and_short_ones_left_out() -> None:
    packets = [encode(1, 10) + b"more", b"", encode(2, 20), encode(3, 30)[:-1], encode(4, 40, 1)]

    assert [(0, 1, 10), (0, 2, 20), (1, 4, 40)] == listed(decode_each(packets))
    assert [] == decode_each([])


@pytest.mark.parametrize("packets", [1, BULK - 1, BULK, 100])
@pytest.mark.parametrize("numpy", [True, False])
def test_a_block_is_stamped_as_its_packets_would_be_one_by_one(
    packets: int, numpy: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not numpy:
        monkeypatch.setattr(probe, "has_numpy", lambda: False)
    block = ProbeBlock(bytes(range(50)) * packets, 50, 9)
    for first, sent in ((0, 5), ((1 << 63) + 7, -6)):
        block.stamp(packets, first, sent)
        expected = b"".join(encode(first + at, sent, 9) + bytes(range(24, 50)) for at in range(packets))
        assert expected == block.buffer
    block.stamp(1, 3, [4])
    assert block.buffer.startswith(encode(3, 4, 9))
    assert bytes(expected[50:]) == block.buffer[50:]


def test_a_block_of_no_whole_packets_is_refused() -> None:
    for content, size in ((b"x" * 70, 50), (b"", 50), (b"x" * 20, 20)):
        with pytest.raises(ValueError, match=r"packets of \d+ bytes"):
            ProbeBlock(content, size, 0)
