"""The conformance suite over every framing; the checks and what they mean are in conformance.py."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ctrlserver.errors import FramingError
from ctrlserver.wire.framing import PACKETS_A_CALL, parse_framing
from tests.wire import conformance
from tests.wire.conformance import CASES, Case, encoded, splits

every_case = pytest.mark.parametrize("case", CASES, ids=lambda case: case.text)
faulty_cases = pytest.mark.parametrize("case", [case for case in CASES if case.too_long], ids=lambda case: case.text)
# Few examples for each case, as there are many cases; a machine under load must not fail a check by its clock.
some = settings(
    max_examples=20, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)


@every_case
@some
@given(st.data())
def test_any_split_of_a_stream_gives_the_same_packets(case: Case, data: st.DataObject) -> None:
    payloads = data.draw(case.streams())
    stream = b"".join(encoded(case.spec().new(), payloads))
    conformance.check_payloads(case, payloads, data.draw(splits(stream)))


@every_case
@some
@given(st.data())
def test_byte_by_byte_gives_the_same_packets(case: Case, data: st.DataObject) -> None:
    payloads = data.draw(st.lists(case.payloads(), max_size=4))
    stream = b"".join(encoded(case.spec().new(), payloads))
    conformance.check_payloads(case, payloads, [stream[i : i + 1] for i in range(len(stream))])


@every_case
@some
@given(st.data())
def test_the_bytes_after_the_last_whole_packet_are_pending(case: Case, data: st.DataObject) -> None:
    payloads = data.draw(case.streams())
    size = sum(map(len, encoded(case.spec().new(), payloads)))
    conformance.check_pending(case, payloads, data.draw(st.integers(0, size)))


@every_case
@some
@given(st.data())
def test_a_stream_with_broken_bytes_is_read_alike_however_it_is_cut_or_read(case: Case, data: st.DataObject) -> None:
    payloads = data.draw(case.streams())
    stream = bytearray(b"".join(encoded(case.spec().new(), payloads)))
    for place in data.draw(st.lists(st.integers(0, max(0, len(stream) - 1)), max_size=2)):
        stream[place : place + 1] = data.draw(st.binary(max_size=2))
    conformance.check_same(case, data.draw(splits(bytes(stream))))


@every_case
@some
@given(st.data())
def test_garbage_is_read_alike_however_it_is_cut_or_read(case: Case, data: st.DataObject) -> None:
    likely = st.text("\0\1\x02\x80\r\n012:,x", max_size=400).map(lambda text: text.encode("latin-1"))
    conformance.check_same(case, data.draw(splits(data.draw(st.one_of(st.binary(max_size=400), likely)))))


@every_case
@some
@given(st.data())
def test_count_and_feed_may_be_mixed(case: Case, data: st.DataObject) -> None:
    stream = b"".join(encoded(case.spec().new(), data.draw(case.streams())))
    by_feed = data.draw(st.lists(st.booleans(), min_size=1, max_size=5))
    conformance.check_mixed(case, data.draw(splits(stream)), by_feed)


@every_case
@some
@given(st.data())
def test_what_a_call_leaves_is_cut_by_the_next_ones(case: Case, data: st.DataObject) -> None:
    stream = bytearray(b"".join(encoded(case.spec().new(), data.draw(case.streams()))))
    for place in data.draw(st.lists(st.integers(0, max(0, len(stream) - 1)), max_size=1)):
        stream[place : place + 1] = data.draw(st.binary(max_size=2))
    conformance.check_portions(case, bytes(stream), data.draw(st.sampled_from([1, 2, 30, 100])))


@every_case
@pytest.mark.parametrize("build", [True, False])
def test_a_call_costs_no_more_however_many_packets_a_chunk_holds(case: Case, build: bool) -> None:
    mixed = [b"x" * (case.size or number * number % 3) for number in range(4 * PACKETS_A_CALL)]
    stream = b"".join(encoded(case.spec().new(), mixed))
    calls = []
    for factor in (1, 2, 4):
        framing = case.spec().new()
        framing.most = PACKETS_A_CALL
        rest, calls_made = stream * factor, 0
        while rest:
            packets = len(framing.feed(rest)) if build else framing.count(rest)
            by_one_call = case.size is not None or case.text.startswith(("line", "delimited"))
            assert packets <= 3 * PACKETS_A_CALL or (by_one_call and not build)
            calls_made += 1
            left, framing.left = framing.left, 0
            rest = rest[len(rest) - left :] if left else b""
        calls.append(calls_made)
    assert calls[2] <= 4 * calls[0]


@every_case
@some
@given(st.data())
def test_packets_are_counted_without_holding_their_bytes(case: Case, data: st.DataObject) -> None:
    stream = bytearray(b"".join(encoded(case.spec().new(), data.draw(case.streams()))))
    for place in data.draw(st.lists(st.integers(0, max(0, len(stream) - 1)), max_size=1)):
        stream[place : place + 1] = data.draw(st.binary(max_size=2))
    conformance.check_without_bytes(case, data.draw(splits(bytes(stream))))


@every_case
@some
@given(st.data())
def test_packets_end_at_the_same_places_however_the_stream_is_cut(case: Case, data: st.DataObject) -> None:
    stream = bytearray(b"".join(encoded(case.spec().new(), data.draw(case.streams()))))
    for place in data.draw(st.lists(st.integers(0, max(0, len(stream) - 1)), max_size=1)):
        stream[place : place + 1] = data.draw(st.binary(max_size=2))
    most, holds = data.draw(st.sampled_from([1, 2, 30, 1000])), data.draw(st.booleans())
    conformance.check_ends(case, data.draw(splits(bytes(stream))), most, holds)


@every_case
@some
@given(st.data())
def test_what_is_held_is_bounded(case: Case, data: st.DataObject) -> None:
    chunks = data.draw(st.lists(st.binary(max_size=400), max_size=6))
    conformance.check_bounded(case, chunks)


@every_case
def test_what_is_held_of_an_endless_packet_is_bounded(case: Case) -> None:
    for byte in (b"x", b"\r", b"1", b"0", b"\x80", b"\0"):
        conformance.check_bounded(case, [byte * 7] * 200)
        conformance.check_bounded(case, [byte * 5000] * 2)


@every_case
@some
@given(st.data())
def test_feed_of_encode_gives_the_payload(case: Case, data: st.DataObject) -> None:
    payload = data.draw(case.payloads())
    framing = case.spec().new()
    assert [payload] == framing.feed(framing.encode(payload))
    assert 1 == framing.count(framing.encode(payload))


@every_case
def test_one_frame_as_a_whole_chunk_is_one_packet_again_and_again(case: Case) -> None:
    framing = case.spec().new()
    frame = framing.encode(b"x" * case.longest)
    assert [1] * 50 == [framing.count(frame) for _ in range(50)]
    assert 0 == framing.pending_bytes


@every_case
def test_empty_packets_are_packets_and_empty_chunks_are_nothing(case: Case) -> None:
    framing = case.spec().new()
    payloads = [b""] * 100 if case.size is None else []
    conformance.check_payloads(case, payloads, encoded(framing, payloads))
    conformance.check_payloads(case, payloads, [b"".join(encoded(framing, payloads)), b""])
    assert 0 == framing.count(b"")
    assert [] == framing.feed(memoryview(b""))


@every_case
def test_the_longest_payload_passes_and_one_byte_more_is_not_encoded(case: Case) -> None:
    framing = case.spec().new()
    assert [b"x" * case.longest] * 2 == framing.feed(framing.encode(b"x" * case.longest) * 2)
    with pytest.raises(FramingError, match=str(case.longest + 1)):
        framing.encode(b"x" * (case.longest + 1))


@faulty_cases
def test_one_byte_over_the_limit_is_a_fault_before_the_packet_is_whole(case: Case) -> None:
    assert case.too_long is not None
    conformance.check_fault(case, [b"x" * 9] * 2, case.too_long(case.limit + 1), b"x" * 1000)


@faulty_cases
@some
@given(st.data())
def test_a_whole_packet_over_the_limit_is_a_fault_however_it_is_cut(case: Case, data: st.DataObject) -> None:
    payloads = data.draw(st.lists(case.payloads(), max_size=2))
    wider = parse_framing(case.text, max_packet=2 * case.limit).new()
    stream = b"".join(encoded(wider, [*payloads, b"y" * (case.limit + 1)]))
    conformance.check_too_long(case, data.draw(splits(stream)), len(payloads))
    conformance.check_too_long(case, [stream], len(payloads))


@faulty_cases
def test_the_limit_itself_is_not_a_fault(case: Case) -> None:
    assert case.too_long is not None
    framing = case.spec().new()
    assert 0 == framing.count(case.too_long(case.limit))
    assert framing.fault is None


@pytest.mark.parametrize("case", [case for case in CASES if case.faults], ids=lambda case: case.text)
@some
@given(st.data())
def test_what_breaks_the_framing_is_a_fault_after_good_packets(case: Case, data: st.DataObject) -> None:
    payloads = data.draw(case.streams())
    for fault in case.faults:
        conformance.check_fault(case, payloads, fault, data.draw(st.binary(max_size=9)))


@every_case
def test_framings_are_small_and_take_no_other_attributes(case: Case) -> None:
    framing = case.spec().new()
    assert not hasattr(framing, "__dict__")
    assert framing.fault is None
