from __future__ import annotations

import io

import pytest
from attrs import evolve

from ctrlserver.load.measure.confidence import Precision, Until
from ctrlserver.load.measure.injections import Injections, ServerInjections
from ctrlserver.load.measure.intervals import Interval, Progress, Waiting
from ctrlserver.load.measure.timing import Latencies
from ctrlserver.load.measure.verdict import scheduled
from ctrlserver.load.results.shards import Merged, ShardOf, Start
from ctrlserver.load.results.thresholds import Judgement
from ctrlserver.load.show.summary import Lines, error_lines, folded, starting_words, summary_lines, waiting_words
from ctrlserver.stats.latency import Histogram
from tests.load.results.test_result import EMPTY, FULL, STREAM


def test_the_first_line_is_total_time_number_of_packets_and_rate() -> None:
    assert "total time 0.500000 s, number of packets 10, rate 20.0 packets/s (164 kbit/s)" == summary_lines(FULL)[0]
    nothing = evolve(EMPTY, streams=[STREAM])
    assert "total time 0.000000 s, number of packets 0, rate unknown" == summary_lines(nothing)[0]


def test_where_nothing_was_connected_there_is_no_summary() -> None:
    assert [] == summary_lines(EMPTY)


def test_the_summary_says_what_was_sent_received_and_reconciled() -> None:
    text = "\n".join(summary_lines(FULL))
    assert "sent        10 packets, 10.0 KiB in 500.0 ms over 1 stream, 1 write" in text
    assert "replies     10 packets" in text
    assert "received    10 packets, 10.0 KiB in 400.0 ms (25.0 packets/s, 205 kbit/s)" in text
    assert "reconciled  yes" in text
    assert "fail-if     packets<5: ok, the value is 10" in text


OURS = Injections("x", 1, 3, [], 2, 1, 0, 0, 0, 0, 0, 0, 0, 0)
THEIRS = ServerInjections(1, 5, 10, 8, 2, 3, 0)


@pytest.mark.parametrize(
    ("received", "equation"),
    [
        (12, "12 received = 10 sent + 2 duplicates"),
        (11, "11 received = 10 sent + 2 duplicates - 1 that did not arrive whole"),
        (13, "13 received = 10 sent + 2 duplicates + 1 that arrived in parts"),
    ],
)
def test_what_injections_did_is_told_and_how_the_counts_follow(received: int, equation: str) -> None:
    assert FULL.received is not None
    counted = evolve(FULL.received, packets=received)
    lines = summary_lines(evolve(FULL, received=counted, injections=OURS, server_injections=THEIRS))
    assert "injected    3 hits: 2 packets duplicated, 1 packet truncated" in lines
    theirs = "5 hits, 1 active; 10 received = 8 answered + 2 swallowed; 11 answers sent = 8 + 3 duplicates"
    assert f"injections  of the server: {theirs}" in lines
    assert f"reconciled  yes, packet by packet on 1 stream: {equation}" in lines


@pytest.mark.parametrize(
    ("theirs", "error", "words"),
    [
        (THEIRS, "why", "10 received = 8 answered + 2 swallowed; 11 answers sent = 8 + 3 duplicates"),
        (ServerInjections(1, 1, 4, 0, 0, 0, 1, ["close"], 3, 99, 1), None, "3 packets not received on 1 stream that"),
        (evolve(THEIRS, unreceived_bytes=9, ended_streams=1), None, "that they ended; 10 received = 8 answered + 2"),
        (ServerInjections(1, 2, 4, 0, 0, 0, 0, ["delay(1h)"]), "why", "2 hits, 1 active (delay(1h))"),
    ],
)
def test_what_injections_of_the_server_explain_is_told(theirs: ServerInjections, error: str | None, words: str) -> None:
    (row,) = (
        line for line in summary_lines(evolve(FULL, server_injections=theirs, error=error)) if "reconciled" in line
    )
    assert row.startswith("reconciled  yes, through the server's injections: ")
    assert words in row


