from __future__ import annotations

from itertools import permutations
from typing import Any

from ctrlserver.load.measure.counts import StreamCount
from ctrlserver.load.measure.reading import Reading
from ctrlserver.load.measure.reconciling import Reconciliation
from ctrlserver.load.measure.unix import OverUnix
from tests.load.measure.records import ours, record, stream, struck, theirs


def unix(streams: list[StreamCount], *records: dict[str, Any]) -> Reconciliation:
    return OverUnix(streams, "fixed:100", Reading(), 0.0, 1.0).compare(Reading(records))


def test_streams_over_a_unix_socket_are_compared_by_size() -> None:
    streams = [ours(1, 3, 300, ""), ours(2, 2, 200, "")]
    assert unix(streams, theirs(7, 2, 200, "unix"), theirs(8, 3, 300, "unix"), theirs(9, 1, 1)).reconciled
    seen = unix(streams, theirs(7, 2, 200, "unix"), theirs(8, 4, 400, "unix"))
    assert (False, True) == (seen.reconciled, seen.settled)
    assert "1 packet more" in str(seen.difference)


STRUCK: dict[str, Any] = {"peer": "unix", "injected": 1, "state": "closed", "reason": "injected"}


def test_of_unequal_streams_the_one_that_an_order_struck_takes_what_the_others_leave() -> None:
    streams = [ours(1, 3, 300, ""), ours(2, 4, 400, ""), ours(3, 5, 500, "")]
    plain = theirs(7, 3, 300, "unix"), theirs(8, 5, 500, "unix")
    for left in (0, 1, 3):
        seen = unix(streams, theirs(9, left, 100 * left, **STRUCK), *plain)
        assert (True, 4 - left, frozenset({2})) == (seen.reconciled, seen.through.packets, seen.through.ended)


def test_what_was_struck_and_received_whole_is_paired_before_what_was_cut_short() -> None:
    streams = [ours(1, 3, 300, ""), ours(2, 3, 300, ""), ours(3, 5, 500, "")]
    cut, whole = theirs(9, 3, 300, **STRUCK), theirs(8, 3, 300, "unix", injected=1, state="closed", reason="eof")
    seen = unix(streams, cut, whole, theirs(7, 3, 300, "unix"))
    assert (True, 2) == (seen.reconciled, seen.through.packets)


def test_what_no_order_struck_has_to_be_whole_beside_what_one_did() -> None:
    seen = unix([ours(1, 3, 300, ""), ours(2, 4, 400, "")], theirs(7, 2, 200, "unix"), theirs(9, 0, 0, **STRUCK))
    assert seen.reconciled is False


def test_of_framing_raw_bytes_alone_are_compared() -> None:
    raw: dict[str, Any] = {"peer": "unix", "framing": "raw"}
    streams = [ours(1, 3, 300, ""), ours(2, 4, 400, "")]
    seen = unix(streams, theirs(7, 0, 300, **raw), theirs(9, 0, 50, **STRUCK, framing="raw"))
    assert (True, 350) == (seen.reconciled, seen.through.bytes)


def test_of_equal_streams_those_that_we_ended_are_those_that_the_server_has_closed() -> None:
    streams = [struck(1, 3, 300, "", end="reset"), stream(2, 3, 300, "")]
    for records in permutations((theirs(7, 3, 300, "unix", state="closed", reason="eof"), theirs(8, 3, 300, "unix"))):
        assert unix(streams, *records).reconciled


def test_a_stream_whose_framing_we_broke_takes_what_the_whole_ones_leave() -> None:
    broken = struck(1, 3, 300, "", expected_packets=1, faulty=True)
    for streams in permutations((broken, stream(2, 3, 300, ""))):
        fault = theirs(8, 1, 130, "unix", state="closed", reason="fault")
        assert unix(list(streams), theirs(7, 3, 300, "unix"), fault).reconciled


def test_a_unix_stream_that_is_missing_may_still_come() -> None:
    seen = unix([ours(1, 3, 300, ""), ours(2, 2, 200, "")], theirs(7, 2, 200, "unix"))
    assert (False, False) == (seen.reconciled, seen.settled)
    assert "the server has 1 new stream over unix sockets, we opened 2" == seen.difference


def test_unix_streams_of_others_beside_ours_cannot_be_told_apart() -> None:
    seen = unix([ours(1, 3, 300, "")], theirs(7, 3, 300, "unix"), theirs(8, 3, 300, "unix"))
    assert (None, True, None) == (seen.reconciled, seen.settled, seen.difference)
    assert "not reconciled" in str(seen.unclear)


def test_more_unix_streams_than_the_server_shows_are_compared_in_their_sums() -> None:
    ours_over_unix = [stream(number, local="") for number in (1, 2, 3)]
    comparison = OverUnix(ours_over_unix, "fixed:1024", Reading(), 0.0, 1.0)
    sums = {"peer": "unix", "listener": "data", "streams": 3, "packets": 30, "bytes": 3 * 10240}
    shown = record(3, state="closed", reason="eof", peer="unix", listener="data")
    assert comparison.compare(Reading([shown], closed=[sums])).reconciled
