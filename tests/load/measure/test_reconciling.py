from __future__ import annotations

from typing import Any

from ctrlserver.load.measure.counts import StreamCount
from ctrlserver.load.measure.reconciling import (
    QUIET_SECONDS,
    ByAddress,
    Delivery,
    OfDatagrams,
    OverUnix,
    Reconciliation,
)


def stream(number: int = 1, packets: int = 10, nbytes: int = 10240, local: str | None = None) -> StreamCount:
    return StreamCount(
        stream=number,
        local=f"127.0.0.1:{40000 + number}" if local is None else local,
        target="127.0.0.1:22222",
        packets=packets,
        bytes=nbytes,
        seconds=1.0,
        incomplete_bytes=0,
        writes=1,
        replies=None,
        received_packets=None,
        received_bytes=None,
        reason="complete",
    )


def record(number: int = 1, packets: int = 10, nbytes: int = 10240, **more: Any) -> dict[str, object]:
    published = {
        "stream": number,
        "peer": f"127.0.0.1:{40000 + number}",
        "framing": "fixed:1024",
        "state": "open",
        "reason": None,
        "packets": packets,
        "bytes": nbytes,
        "seconds": 2.0,
    }
    return {**published, **more}


def reconcile(
    streams: list[StreamCount],
    records: list[dict[str, object]],
    framing: str,
    newer_than: int = 0,
    seconds: float = 0.0,
    told: float = 0.0,
) -> Reconciliation:
    return ByAddress(streams, framing, newer_than, 0.0, seconds).compare(records, None, told)


def test_equal_counts_reconcile_and_are_summed() -> None:
    outcome = reconcile([stream(1), stream(2, 5, 5120)], [record(2, 5, 5120, seconds=3.5), record(1)], "fixed:1024")
    assert outcome.reconciled
    assert outcome.settled
    assert outcome.difference is None
    assert {1: (10, 10240), 2: (5, 5120)} == outcome.counted
    assert outcome.received is not None
    assert (15, 15360, 3.5) == (outcome.received.packets, outcome.received.bytes, outcome.received.seconds)


def test_what_was_sent_took_no_less_to_arrive() -> None:
    records = [record(2, seconds=0.1), record(1, seconds=0.2)]
    several = reconcile([stream(1), stream(2)], records, "fixed:1024", seconds=5.0).received
    one = reconcile([stream(1)], records, "fixed:1024", seconds=5.0).received
    later = reconcile([stream(1)], records, "fixed:1024", seconds=0.1).received
    assert several is not None
    assert one is not None
    assert later is not None
    assert (5.0, 5.0, 0.2) == (several.seconds, one.seconds, later.seconds)
    assert (4.0, 2.0) == (several.packets_per_second, one.packets_per_second)


def test_what_came_in_one_read_took_as_long_as_the_server_took_to_tell() -> None:
    received = reconcile([stream(1)], [record(1, seconds=0.0)], "fixed:1024", seconds=0.1, told=0.5).received
    assert received is not None
    assert (0.5, 20.0, 163_840.0) == (received.seconds, received.packets_per_second, received.bits_per_second)


def test_one_packet_received_has_no_rate() -> None:
    for seconds, bits in ((0.0, None), (2.0, 4096.0)):
        received = reconcile([stream(1, 1, 1024)], [record(1, 1, 1024, seconds=seconds)], "raw", told=0.5).received
        assert received is not None
        assert (None, bits) == (received.packets_per_second, received.bits_per_second)


def test_fewer_empty_datagrams_are_loss_and_no_difference() -> None:
    datagrams = OfDatagrams([stream(1, 10, 0)], 0, 0.0, 1.0)
    outcome = datagrams.compare([record(1, 8, 0)], None, 0.0)
    assert (False, None) == (outcome.reconciled, outcome.difference)
    assert outcome.delivery is not None
    assert 2 == outcome.delivery.lost
    assert datagrams.compare([record(1, 11, 0)], None, 0.0).difference is not None


def test_the_newest_stream_from_our_address_is_ours() -> None:
    newest_first = [record(1, stream=9), record(1, packets=3, stream=4)]
    assert reconcile([stream(1)], newest_first, "fixed:1024").reconciled


