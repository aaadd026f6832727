from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from ctrlserver.inject.parsing import parse_spec
from ctrlserver.inject.strikes import Injection
from ctrlserver.load.measure.counts import StreamCount
from ctrlserver.load.measure.injections import Injections, ServerInjections, Struck, Tally
from ctrlserver.load.measure.reading import Reading
from ctrlserver.load.measure.reasons import struck_words
from ctrlserver.load.measure.reconciling import ByAddress, Reconciliation
from ctrlserver.load.measure.unix import OverUnix
from tests.load.measure.records import record, struck


def reconcile(stream: StreamCount, found: dict[str, object], kind: Any = ByAddress) -> Reconciliation:
    outcome: Reconciliation = kind([stream], "fixed:1024", Reading(), 0.0, 1.0).compare(Reading([found]))
    return outcome


def closed(reason: str, packets: int = 10, nbytes: int = 10240, **more: Any) -> dict[str, object]:
    return record(1, packets, nbytes, state="closed", reason=reason, **more)


def test_hits_are_summed_by_term_and_by_what_was_done() -> None:
    spec = parse_spec("10th*duplicate->3*corrupt->1*reset->off")
    duplicate, corrupt, reset, _ = Injection(spec, 7).strikes
    one, other = Tally(Counter([duplicate, duplicate, corrupt, reset]), 5), Tally(Counter([corrupt]))
    made = Injections.of(spec, 7, [one, other])
    assert [2, 2, 1, 0] == [term.hits for term in made.terms]
    assert ("10th*duplicate", 5, 7) == (made.terms[0].term, made.hits, made.seed)
    assert (2, 2, 1, 0, 5) == (
        made.duplicated,
        made.corrupted,
        made.reset_streams,
        made.stalled_streams,
        made.unconfirmed_bytes,
    )
    assert "5 hits: 2 packets duplicated, 2 packets corrupted, 1 stream reset" == made.words
    assert made.holds_back


def test_what_changes_bytes_alone_holds_nothing_back() -> None:
    spec = parse_spec("duplicate")
    assert not Injections.of(spec, 1, [Tally(Counter(Injection(spec, 1).strikes))]).holds_back


def test_the_server_counts_what_an_injection_made_of_the_packets() -> None:
    stream = struck(packets=10, nbytes=12288, duplicated=2, expected_packets=12)
    assert reconcile(stream, record(1, 12, 12288)).reconciled
    lacking = reconcile(stream, record(1, 10, 12288))
    assert (False, True) == (lacking.reconciled, lacking.settled)
    assert "sent 10 packets of 12288 bytes, which --inject made 12, the server counted 10" in str(lacking.difference)


@pytest.mark.parametrize("packets", [7, 8, 10])
def test_what_a_reset_may_have_lost_is_a_range_and_is_told(packets: int) -> None:
    stream = struck(end="reset", least_packets=7, unconfirmed_bytes=3072)
    outcome = reconcile(stream, closed("reset", packets, packets * 1024))
    assert outcome.reconciled
    assert "of what was not confirmed before streams ended, any part may be lost: 7 to 10 packets are right" == (
        outcome.remark
    )


@pytest.mark.parametrize("packets", [6, 11])
def test_past_that_range_the_counts_differ(packets: int) -> None:
    stream = struck(end="reset", least_packets=7, unconfirmed_bytes=3072)
    assert (False, True) == (
        (outcome := reconcile(stream, closed("reset", packets, packets * 1024))).reconciled,
        outcome.settled,
    )


@pytest.mark.parametrize(
    ("end", "faulty", "good", "bad"),
    [
        ("reset", False, ["reset"], ["eof", "idle"]),
        ("close", False, ["eof", "reset"], ["fault"]),
        ("half-close", False, ["eof"], ["reset"]),
        (None, True, ["fault"], ["eof", "reset"]),
        ("reset", True, ["fault"], ["reset"]),
        ("stall", False, ["idle", "eof", "timeout"], []),
    ],
)
def test_the_server_s_reason_is_held_to_what_was_done(
    end: str | None, faulty: bool, good: list[str], bad: list[str]
) -> None:
    stream = struck(end=end, faulty=faulty)
    for reason in good:
        assert reconcile(stream, closed(reason)).reconciled
    for reason in bad:
        outcome = reconcile(stream, closed(reason))
        assert (False, True) == (outcome.reconciled, outcome.settled)
        assert f"the server closed it with reason {reason}, expected {good[0]}" in str(outcome.difference)


