"""A server of a test: the real process, asked by plain calls."""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
from collections.abc import Iterator
from pathlib import Path
from signal import SIGKILL
from typing import Any

import pytest
import pytest_twisted
from twisted.internet import reactor as installed

from ctrlserver.testing import AdminError, NotReached, RunningServer, Server, StartError
from tests.certificates import certificate

pytestmark = pytest.mark.integration

#: Seconds after which a wait fails: only ever reached by a failure.
PATIENCE = 30.0
reactor: Any = installed


@pytest.fixture(scope="module")
def started() -> Iterator[Server]:
    with Server(framing="line", mode="reply", reply="OK\r\n", keep=10) as server:
        yield server


@pytest.fixture
def server(started: Server) -> Server:
    started.start().fresh()
    return started


def send(server: Server, data: bytes, answer: int = 0) -> None:
    """Send and hang up, once so many bytes of answers have come."""
    with socket.create_connection(server.address, PATIENCE) as client:
        client.sendall(data)
        while answer:
            answer -= len(client.recv(answer))


def test_what_a_client_sends_is_counted_and_kept(server: Server) -> None:
    send(server, b"a\nb\n", answer=8)
    record = server.wait(packets=2, replies_total=2, closed_eof_total=1)
    assert (2, 4) == (record.packets, record["bytes"])
    assert [b"a", b"b"] == server.packets(1)
    (stream,) = server.streams()
    assert (1, 2, "eof") == (stream.stream, stream.packets, stream.reason)


def test_after_fresh_all_counts_begin_at_0_and_all_numbers_at_1(server: Server) -> None:
    send(server, b"a\n", answer=4)
    server.wait(closed_eof_total=1)
    server.fresh()
    assert (0, 0, 0, []) == (
        server.stats().packets_total, server.stats().streams_total, server.stats().closed_eof_total, server.streams()
    )  # fmt: skip
    send(server, b"b\nc\n", answer=8)
    server.wait("stream.1.packets==2", packets_total=2, closed_eof_total=1)
    assert [1] == [stream.stream for stream in server.streams()]
    assert [b"b", b"c"] == server.packets()
    assert [(1, 2)] == [(run.run, run.packets) for run in server.runs()]


def test_fresh_closes_what_is_still_connected(server: Server) -> None:
    with socket.create_connection(server.address, PATIENCE) as client:
        server.wait(streams_open=1)
        server.fresh()
        assert b"" == client.recv(1)
    assert 0 == server.stats().streams_open
    assert 0 == server.stats().closed_kicked_total


def test_reset_begins_a_new_reading_and_gives_the_old_one(server: Server) -> None:
    send(server, b"a\n", answer=4)
    assert 1 == server.reset().packets
    assert (0, 1) == (server.stats().packets, server.stats().packets_total)


def test_what_does_not_come_fails_the_test_with_the_record(server: Server) -> None:
    send(server, b"a\n", answer=4)
    with pytest.raises(NotReached, match=r"packets>=2 .* it is 1\n") as raised:
        server.wait(packets__ge=2, timeout=0.01)
    assert 1 == raised.value.record.packets


def test_a_field_that_is_not_there_is_an_error_with_the_nearest_one(server: Server) -> None:
    with pytest.raises(AdminError, match='did you mean "packets"'):
        server.wait(pakets=1)
    with pytest.raises(AttributeError, match='did you mean "packets"'):
        _ = server.stats().pakets


def test_asyncio_awaits(server: Server) -> None:
    async def scenario() -> int:
        waiting = asyncio.ensure_future(server.wait_async(packets=2))
        _, writer = await asyncio.open_connection(*server.address)
        writer.write(b"a\nb\n")
        record = await waiting
        writer.close()
        return int(record.packets)

    assert 2 == asyncio.run(scenario())


def test_asyncio_gets_the_error(server: Server) -> None:
    with pytest.raises(NotReached):
        asyncio.run(server.wait_async(packets=2, timeout=0.01))


@pytest_twisted.ensureDeferred
async def test_twisted_awaits(server: Server) -> None:
    waiting = server.wait_deferred(packets=2)
    send(server, b"a\nb\n")
    assert 2 == (await waiting).packets


@pytest_twisted.ensureDeferred
async def test_twisted_gets_the_error(server: Server) -> None:
    with pytest.raises(NotReached):
        await server.wait_deferred(packets=2, timeout=0.01)


@pytest_twisted.ensureDeferred
async def test_a_server_that_is_away_is_the_same_error_however_it_is_awaited(server: Server) -> None:
    server.stop()
    away = f"admin port 127.0.0.1:{server.admin_address[1]}: no answer: "
    with pytest.raises(AdminError, match=away):
        server.wait(packets=0)
    with pytest.raises(AdminError, match=away):
        asyncio.run(server.wait_async(packets=0))
    with pytest.raises(AdminError, match=away):
        await server.wait_deferred(packets=0)


def test_a_server_that_was_stopped_comes_back_at_its_address_and_counts_from_0(server: Server) -> None:
    send(server, b"a\n", answer=4)
    before = (server.address, server.admin_address)
    server.stop()
    assert not server.is_running
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(server.address, PATIENCE)
    server.start()
    assert before == (server.address, server.admin_address)
    assert (0, []) == (server.stats().packets_total, server.streams())


