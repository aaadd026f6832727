"""Injections and answers where several processes serve the streams: exact over all of them."""

from __future__ import annotations

import json
import os
import signal
import socket
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from tests.integration.conftest import BIN, PATIENCE, Daemon, Start, run

THREE = ("--workers", "3")


@pytest.fixture
def three(shared: Start) -> Iterator[Daemon]:
    """Three workers, a listener in mode echo, and no order."""
    daemon = shared("--mode", "echo", "--framing", "line", *THREE)
    yield daemon
    daemon.ask("inject off")


@pytest.fixture
def replying(shared: Start) -> Iterator[Daemon]:
    """Three workers, a listener in mode reply, and no rule."""
    daemon = shared("--mode", "reply", "--reply", "no\\n", "--framing", "line", *THREE)
    yield daemon
    daemon.ask("answer off")


def load(daemon: Daemon, *flags: str, codes: tuple[int, ...] = (0,)) -> dict[str, Any]:
    """The result of a run that compares its counts with the server's."""
    target = f"127.0.0.1:{daemon.ports['data']}"
    done = run(BIN / "ctrlload", "run", target, "-J", "-i", "0", "--admin", daemon.admin, *flags)
    assert done.returncode in codes, done
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def rows_of(daemon: Daemon) -> dict[int, dict[str, Any]]:
    """All injections, by their numbers."""
    return {row["injection"]: row for row in daemon.ask_json("inject all")}


def order(daemon: Daemon, line: str) -> int:
    return int(daemon.ask_json(f"inject data {line}")["injection"])


def test_what_is_swallowed_of_each_stream_is_exact_whichever_worker_has_it(three: Daemon) -> None:
    number = order(three, "10th*swallow")
    result = load(three, "--framing", "line", "-n", "3000", "-P", "30")
    assert (True, 30 * 100) == (result["reconciled"], result["received"]["packets"])
    mine = three.streams_of(*(stream["local"] for stream in result["streams"]))
    assert {10} == {row["injected"] for row in mine}
    assert {1, 2, 3} == {row["worker"] for row in mine}
    assert 30 * 10 == rows_of(three)[number]["hits"]
    assert {"off": 1, "hits": 30 * 10} == three.ask_json(f"inject off {number}")
    assert 30 * 10 == rows_of(three)[number]["hits"]


def answers(client: socket.socket, *lines: bytes) -> bytes:
    """All that comes back for lines, up to the server's end of the connection; b"RST" for a reset."""
    got = b""
    try:
        client.sendall(b"".join(lines))
        client.shutdown(socket.SHUT_WR)
        while more := client.recv(1 << 16):
            got += more
    except OSError:  # also of a shutdown that comes after the reset
        return b"RST"
    finally:
        client.close()
    return got


def test_a_reset_that_strikes_two_streams_strikes_two_of_all_workers(three: Daemon) -> None:
    number = order(three, "1*ok->2*reset->off")
    with ExitStack() as open_ones:
        clients = [open_ones.enter_context(three.connect()) for _ in range(12)]
        ends = Counter(answers(each, b"a\n", b"b\n", b"c\n") for each in clients)
    assert {b"RST": 2, b"a\nb\nc\n": 10} == ends
    assert 2 == rows_of(three)[number]["hits"]


def test_who_has_the_reply_finds_open_streams_struck_and_after_off_as_they_were(three: Daemon) -> None:
    with ExitStack() as open_ones:
        clients = [open_ones.enter_context(three.connect()) for _ in range(6)]
        for each in clients:
            each.sendall(b"a\n")
            assert b"a\n" == each.recv(100)
        before = three.ask_json("stats")["injected_total"]
        for hits in (6, 12, 18):
            number = order(three, "swallow streams=all")
            for each in clients:
                each.sendall(b"b\n")
            three.await_stats(injected_total=before + hits)
            over = three.ask_json(f"inject off {number}")
            assert 6 == over["hits"] == rows_of(three)[number]["hits"]
            for each in clients:
                each.sendall(b"c\n")
                assert b"c\n" == each.recv(100)
        rows = three.streams_of(*(f"127.0.0.1:{each.getsockname()[1]}" for each in clients))
        assert [(3, 7)] * 6 == [(row["injected"], row["packets"]) for row in rows]


def struck(daemon: Daemon, clients: int) -> list[bytes]:
    """What comes back of 40 lines of each of some streams, one after the other, by chance with an equal seed."""
    daemon.ask("inject off")
    order(daemon, "30%*swallow seed=7")
    return [answers(daemon.connect(), *(b"%d\n" % line for line in range(40))) for _ in range(clients)]


