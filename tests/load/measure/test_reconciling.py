from __future__ import annotations

from typing import Any

from ctrlserver.load.measure.counts import StreamCount
from ctrlserver.load.measure.reading import Reading
from ctrlserver.load.measure.reconciling import ByAddress, Reconciliation
from tests.load.measure.records import record, stream


def reconcile(
    streams: list[StreamCount],
    records: list[dict[str, object]],
    framing: str,
    newer_than: int = 0,
    seconds: float = 0.0,
    told: float = 0.0,
) -> Reconciliation:
    before = Reading([{"stream": newer_than}])
    return ByAddress(streams, framing, before, 0.0, seconds).compare(Reading(records, at=told))


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


def summed(streams: int, packets: int, nbytes: int, host: str = "127.0.0.1") -> dict[str, object]:
    return {"peer": host, "listener": "data", "streams": streams, "packets": packets, "bytes": nbytes}


def of_reading(records: list[dict[str, object]], *closed: dict[str, object]) -> Reconciliation:
    """3 streams of 10 packets and 10240 bytes; 2 others of our host were closed before."""
    before = Reading([{"stream": 100}], closed=[summed(2, 7, 70)])
    rows = [{**record, "listener": "data"} for record in records]
    comparison = ByAddress([stream(1), stream(2), stream(3)], "fixed:1024", before, 0.0, 1.0, "received")
    return comparison.compare(Reading(rows, closed=closed))


def closed(number: int, **more: Any) -> dict[str, object]:
    return record(number, **{"stream": 100 + number, "state": "closed", "reason": "eof", **more})


def test_closed_streams_that_the_server_shows_no_more_are_compared_in_their_sums() -> None:
    outcome = of_reading([closed(3)], summed(5, 37, 70 + 3 * 10240))
    assert (True, True, None) == (outcome.reconciled, outcome.settled, outcome.difference)
    assert outcome.received is not None
    assert (30, 3 * 10240, {3: (10, 10240)}) == (outcome.received.packets, outcome.received.bytes, outcome.counted)
    assert "the server has 1 stream of ours on view: all were compared in their sums" == outcome.remark


def test_a_download_from_a_listener_that_sends_nothing_is_not_reconciled_and_no_difference() -> None:
    asked = [closed(number, packets=0, bytes=1, mode="sink") for number in (1, 2, 3)]
    outcome = of_reading(asked, summed(5, 7, 73))
    assert (None, True, None) == (outcome.reconciled, outcome.settled, outcome.difference)
    assert "the mode of its listener is sink" in str(outcome.unclear)


def test_sums_that_differ_are_a_difference() -> None:
    outcome = of_reading([closed(3)], summed(5, 36, 70 + 3 * 10240 - 1))
    assert (False, True) == (outcome.reconciled, outcome.settled)
    assert "received 30 packets of 30720 bytes on 3 streams" in str(outcome.difference)
    assert "the server counted 29 of 30719 bytes: 1 packet fewer, 1 byte fewer" in str(outcome.difference)


def test_other_closed_streams_of_our_host_on_view_are_not_in_our_sums() -> None:
    theirs_on_view = closed(9, packets=5, nbytes=50)
    assert of_reading([theirs_on_view, closed(3)], summed(6, 42, 120 + 3 * 10240)).reconciled


def test_others_among_the_streams_that_the_server_shows_no_more_make_it_unclear() -> None:
    outcome = of_reading([closed(3)], summed(6, 37, 70 + 3 * 10240))
    assert (None, None) == (outcome.reconciled, outcome.difference)
    assert (
        "the server has closed 3 more streams from our address, not all of them ours: not reconciled" == outcome.unclear
    )


def test_streams_that_are_not_closed_yet_are_waited_for() -> None:
    outcome = of_reading([closed(3)], summed(4, 27, 70 + 2 * 10240))
    assert (False, False) == (outcome.reconciled, outcome.settled)


def test_a_stream_that_the_server_rejected_is_named_with_the_limit_at_once() -> None:
    stats = {"rejected_total": 2, "rejected_max_streams_total": 2}
    after = {"rejected_total": 3, "rejected_max_streams_total": 2, "rejected_not_allowed_total": 1}
    comparison = ByAddress([stream(1), stream(2)], "fixed:1024", Reading(stats=stats), 0.0, 1.0)
    still_open = comparison.compare(Reading([record(1)], stats=after))
    outcome = comparison.compare(Reading([record(1)], stats=after, over=frozenset([2])))
    assert (False, False) == (still_open.reconciled, still_open.settled)
    assert (False, True) == (outcome.reconciled, outcome.settled)
    expected = "stream 2: the server has no stream from 127.0.0.1:40002: it has rejected 1 connection (allow)"
    assert expected == outcome.difference


def test_streams_behind_a_proxy_are_compared_in_their_sums_if_nobody_else_sent() -> None:
    behind = [closed(number, peer=f"10.0.0.9:{number}") for number in (1, 2, 3)]
    health_check = closed(4, peer="10.0.0.7:1", packets=0, nbytes=0)
    outcome = of_reading([*behind, health_check])
    assert outcome.reconciled
    expected = "the server's new streams come from 10.0.0.9, not from 127.0.0.1:40001: a proxy or NAT stands between"
    assert f"{expected}; all were compared in their sums" == outcome.remark
    lost = of_reading([*behind[:2], closed(3, peer="10.0.0.9:3", packets=9, nbytes=9 * 1024)])
    assert (False, True) == (lost.reconciled, lost.settled)
    assert "1 packet fewer, 1024 bytes fewer" in str(lost.difference)


def test_streams_behind_a_proxy_beside_others_are_unclear_with_the_reason() -> None:
    behind = [closed(number, peer=f"10.0.0.9:{number}") for number in (1, 2, 3)]
    for others in (closed(4, peer="10.0.0.8:4"), closed(4, peer="10.0.0.9:4")):
        outcome = of_reading([*behind, others])
        assert (None, None) == (outcome.reconciled, outcome.difference)
        assert "a proxy or NAT" in str(outcome.unclear)


def test_more_streams_behind_a_proxy_than_the_server_shows_are_compared_too() -> None:
    shown = closed(3, peer="10.0.0.9:3")
    assert of_reading([shown], summed(2, 7, 70), summed(3, 30, 3 * 10240, "10.0.0.9")).reconciled
