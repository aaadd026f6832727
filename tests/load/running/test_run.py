from __future__ import annotations

import socket
from typing import Any

import pytest
import pytest_twisted
from twisted.internet.defer import Deferred

from ctrlserver.client.target import parse_target
from ctrlserver.load.plan.pattern import Sizes
from ctrlserver.load.results.thresholds import parse_threshold
from ctrlserver.load.running import ending, run, send_mode
from ctrlserver.load.running.run import LoadRun
from tests.servers import (
    Acknowledging,
    Admin,
    Counted,
    Counting,
    Deaf,
    Doubling,
    Echo,
    Greeting,
    Heard,
    Leaving,
    Parting,
    Resetting,
    Servers,
    Silent,
    Sink,
    Source,
    Staying,
    good,
    load,
    options,
    reached,
    reactor,
    refusing,
    started,
)

# Sending


@pytest.mark.parametrize("combine", [True, False])
@pytest.mark.parametrize("streams", [1, 3, 70])
@pytest_twisted.ensureDeferred
async def test_exactly_the_packets_asked_for_arrive(servers: Servers, streams: int, combine: bool) -> None:
    result = good(await load(servers.listen(Sink), packets=1000, streams=streams, write_combine=combine))
    assert (1000, 1_024_000, 1_024_000) == (result.sent.packets, result.sent.bytes, servers.bytes)
    assert streams == len(result.streams)
    assert {1000 // streams, -(-1000 // streams)} == {stream.packets for stream in result.streams}
    assert {"complete"} == {stream.reason for stream in result.streams}
    assert 1000 == sum(interval.packets for interval in result.intervals)
    assert result.sent.writes == sum(stream.writes for stream in result.streams)
    assert result.sent.seconds > 0
    assert (None, None, None) == (result.received, result.reconciled, result.replies)


@pytest_twisted.ensureDeferred
async def test_fewer_packets_than_streams_leave_some_without_one(servers: Servers) -> None:
    result = good(await load(servers.listen(Sink), packets=2, streams=4))
    assert [1, 1, 0, 0] == [stream.packets for stream in result.streams]


@pytest_twisted.ensureDeferred
async def test_bytes_are_rounded_up_to_whole_packets(servers: Servers) -> None:
    result = good(await load(servers.listen(Sink), total_bytes=100_000, streams=3))
    assert (98, 98 * 1024) == (result.sent.packets, servers.bytes)


@pytest_twisted.ensureDeferred
async def test_bytes_of_random_sizes_are_covered_on_each_stream(servers: Servers) -> None:
    flags: dict[str, Any] = {"size": Sizes(10, 90), "framing": "int16", "streams": 2}
    result = good(await load(servers.listen(Sink), total_bytes=10_001, **flags))
    assert 10_001 <= result.sent.bytes < 10_001 + 2 * 92
    assert servers.bytes == result.sent.bytes
    assert {0} == {stream.incomplete_bytes for stream in result.streams}


@pytest_twisted.ensureDeferred
async def test_time_ends_the_sending_between_two_packets(servers: Servers) -> None:
    heard = Heard()
    result = good(await load(servers.listen(Sink), heard, duration=0.3, streams=2, interval=0.1, size=Sizes(999, 999)))
    assert result.sent.bytes == result.sent.packets * 999 == servers.bytes
    assert 0.25 < result.sent.seconds < 2.0
    assert {"ended"} == {stream.reason for stream in result.streams}
    assert len(heard.intervals) >= 2
    assert result.sent.packets == sum(interval.packets for interval in result.intervals)
    assert heard.steps


@pytest_twisted.ensureDeferred
async def test_an_interval_of_nothing_reports_none(servers: Servers) -> None:
    heard = Heard()
    assert [] == good(await load(servers.listen(Sink), heard, interval=0.0)).intervals
    assert [] == heard.intervals


@pytest_twisted.ensureDeferred
async def test_the_packets_of_the_warm_up_come_on_top(servers: Servers) -> None:
    result = good(await load(servers.listen(Sink), packets=500, streams=3, warm_up=0.1))
    assert result.warm_up is not None
    assert (500, 500 * 1024) == (result.sent.packets, result.sent.bytes)
    assert result.warm_up.packets > 500
    assert servers.bytes == result.warm_up.bytes + result.sent.bytes == sum(stream.bytes for stream in result.streams)
    assert result.warm_up.packets + 500 == sum(stream.packets for stream in result.streams)
    assert [True, False] == sorted({interval.warm_up for interval in result.intervals}, reverse=True)


@pytest_twisted.ensureDeferred
async def test_a_stream_over_a_unix_socket_is_sent_as_well(tmp_path: Any) -> None:
    path = str(tmp_path / "data.sock")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(path)
        listening.listen(5)
        heard = Heard()
        running = LoadRun(reactor, options(parse_target(f"unix:{path}"), packets=5), heard).run()
        await reached(lambda: running.called or heard.intervals)
        taken, _ = listening.accept()
        with taken:
            assert 5 * 1024 == len(taken.recv(100_000, socket.MSG_WAITALL))
        result = good(await running)
    assert 5 == result.sent.packets
    assert "" == result.streams[0].local


@pytest_twisted.ensureDeferred
async def test_a_target_by_name_and_by_ipv6_is_found(servers: Servers) -> None:
    by_name = parse_target(f"localhost:{servers.listen(Sink).port}")
    assert good(await load(by_name, packets=10, streams=3)).sent.packets == 10
    result = good(await load(servers.listen(Sink, "::1"), packets=10))
    assert result.streams[0].target.startswith("[::1]:")
    by_endpoint = parse_target(f"tcp:127.0.0.1:{servers.listen(Sink).port}")
    assert good(await load(by_endpoint, packets=10, streams=2)).sent.packets == 10


# Requests


@pytest.mark.parametrize("combine", [True, False])
@pytest.mark.parametrize(("streams", "in_flight"), [(1, 1), (20, 1), (3, 8)])
@pytest_twisted.ensureDeferred
async def test_every_request_is_answered(servers: Servers, streams: int, in_flight: int, combine: bool) -> None:
    flags: dict[str, Any] = {"streams": streams, "in_flight": in_flight, "write_combine": combine}
    result = good(await load(servers.listen(Echo), mode="request", packets=300, **flags))
    assert result.replies is not None
    assert (300, 300 * 1024) == (result.replies.packets, result.replies.bytes)
    assert [stream.packets for stream in result.streams] == [stream.replies for stream in result.streams]


@pytest_twisted.ensureDeferred
async def test_replies_may_have_a_framing_of_their_own(servers: Servers) -> None:
    flags: dict[str, Any] = {"framing": "fixed:100", "reply_framing": "line", "packets": 50}
    result = good(await load(servers.listen(Acknowledging), mode="request", **flags))
    assert result.replies is not None
    assert (50, 250) == (result.replies.packets, result.replies.bytes)


@pytest_twisted.ensureDeferred
async def test_a_good_bye_after_our_half_close_is_no_reply(servers: Servers) -> None:
    flags: dict[str, Any] = {"framing": "fixed:100", "reply_framing": "line", "packets": 5}
    good(await load(servers.listen(Parting), mode="request", **flags))


@pytest_twisted.ensureDeferred
async def test_request_mode_ends_by_time_with_every_reply_in(servers: Servers) -> None:
    result = good(await load(servers.listen(Echo), mode="request", duration=0.2, streams=3, in_flight=4))
    assert result.replies is not None
    assert result.sent.packets == result.replies.packets > 0


@pytest_twisted.ensureDeferred
async def test_the_warm_up_of_request_mode_ends_with_every_reply_in(servers: Servers) -> None:
    result = good(await load(servers.listen(Echo), mode="request", packets=90, streams=4, in_flight=3, warm_up=0.1))
    assert result.replies is not None
    assert result.warm_up is not None
    assert (90, 90) == (result.sent.packets, result.replies.packets)
    assert result.warm_up.packets > 0
    assert {stream.packets - (stream.replies or 0) for stream in result.streams} == {0}


@pytest_twisted.ensureDeferred
async def test_a_greeting_is_awaited_and_is_no_reply(servers: Servers) -> None:
    flags: dict[str, Any] = {"payload": b"NOOP\r\n", "framing": "raw", "reply_framing": "line", "packets": 50}
    result = good(await load(servers.listen(Greeting), mode="request", streams=3, greeting="line", **flags))
    assert result.replies is not None
    assert (50, 50 * 8) == (result.replies.packets, result.replies.bytes)
    assert "line" == result.options["greeting"]


@pytest_twisted.ensureDeferred
async def test_a_greeting_that_was_not_expected_is_told_as_what_it_is(servers: Servers) -> None:
    flags: dict[str, Any] = {"payload": b"NOOP\r\n", "framing": "raw", "reply_framing": "line", "packets": 50}
    result = good(await load(servers.listen(Greeting), mode="request", **flags), 1)
    assert result.error is not None
    assert 'the target spoke before it was asked: "220 ready\\r\\n"; ' in result.error
    assert "--greeting line" in result.error
    assert 0 == result.sent.packets


@pytest_twisted.ensureDeferred
async def test_a_greeting_that_comes_too_late_to_be_seen_is_one_reply_too_many(
    servers: Servers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "ctrlserver.load.running.send_mode.expect_silence", lambda *_: Deferred.fromCoroutine(nothing())
    )
    flags: dict[str, Any] = {"payload": b"NOOP\r\n", "framing": "raw", "reply_framing": "line", "packets": 1}
    result = good(await load(servers.listen(Greeting), mode="request", in_flight=2, **flags), 1)
    assert result.error is not None
    assert result.error.endswith("(framing line); a target that greets first needs --greeting")


async def nothing() -> None:
    """No listening before the first request."""


@pytest_twisted.ensureDeferred
async def test_a_greeting_that_never_comes_is_given_up(servers: Servers) -> None:
    result = good(await load(servers.listen(Silent), greeting="line", stall_timeout=0.1), 1)
    assert result.error is not None
    assert result.error.endswith("no greeting within 0.1 s (--greeting line)")


# Downloads


@pytest.mark.parametrize("streams", [1, 3])
@pytest_twisted.ensureDeferred
async def test_the_packets_asked_of_a_source_are_dealt_over_the_streams_and_reconcile(
    servers: Servers, streams: int
) -> None:
    flags: dict[str, Any] = {"packets": 1000, "streams": streams, "admin": servers.listen(Admin)}
    result = good(await load(servers.listen(Source), mode="receive", **flags))
    assert result.downloaded is not None
    assert (1000, 1_024_000, 0) == (result.downloaded.packets, result.downloaded.bytes, result.downloaded.writes)
    assert (0, 0) == (result.sent.packets, result.sent.bytes)
    assert result.received is not None
    assert (True, 1000) == (result.reconciled, result.received.packets)
    assert 1000 == sum(interval.packets for interval in result.intervals)
    assert {"complete"} == {stream.reason for stream in result.streams}


@pytest_twisted.ensureDeferred
async def test_a_download_ends_by_time_and_what_was_on_its_way_is_counted_with_admin(servers: Servers) -> None:
    flags: dict[str, Any] = {"duration": 0.3, "streams": 2, "admin": servers.listen(Admin), "warm_up": 0.05}
    result = good(await load(servers.listen(Source), mode="receive", **flags))
    assert result.downloaded is not None
    assert result.warm_up is not None
    assert (True, {"ended"}) == (result.reconciled, {stream.reason for stream in result.streams})
    assert 2 == sum(command.startswith("kick ") for command in servers.asked)
    assert result.warm_up.packets + result.downloaded.packets == sum(stream.packets for stream in result.streams)


@pytest_twisted.ensureDeferred
async def test_a_download_that_the_server_cannot_end_is_cut_off_and_not_reconciled(servers: Servers) -> None:
    heard, admin = Heard(), servers.listen(Admin)

    def refuse(record: dict[str, Any]) -> None:
        record["stream"] = 99

    servers.tamper = refuse
    servers.sources = {}
    result = good(
        await load(servers.listen(Source), heard, mode="receive", duration=0.1, admin=admin, stall_timeout=0.3)
    )
    assert result.reconciled is None
    assert heard.notes[-1].endswith("not reconciled")


@pytest_twisted.ensureDeferred
async def test_a_download_ends_by_time_without_admin_at_once(servers: Servers) -> None:
    result = good(await load(servers.listen(Source), mode="receive", duration=0.2))
    assert result.downloaded is not None
    assert result.downloaded.packets > 0
    assert ["ended"] == [stream.reason for stream in result.streams]


@pytest_twisted.ensureDeferred
async def test_a_download_that_the_target_ends_is_told_and_no_failure(servers: Servers) -> None:
    heard = Heard()
    target = servers.listen(type("Brief", (Greeting,), {"words": b"a\nb\n", "hang_up": True}))
    result = good(await load(target, heard, mode="receive", framing="line", payload=b"go\n"))
    assert result.downloaded is not None
    assert (3, ["closed"]) == (result.downloaded.packets, [stream.reason for stream in result.streams])
    assert [f"stream 1 ({target.text}): the target ended the download, 3 packets had come"] == heard.notes


@pytest_twisted.ensureDeferred
async def test_conditions_of_a_download_are_on_what_came(servers: Servers) -> None:
    conditions = (parse_threshold("packets<10"), parse_threshold("sent.packets>0"))
    result = good(await load(servers.listen(Source), mode="receive", packets=10, fail_if=conditions))
    assert [(10, False), (0, False)] == [(judged.value, judged.failed) for judged in result.thresholds]


# What targets do


@pytest_twisted.ensureDeferred
async def test_a_target_that_refuses_is_one_line_and_a_valid_document() -> None:
    target = refusing()
    result = good(await load(target, streams=3), 1)
    words = f"cannot connect to {target.text} (stream 1 of 3): connection refused: nothing listens there"
    assert words == result.error
    assert (0, None, []) == (result.sent.packets, result.sent.packets_per_second, result.streams)


@pytest_twisted.ensureDeferred
async def test_a_name_that_does_not_resolve_is_told() -> None:
    result = good(await load(parse_target("no-such-host.invalid:5"), connect_timeout=30.0), 1)
    assert result.error == "cannot connect to no-such-host.invalid:5: the host name does not resolve"


@pytest_twisted.ensureDeferred
async def test_a_target_that_resets_is_told_with_the_packets_sent(servers: Servers) -> None:
    result = good(await load(servers.listen(Resetting), packets=100_000, streams=2), 1)
    assert result.error is not None
    assert "the target reset the connection after" in result.error
    assert result.error.endswith("packets had been sent")
    assert "reset" in {stream.reason for stream in result.streams}


@pytest_twisted.ensureDeferred
async def test_a_reset_after_all_was_sent_is_told_as_well(servers: Servers) -> None:
    result = good(await load(servers.listen(Resetting), packets=100), 1)
    assert result.error is not None
    assert result.error.endswith("the target reset the connection after 100 packets had been sent")


@pytest_twisted.ensureDeferred
async def test_a_target_that_leaves_early_is_told(servers: Servers) -> None:
    result = good(await load(servers.listen(Leaving), packets=200_000), 1)
    assert result.error is not None
    assert "packets had been sent" in result.error
    asked = good(await load(servers.listen(Leaving), packets=10, mode="request"), 1)
    assert asked.error is not None
    assert asked.error.endswith("closed the connection early, after 1 packet had been sent and 0 replies had come")


@pytest_twisted.ensureDeferred
async def test_a_target_that_never_reads_is_given_up(servers: Servers) -> None:
    target = servers.listen(Deaf)
    result = good(await load(target, packets=1_000_000, stall_timeout=0.3), 1)
    assert f"no progress on stream 1 ({target.text}) for 0.3 s: the target does not read" == result.error
    assert ["stalled"] == [stream.reason for stream in result.streams]


@pytest_twisted.ensureDeferred
async def test_a_target_that_never_answers_is_given_up(servers: Servers) -> None:
    target = servers.listen(Silent)
    result = good(await load(target, mode="request", streams=2, stall_timeout=0.3), 1)
    assert result.error is not None
    assert result.error.endswith(f"({target.text}) for 0.3 s: the target does not answer")


@pytest_twisted.ensureDeferred
async def test_a_target_that_answers_too_much_is_told(servers: Servers) -> None:
    result = good(await load(servers.listen(Doubling), mode="request"), 1)
    assert result.error is not None
    assert "the target answers too much: 2 replies for 1 packet" in result.error


@pytest_twisted.ensureDeferred
async def test_a_target_that_echoes_what_nobody_asked_for_does_not_stop_the_sending(servers: Servers) -> None:
    assert 20_000 == good(await load(servers.listen(Echo), packets=20_000)).sent.packets


@pytest_twisted.ensureDeferred
async def test_a_target_that_keeps_its_side_open_is_not_waited_for_for_ever(
    servers: Servers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ending, "CLOSE_SECONDS", 0.1)
    assert 10 == good(await load(servers.listen(Staying), packets=10)).sent.packets


@pytest_twisted.ensureDeferred
async def test_after_its_time_a_target_that_takes_nothing_is_cut_off(
    servers: Servers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(send_mode, "GRACE_SECONDS", 0.1)
    monkeypatch.setattr(run, "GRACE_SECONDS", 0.1)
    result = good(await load(servers.listen(Deaf), duration=0.5, size=Sizes(900_000, 900_000), streams=2))
    assert {stream.reason for stream in result.streams} <= {"cut", "ended"}
    for stream in result.streams:
        assert stream.bytes == stream.packets * 900_000 + stream.incomplete_bytes
        assert (stream.reason == "cut") == (stream.incomplete_bytes > 0)


# Reconciling


@pytest.mark.parametrize("streams", [1, 4])
@pytest_twisted.ensureDeferred
async def test_sent_and_received_reconcile_stream_by_stream(servers: Servers, streams: int) -> None:
    target, admin = servers.listen(Counting), servers.listen(Admin)
    result = good(await load(target, packets=1001, streams=streams, admin=admin, warm_up=0.05))
    assert result.received is not None
    assert result.warm_up is not None
    assert result.reconciled is True
    assert result.received.packets == result.sent.packets + result.warm_up.packets
    assert [stream.packets for stream in result.streams] == [stream.received_packets for stream in result.streams]
    assert [stream.bytes for stream in result.streams] == [stream.received_bytes for stream in result.streams]
    assert "9.9.9" == result.environment.server


@pytest_twisted.ensureDeferred
async def test_more_streams_than_the_server_keeps_reconcile_too(servers: Servers) -> None:
    servers.closed_kept = 5
    result = good(await load(servers.listen(Counting), packets=400, streams=40, admin=servers.listen(Admin)))
    assert result.reconciled is True


@pytest_twisted.ensureDeferred
async def test_many_streams_of_others_do_not_hide_ours(servers: Servers, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ending, "OTHERS_ON_VIEW", 0)
    served = servers.listen(Counting)
    first = LoadRun(reactor, options(served, packets=10, admin=servers.listen(Admin)), Heard())
    running = first.run()
    await reached(lambda: servers.streams)
    assert good(await load(served, packets=10, streams=30)).exit_code == 0
    assert good(await running).reconciled is True


@pytest_twisted.ensureDeferred
async def test_a_server_that_renames_its_fields_is_understood(servers: Servers) -> None:
    servers.renames = {"peer": "from", "packets": "bytes", "bytes": "packets", "stream": "number"}
    assert good(await load(servers.listen(Counting), packets=10, admin=servers.listen(Admin))).reconciled is True


@pytest_twisted.ensureDeferred
async def test_a_packet_lost_by_the_server_is_exit_3_and_named(servers: Servers) -> None:
    def lose(record: dict[str, Any]) -> None:
        if record["stream"] == 2:
            record["packets"] -= 1

    servers.tamper = lose
    result = good(await load(servers.listen(Counting), packets=30, streams=3, admin=servers.listen(Admin)), 3)
    assert result.reconciled is False
    assert result.difference is not None
    assert "10 packets of 10240 bytes, the server counted 9 of 10240 bytes: 1 packet fewer" in result.difference
    assert [9, 10, 10] == sorted(stream.received_packets or 0 for stream in result.streams)


@pytest_twisted.ensureDeferred
async def test_another_framing_of_the_server_is_named(servers: Servers) -> None:
    servers.framing = "fixed:512"
    result = good(await load(servers.listen(Counting), packets=10, admin=servers.listen(Admin)), 3)
    assert result.difference is not None
    assert result.difference.endswith("its framing is fixed:512, ours fixed:1024")


@pytest_twisted.ensureDeferred
async def test_streams_the_server_does_not_know_are_waited_for_and_then_named(
    servers: Servers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ending, "RECONCILE_SECONDS", 0.2)
    result = good(await load(servers.listen(Sink), packets=10, admin=servers.listen(Admin)), 3)
    assert (None, False) == (result.received, result.reconciled)
    assert result.difference == f"stream 1: the server has no stream from {result.streams[0].local}"


@pytest_twisted.ensureDeferred
async def test_what_is_no_admin_port_is_told_before_anything_is_sent(servers: Servers) -> None:
    admin = servers.saying(b"SSH-2.0-x\r\n")
    result = good(await load(servers.listen(Sink), admin=admin), 1)
    assert f'{admin.text} is not a ctrlserver admin port: it answered "SSH-2.0-x"' == result.error
    assert (0, []) == (servers.bytes, result.streams)


@pytest_twisted.ensureDeferred
async def test_an_admin_port_that_goes_away_fails_the_run_and_keeps_its_counts(servers: Servers) -> None:
    admin = servers.listen(Admin)

    def vanish(record: dict[str, Any]) -> None:
        record.clear()
        for peer in list(servers.open):
            if isinstance(peer, Admin):
                peer.transport.abortConnection()

    servers.tamper = vanish
    result = good(await load(servers.listen(Counting), packets=10, admin=admin), 1)
    assert (10, None) == (result.sent.packets, result.reconciled)
    assert result.error is not None
    assert "closed the connection" in result.error


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize(
    ("others", "reconciled", "code", "words"),
    [
        ([], True, 0, ""),
        ([Counted(2, "unix")], None, 0, "the server has 2 new streams over unix sockets, ours are 1 of them"),
    ],
)
async def test_a_unix_stream_is_reconciled_where_the_server_has_no_other_new_one(
    servers: Servers, tmp_path: Any, others: list[Counted], reconciled: bool | None, code: int, words: str
) -> None:
    path, heard = str(tmp_path / "data.sock"), Heard()
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(path)
        listening.listen(5)
        flags: dict[str, Any] = {"packets": 5, "admin": servers.listen(Admin)}
        running = LoadRun(reactor, options(parse_target(f"unix:{path}"), **flags), heard).run()
        await reached(lambda: len(servers.asked) > 4)  # asked before the first byte, and again after the last
        servers.streams += [Counted(1, "unix", 5, 5 * 1024), *others]
        taken, _ = listening.accept()
        with taken:
            taken.recv(5 * 1024, socket.MSG_WAITALL)
        result = await running
    assert reconciled == result.reconciled
    assert code == result.exit_code
    assert [words] == [note[: len(words)] for note in heard.notes or [""]]


@pytest_twisted.ensureDeferred
async def test_a_threshold_that_held_is_exit_4(servers: Servers) -> None:
    conditions = (parse_threshold("packets>5"), parse_threshold("received.packets<5"))
    flags: dict[str, Any] = {"fail_if": conditions, "packets": 10}
    result = good(await load(servers.listen(Counting), admin=servers.listen(Admin), **flags), 4)
    assert [True, False] == [judgement.failed for judgement in result.thresholds]


@pytest_twisted.ensureDeferred
async def test_an_error_of_our_own_is_told_and_the_document_is_whole(
    servers: Servers, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Quiet:
        def failure(self, text: str, **more: object) -> None:
            """The log of the exception."""

    monkeypatch.setattr(LoadRun, "log", Quiet())
    monkeypatch.setattr(send_mode, "make_streams", lambda *_: 1 / 0)
    _, running = started(servers)
    result = good(await running, 1)
    assert result.error == "an error of ctrlload's own: ZeroDivisionError: division by zero"