def test_what_was_ordered_ends_with_the_process_and_ends_nothing_of_the_next_one(server: Server) -> None:
    server.fresh()
    assert server.pid is not None
    with server.inject("swallow"), server.answer("a", "b"):
        os.kill(server.pid, SIGKILL)
        while server.is_running:
            pass
        server.start().fresh()
        server.inject("3rd*swallow")
        server.answer("c", "d")
    assert (1, 1) == (len(server.ask("inject")), len(server.ask("answer")))
    with server.inject("swallow"):
        server.stop()


def test_a_server_that_runs_already_is_used_and_left_alone(server: Server) -> None:
    other = RunningServer(server.admin_address, framing="line")
    other.start().fresh()
    assert server.address == other.address
    send(server, b"a\n", answer=4)
    assert 1 == other.wait(packets_total=1).packets
    with socket.create_connection(server.address, PATIENCE):
        other.wait(streams_open=1)
        other.fresh()
        assert (1, 0) == (other.stats().streams_open, other.stats().packets_total)
    other.stop()
    assert server.is_running
    with pytest.raises(LookupError, match="fixed:8"):
        RunningServer(server.admin_address, framing="fixed:8")


def test_any_command_may_be_asked(server: Server) -> None:
    assert {"ping": "pong"} == server.ask("ping")
    assert "OK pong\n" == server.text("ping")


def test_a_server_that_cannot_start_raises_with_its_log() -> None:
    with pytest.raises(StartError, match=r'unknown mode "snik".*did you mean "sink"'), Server(mode="snik"):
        pass


def test_a_port_that_is_taken_is_said() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(StartError, match=str(port)), Server(endpoint=f"tcp:{port}:interface=127.0.0.1"):
            pass


def test_datagrams_have_the_same_port() -> None:
    with Server(udp=True, mode="echo", framing="line") as server:
        with socket.socket(type=socket.SOCK_DGRAM) as client:
            client.settimeout(PATIENCE)
            client.sendto(b"x", server.address)
            assert b"x" == client.recv(10)
        assert 1 == server.wait(packets=1).streams_open


def test_a_unix_socket_is_an_address_too(tmp_path: Path) -> None:
    with Server(unix=tmp_path / "x", mode="echo") as server:
        assert str(tmp_path / "x") == server.address
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(server.address)
            server.wait(streams_open=1)


def test_answers_depend_on_the_packet_as_a_test_has_ordered_it(server: Server) -> None:
    with server.answer("connect", "220 it's ready\r\n"), server.answer("/^QUIT/", b"221 bye\r\n", times=1) as bye:
        with socket.create_connection(server.address, PATIENCE) as client, client.makefile("rb") as answers:
            assert b"220 it's ready\r\n" == answers.readline()
            client.sendall(b"QUIT\nQUIT\n")
            assert [b"221 bye\r\n", b"OK\r\n"] == [answers.readline() for _ in range(2)]
        assert 1 == bye.hits
    server.answer("x", "y\n")
    server.fresh()
    assert [] == server.ask("answer")


def test_an_injection_of_the_config_stays_when_a_test_ends_its_own() -> None:
    with Server(mode="echo", framing="line", inject="9th*swallow") as server:
        server.inject("3rd*swallow")
        server.fresh()
        assert ["9th*swallow"] == [row["spec"] for row in server.ask("inject")]


def test_the_log_is_there_while_it_runs_and_after() -> None:
    with Server() as server:
        assert any("listening data tcp" in line for line in server.log())
    assert any("Main loop terminated" in line for line in server.log())
    assert 1 == len(server.log(1))


def test_nothing_is_left_of_a_server_that_has_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with Server() as server:
        assert 1 == len(os.listdir(tmp_path))
        assert server.is_running
    assert [] == os.listdir(tmp_path)


def echoed(server: Server, trusting: ssl.SSLContext, host: str) -> bytes:
    plain = socket.create_connection(server.address, PATIENCE)
    with trusting.wrap_socket(plain, server_hostname=host) as client:
        client.sendall(b"x\n")
        return client.recv(10)


def test_a_server_speaks_tls_with_the_certificate_that_it_is_given(tmp_path: Path) -> None:
    pem = tmp_path / "localhost.pem"
    pem.write_bytes(certificate("localhost"))
    with Server(tls=pem, mode="echo", framing="line") as server:
        assert str(pem) == server.ca_file
        assert b"x\n" == echoed(server, ssl.create_default_context(cafile=pem), "localhost")
        assert 1 == server.wait(packets=1).packets_total


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1"])
def test_a_server_may_have_a_certificate_of_the_test_run(host: str) -> None:
    with Server(tls=True, mode="echo", framing="line") as server:
        trusting = ssl.create_default_context(cafile=server.ca_file)
        trusting.verify_flags |= ssl.VERIFY_X509_STRICT
        assert b"x\n" == echoed(server, trusting, host)
        with pytest.raises(ssl.SSLCertVerificationError, match="self-signed"):
            echoed(server, ssl.create_default_context(), host)


def test_without_tls_there_is_no_certificate_to_trust() -> None:
    with pytest.raises(LookupError, match="tls=True"):
        _ = Server(tls=False).ca_file
