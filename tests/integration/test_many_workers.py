"""Four workers behind one port and one admin port: who asks cannot tell them from one process."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterator
from itertools import accumulate
from pathlib import Path
from typing import Any

import pytest

from tests.clients import connected
from tests.integration.conftest import BIN, PATIENCE, Daemon, run, starting

#: Its configs say how many workers there are, and one of its tests changes that: no flag is to say it, too.
pytestmark = pytest.mark.parametrize("server_workers", [0], indirect=True)

WORKERS = 4
FEW = 2
LOOPBACK = "tcp:0:interface=127.0.0.1"

CONFIG = f"""
workers = {WORKERS}
[[listener]]
name = "data"
endpoint = "{LOOPBACK}"
[[listener]]
name = "echo"
endpoint = "{LOOPBACK}"
mode = "echo"
udp = true
[[listener]]
name = "lines"
endpoint = "{LOOPBACK}"
framing = "line"
keep = 5
[[listener]]
name = "few"
endpoint = "{LOOPBACK}"
mode = "echo"
max_streams_per_peer = {WORKERS + 1}
[[listener]]
name = "source"
endpoint = "{LOOPBACK}"
mode = "source"
[[listener]]
name = "proxy"
endpoint = "haproxy:{LOOPBACK}"
framing = "line"
[[listener]]
name = "unix"
endpoint = "unix:FOLDER/unix.sock"
[[listener]]
name = "tls"
endpoint = "ssl:0:interface=127.0.0.1:privateKey=TLS:certKey=TLS"
mode = "echo"
"""
ADMIN = f'[[admin]]\nendpoint = "{LOOPBACK}"\n'


def awaited(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory, certificate: Path) -> Iterator[Daemon]:
    """One for the tests that leave it as it was."""
    folder = tmp_path_factory.mktemp("workers")
    (folder / "x.toml").write_text((CONFIG + ADMIN).replace("TLS", str(certificate)).replace("FOLDER", str(folder)))
    with starting(folder) as start:
        yield start("--config", "x.toml", listeners=8)


@pytest.fixture
def mine(tmp_path: Path) -> Iterator[Daemon]:
    """One that a test may harm, with few workers and two listeners."""
    (tmp_path / "x.toml").write_text(
        CONFIG.replace(f"workers = {WORKERS}", f"workers = {FEW}").partition('[[listener]]\nname = "lines"')[0] + ADMIN
    )
    with starting(tmp_path) as start:
        yield start("--config", "x.toml", listeners=2)


def load(daemon: Daemon, target: str, *flags: str, codes: tuple[int, ...] = (0,)) -> dict[str, Any]:
    """The result of a run, reconciled stream by stream."""
    done = run(BIN / "ctrlload", "run", target, "-J", "-i", "0", "--admin", daemon.admin, *flags)
    assert done.returncode in codes, done
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def at(daemon: Daemon, name: str) -> str:
    return f"127.0.0.1:{daemon.ports[name]}"


def workers(daemon: Daemon) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = daemon.ask_json("workers")
    return rows


def exchange(client: socket.socket) -> bool:
    """Send a packet and read its echo; False if the connection ends before."""
    client.sendall(bytes(1024))
    left = 1024
    while left and (got := client.recv(left)):
        left -= len(got)
    return not left


def pids(daemon: Daemon) -> list[int]:
    """Those of the workers once all take connections."""
    awaited(lambda: all(row["state"] == "running" for row in workers(daemon)))
    return [row["pid"] for row in workers(daemon)]


def is_gone(pid: int) -> bool:
    try:
        return "Z" == Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return True


@pytest.mark.parametrize("way", ["tcp", "echo", "tls", "source", "udp", "unix"])
def test_the_counts_of_a_load_are_exact_stream_by_stream(daemon: Daemon, way: str, certificate: Path) -> None:
    target, *flags = {
        "tcp": (at(daemon, "data"),),
        "echo": (at(daemon, "echo"), "-m", "request"),
        "tls": (
            f"ssl:localhost:{daemon.ports['tls']}",
            "-m",
            "request",
            "--cafile",
            str(certificate.parent / "cert.pem"),
        ),
        "source": (at(daemon, "source"), "-m", "receive"),
        "udp": (f"udp:{at(daemon, 'echo')}", "-m", "request"),
        "unix": (f"unix:{daemon.paths['unix']}",),
    }[way]
    result = load(daemon, target, "-n", "4000", "-P", "12", *flags)
    assert (True, 4000, 12) == (result["reconciled"], result["received"]["packets"], len(result["streams"]))


def test_streams_that_are_reset_at_random_are_counted_to_their_last_packet(daemon: Daemon) -> None:
    flags = ("-n", "20000", "-P", "100", "--inject", "2%*reset", "--seed", "7")
    result = load(daemon, at(daemon, "data"), *flags)
    reset = [stream for stream in result["streams"] if stream["reason"] == "injected"]
    assert (True, True) == (result["reconciled"], len(reset) > 50)


def test_a_peer_behind_a_proxy_is_named_by_its_header(daemon: Daemon) -> None:
    with daemon.connect("proxy") as client:
        client.sendall(b"PROXY TCP4 192.0.2.7 192.0.2.8 4711 22222\r\na\nb\n")
        awaited(lambda: [2] == [row["packets"] for row in daemon.ask_json("streams peer=192.0.2.7")])


def test_each_stream_has_a_number_of_its_own_and_several_workers_serve_them(daemon: Daemon) -> None:
    awaited(lambda: all(row["state"] == "running" and row["share"] == 0 for row in workers(daemon)))
    with contextlib.ExitStack() as open_ones:
        clients = [open_ones.enter_context(daemon.connect("lines")) for _ in range(2 * WORKERS)]
        for client in clients:
            client.sendall(b"a\n")
        own = [f"127.0.0.1:{client.getsockname()[1]}" for client in clients]
        rows: list[dict[str, Any]] = []

        def all_are_there() -> bool:
            rows[:] = [row for row in daemon.ask_json("streams open") if row["peer"] in own and row["packets"] == 1]
            return len(rows) == len(own)

        awaited(all_are_there)
        assert len(own) == len({row["stream"] for row in rows})
        served = {row["worker"] for row in rows}  # evenly, unless one is late: that is for the test of the balance
        assert served <= set(range(1, WORKERS + 1))
        assert len(served) > 1
        one = rows[0]
        assert rows[0] in daemon.ask_json(f"streams open worker={one['worker']}")
        totals = workers(daemon)
        stats = daemon.ask_json("stats")
        assert stats["streams_open"] == sum(row["streams_open"] for row in totals)
        assert stats["packets_total"] == sum(row["packets_total"] for row in totals)
        assert (WORKERS, 0, 0) == (stats["workers"], stats["workers_late"], stats["worker_restarts_total"])
    awaited(lambda: not daemon.ask_json("streams open"))


def test_what_was_echoed_is_counted_in_the_next_answer(daemon: Daemon) -> None:
    with daemon.connect("echo") as client, daemon.connect("admin") as admin:
        answers = admin.makefile("rb")
        before = daemon.ask_json("stats")["packets_total"]
        for number in range(1, 101):
            assert exchange(client)
            admin.sendall(b"stats packets_total json\n")
            assert before + number == json.loads(answers.readline())["data"]["packets_total"]


def test_the_streams_of_a_peer_are_limited_over_all_workers_and_a_seat_is_free_once_its_stream_ended(
    daemon: Daemon,
) -> None:
    before = daemon.ask_json("stats")["rejected_max_streams_per_peer_total"]
    with contextlib.ExitStack() as open_ones:
        clients = [open_ones.enter_context(daemon.connect("few")) for _ in range(WORKERS + 1)]
        assert all(map(exchange, clients))
        for _ in range(3):
            with daemon.connect("few") as refused, contextlib.suppress(ConnectionError):
                assert b"" == refused.recv(1)
        daemon.await_stats(rejected_max_streams_per_peer_total=before + 3)
        clients[0].close()
        awaited(lambda: daemon.ask_json("stats")["streams_open"] <= WORKERS)
        with daemon.connect("few") as next_one:
            assert exchange(next_one)


def test_kept_packets_are_shown_of_a_stream_of_any_worker_and_kick_ends_it(daemon: Daemon) -> None:
    with contextlib.ExitStack() as open_ones:
        clients = [open_ones.enter_context(daemon.connect("lines")) for _ in range(WORKERS)]
        for number, client in enumerate(clients):
            client.sendall(b"x\npacket %d\n" % number)
            peer = f"127.0.0.1:{client.getsockname()[1]}"
            newest = f"streams peer={peer} limit=1"  # an earlier stream may have had the same port
            awaited(lambda asked=newest: [2] == [row["packets"] for row in daemon.ask_json(asked)])  # type: ignore[misc]
            (row,) = daemon.ask_json(newest)
            assert f"packet {number}" in daemon.ask(f"packets {row['stream']} 1")
            assert "OK" in daemon.ask(f"kick {row['stream']}")
            assert b"" == client.recv(1)
            (row,) = daemon.ask_json(newest)
            assert ("closed", "kicked") == (row["state"], row["reason"])
            assert f"packet {number}" in daemon.ask(f"packets {row['stream']} 1")


def test_runs_resets_names_waits_and_watches_are_those_of_one_server(daemon: Daemon) -> None:
    daemon.ask("reset", "run start whole")
    with daemon.connect("admin") as waiting, daemon.connect("admin") as watching:
        waiting.sendall(b"wait packets >= 300 timeout=20\n")
        watching.sendall(b"watch 0.1 json\n")
        load(daemon, at(daemon, "data"), "-n", "300", "-P", "6")
        assert b"packets 300\r\n" == waiting.makefile("rb").readline()
        shown = watching.makefile("r")
        rows = (json.loads(shown.readline())["data"]["packets"] for _ in range(200))
        assert 300 in accumulate(rows), "the packets of a load may come in several intervals"
    assert "OK" in daemon.ask("run stop")
    (row,) = [row for row in daemon.ask_json("runs") if row["name"] == "whole"]
    assert (300, 6) == (row["packets"], row["streams"])
    daemon.ask("rename peer client")
    assert "client" in daemon.ask_json("streams limit=1")[0]
    daemon.ask("rename client peer")
    assert 300 == daemon.ask_json("stats")["packets"]
    daemon.ask("reset")
    assert 0 == daemon.ask_json("stats")["packets"]


class Echoing:
    """Connections one after another: each sends a packet and reads its echo, if its server lives."""

    def __init__(self, daemon: Daemon) -> None:
        self._port = daemon.ports["echo"]
        self.served = self.cut = 0

    def once(self) -> None:
        """A connect is never refused; the server may go while it serves."""
        client = connected(("127.0.0.1", self._port))
        with client:
            try:
                served = exchange(client)
            except ConnectionError:
                served = False
            self.served += served
            self.cut += not served


def test_a_worker_that_is_killed_is_replaced_and_no_connect_is_refused(mine: Daemon) -> None:
    before = pids(mine)
    echoing = Echoing(mine)
    with contextlib.ExitStack() as open_ones:
        held = [open_ones.enter_context(mine.connect("echo")) for _ in range(FEW)]
        for client in held:
            client.sendall(bytes(1024))
        mine.await_stats(packets_total=FEW, streams_open=FEW)
        os.kill(before[1], signal.SIGKILL)
        counts = []
        while mine.ask_json("stats")["worker_restarts_total"] == 0 or workers(mine)[1]["state"] != "running":
            for _ in range(20):
                echoing.once()
            counts.append(mine.ask_json("stats")["packets_total"])
        stats = mine.ask_json("stats")
        assert counts == sorted(counts)
        assert (1, 1, FEW - 1) == (
            stats["worker_restarts_total"],
            stats["closed_worker_total"],
            stats["streams_open"],
        )
        assert echoing.served + FEW <= stats["packets_total"] <= echoing.served + echoing.cut + FEW
        assert 0 == echoing.cut
    after = pids(mine)
    assert (True, False) == (before[0] == after[0], before[1] == after[1])
    assert re.search(rf"worker 2 \(process {before[1]}\) was ended by SIGKILL; another takes its place", mine.stop())


def test_a_worker_that_is_stopped_is_late_and_its_counts_come_when_it_goes_on(mine: Daemon) -> None:
    stopped = pids(mine)[1]
    with contextlib.ExitStack() as open_ones:
        held = [open_ones.enter_context(mine.connect("echo")) for _ in range(FEW)]
        for client in held:
            client.sendall(bytes(1024))
        mine.await_stats(packets_total=FEW)
        os.kill(stopped, signal.SIGSTOP)
        for client in held:
            client.sendall(bytes(1024))
        mine.await_stats(packets_total=2 * FEW - 1, workers_late=1)
        assert "worker 2 is late" == mine.ask_json("health")["reasons"]
        os.kill(stopped, signal.SIGCONT)
        mine.await_stats(packets_total=2 * FEW, workers_late=0, worker_restarts_total=0, streams_open=FEW)


def test_a_reload_reaches_all_workers_under_load(mine: Daemon, tmp_path: Path) -> None:
    pids(mine)
    held = mine.connect("echo")
    exchange(held)
    text = (tmp_path / "x.toml").read_text()
    new = f'[[listener]]\nname = "new"\nendpoint = "{LOOPBACK}"\nframing = "line"\nmode = "echo"\n'
    (tmp_path / "x.toml").write_text(new + text.replace("workers = 2", "").replace('mode = "echo"', 'mode = "reply"'))
    mine.process.send_signal(signal.SIGHUP)
    mine.log.wait("workers needs a restart")
    mine.ports["new"] = int(mine.log.wait(r"listening new tcp \S+:(\d+)")[1])
    with contextlib.ExitStack() as open_ones:
        for number in range(2 * FEW):
            client = open_ones.enter_context(mine.connect("new"))
            client.sendall(b"%d\n" % number)
            assert b"%d\n" % number == client.recv(100)
            other = open_ones.enter_context(mine.connect("echo"))
            other.sendall(bytes(1024))
            assert b"\x06" == other.recv(100)
    exchange(held)
    held.close()
    assert 0 == mine.ask_json("stats")["worker_restarts_total"]


def test_the_end_drains_all_workers_and_the_last_run_has_all_counts(mine: Daemon) -> None:
    gone = pids(mine)
    with contextlib.ExitStack() as open_ones:
        held = [open_ones.enter_context(mine.connect("echo")) for _ in range(2 * FEW)]
        for client in held:
            assert exchange(client)
        mine.process.send_signal(signal.SIGTERM)
        mine.log.wait(rf"stopping: {2 * FEW} open streams may go on")
        for client in held:
            assert exchange(client)
    text = mine.stop()
    assert f"number of packets {4 * FEW}," in text
    awaited(lambda: all(map(is_gone, gone)))


BROKEN = """
import sys
sys.argv[0], sys.executable = "twistd", "/nonexistent/python"
from twisted.scripts.twistd import run
run()
"""


def test_workers_that_cannot_be_had_end_the_server_with_the_reason(tmp_path: Path) -> None:
    flags = ("-n", "--pidfile=", "ctrlserver", "--workers", "2", "--data", LOOPBACK, "--admin", LOOPBACK)
    done = run(sys.executable, "-c", BROKEN, *flags, cwd=tmp_path)
    reason = "it could not be started: no such file or directory: /nonexistent/python"
    line = f"ctrlserver: worker 1 ended 5 times in a row as soon as it was started: {reason}\n"
    assert (1, line) == (done.returncode, done.stderr.decode())


def test_workers_end_with_their_parent_whatever_ends_it(mine: Daemon) -> None:
    gone = pids(mine)
    mine.process.kill()
    mine.process.wait(PATIENCE)
    awaited(lambda: all(map(is_gone, gone)))
    with pytest.raises(ConnectionRefusedError):
        mine.connect("data")
