from __future__ import annotations

import errno
import re
import select
import socket
from types import SimpleNamespace
from typing import Any

import pytest
import pytest_twisted
from twisted.internet.defer import Deferred

from ctrlserver.client.target import Target, parse_target
from ctrlserver.errors import UsageError
from ctrlserver.lane.lane import Lane
from ctrlserver.load.plan.pattern import Sizes
from ctrlserver.load.results.result import Result
from ctrlserver.load.results.thresholds import parse_threshold
from ctrlserver.load.running import connect_mode
from ctrlserver.load.running.connect_mode import Slots, failure_words
from ctrlserver.load.running.run import LoadRun
from ctrlserver.load.running.transports import transport_of
from ctrlserver.load.show.summary import summary_lines
from tests.peers import Greeting, Peer, Silent
from tests.runs import Heard, good, load, options, reached
from tests.servers import Servers, reactor, refusing


class Accepting(Peer):
    """Counts the connections it has seen, and how each ended."""

    def connectionMade(self) -> None:
        super().connectionMade()
        self.servers.bytes += 1


class GreetingLate(Peer):
    """Greets once its server has counted a byte."""

    def connectionMade(self) -> None:
        super().connectionMade()
        if self.servers.bytes:
            self.transport.write(b"220 ready\r\n")


def begun(target: Target, **flags: Any) -> tuple[LoadRun, Deferred[Result], Heard]:
    heard = Heard()
    run = LoadRun(reactor, options(target, mode="connect", **flags), heard)
    return run, run.run(), heard


@pytest.mark.parametrize("streams", [1, 7])
@pytest_twisted.ensureDeferred
async def test_exactly_the_connections_asked_for_are_opened_and_timed(servers: Servers, streams: int) -> None:
    result = good(await load(servers.listen(Accepting), mode="connect", packets=100, streams=streams))
    assert result.connections is not None
    assert (100, 0, {}) == (result.connections.opened, result.connections.failed, result.connections.failures)
    assert result.latency is not None
    assert result.latency.service is not None
    assert (100, None) == (result.latency.service.count, result.latency.response)
    assert ([], 0) == (result.streams, result.sent.packets)
    assert 100 == sum(interval.packets for interval in result.intervals)
    assert ", number of connections 100, rate " in summary_lines(result)[0]
    await reached(lambda: servers.bytes == 100)


@pytest_twisted.ensureDeferred
async def test_after_a_warm_up_too_exactly_the_connections_asked_for_are_opened(servers: Servers) -> None:
    result = good(await load(servers.listen(Accepting), mode="connect", packets=50, streams=20, warm_up=0.05))
    assert result.connections is not None
    assert result.warm_up is not None
    assert result.warm_up.packets > 0
    assert 50 == result.connections.opened
    assert 50 == sum(interval.packets for interval in result.intervals if not interval.warm_up)
    assert result.latency is not None
    assert result.latency.service is not None
    assert 50 == result.latency.service.count
    await reached(lambda: servers.bytes == result.warm_up.packets + 50)


@pytest_twisted.ensureDeferred
async def test_a_connection_is_dropped_by_a_reset_so_that_no_port_is_left_waiting() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.setblocking(False)
        port = listening.getsockname()[1]
        good(await load(parse_target(f"127.0.0.1:{port}"), mode="connect", packets=1))
        taken, _ = listening.accept()
        with taken, pytest.raises(ConnectionResetError):
            taken.recv(1)


@pytest_twisted.ensureDeferred
async def test_time_ends_the_connecting_and_the_warm_up_is_left_out(servers: Servers) -> None:
    flags: dict[str, Any] = {"duration": 0.2, "streams": 3, "warm_up": 0.1, "interval": 0.1}
    result = good(await load(servers.listen(Accepting), mode="connect", **flags))
    assert result.connections is not None
    assert result.warm_up is not None
    assert result.warm_up.packets > 0
    assert result.connections.opened > 0
    assert result.latency is not None
    assert result.latency.service is not None
    assert result.latency.service.count == result.connections.opened
    await reached(lambda: servers.bytes == result.warm_up.packets + result.connections.opened)


@pytest_twisted.ensureDeferred
async def test_the_greeting_of_each_connection_is_awaited(servers: Servers) -> None:
    result = good(await load(servers.listen(Greeting), mode="connect", packets=20, streams=2, greeting="line"))
    assert result.connections is not None
    assert 20 == result.connections.opened