def test_a_stream_from_before_our_time_is_not_ours() -> None:
    outcome = reconcile([stream(1)], [record(1, stream=4)], "fixed:1024", newer_than=4)
    assert not outcome.reconciled
    assert not outcome.settled
    assert outcome.received is None
    assert "stream 1: the server has no stream from 127.0.0.1:40001" == outcome.difference


def test_fewer_packets_of_an_open_stream_may_still_come() -> None:
    outcome = reconcile([stream(1)], [record(1, 9, 9300)], "fixed:1024")
    assert (False, False) == (outcome.reconciled, outcome.settled)


def test_fewer_packets_of_a_closed_stream_will_not_come() -> None:
    outcome = reconcile([stream(1)], [record(1, 9, 9300, state="closed", reason="fault")], "fixed:1024")
    assert (False, True) == (outcome.reconciled, outcome.settled)
    assert (
        "stream 1 (127.0.0.1:40001): sent 10 packets of 10240 bytes, the server counted 9 of 9300 bytes: "
        "1 packet fewer, 940 bytes fewer; it closed the stream with reason fault"
    ) == outcome.difference


def test_another_framing_is_named_as_the_cause() -> None:
    outcome = reconcile([stream(1)], [record(1, 20, framing="fixed:512")], "fixed:1024")
    assert outcome.settled
    assert outcome.difference is not None
    assert outcome.difference.endswith("10 packets more, the same bytes; its framing is fixed:512, ours fixed:1024")


def test_a_server_that_counts_no_packets_is_held_to_its_bytes() -> None:
    assert reconcile([stream(1)], [record(1, 0, framing="raw")], "fixed:1024").reconciled
    assert not reconcile([stream(1)], [record(1, 0, 9, framing="raw")], "fixed:1024").reconciled


def test_the_first_stream_that_differs_is_named() -> None:
    records = [record(3, 1), record(2, 1), record(1)]
    outcome = reconcile([stream(1), stream(2), stream(3)], records, "fixed:1024")
    assert outcome.difference is not None
    assert outcome.difference.startswith("stream 2 ")


def test_a_record_without_sense_counts_as_nothing() -> None:
    assert not reconcile([stream(1)], [{"peer": "127.0.0.1:40001", "packets": "x", "stream": 1}], "x").reconciled
    assert not reconcile([stream(1)], [record(1, bytes=True)], "fixed:1024").reconciled


def ours(number: int = 1, packets: int = 10, nbytes: int = 1000, local: str = "127.0.0.1:5") -> StreamCount:
    return stream(number, packets, nbytes, local)


def theirs(number: int, packets: int, nbytes: int, peer: str = "127.0.0.1:5", **more: object) -> dict[str, Any]:
    return {"stream": number, "peer": peer, "packets": packets, "bytes": nbytes, "seconds": 0.5, **more}


def datagrams(*records: dict[str, Any], dropped: int | None = 0, now: float = 0.0, **fields: Any) -> Reconciliation:
    comparison = OfDatagrams([ours()], **{"newer_than": 0, "began": 0.0, "ended": 1.0, "dropped_before": 0, **fields})
    if now:
        comparison.compare(records, dropped, 0.0)
    return comparison.compare(records, dropped, now)


def test_datagrams_that_all_arrived_are_reconciled() -> None:
    seen = datagrams(theirs(1, 10, 1000))
    assert (True, True, None) == (seen.reconciled, seen.settled, seen.difference)
    assert Delivery(0, None, None, None, 0) == seen.delivery


def test_lost_datagrams_are_told_and_no_difference() -> None:
    seen = datagrams(theirs(1, 7, 700), dropped=1)
    assert (False, False, None) == (seen.reconciled, seen.settled, seen.difference)
    assert Delivery(3, None, None, None, 1) == seen.delivery


def test_what_has_not_come_may_still_come_until_nothing_new_does() -> None:
    assert not datagrams(theirs(1, 7, 700), now=QUIET_SECONDS / 2).settled
    assert datagrams(theirs(1, 7, 700), now=QUIET_SECONDS).settled