def test_what_the_server_s_injections_have_nothing_to_do_with_is_told_as_ever() -> None:
    found = summary_lines(evolve(FULL, server_injections=ServerInjections(1, 0, 4, 4, 0, 0, 0), error="why"))
    assert "reconciled  yes, packet by packet on 1 stream: sent = received" in found


def test_incomplete_packets_are_told() -> None:
    cut = evolve(FULL, streams=[evolve(STREAM, incomplete_bytes=7)])
    assert "7 bytes of incomplete packets" in summary_lines(cut)[1]


def test_an_interrupt_before_anything_was_sent_is_told() -> None:
    nothing = evolve(FULL, streams=[], connections=None, interrupted=True, error=None)
    assert ["interrupted before anything was sent"] == summary_lines(nothing)
    assert [] == summary_lines(evolve(nothing, interrupted=False))
    assert [] == summary_lines(evolve(nothing, error="no such host"))


def test_each_thing_that_went_wrong_is_one_line() -> None:
    wrong = evolve(
        FULL,
        error="no progress",
        reconciled=False,
        difference="stream 1 differs",
        thresholds=[Judgement("packets>5", 10, True), Judgement("packets<5", None, True)],
    )
    assert [
        "no progress",
        "the counts do not reconcile: stream 1 differs",
        "--fail-if packets>5 held",
        "--fail-if packets<5 held",
    ] == error_lines(wrong)
    text = "\n".join(summary_lines(wrong))
    assert "reconciled  NO: stream 1 differs" in text
    assert "packets<5: FAILED, the value is unknown" in text
    assert [] == error_lines(FULL)


def test_counts_that_differ_after_an_interrupt_are_told_as_such() -> None:
    stopped = evolve(FULL, reconciled=False, difference="we opened 4", interrupted=True)
    assert ["interrupted, and the counts up to then differ: we opened 4"] == error_lines(stopped)
    assert "interrupted the counts are those up to then" in "\n".join(summary_lines(stopped))
    assert 130 == stopped.exit_code


def test_an_interval_is_one_plain_line() -> None:
    out = io.StringIO()
    lines = Lines(out)
    lines.interval(Interval(1.0, 1.0, 500, 512_000, 500.0, 4_096_000.0, False))
    lines.interval(Interval(2.0, 1.0, 0, 0, None, None, True))
    lines.progress(Progress(0.5, 1.0, 10, 10))
    lines.note("a word")
    lines.close()
    first, second, note = out.getvalue().splitlines()
    assert ["1.00", "-", "2.00", "s", "500", "packets", "500/s", "4.10", "Mbit/s"] == first.split()
    assert ["2.00", "-", "3.00", "s", "0", "packets", "-", "-", "warm-up"] == second.split()
    assert "ctrlload: a word" == note


def test_a_line_too_long_for_a_terminal_breaks_between_words() -> None:
    line = "received    28089620 packets, 26.8 GiB in 10.00 s (2808962.1 packets/s, 23.0 Gbit/s)"
    broken = ["received    28089620 packets, 26.8 GiB in 10.00 s (2808962.1 packets/s, 23.0", "            Gbit/s)"]
    assert ["short", *broken] == folded(["short", line], 80)
    assert [line] == folded([line], None)
    assert [line] == folded([line], 200)


def test_response_and_service_stand_side_by_side_and_the_verdict_below() -> None:
    service = Histogram()
    for _ in range(100):
        service.record(2_000_000)
    response, slip = Histogram(), Histogram()
    response.add(service)
    response.record(9_000_000)
    slip.record(5_000_000)
    schedule = scheduled(
        target=100.0,
        planned=102,
        sent=101,
        plan_seconds=1.0,
        seconds=1.01,
        busy=0.1,
        slip=slip,
        delay=Histogram(),
        dropped_ticks=1,
    )
    latency = Latencies(response.latency(), service.latency())
    text = "\n".join(summary_lines(evolve(FULL, latency=latency, schedule=schedule)))
    assert "latency             p50        p90        p99      p99.9        max       mean\n" in text
    assert "response       2.001 ms   2.001 ms   2.001 ms   9.003 ms   9.003 ms   2.070 ms\n" in text
    assert "service        2.001 ms   2.001 ms   2.001 ms   2.001 ms   2.001 ms   2.000 ms" in text
    assert "schedule    target 100.0 packets/s, achieved 100.0, 1 due and not sent\n" in text
    assert (
        "slip        p50 5.001 ms, p99 5.001 ms, max 5.001 ms\nlate        1 packet by more than 1 ms; 1 dropped tick\n"
        in text
    )
    assert "bottleneck  target: packets waited" in text


