from __future__ import annotations

from typing import Any

from ctrlserver.load.measure.counts import StreamCount
from ctrlserver.load.measure.reading import Reading
from ctrlserver.load.measure.reconciling import Reconciliation
from ctrlserver.load.measure.unix import OverUnix
from tests.load.measure.records import ours, record, stream, theirs


def unix(streams: list[StreamCount], *records: dict[str, Any]) -> Reconciliation:
    return OverUnix(streams, "fixed:100", Reading(), 0.0, 1.0).compare(Reading(records))


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


def test_more_unix_streams_than_the_server_shows_are_compared_in_their_sums() -> None:
    ours_over_unix = [stream(number, local="") for number in (1, 2, 3)]
    comparison = OverUnix(ours_over_unix, "fixed:1024", Reading(), 0.0, 1.0)
    sums = {"peer": "unix", "listener": "data", "streams": 3, "packets": 30, "bytes": 3 * 10240}
    shown = record(3, state="closed", reason="eof", peer="unix", listener="data")
    assert comparison.compare(Reading([shown], closed=[sums])).reconciled
