from __future__ import annotations

from typing import Any

from attrs import evolve

from ctrlserver.load.measure.datagrams import QUIET_SECONDS, OfDatagrams
from ctrlserver.load.measure.reading import Reading
from ctrlserver.load.measure.reconciling import Delivery, Reconciliation
from tests.load.measure.records import ours, record, stream, theirs

BEFORE = Reading(stats={"dropped_total": 0})


def datagrams(*records: dict[str, Any], dropped: int | None = 0, now: float = 0.0, **fields: Any) -> Reconciliation:
    before = fields.pop("before", BEFORE)
    comparison = OfDatagrams([ours()], **{"before": before, "began": 0.0, "ended": 1.0, **fields})
    reading = Reading(records, {} if dropped is None else {"dropped_total": dropped})
    if now:
        comparison.compare(reading)
    return comparison.compare(evolve(reading, at=now))


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
    comparison = OfDatagrams([ours()], BEFORE, 0.0, 1.0)
    comparison.compare(Reading([theirs(1, 7, 700)]))
    assert not comparison.compare(Reading([theirs(1, 8, 800)], at=QUIET_SECONDS)).settled
    assert comparison.compare(Reading([theirs(1, 8, 800)], at=2 * QUIET_SECONDS)).settled


def test_what_was_dropped_is_not_waited_for() -> None:
    assert datagrams(theirs(1, 7, 700), dropped=8, before=Reading(stats={"dropped_total": 5})).settled


def test_more_than_was_sent_is_a_difference() -> None:
    seen = datagrams(theirs(1, 11, 1100))
    assert seen.reconciled is False
    assert "sent 10 datagrams of 1000 bytes, the server counted 11 of 1100 bytes" in str(seen.difference)


def test_as_many_packets_of_other_sizes_are_a_difference() -> None:
    assert datagrams(theirs(1, 10, 900)).difference is not None


def test_a_server_without_any_of_our_streams_is_a_difference_and_no_loss() -> None:
    seen = datagrams(now=100.0)
    assert (False, False, None, None) == (seen.reconciled, seen.settled, seen.received, seen.delivery)
    assert "is --admin the port of the server at the target?" in str(seen.difference)


def test_a_stream_that_none_arrived_of_is_lost_beside_one_that_did() -> None:
    comparison = OfDatagrams([ours(), ours(2, local="127.0.0.1:6")], Reading(), 0.0, 1.0)
    seen = comparison.compare(Reading([theirs(1, 10, 1000)]))
    assert Delivery(10, None, None, None, None) == seen.delivery
    assert {1: (10, 1000), 2: (0, 0)} == seen.counted


def test_a_stream_that_was_ended_for_silence_and_begun_again_counts_as_one() -> None:
    seen = datagrams(theirs(2, 4, 400), theirs(1, 6, 600))
    assert seen.reconciled
    assert seen.received is not None
    assert 10 == seen.received.packets


def test_what_somebody_sent_from_our_port_before_us_is_taken_off() -> None:
    seen = datagrams(theirs(3, 110, 11_000), theirs(2, 5, 5), before=Reading([theirs(3, 100, 10_000)]))
    assert seen.reconciled


def test_a_duplicate_is_not_what_makes_up_for_a_lost_one() -> None:
    seen = datagrams(theirs(1, 10, 1000, lost=1, duplicate=1, out_of_order=2, jitter_seconds=0.001))
    assert Delivery(1, 1, 2, 0.001, 0) == seen.delivery


def test_datagrams_on_a_long_way_are_waited_for_until_the_last_ones_have_been_seen() -> None:
    """They were sent within 4 s; the server has seen those of 2 s, and nothing for long."""
    opened = "2026-01-01T00:00:00.000Z"
    early = datagrams(theirs(1, 7, 700, seconds=2.0, opened=opened), ended=4.0, now=5.0)
    late = theirs(2, 2, 200, seconds=1.0, opened="2026-01-01T00:00:03.000Z")
    whole = datagrams(late, theirs(1, 7, 700, seconds=2.0, opened=opened), ended=4.0, now=5.0)
    assert (False, True) == (early.settled, whole.settled)


def test_nothing_is_lost_as_long_as_none_has_arrived() -> None:
    assert not datagrams(now=1000.0).settled


def test_quiet_is_longer_than_the_admin_port_takes_to_answer() -> None:
    comparison = OfDatagrams([ours()], BEFORE, 0.0, 0.1)
    reading = Reading([theirs(1, 7, 700)], answer_seconds=2.0)
    comparison.compare(reading)
    assert not comparison.compare(evolve(reading, at=3.9)).settled
    assert comparison.compare(evolve(reading, at=4.0)).settled


def test_streams_ended_for_silence_that_the_server_shows_no_more_are_in_its_sums() -> None:
    sums = {"peer": "127.0.0.1", "streams": 2, "packets": 7, "bytes": 700}
    comparison = OfDatagrams([ours()], BEFORE, 0.0, 1.0)
    seen = comparison.compare(Reading([theirs(3, 3, 300, state="open")], closed=[sums]))
    assert (True, {}) == (seen.reconciled, seen.counted)
    assert seen.remark is not None


def test_datagrams_past_the_limit_of_streams_are_counted_in_the_shared_one() -> None:
    stats = {"dropped_total": 0, "rejected_udp_streams_total": 4}
    comparison = OfDatagrams([ours()], BEFORE, 0.0, 1.0)
    seen = comparison.compare(Reading([theirs(2, 4, 400, "*"), theirs(1, 6, 600)], stats))
    assert (True, 0) == (seen.reconciled, seen.delivery and seen.delivery.lost)
    others_too = OfDatagrams([ours()], BEFORE, 0.0, 1.0).compare(
        Reading([theirs(2, 5, 500, "*"), theirs(1, 6, 600)], stats)
    )
    assert (None, None) == (others_too.reconciled, others_too.difference)
    assert "not reconciled" in str(others_too.unclear)


def test_datagrams_behind_a_nat_are_compared_in_their_sums_if_nobody_else_sent() -> None:
    seen = datagrams(theirs(1, 8, 800, "10.0.0.9:5"), dropped=2)
    assert (False, True, None) == (seen.reconciled, seen.settled, seen.difference)
    assert 2 == (seen.delivery and seen.delivery.lost)
    assert "a proxy or NAT stands between" in str(seen.remark)


def test_fewer_empty_datagrams_are_loss_and_no_difference() -> None:
    outcome = OfDatagrams([stream(1, 10, 0)], BEFORE, 0.0, 1.0).compare(Reading([record(1, 8, 0)]))
    assert (False, None) == (outcome.reconciled, outcome.difference)
    assert outcome.delivery is not None
    assert 2 == outcome.delivery.lost
    more = OfDatagrams([stream(1, 10, 0)], BEFORE, 0.0, 1.0).compare(Reading([record(1, 11, 0)]))
    assert more.difference is not None
