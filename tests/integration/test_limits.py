"""The limits as an operator sets them, met by real peers."""

from __future__ import annotations

import contextlib
import os
import resource
import socket
import time
from pathlib import Path

import pytest

from tests.integration.conftest import PATIENCE, Daemon, Start

LOOPBACK = "tcp:0:interface=127.0.0.1"
ADMIN = f'[[admin]]\nendpoint = "{LOOPBACK}"\n'

#: Descriptors of a daemon that is to run out of them.
FEW = 128
FEW_DESCRIPTORS = ("bash", "-c", f'ulimit -n {FEW} && exec "$@"', "bash")

of_one_process = pytest.mark.one_process("several have as many times the descriptors")

#: Seconds for which the processor time of a full daemon is measured.
WINDOW_SECONDS = 1.0


def config(folder: Path, listener: str, top: str = "") -> tuple[str, str]:
    (folder / "x.toml").write_text(f'{top}\n[[listener]]\nendpoint = "{LOOPBACK}"\n{listener}\n{ADMIN}')
    return "--config", "x.toml"


def is_closed(client: socket.socket) -> bool:
    """The server has closed: either that is seen, or the echo of what is sent."""
    try:
        client.sendall(b"ping\n")
        return client.recv(100) == b""
    except OSError:
        return True


def all_are_served(daemon: Daemon, clients: int) -> bool:
    """Whether so many streams are let in at a time: the server may not have seen yet that others are closed."""
    with contextlib.ExitStack() as open_ones:
        opened = [open_ones.enter_context(daemon.connect()) for _ in range(clients)]
        return not any(map(is_closed, opened))