def test_a_stream_that_the_server_has_not_closed_yet_is_waited_for() -> None:
    outcome = reconcile(struck(end="reset"), record(1))
    assert (False, False) == (outcome.reconciled, outcome.settled)
    assert "--inject did a reset, the server has not closed it, expected reset" in str(outcome.difference)


def test_over_a_unix_socket_a_reset_looks_like_a_close() -> None:
    stream = struck(end="reset", local="")
    assert reconcile(stream, closed("eof", peer="unix"), OverUnix).reconciled


def test_of_a_stream_that_breaks_its_framing_the_server_reads_no_more_than_it_has_to() -> None:
    stream = struck(packets=10, nbytes=10240, expected_packets=4, least_packets=4, faulty=True)
    assert reconcile(stream, closed("fault", 4, 5000)).reconciled
    assert not reconcile(stream, closed("fault", 5, 5000)).reconciled


def test_streams_that_are_off_view_are_summed_with_what_injections_made_of_them() -> None:
    streams = [struck(number, expected_packets=12, nbytes=12288) for number in (1, 2)]
    sums = {"peer": "127.0.0.1", "listener": "data", "streams": 1, "packets": 12, "bytes": 12288}
    rows = [{**record(2, 12, 12288), "listener": "data"}]
    outcome = ByAddress(streams, "fixed:1024", Reading(), 0.0, 1.0).compare(Reading(rows, closed=[sums]))
    assert outcome.reconciled


def test_what_the_server_s_injections_did_is_the_difference_of_two_readings() -> None:
    names = ("packets_total", "replies_total", "injected_total", "swallowed_total", "duplicated_total")
    before = dict(zip(names, (50, 50, 5, 1, 1), strict=True))
    more = {"injections_active": 1, "closed_injected_total": 2}
    after = {**dict(zip(names, (150, 140, 25, 11, 11), strict=True)), **more}
    found = ServerInjections.between(Reading(stats=before), Reading(stats=after))
    assert found is not None
    assert ServerInjections(1, 20, 100, 90, 10, 10, 2) == found
    assert (
        "20 hits, 1 active: 2 streams closed; 100 received = 90 answered + 10 swallowed; "
        "100 answers sent = 90 + 10 duplicates"
    ) == found.words


def test_packets_that_injections_left_alone_and_others_did_not_answer_are_told_apart() -> None:
    delayed = ServerInjections(1, 100, 100, 100, 0, 0, 0)
    assert "100 hits, 1 active; 100 received = 100 answered" == delayed.words
    reset = ServerInjections(0, 2, 8, 6, 0, 0, 2)
    assert "2 hits, 0 active: 2 streams closed; 8 received = 6 answered + 2 not answered" == reset.words


def test_a_run_that_failed_while_the_server_s_injections_struck_names_them() -> None:
    before = Reading(stats={"injected_total": 3, "swallowed_total": 1})
    stats = {"injected_total": 5, "swallowed_total": 3, "packets_total": 20, "replies_total": 18}
    after = Reading(stats={**stats, "injections_active": 1})
    words = struck_words(ServerInjections.between(before, after))
    expected = "2 hits, 1 active; 20 received = 18 answered + 2 swallowed"
    assert f"the server's injections struck meanwhile: {expected}" == words
    idle = Reading(stats={"injected_total": 3, "injections_active": 1})
    assert struck_words(ServerInjections.between(before, idle)) is None


@pytest.mark.parametrize("stats", [{}, {"injections_active": 0, "injected_total": 5}, {"injected_total": "x"}])
def test_a_server_without_injections_has_none(stats: dict[str, object]) -> None:
    assert ServerInjections.between(Reading(stats={"injected_total": 5}), Reading(stats=stats)) is None


def test_a_struck_stream_has_no_reason_that_it_must_be_closed_for_if_it_did_not_end() -> None:
    assert () == Struck(1, 1, 0, 0, 0, 0, None, 10, 10, 0, False).closing_reasons(False)