def test_packets_sent_when_the_schedule_asks_for_none_catch_up() -> None:
    out = io.StringIO()
    Lines(out).interval(Interval(1.0, 1.0, 500, 512_000, 500.0, 4_096_000.0, False, 0.0))
    Lines(out).interval(Interval(2.0, 1.0, 0, 0, 0.0, 0.0, False, 0.0))
    caught_up, nothing_due = out.getvalue().splitlines()
    assert (True, False) == ("catching up" in caught_up, "target" in caught_up)
    assert "target 0/s" in nothing_due


def test_an_intervals_line_has_its_target_and_its_times() -> None:
    out = io.StringIO()
    interval = Interval(1.0, 1.0, 500, 512_000, 500.0, 4_096_000.0, False, 1000.0, 0.002, 0.004, 0.001, 0.003)
    Lines(out).interval(interval)
    assert "target 1.00 k/s  response p50 2.000 ms p99 4.000 ms  service p50 1.000 ms p99 3.000 ms" in out.getvalue()


def test_a_shard_says_which_it_is_and_when_it_began() -> None:
    asked = "2026-11-26T16:00:00.000000Z"
    shard = evolve(FULL, shard=ShardOf(2, 4), start=Start(asked, 0.0012), options={**FULL.options, "streams": 4})
    lines = summary_lines(shard)
    assert "shard       2 of 4, 1 of 4 streams; the figures are its own" in lines
    assert f"start       {asked}, begun 1.200 ms after it" in lines
    merged = Merged(4, [], 0.001157, [], [])
    assert "shards      0, begun within 1.157 ms" in summary_lines(evolve(FULL, merged=merged))
    lacking = evolve(merged, missing=[2, 3], start_spread_seconds=None)
    assert "shards      0 of 4, without 2, 3" in summary_lines(evolve(FULL, merged=lacking))
    assert f"start       {asked}, not reached" in summary_lines(evolve(shard, start=Start(asked, None)))


def test_the_wait_for_the_start_is_one_line_in_a_log() -> None:
    out = io.StringIO()
    lines = Lines(out)
    for seconds in (11.2, 11.0, 10.0):
        lines.starting(seconds)
    assert "ctrlload: starts in 12 s\n" == out.getvalue()
    assert "starts in 1m30s" == starting_words(89.5)


def test_a_wait_says_for_what_and_how_far_it_is() -> None:
    assert (
        "waiting for the server's counts for 3 s: 1.00 KiB of 2.00 KiB counted, 1.00 KiB not yet taken by the target"
        == (waiting_words(Waiting(3.2, 1024, 2048, 1024)))
    )
    assert "waiting for the target to close for 1 s" == waiting_words(Waiting(1.0, None, 2048, 0))


def test_how_sure_the_figures_are_is_told_and_what_was_not_reached() -> None:
    sure = Precision("p99+-5%", "latency.service.p99", True, 0.00192, 0.00186, 0.001999, 10, True, 31.2)
    lines = summary_lines(evolve(FULL, until=Until.of([sure, evolve(sure, asked="p99+-2%", reached=False)])))
    assert "until       p99 1.920 ms +-4.1 % (95 %, 10 batches)" in lines
    assert "until       NOT REACHED, p99+-2% was asked for: p99 1.920 ms +-4.1 % (95 %, 10 batches)" in lines