def test_news_start_the_waiting_anew() -> None:
    comparison = OfDatagrams([ours()], 0, 0.0, 1.0)
    comparison.compare([theirs(1, 7, 700)], None, 0.0)
    assert not comparison.compare([theirs(1, 8, 800)], None, QUIET_SECONDS).settled
    assert comparison.compare([theirs(1, 8, 800)], None, 2 * QUIET_SECONDS).settled


def test_what_was_dropped_is_not_waited_for() -> None:
    assert datagrams(theirs(1, 7, 700), dropped=8, dropped_before=5).settled


def test_more_than_was_sent_is_a_difference() -> None:
    seen = datagrams(theirs(1, 11, 1100))
    assert seen.reconciled is False
    assert "sent 10 datagrams of 1000 bytes, the server counted 11 of 1100 bytes" in str(seen.difference)


def test_as_many_packets_of_other_sizes_are_a_difference() -> None:
    assert datagrams(theirs(1, 10, 900)).difference is not None


def test_a_server_without_any_of_our_streams_is_a_difference_and_no_loss() -> None:
    seen = datagrams(theirs(1, 10, 1000, "127.0.0.1:6"), now=QUIET_SECONDS)
    assert (False, True, None, None) == (seen.reconciled, seen.settled, seen.received, seen.delivery)
    assert "is --admin the port of the server at the target?" in str(seen.difference)


def test_a_stream_that_none_arrived_of_is_lost_beside_one_that_did() -> None:
    comparison = OfDatagrams([ours(), ours(2, local="127.0.0.1:6")], 0, 0.0, 1.0)
    seen = comparison.compare([theirs(1, 10, 1000)], None, 0.0)
    assert Delivery(10, None, None, None, None) == seen.delivery
    assert {1: (10, 1000), 2: (0, 0)} == seen.counted


def test_a_stream_that_was_ended_for_silence_and_begun_again_counts_as_one() -> None:
    seen = datagrams(theirs(2, 4, 400), theirs(1, 6, 600))
    assert seen.reconciled
    assert seen.received is not None
    assert 10 == seen.received.packets


def test_what_somebody_sent_from_our_port_before_us_is_taken_off() -> None:
    seen = datagrams(theirs(3, 110, 11_000), theirs(2, 5, 5), newer_than=3, earlier={3: (100, 10_000)})
    assert seen.reconciled


def test_a_duplicate_is_not_what_makes_up_for_a_lost_one() -> None:
    seen = datagrams(theirs(1, 10, 1000, lost=1, duplicate=1, out_of_order=2, jitter_seconds=0.001))
    assert Delivery(1, 1, 2, 0.001, 0) == seen.delivery


def unix(streams: list[StreamCount], *records: dict[str, Any]) -> Reconciliation:
    return OverUnix(streams, "fixed:100", 0, 0.0, 1.0).compare(records, None, 0.0)


def test_streams_over_a_unix_socket_are_compared_in_order_of_size() -> None:
    streams = [ours(1, 3, 300, ""), ours(2, 2, 200, "")]
    assert unix(streams, theirs(7, 2, 200, "unix"), theirs(8, 3, 300, "unix"), theirs(9, 1, 1)).reconciled
    seen = unix(streams, theirs(7, 2, 200, "unix"), theirs(8, 4, 400, "unix"))
    assert (False, True) == (seen.reconciled, seen.settled)
    assert "1 packet more" in str(seen.difference)


def test_a_unix_stream_that_is_missing_may_still_come() -> None:
    seen = unix([ours(1, 3, 300, ""), ours(2, 2, 200, "")], theirs(7, 2, 200, "unix"))
    assert (False, False) == (seen.reconciled, seen.settled)
    assert "the server has 1 new stream over unix sockets, we opened 2" == seen.difference


def test_unix_streams_of_others_beside_ours_cannot_be_told_apart() -> None:
    seen = unix([ours(1, 3, 300, "")], theirs(7, 3, 300, "unix"), theirs(8, 3, 300, "unix"))
    assert (None, True, None) == (seen.reconciled, seen.settled, seen.difference)
    assert "not reconciled" in str(seen.unclear)
