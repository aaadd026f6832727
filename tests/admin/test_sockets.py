"""The admin port on real sockets: what a transport in memory cannot show."""

from __future__ import annotations

import socket
from collections.abc import Callable

import pytest
import pytest_twisted
from twisted.internet.task import Clock, deferLater
from twisted.internet.threads import deferToThread
from twisted.logger import LogEvent

from ctrlserver.admin.limits import Limits
from ctrlserver.admin.protocol import UNREAD
from tests.admin.listening import Admin, ask, reactor, read_all, until
from tests.servers import reset_at_close


@pytest.mark.parametrize("octets", [b"stats\n", b"stats", b"stats\r\nstats"])
@pytest_twisted.ensureDeferred
async def test_a_peer_that_half_closes_at_once_gets_every_reply_whole(
    listen: Callable[..., Admin], octets: bytes
) -> None:
    admin = listen()

    def many() -> list[bytes]:
        return [ask(admin.connect(), octets) for _ in range(100)]

    replies = await deferToThread(many)
    expected = octets.count(b"stats")
    assert [expected] * 100 == [reply.count(b"\r\nOK ") for reply in replies]
    assert {b"\r\n"} == {reply[-2:] for reply in replies}
    await until(lambda: not admin.connections)


@pytest_twisted.ensureDeferred
async def test_an_answer_is_with_the_peer_before_the_reactor_has_another_turn(listen: Callable[..., Admin]) -> None:
    admin = listen()
    with admin.connect() as client:
        await until(lambda: bool(admin.connections))
        admin.connections[0].dataReceived(b"ping\nping\n")
        client.setblocking(False)
        assert b"OK pong\r\nOK pong\r\n" == client.recv(100)


@pytest_twisted.ensureDeferred
async def test_a_peer_that_half_closes_gets_a_long_reply_whole_however_slowly_it_reads(
    listen: Callable[..., Admin],
) -> None:
    admin = listen(streams=8000)

    def slowly() -> bytes:
        with admin.connect(receive_buffer=4096) as client:
            client.sendall(b"streams limit=10000 json\n" * 2)
            client.shutdown(socket.SHUT_WR)
            octets = bytearray()
            while chunk := client.recv(20_000):
                octets += chunk
            return bytes(octets)

    octets = await deferToThread(slowly)
    assert len(octets) > 4_000_000
    assert 2 == octets.count(b'"total":8000}\r\n')


@pytest_twisted.ensureDeferred
async def test_a_peer_turned_away_gets_its_reason_and_a_clean_end_though_it_has_sent_more(
    listen: Callable[..., Admin],
) -> None:
    admin = listen(connections=1)
    with admin.connect():
        await until(lambda: len(admin.connections) == 1)

        def late() -> bytes:
            with admin.connect() as client:
                client.sendall(b"stats\n" * 100)
                return read_all(client)

        for _ in range(20):
            octets = await deferToThread(late)
            assert octets.startswith(b"ERR 503 too-many-connections ")
            assert 1 == octets.count(b"\n")
    await until(lambda: not admin.connections)


@pytest_twisted.ensureDeferred
async def test_an_http_request_with_a_body_is_refused_and_ends_cleanly(listen: Callable[..., Admin]) -> None:
    admin = listen()

    def post() -> bytes:
        with admin.connect() as client:
            client.sendall(b"POST /x HTTP/1.1\r\nContent-Length: 200000\r\n\r\n" + b"x" * 200_000)
            return read_all(client)

    assert b"\r\n\r\nERR 400 http-request " in await deferToThread(post)
    await until(lambda: not admin.connections)


@pytest_twisted.ensureDeferred
async def test_a_peer_that_does_not_end_after_quit_is_closed(listen: Callable[..., Admin]) -> None:
    admin = listen(linger_seconds=0.05)
    with admin.connect() as client:
        await deferToThread(client.sendall, b"quit\n")
        assert b"OK bye\r\n" == await deferToThread(read_all, client)
        await until(lambda: not admin.connections)