@pytest_twisted.ensureDeferred
async def test_a_target_that_does_not_greet_fails_the_run(servers: Servers) -> None:
    target = servers.listen(Silent)
    result = good(await load(target, mode="connect", packets=20, greeting="line", stall_timeout=0.3), 1)
    assert f"cannot connect to {target.text}: no greeting within 0.3 s (--greeting line)" == result.error


@pytest_twisted.ensureDeferred
async def test_a_target_that_refuses_at_once_is_one_line() -> None:
    target = refusing()
    result = good(await load(target, mode="connect", streams=5), 1)
    assert f"cannot connect to {target.text}: connection refused: nothing listens there" == result.error
    assert result.connections is not None
    assert (0, 1) == (result.connections.opened, result.connections.failed)


@pytest_twisted.ensureDeferred
async def test_an_interface_that_is_not_there_is_one_line() -> None:
    result = good(await load(parse_target("[fe80::1%nosuch]:5"), mode="connect", packets=1), 1)
    assert "cannot connect to [fe80::1%nosuch]:5: the host name does not resolve" == result.error


@pytest_twisted.ensureDeferred
async def test_a_target_by_name_is_found_by_a_connection_that_is_not_counted(servers: Servers) -> None:
    target = parse_target(f"localhost:{servers.listen(Accepting).port}")
    result = good(await load(target, mode="connect", packets=10))
    assert result.connections is not None
    assert 10 == result.connections.opened
    await reached(lambda: servers.bytes == 11)
    nowhere = good(await load(parse_target("no-such-host.invalid:5"), mode="connect", connect_timeout=30.0), 1)
    assert "cannot connect to no-such-host.invalid:5: the host name does not resolve" == nowhere.error
    assert [] == summary_lines(nowhere)


@pytest_twisted.ensureDeferred
async def test_connections_to_a_unix_socket_are_counted_too(tmp_path: Any) -> None:
    path = str(tmp_path / "data.sock")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(path)
        listening.listen(50)
        result = good(await load(parse_target(f"unix:{path}"), mode="connect", packets=5))
    assert result.connections is not None
    assert 5 == result.connections.opened


@pytest_twisted.ensureDeferred
async def test_failures_among_successes_are_counted_by_reason_and_told(servers: Servers) -> None:
    target = servers.listen(Accepting)
    run, running, _ = begun(target, packets=100_000, stall_timeout=0.2, connect_timeout=0.2)
    await reached(lambda: servers.bytes > 20)
    await servers.stop_listening()
    result = good(await running, 1)
    assert result.connections is not None
    reason = "connection refused: nothing listens there"
    assert {reason} <= set(result.connections.failures) <= {reason, "the target reset the connection"}
    assert result.connections.opened > 20
    assert result.error is not None
    assert re.match(rf"no connection to {re.escape(target.text)} for \d+\.\d s: ", result.error)
    assert isinstance(run._work, Slots)
    assert f": {failure_words(run._work.failures)}" in result.error