def processor_seconds(daemon: Daemon) -> float:
    fields = Path(f"/proc/{daemon.process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def is_idle(daemon: Daemon) -> bool:
    """It spends less than half a processor: one that spins spends a whole one."""
    before = processor_seconds(daemon)
    time.sleep(WINDOW_SECONDS)
    return processor_seconds(daemon) - before < WINDOW_SECONDS / 2


@of_one_process
def test_past_the_descriptors_connections_are_turned_away_and_the_admin_port_answers(start: Start) -> None:
    daemon = start("--framing", "line", "--mode", "echo", launcher=FEW_DESCRIPTORS)
    began = time.monotonic()
    clients = [daemon.connect() for _ in range(200)]
    stats = daemon.await_stats(streams_open=FEW - 64, rejected_total=200 - (FEW - 64))
    assert stats["rejected_max_streams_total"] == stats["rejected_total"]
    assert is_idle(daemon)
    assert [is_closed(client) for client in clients] == [number >= FEW - 64 for number in range(200)]
    for client in clients:
        client.close()
    daemon.await_stats(streams_open=0)
    with daemon.connect() as again:
        assert not is_closed(again)
    told = [line for line in daemon.log.lines if "peers rejected" in line]
    assert 1 <= len(told) <= time.monotonic() - began + 1, told  # one a second
    assert "max-streams" in told[0]


def answer(client: socket.socket) -> bytes:
    """To a ping; nothing where the connection is closed."""
    with contextlib.suppress(OSError):
        client.sendall(b"ping\n")
    try:
        return client.recv(200)
    except ConnectionResetError:
        return b""


def await_answer(daemon: Daemon) -> None:
    """Until an admin connection is let in again: the server may not have seen yet that others are closed."""
    end = time.monotonic() + PATIENCE
    while (said := daemon.ask("ping")) != "OK pong\r\n":
        assert time.monotonic() < end, said


def both_admin_ports(folder: Path) -> tuple[str, str]:
    """``admin`` on a unix socket, ``admin2`` on TCP."""
    return config(folder, f'framing = "line"\nmode = "echo"\n[[admin]]\nendpoint = "unix:{folder}/admin.sock"')


@of_one_process
def test_with_all_streams_taken_admin_connections_answer_or_are_told_that_none_is_left(
    start: Start, tmp_path: Path
) -> None:
    daemon = start(*both_admin_ports(tmp_path), admins=2, launcher=FEW_DESCRIPTORS)
    clients = [daemon.connect() for _ in range(FEW - 64)]
    assert not any(map(is_closed, clients))
    asking = [daemon.connect("admin2")]
    while answer(asking[-1]) == b"OK pong\r\n" and len(asking) < 100:
        asking.append(daemon.connect("admin2"))
    admitted = len(asking) - 1
    assert 20 < admitted < 64
    told = f"ERR 503 too-many-connections {admitted} connections are open, and no descriptor is left for another"
    for _ in range(20):
        with daemon.connect("admin2") as late:
            assert late.recv(200).decode().startswith(told)
    with daemon.connect("admin") as question:
        assert b"OK pong\r\n" == answer(question)
    assert "descriptor" not in daemon.log.text
    for each in (*clients, *asking):
        each.close()


@of_one_process
def test_with_all_admin_connections_taken_streams_leave_them_their_descriptors(start: Start, tmp_path: Path) -> None:
    daemon = start(*both_admin_ports(tmp_path), admins=2, launcher=FEW_DESCRIPTORS)
    asking = [daemon.connect("admin2") for _ in range(64)]
    assert [b"OK pong\r\n"] * 64 == [answer(question) for question in asking]
    clients = [daemon.connect() for _ in range(64)]
    taken = [is_closed(client) for client in clients].index(True)
    assert 20 < taken < 64
    more = [daemon.connect("admin") for _ in range(4)]
    assert [b"OK pong\r\n"] * 4 == [answer(question) for question in more]
    with daemon.connect("admin2") as late:
        assert late.recv(200).startswith(b"ERR 503 too-many-connections 64 connections are open, which is the most")
    assert is_idle(daemon)
    assert "descriptor" not in daemon.log.text
    for each in (*clients, *asking, *more):
        each.close()
    end = time.monotonic() + PATIENCE
    while not all_are_served(daemon, FEW - 64):
        assert time.monotonic() < end


@of_one_process
def test_with_no_descriptor_left_at_all_it_waits_idle_and_goes_on_after(start: Start) -> None:
    """As when others have used up the system's; connections wait in the backlog, and none is lost."""
    daemon = start("--framing", "line", "--mode", "echo", launcher=FEW_DESCRIPTORS)
    with daemon.connect("admin") as question:
        assert b"OK pong\r\n" == answer(question)
        resource.prlimit(daemon.process.pid, resource.RLIMIT_NOFILE, (FEW // 2, FEW))
        clients = [daemon.connect() for _ in range(64)]
        daemon.log.wait("out of descriptors")
        assert is_idle(daemon)
        assert b"OK pong\r\n" == answer(question)
    resource.prlimit(daemon.process.pid, resource.RLIMIT_NOFILE, (FEW, FEW))
    assert [False] * 64 == [is_closed(client) for client in clients]
    assert 0 == daemon.await_stats(streams_open=64)["rejected_total"]
    for client in clients:
        client.close()


def test_a_flood_of_admin_connections_takes_no_unix_seat_fills_no_log_and_each_is_told(
    start: Start, tmp_path: Path
) -> None:
    (tmp_path / "x.toml").write_text(
        f'[[listener]]\nendpoint = "{LOOPBACK}"\n{ADMIN}[[admin]]\nendpoint = "unix:{tmp_path}/a.sock"\n'
    )
    daemon = start("--config", "x.toml", admins=2, launcher=FEW_DESCRIPTORS)
    streams = [daemon.connect() for _ in range(FEW // 2)]
    before = len(daemon.log.lines)
    asked = [daemon.connect("admin") for _ in range(300)]
    with daemon.connect("admin2") as local:
        local.sendall(b"ping\nstats rejected\n")
        assert local.recv(9).startswith(b"OK pong")
    told = 0
    for client in asked[100:]:
        client.settimeout(PATIENCE)
        told += client.recv(99).startswith(b"ERR 503 ")
    assert 200 == told
    lines = daemon.log.lines[before:]
    assert 10 > len(lines), lines
    assert not [line for line in lines if "EMFILE" in line]
    for client in (*streams, *asked):
        client.close()


@of_one_process
def test_max_streams_larger_than_the_descriptors_is_cut_down_and_said_so(start: Start, tmp_path: Path) -> None:
    daemon = start(*config(tmp_path, "", "max_streams = 10_000"), launcher=FEW_DESCRIPTORS)
    daemon.log.wait("max_streams is 64, not 10000: this process may have 128 descriptors open")


def test_one_host_has_max_streams_per_peer_and_one_more_after_a_close(start: Start, tmp_path: Path) -> None:
    daemon = start(*config(tmp_path, 'framing = "line"\nmode = "echo"\nmax_streams_per_peer = 2'))
    clients = [daemon.connect() for _ in range(3)]
    assert [False, False, True] == [is_closed(client) for client in clients]
    for client in clients[1:]:
        client.close()
    daemon.await_stats(streams_open=1, rejected_total=1, rejected_max_streams_per_peer_total=1)
    with daemon.connect() as again:
        assert not is_closed(again)
        assert not is_closed(clients[0])
    clients[0].close()


@pytest.mark.parametrize(("allow", "expected"), [("10.0.0.0/8", True), ("127.0.0.0/8", False)])
def test_only_allowed_networks_come_in(start: Start, tmp_path: Path, allow: str, expected: bool) -> None:
    daemon = start(*config(tmp_path, f'framing = "line"\nmode = "echo"\nallow = ["{allow}"]'))
    with daemon.connect() as client:
        assert is_closed(client) is expected
    stats = daemon.await_stats(rejected_not_allowed_total=int(expected), streams_total=int(not expected))
    assert stats["rejected_total"] == int(expected)


def test_an_idle_stream_is_closed_as_idle_and_one_that_sends_stays(start: Start, tmp_path: Path) -> None:
    daemon = start(*config(tmp_path, 'framing = "line"\nmode = "echo"\nidle_timeout = "2s"'))
    with daemon.connect() as silent, daemon.connect() as busy:
        silent.settimeout(0.1)
        end = time.monotonic() + PATIENCE
        while True:
            assert not is_closed(busy)
            assert time.monotonic() < end
            with contextlib.suppress(TimeoutError):
                assert b"" == silent.recv(1)
                break
        assert not is_closed(busy)
    daemon.await_stats(closed_idle_total=1, closed_eof_total=1, streams_open=0)


@pytest.mark.workers_too
def test_the_udp_peers_of_all_workers_together_are_bounded_and_one_that_ends_leaves_a_place(
    start: Start, tmp_path: Path
) -> None:
    daemon = start(*config(tmp_path, 'mode = "echo"\nudp = true\nmax_udp_streams = 5\nudp_idle_timeout = 60'))

    def streams() -> list[dict[str, object]]:
        rows: list[dict[str, object]] = daemon.ask_json("streams open limit=100")
        return [row for row in rows if row["peer"] != "*"]

    with contextlib.ExitStack() as open_ones:

        def serve(clients: int) -> None:
            for _ in range(clients):
                client = open_ones.enter_context(socket.socket(type=socket.SOCK_DGRAM))
                client.settimeout(PATIENCE)
                client.connect(("127.0.0.1", daemon.ports["data"]))
                client.send(b"ping")
                assert b"ping" == client.recv(100)

        for clients in (5, 20):
            serve(clients)
            assert 5 == len(streams())
        daemon.await_stats(rejected_udp_streams_total=20)
        daemon.ask(f"kick {streams()[0]['stream']}")
        daemon.await_stats(closed_kicked_total=1)
        serve(1)
        assert 5 == len(streams())
