"""The admin port, asked by the programs people have at hand."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import re
import select
import socket
import statistics
import subprocess
import sys
import termios
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from tests.integration.conftest import BIN, PATIENCE, Daemon, Start, needs, needs_openbsd_netcat, run

#: How often each client asks, idle and under load, and how many of them at once: all replies must be whole. Fewer than
#: the admin port takes. ``nc -q5`` leaves five seconds after the end of its input, whatever comes: it asks once.
ASKED, AT_ONCE = 25, 5

WHOLE = re.compile(r"(?s)\Aversion .*\r\nOK \d+\r\n\Z")


@contextmanager
def full_load(daemon: Daemon, streams: int = 4) -> Iterator[None]:
    """Senders that saturate the data port until the block is left."""
    before = daemon.ask_json("stats")["streams_total"]
    load = subprocess.Popen(
        [
            BIN / "ctrlload",
            "run",
            f"127.0.0.1:{daemon.ports['data']}",
            "-t",
            "60s",
            "-P",
            str(streams),
            "--size",
            "1024",
        ],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        daemon.await_stats(streams_total=before + streams)
        yield
    finally:
        load.terminate()
        load.wait(PATIENCE)


CLIENTS = {
    "nc -N": "echo stats | nc -N {host} {port}",
    "nc -q": "echo stats | nc -q5 {host} {port}",
    "socat -t": "echo stats | socat -t20 - TCP:{host}:{port}",
    "bash": "exec 3<>/dev/tcp/{host}/{port}; printf 'stats\\nquit\\n' >&3; cat <&3",
}


@pytest.mark.parametrize("loaded", [False, True], ids=["idle", "loaded"])
@pytest.mark.parametrize(
    "client",
    [
        pytest.param("nc -N", marks=needs_openbsd_netcat()),
        pytest.param("nc -q", marks=needs_openbsd_netcat()),
        pytest.param("socat -t", marks=needs("socat")),
        pytest.param("bash", marks=needs("bash")),
    ],
)
def test_every_reply_is_whole(shared: Start, client: str, loaded: bool) -> None:
    daemon = shared()
    command = CLIENTS[client].format(host="127.0.0.1", port=daemon.ports["admin"])

    def ask(_number: int) -> str:
        return run("bash", "-c", command).stdout.decode()

    def ask_often() -> None:
        with ThreadPoolExecutor(AT_ONCE) as clients:
            for answer in clients.map(ask, range(AT_ONCE if client == "nc -q" else ASKED)):
                if client == "bash":
                    assert answer.endswith("OK bye\r\n"), answer
                assert WHOLE.match(answer.removesuffix("OK bye\r\n")), answer

    if loaded:
        with full_load(daemon):
            ask_often()
    else:
        ask_often()


def test_a_script_gets_the_same_in_json(start: Start) -> None:
    daemon = start()
    answer = daemon.ask("stats json")
    assert 1 == answer.count("\n")
    assert 0 == json.loads(answer)["data"]["packets_total"]


@needs("telnet")
def test_a_real_telnet_is_answered_after_ctrl_c(shared: Start) -> None:
    daemon = shared()
    pid, terminal = pty.fork()
    if pid == 0:
        os.execvp("telnet", ["telnet", "127.0.0.1", str(daemon.ports["admin"])])
    seen = b""

    def read_until(pattern: bytes) -> None:
        nonlocal seen
        end = time.monotonic() + PATIENCE
        while not re.search(pattern, seen):
            assert time.monotonic() < end, seen
            if select.select([terminal], [], [], 1.0)[0]:
                seen += os.read(terminal, 4096)
        seen = b""

    def until_telnet_has_read() -> None:
        """Ctrl-C has a terminal drop the lines that nobody has read."""
        end = time.monotonic() + PATIENCE
        its_end = os.open(f"/proc/{pid}/fd/0", os.O_RDONLY | os.O_NOCTTY)
        while any(fcntl.ioctl(its_end, termios.FIONREAD, bytes(4))):
            assert time.monotonic() < end
            time.sleep(0.001)
        os.close(its_end)

    try:
        read_until(b"Escape character")
        os.write(terminal, b"ping\r")
        read_until(b"OK pong")
        os.write(terminal, b"half a comm\x03")
        os.write(terminal, b"version\r")
        read_until(rb"(?s)version \d.*OK \d")
        os.write(terminal, b"wait packets_total>=1000000000 timeout=1h\rping\r")
        read_until(rb"timeout=1h.*\n.*ping")
        until_telnet_has_read()
        os.write(terminal, b"\x03")
        read_until(rb"(?s)ERR 499 interrupted .*OK pong")
        os.write(terminal, b"watch 1h\r")
        read_until(b"# time")
        os.write(terminal, b"\x03")
        read_until(b"OK 0")
        os.write(terminal, b"quit\r")
        read_until(b"OK bye")
    finally:
        os.close(terminal)
        os.waitpid(pid, 0)


def test_an_admin_query_is_answered_beside_eight_saturating_senders(shared: Start) -> None:
    daemon = shared()
    took = []
    with full_load(daemon, streams=8), daemon.connect("admin") as client:
        lines = client.makefile("rb")
        for _ in range(100):
            before = time.monotonic()
            client.sendall(b"stats json\n")
            assert json.loads(lines.readline())["ok"] is True
            took.append(time.monotonic() - before)
        lines.close()
    # No speed is asserted, only that no query waited for the senders to end.
    assert statistics.median(took) < PATIENCE


@pytest.mark.parametrize("octets", [b"\n", b"x", b"\xff\xf1", b"help\n"], ids=["empty", "endless", "telnet", "help"])
def test_a_question_is_answered_beside_peers_that_flood(shared: Start, octets: bytes) -> None:
    daemon = shared()
    floods, ends = [daemon.connect("admin") for _ in range(8)], threading.Event()

    def flood() -> None:
        while not ends.is_set():
            for client in select.select(floods, floods, [], 0.1)[1]:
                with suppress(BlockingIOError):
                    client.send(octets * (65536 // len(octets)))

    for client in floods:
        client.setblocking(False)
    flooding = threading.Thread(target=flood)
    flooding.start()
    try:
        with daemon.connect("admin") as client:
            for _ in range(20):
                client.sendall(b"ping\n")
                assert b"OK pong\r\n" == client.recv(100)
    finally:
        ends.set()
        flooding.join()
        for client in floods:
            client.close()


def test_an_over_long_line_and_invalid_utf_8_cost_one_error_each_and_nothing_else(shared: Start) -> None:
    daemon = shared()
    with daemon.connect("admin") as client:
        client.sendall(b"x" * 5000 + b"\nst\xc3\x28ats\nping\nquit\n")
        lines = b"".join(iter(lambda: client.recv(4096), b"")).split(b"\r\n")
    assert [b"ERR 413", b"ERR 400", b"OK pong", b"OK bye", b""] == [line[:7] for line in lines]


def test_the_65th_connection_is_told_so_and_the_others_go_on(start: Start) -> None:
    daemon = start()
    clients = [daemon.connect("admin") for _ in range(64)]
    for client in clients:
        client.sendall(b"ping\n")
        assert b"OK pong\r\n" == client.recv(100)
    with daemon.connect("admin") as late:
        assert late.makefile("rb").read().startswith(b"ERR 503 ")
    clients[0].sendall(b"ping\n")
    assert b"OK pong\r\n" == clients[0].recv(100)
    for client in clients:
        client.close()


def test_a_reader_that_never_reads_costs_a_bounded_amount(start: Start) -> None:
    daemon = start()
    with daemon.connect("admin") as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 16)
        client.setblocking(False)
        before = resident_bytes(daemon.process.pid)
        sent = 0
        stuck = threading.Event()
        while not stuck.is_set():
            try:
                sent += client.send(b"help\n" * 1000)
            except BlockingIOError:
                # Nothing more is taken: it reads no more until its replies are read.
                if not select.select([], [client], [], 1.0)[1]:
                    stuck.set()
            assert sent < 1 << 28
        assert resident_bytes(daemon.process.pid) - before < 16 << 20
        assert "OK pong\r\n" == daemon.ask("ping")


def resident_bytes(pid: int) -> int:
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.workers_too
def test_a_rename_keeps_content_and_place_and_a_clash_changes_nothing(start: Start) -> None:
    daemon = start()
    with daemon.connect() as client:
        client.sendall(b"x" * 1024)
    daemon.await_stats(streams_open=0, packets_total=1)
    (before,) = daemon.ask_json("streams")
    assert daemon.ask("rename protocol inet_protocol").startswith("OK")
    (after,) = daemon.ask_json("streams")
    assert list(after) == [{"protocol": "inet_protocol"}.get(name, name) for name in before]
    assert list(before.values()) == list(after.values())
    header = daemon.ask("streams").splitlines()[0].split()
    assert "inet_protocol" in header
    assert "protocol" not in header
    assert daemon.ask("rename framing inet_protocol").startswith("ERR 409 ")
    assert daemon.ask_json("streams") == [after]
    assert daemon.ask("unrename inet_protocol").startswith("OK")
    assert daemon.ask_json("streams") == [before]


def test_a_rename_from_the_config_holds_from_the_start(start: Start, tmp_path: Path) -> None:
    (tmp_path / "x.toml").write_text(
        '[[listener]]\nendpoint = "tcp:0:interface=127.0.0.1"\nprotocol = "HTTP"\nlabels = { site = "lab 1" }\n'
        '[[admin]]\nendpoint = "tcp:0:interface=127.0.0.1"\n'
        '[rename]\nprotocol = "inet_protocol"\n'
    )
    daemon = start("--config", "x.toml")
    with daemon.connect() as client:
        client.sendall(b"x" * 1024)
        daemon.await_stats(packets_total=1)
        (stream,) = daemon.ask_json("streams")
    assert ("HTTP", 1024, "lab 1") == (stream["inet_protocol"], stream["size"], stream["site"])
    assert "protocol" not in stream


@pytest.mark.workers_too
def test_reset_gives_the_closed_reading_and_loses_nothing(start: Start) -> None:
    daemon = start()
    with daemon.connect() as client:
        client.sendall(b"x" * 3 * 1024)
        daemon.await_stats(packets_total=3)
        assert 3 == daemon.ask_json("reset")["packets"]
        client.sendall(b"x" * 2 * 1024)
        stats = daemon.await_stats(packets_total=5)
    assert (2, 1) == (stats["packets"], stats["resets_total"])


@pytest.mark.workers_too
def test_runs_by_order_report_what_fell_into_them(start: Start) -> None:
    daemon = start()
    with daemon.connect() as client:
        assert daemon.ask("run start first expect=3").splitlines()[-1].startswith("OK")
        client.sendall(b"x" * 3 * 1024)
        daemon.await_stats(packets_total=3)
        daemon.ask("run start second expect=3")
        client.sendall(b"x" * 2 * 1024)
        daemon.await_stats(packets_total=5)
        daemon.ask("run stop")
    second, first = daemon.ask_json("runs")
    assert [
        ("first", 3, True),
        ("second", 2, False),
    ] == [(run["name"], run["packets"], run["complete"]) for run in (first, second)]
    daemon.log.wait(r"run 1 .*total time \S+ s, number of packets 3, rate")


@pytest.mark.workers_too
def test_kick_ends_one_stream(start: Start) -> None:
    daemon = start()
    with daemon.connect() as one:
        one.sendall(b"x" * 1024)
        daemon.await_stats(packets_total=1)  # it has its number before the other one comes
        with daemon.connect() as other:
            other.sendall(b"x" * 1024)
            daemon.await_stats(packets_total=2)
            assert daemon.ask("kick 1").startswith("OK")
            assert b"" == one.recv(1)
            other.sendall(b"x" * 1024)
            daemon.await_stats(packets_total=3, streams_open=1, closed_kicked_total=1)
            assert daemon.ask("kick 1").startswith("ERR 409 ")
            assert daemon.ask("kick 99").startswith("ERR 404 ")


if sys.platform != "linux":
    pytest.skip("reads /proc", allow_module_level=True)