@pytest_twisted.ensureDeferred
async def test_a_peer_that_never_reads_costs_a_bounded_buffer_and_is_aborted(listen: Callable[..., Admin]) -> None:
    """The peer sends until it is cut off. Time goes on only once it is held up, so a busy machine changes nothing."""
    clock = Clock()
    admin = listen(streams=50, clock=clock, stall_seconds=0.3)
    largest = 0

    def flood(client: socket.socket) -> None:
        try:
            while True:
                client.sendall(b"streams\n" * 500)
        except ConnectionError:
            pass  # we have been cut off

    def gone() -> bool:
        nonlocal largest
        for connection in admin.connections:
            transport = connection._transport()
            largest = max(largest, len(transport.dataBuffer) - transport.offset + transport._tempDataLen)
        held_up = any(connection._paused for connection in admin.connections)
        clock.advance(0.01 if held_up else 0)
        return largest > 0 and not admin.connections

    with admin.connect() as client:
        flooding = deferToThread(flood, client)
        await until(gone)
        await flooding
    assert Limits().read_bytes < largest <= UNREAD + 4096


@pytest_twisted.ensureDeferred
async def test_a_peer_that_leaves_even_a_little_unread_is_aborted(listen: Callable[..., Admin]) -> None:
    admin = listen(stall_seconds=1.0, idle_seconds=60)
    with admin.connect(receive_buffer=4096) as client:
        await until(lambda: bool(admin.connections))
        (connection,) = admin.connections
        connection._transport().getHandle().setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

        async def is_held_up() -> bool:
            """For several turns: what the socket takes is written in the next one."""
            for _ in range(4):
                if connection._transport() not in reactor.getWriters():
                    return False
                await deferLater(reactor, 0)
            return True

        for _ in range(100):
            client.sendall(b"stats packets\n")
            await deferLater(reactor, 0.002)
            if await is_held_up():
                break
        else:
            pytest.fail("a hundred replies were taken although nobody reads")
        assert not connection._paused
        await until(lambda: not admin.connections)


@pytest_twisted.ensureDeferred
async def test_an_idle_connection_is_closed_cleanly(listen: Callable[..., Admin]) -> None:
    admin = listen(idle_seconds=0.05)
    with admin.connect() as client:
        assert b"" == await deferToThread(read_all, client)
    await until(lambda: not admin.connections)


@pytest_twisted.ensureDeferred
async def test_ctrl_c_of_a_real_telnet_leaves_a_usable_line(listen: Callable[..., Admin]) -> None:
    admin = listen()
    octets = await deferToThread(ask, admin.connect(), b"half a li\xff\xf4\xff\xfd\x06ping\r\n")
    assert b"\xff\xfc\x06OK pong\r\n" == octets


@pytest_twisted.ensureDeferred
async def test_a_telnet_synch_with_urgent_data_leaves_a_usable_line(listen: Callable[..., Admin]) -> None:
    admin = listen()
    client = admin.connect()
    client.sendall(b"half a li\xff\xf4\xff")
    client.send(b"\xf2", socket.MSG_OOB)
    assert b"OK pong\r\n" == await deferToThread(ask, client, b"ping\r\n")


@pytest_twisted.ensureDeferred
async def test_a_peer_that_resets_leaves_no_trace(listen: Callable[..., Admin], complaints: list[LogEvent]) -> None:
    admin = listen()
    for octets in (b"", b"stats\n" * 100, b"sta"):
        client = admin.connect()
        client.sendall(octets)
        reset_at_close(client)
        client.close()
    await deferLater(reactor, 0.01)
    await until(lambda: not admin.connections)
    assert [] == complaints


@pytest_twisted.ensureDeferred
async def test_a_peer_that_resets_in_the_middle_of_a_long_reply_gives_up_the_rest_of_it(
    listen: Callable[..., Admin],
) -> None:
    admin = listen(streams=3000, turn_seconds=-1.0)
    client = admin.connect()
    client.sendall(b"streams limit=3000\n")
    await until(lambda: any(connection._making for connection in admin.connections))
    making = admin.connections[0]._making
    assert making is not None
    reset_at_close(client)
    client.close()
    await until(lambda: not admin.connections)
    assert b"" == next(making.steps, None)


@pytest_twisted.ensureDeferred
async def test_lines_cut_anywhere_by_the_network_are_answered_in_order(listen: Callable[..., Admin]) -> None:
    admin = listen()

    def dribble() -> bytes:
        with admin.connect() as client:
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for octet in b"ping\r\nversion json\r\nping\n":
                client.send(bytes((octet,)))
            client.shutdown(socket.SHUT_WR)
            return read_all(client)

    lines = (await deferToThread(dribble)).split(b"\r\n")
    assert [b"OK pong", b'{"ok":tr', b"OK pong", b""] == [line[:8] for line in lines]