def test_chance_with_an_equal_seed_strikes_the_same_packets_whichever_worker_has_the_stream(
    three: Daemon, shared: Start
) -> None:
    first = struck(three, 5)
    with three.connect() as another:  # so that the next streams go to other workers
        another.sendall(b"a\n")
        another.recv(10)
        assert first == struck(three, 5)
    assert first == struck(shared("--mode", "echo", "--framing", "line"), 5)
    assert 5 == len(set(first))


def test_delays_hold_in_all_workers_and_end_with_their_time(three: Daemon) -> None:
    number = order(three, "delay(1h) for=300ms")
    clients = [three.connect() for _ in range(6)]
    for each in clients:
        each.sendall(b"a\n")
    for each in clients:
        with each:
            assert b"a\n" == each.recv(10)
    row = rows_of(three)[number]
    assert (6, False) == (row["hits"], row["active"])


def test_connections_are_refused_hung_and_closed_where_the_parent_accepts(three: Daemon) -> None:
    number = order(three, "2*close-at-once->refuse")
    assert [b"", b""] == [answers(three.connect()) for _ in range(2)]
    with pytest.raises(ConnectionRefusedError):
        three.connect()
    assert 2 == three.ask_json(f"inject off {number}")["hits"]
    order(three, "hang")
    with three.connect() as client:
        client.sendall(b"a\n")
        client.settimeout(0.2)
        with pytest.raises(TimeoutError):
            client.recv(10)
        three.ask("inject off")
        client.settimeout(PATIENCE)
        assert b"a\n" == client.recv(10)


def test_an_answer_is_given_so_many_times_over_all_workers(replying: Daemon) -> None:
    replying.ask(r"answer data when=a with=yes\n times=7", r"answer data when=connect with=hi\n times=4")
    replying.ask(r"answer data when=b with=b\n")
    with ExitStack() as open_ones:
        clients = [open_ones.enter_context(replying.connect()) for _ in range(12)]
        got = b"".join(answers(each, b"a\n", b"b\n") for each in clients)
    assert {b"yes": 7, b"no": 5, b"hi": 4, b"b": 12} == Counter(got.split())
    assert [7, 4, 12] == [row["hits"] for row in replying.ask_json("answer")]
    assert {"off": 3, "hits": 23} == replying.ask_json("answer off")
    assert b"no\n" == answers(replying.connect(), b"a\n")


def test_orders_and_their_hits_outlive_a_worker_and_count_on_in_the_next_one(replying: Daemon) -> None:
    daemon = replying
    number = order(daemon, "5th*swallow")
    daemon.ask(r"answer data when=a with=yes\n times=20")

    def asked(packets: int) -> Counter[bytes]:
        got = b""
        for _ in range(6):
            got += answers(daemon.connect(), b"a\n" * packets)
        return Counter(got.split())

    assert {b"yes": 20, b"no": 4} == asked(4) + Counter()
    assert 20 == daemon.ask_json("answer")[0]["hits"]
    asked(5)
    assert 6 == rows_of(daemon)[number]["hits"]
    for row in daemon.ask_json("workers"):
        os.kill(row["pid"], signal.SIGKILL)
    daemon.await_stats(worker_restarts_total=3)
    assert {b"no": 24} == asked(5)
    row = rows_of(daemon)[number]
    assert (12, True) == (row["hits"], row["active"])
    assert 20 == daemon.ask_json("answer")[0]["hits"]
    stats = daemon.ask_json("stats")
    assert (1, 12, 3) == tuple(stats[name] for name in ("injections_active", "injected_total", "worker_restarts_total"))


def test_orders_of_the_admin_port_outlive_a_reload_and_those_of_the_config_are_replaced(
    start: Start, tmp_path: Any
) -> None:
    config = tmp_path / "config.toml"

    def write(inject: str) -> None:
        loopback = "tcp:0:interface=127.0.0.1"
        listener = f'[[listener]]\nendpoint = "{loopback}"\nframing = "line"\nmode = "echo"\ninject = ["{inject}"]\n'
        config.write_text(f'workers = 3\n{listener}[[admin]]\nendpoint = "{loopback}"\n')

    write("2nd*swallow")
    daemon = start("--config", str(config))
    assert {b"1\n3\n"} == {answers(daemon.connect(), b"1\n2\n3\n4\n") for _ in range(4)}
    order(daemon, "3rd*swallow")
    write("4th*swallow")
    daemon.process.send_signal(signal.SIGHUP)
    daemon.log.wait(r"began: 4th\*swallow")
    assert {b"1\n2\n5\n"} == {answers(daemon.connect(), b"1\n2\n3\n4\n5\n6\n") for _ in range(4)}
    assert ["2nd*swallow", "3rd*swallow", "4th*swallow"] == [row["spec"] for row in rows_of(daemon).values()]
    hits = {row["spec"]: (row["hits"], row["active"]) for row in rows_of(daemon).values()}
    assert {"2nd*swallow": (8, False), "3rd*swallow": (8, True), "4th*swallow": (4, True)} == hits
