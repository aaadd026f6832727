from __future__ import annotations

import socket
import time
from typing import Any

import pytest
import pytest_twisted
from twisted.internet.defer import Deferred

from ctrlserver.client.target import parse_target
from ctrlserver.load.plan.pattern import Sizes
from ctrlserver.load.running.run import LoadRun
from tests.peers import Acknowledging, Echo, Greeting, Parting, Silent, Sink
from tests.runs import Heard, good, load, options, reached
from tests.servers import Servers, reactor


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
    began = time.monotonic()
    result = good(await load(servers.listen(Sink), duration=0.3, streams=2, size=Sizes(999, 999)))
    assert time.monotonic() - began >= 0.3
    assert result.sent.bytes == result.sent.packets * 999 == servers.bytes
    assert {"ended"} == {stream.reason for stream in result.streams}


@pytest_twisted.ensureDeferred
async def test_intervals_and_progress_are_told_while_the_run_goes_on(servers: Servers) -> None:
    heard = Heard()
    run = LoadRun(reactor, options(servers.listen(Sink), duration=600.0, interval=0.1), heard)
    running = run.run()
    await reached(lambda: len(heard.intervals) >= 2 and heard.steps)
    assert not running.called
    run.interrupt()
    result = good(await running, 130)
    assert result.intervals == heard.intervals
    assert result.sent.packets == sum(interval.packets for interval in result.intervals)


@pytest.mark.parametrize("flags", [{"size": Sizes(300_000, 300_000)}, {"rate": 1000.0}, {"mode": "request"}])
@pytest.mark.parametrize("warm_up", [0.0, 0.1])
@pytest_twisted.ensureDeferred
async def test_the_intervals_shown_are_those_of_the_result_and_their_sum_is_the_total(
    servers: Servers, warm_up: float, flags: dict[str, Any]
) -> None:
    heard = Heard()
    target = servers.listen(Echo if flags.get("mode") == "request" else Sink)
    result = good(await load(target, heard, duration=0.2, warm_up=warm_up, interval=0.1, streams=2, **flags))
    assert result.intervals == heard.intervals
    assert {False, warm_up > 0} == {interval.warm_up for interval in heard.intervals}
    for part, volume in ((False, result.sent), (True, result.warm_up)):
        counted = [(i.packets, i.bytes) for i in heard.intervals if i.warm_up is part]
        assert volume is None or (volume.packets, volume.bytes) == tuple(map(sum, zip(*counted, strict=True)))


@pytest_twisted.ensureDeferred
async def test_an_interval_of_nothing_reports_none(servers: Servers) -> None:
    heard = Heard()
    assert [] == good(await load(servers.listen(Sink), heard, interval=0.0)).intervals
    assert [] == heard.intervals


@pytest_twisted.ensureDeferred
async def test_the_packets_of_the_warm_up_come_on_top(servers: Servers) -> None:
    result = good(await load(servers.listen(Sink), packets=5, streams=3, warm_up=0.1))
    assert result.warm_up is not None
    assert (5, 5 * 1024) == (result.sent.packets, result.sent.bytes)
    assert result.warm_up.packets > 5
    assert servers.bytes == result.warm_up.bytes + result.sent.bytes == sum(stream.bytes for stream in result.streams)
    assert result.warm_up.packets + 5 == sum(stream.packets for stream in result.streams)
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
    assert 10 == good(await load(by_name, packets=10, streams=3)).sent.packets
    result = good(await load(servers.listen(Sink, "::1"), packets=10))
    assert result.streams[0].target.startswith("[::1]:")
    by_endpoint = parse_target(f"tcp:127.0.0.1:{servers.listen(Sink).port}")
    assert 10 == good(await load(by_endpoint, packets=10, streams=2)).sent.packets


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
    assert {0} == {stream.packets - (stream.replies or 0) for stream in result.streams}


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


@pytest_twisted.ensureDeferred
async def test_after_a_pause_of_the_process_no_target_is_given_up_before_its_socket_was_read(servers: Servers) -> None:
    run = LoadRun(reactor, options(servers.listen(Silent), mode="request", packets=1, stall_timeout=500.0), Heard())
    running = run.run()
    await reached(lambda: run._sending._watching.running)
    sending, clock = run._sending, run._sending._clock
    sending._watch()
    sending._clock = lambda: clock() + 1000.0
    sending._watch()
    assert run._work.error is None
    sending._clock = lambda: clock() + 1000.25
    sending._watch()
    assert "no progress" in (run._work.error or "")
    good(await running, 1)