@pytest_twisted.ensureDeferred
async def test_some_failures_are_a_note_and_no_failure_of_the_run(
    servers: Servers, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, running, heard = begun(servers.listen(Accepting), packets=50, fail_if=(parse_threshold("failed>5"),))
    connecting = run._work
    assert isinstance(connecting, Slots)
    opened = connecting.opened

    def fail_some(slot: Any) -> None:
        if connecting.counts().packets == 10 and not connecting.failures:
            connecting.failed(slot, "no answer within 1 s")
        else:
            opened(slot)

    monkeypatch.setattr(connecting, "opened", fail_some)
    result = good(await running)
    assert result.connections is not None
    assert (49, 1) == (result.connections.opened, result.connections.failed)
    assert ["1 connection failed: 1 no answer within 1 s; the first: no answer within 1 s"] == heard.notes
    assert "failed      1: no answer within 1 s" in summary_lines(result)
    assert [1] == [judgement.value for judgement in result.thresholds]


@pytest_twisted.ensureDeferred
async def test_an_interrupt_ends_the_connecting_and_the_report_is_whole(servers: Servers) -> None:
    run, running, _ = begun(servers.listen(Accepting), duration=60.0, streams=4)
    await reached(lambda: servers.bytes > 20)
    run.interrupt()
    result = good(await running, 130)
    assert result.connections is not None
    assert result.connections.opened > 20


@pytest_twisted.ensureDeferred
async def test_an_interrupt_of_the_warm_up_tells_the_connections_there_were(servers: Servers) -> None:
    run, running, _ = begun(servers.listen(Accepting), duration=60.0, warm_up=60.0, streams=4)
    await reached(lambda: servers.bytes > 20)
    run.interrupt()
    lines = summary_lines(good(await running, 130))
    assert "number of connections 0" in lines[0]
    assert lines[1].startswith("warm-up")


@pytest.mark.parametrize("warm_up", [0.0, 0.1])
@pytest_twisted.ensureDeferred
async def test_an_open_loop_makes_the_connections_that_are_due_and_times_them_from_then(
    servers: Servers, warm_up: float
) -> None:
    flags: dict[str, Any] = {"rate": 500.0, "packets": 100, "streams": 20, "warm_up": warm_up}
    result = good(await load(servers.listen(Accepting), mode="connect", **flags))
    assert result.connections is not None
    assert 100 == result.connections.opened
    assert result.latency is not None
    assert result.latency.response is not None
    assert result.latency.service is not None
    assert 100 == result.latency.response.count == result.latency.service.count
    assert result.latency.response.max >= result.latency.service.min
    assert result.schedule is not None
    assert 500.0 == result.schedule.target_packets_per_second
    assert 100 == result.schedule.planned_packets
    words = "\n".join(summary_lines(result))
    assert "target 500.0 connections/s" in words
    assert "packet" not in words


@pytest_twisted.ensureDeferred
async def test_connections_wait_for_a_slot_and_their_response_time_tells(servers: Servers) -> None:
    run, running, _ = begun(servers.listen(GreetingLate), rate=100.0, packets=10, greeting="line")
    connecting = run._work
    assert isinstance(connecting, Slots)
    await reached(lambda: connecting.releases.due == 10 and servers.open)
    assert 1 == connecting.packets
    servers.bytes = 1
    for peer in list(servers.open):
        peer.connectionMade()
    result = good(await running)
    assert result.latency is not None
    assert result.latency.response is not None
    assert 10 == result.latency.response.count
    assert result.latency.response.max > 0.07  # the second was due after 10 ms, and made after the 90 of the tenth


def test_a_pause_counts_in_the_response_time_of_every_connection_that_it_held_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = 5_000
    monkeypatch.setattr(connect_mode, "time", SimpleNamespace(monotonic_ns=lambda: now))
    lane = Lane(reactor)
    lane.start()
    with socket.create_server(("127.0.0.1", 0)) as listening:
        wanted = options(parse_target("127.0.0.1:1"), mode="connect", rate=100.0, packets=3)
        slots = Slots(reactor, lane, wanted, transport_of(reactor, lane, wanted))
        slots.address = listening.getsockname()
        slots.start(warm_up=False)
        slots.release(3, 5_000, 5_200)
        (slot,) = slots._busy
        for pause in (300, 0, 40):
            now += pause
            assert slot.sock is not None
            select.select([], [slot.sock], [])
            slot.ready(select.EPOLLOUT)
    lane.stop()
    assert {300: 1, 200: 1, 140: 1} == dict(slots.timing.response.now.counts)
    assert {0: 1, 200: 1, 100: 1} == dict(slots.timing.slip.counts)


@pytest_twisted.ensureDeferred
async def test_a_slow_schedule_is_no_stall(servers: Servers) -> None:
    flags: dict[str, Any] = {"rate": 2.0, "packets": 2, "stall_timeout": 0.1, "connect_timeout": 0.1, "streams": 2}
    result = good(await load(servers.listen(Accepting), mode="connect", **flags))
    assert result.connections is not None
    assert 2 == result.connections.opened


@pytest.mark.parametrize(
    ("flags", "flag"),
    [({"payload": b"x"}, "--payload"), ({"size": Sizes(5, 5)}, "--size"), ({"total_bytes": 5}, "--bytes")],
)
def test_what_means_nothing_for_a_connection_is_refused(flags: dict[str, Any], flag: str) -> None:
    with pytest.raises(UsageError, match=f"{flag}: not with --mode connect"):
        options(parse_target("127.0.0.1:1"), mode="connect", **flags)


def test_a_handshake_is_not_timed_and_that_is_said() -> None:
    with pytest.raises(UsageError, match="--mode connect: not over TLS"):
        options(parse_target("ssl:127.0.0.1:1"), mode="connect")


def test_every_reason_is_words() -> None:
    from ctrlserver.load.running.connect_mode import _reason

    assert "no local port is free, or this machine has no address that reaches it" == _reason(errno.EADDRNOTAVAIL)
    assert "Network is unreachable" == _reason(errno.ENETUNREACH)
