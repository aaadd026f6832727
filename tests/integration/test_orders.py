"""Injections of a real server: ordered over nc, in the config and on the command line, seen by plain clients."""

from __future__ import annotations

import json
import signal
import socket
from pathlib import Path

import pytest

from tests.integration.conftest import BIN, Daemon, Start, needs_openbsd_netcat, run

LINES = ("--framing", "line", "--mode", "echo")
LOOPBACK = "tcp:0:interface=127.0.0.1"
DATA = f'[[listener]]\nendpoint = "{LOOPBACK}"\nframing = "line"\n'
ADMIN = f'[[admin]]\nendpoint = "{LOOPBACK}"\n'
HUNDRED = [f"{number}\n".encode() for number in range(1, 101)]


def answers(daemon: Daemon, packets: list[bytes], source: str = "127.0.0.1", name: str = "data") -> list[bytes]:
    """What comes back for ``packets`` on a connection of its own, up to the server's end of it; b"RST" for a reset."""
    got = b""
    with socket.socket() as client:
        client.bind((source, 0))
        client.connect(("127.0.0.1", daemon.ports[name]))
        try:
            client.sendall(b"".join(packets))
            client.shutdown(socket.SHUT_WR)
            while more := client.recv(1 << 16):
                got += more
        except ConnectionResetError:
            return [*got.splitlines(keepends=True), b"RST"]
    return got.splitlines(keepends=True)


@needs_openbsd_netcat()
def test_nc_orders_lists_and_ends_injections_and_quotes_are_the_shells_or_the_lines(start: Start) -> None:
    daemon = start(*LINES)

    def nc(*lines: str, port: str = "admin") -> str:
        stdin = "".join(f"{line}\n" for line in lines).encode()
        done = run("nc", "-N", "127.0.0.1", str(daemon.ports[port]), stdin=stdin)
        assert 0 == done.returncode
        return done.stdout.decode()

    assert "OK injection 1\r\nOK injection 2\r\n" == nc("inject data 3*ok->1*swallow", "inject data delay( exp 1ms )")
    assert "OK injection 3\r\n" == nc(r"""inject data "2nd*wrong('NO, NO\n')" for=1h seed=7""")
    assert "1\nNO, NO\n3\n5\nNO, NO\n" == nc("1", "2", "3", "4", "5", "6", port="data")
    rows = nc("inject").splitlines()
    assert "OK 3" == rows[-1]
    assert ["1", "data", "3*ok->1*swallow", "1", "true"] == rows[1].split()[:5]
    assert 'ERR 400 bad-spec spec: "dealy" at 5; did you mean "delay"?\r\n' == nc("inject data '10%*dealy(2s)'")
    assert "OK off 1\r\nOK off 2\r\nOK off 0\r\n" == nc("inject off 2", "inject off data", "inject off")


def test_every_hit_is_in_the_list_in_stats_in_the_stream_and_in_the_log(start: Start) -> None:
    daemon = start(*LINES)
    order = daemon.ask_json("inject data 10th*swallow->50th*duplicate")
    assert 1 == order["injection"]
    struck = answers(daemon, HUNDRED)
    assert 100 - 10 + 1 == len(struck)  # of the 90 others the fiftieth comes twice
    (row,) = daemon.ask_json("inject")
    assert (11, order["seed"]) == (row["hits"], row["seed"])
    stats = daemon.await_stats(streams_open=0, packets_total=100)
    totals = [stats[f"{name}_total"] for name in ("replies", "swallowed", "duplicated", "injected")]
    assert [90, 10, 1, 11] == totals
    (stream,) = daemon.ask_json("streams")
    assert (100, 11, "eof") == (stream["packets"], stream["injected"], stream["reason"])
    (listener,) = daemon.ask_json("listeners")
    assert (1, 1) == (listener["injections"], stats["injections_active"])
    assert {"off": 1, "hits": 11} == daemon.ask_json("inject off 1")
    log = daemon.stop()
    assert "injection 1 of data began: 10th*swallow->50th*duplicate, by 127.0.0.1:" in log
    assert "(operator), 11 hits" in log


def test_a_reset_is_one_and_only_the_streams_that_are_to_be_struck_are(start: Start) -> None:
    daemon = start(*LINES)
    daemon.ask("inject data 3*ok->2*reset->off")
    assert [[b"RST"], [b"RST"], [*HUNDRED]] == [answers(daemon, HUNDRED)[-1:] for _ in range(2)] + [
        answers(daemon, HUNDRED)
    ]
    stats = daemon.await_stats(streams_open=0, packets_total=4 + 4 + 100)
    assert (2, 2) == (stats["closed_injected_total"], stats["injected_total"])


def test_an_injection_ends_by_itself_and_then_leaves_no_trace_but_its_hits(start: Start) -> None:
    daemon = start(*LINES)
    daemon.ask("inject data swallow for=300ms")
    with daemon.connect() as client:
        client.sendall(b"a\n")
        assert "OK 1" in daemon.ask("wait injections_active==0 timeout=30s")
        client.sendall(b"b\n")
        got = b""
        while not got.endswith(b"b\n"):
            got += client.recv(100)
    (row,) = daemon.ask_json("inject all")
    hits = 2 - len(got.splitlines())  # "a" may have come too late
    assert (hits, False) == (row["hits"], row["active"])
    daemon.log.wait(rf"injection 1 of data ended: swallow, its time is over, {hits} hits?$")


def test_open_streams_are_struck_only_where_all_are_meant(start: Start) -> None:
    daemon = start(*LINES)
    with daemon.connect() as client:
        daemon.await_stats(streams_open=1)
        daemon.ask("inject data wrong('new\\n')")
        client.sendall(b"a\n")
        assert b"a\n" == client.recv(100)
        daemon.ask("inject data wrong('all\\n') streams=all")
        client.sendall(b"b\n")
        assert b"all\n" == client.recv(100)
        assert [b"all\n"] == answers(daemon, [b"c\n"])
        daemon.ask("inject off 2")
        client.sendall(b"d\n")
        assert b"d\n" == client.recv(100)


def test_peers_of_other_networks_are_not_struck(start: Start) -> None:
    daemon = start(*LINES)
    daemon.ask("inject data swallow peer=127.0.0.2,127.9.0.0/16")
    sources = ("127.0.0.1", "127.0.0.2", "127.9.1.1", "127.0.0.3")
    assert [100, 0, 0, 100] == [len(answers(daemon, HUNDRED, source)) for source in sources]


def test_an_equal_seed_strikes_the_same_packets_and_another_one_others(start: Start) -> None:
    daemon = start(*LINES)
    struck = []
    for seed in ("seed=7", "seed=7", "seed=8"):
        daemon.ask(f"inject data 20%*swallow {seed}")
        struck.append(answers(daemon, HUNDRED))
        daemon.ask("inject off")
    assert struck[0] == struck[1] != struck[2]
    assert 60 < len(struck[0]) < 95


def test_no_injection_is_possible_on_the_admin_port_and_a_viewer_orders_none(start: Start, tmp_path: Path) -> None:
    (tmp_path / "x.toml").write_text(f'{DATA}mode = "echo"\n{ADMIN}{ADMIN}level = "viewer"\n')
    daemon = start("--config", "x.toml", admins=2)
    assert daemon.ask("inject admin swallow").startswith('ERR 404 unknown-listener no listener "admin"')
    daemon.ask("inject data 3*swallow")
    daemon.ports["admin"] = daemon.ports["admin2"]
    for line in ("inject data swallow", "inject off", "inject off 1"):
        assert daemon.ask(line).startswith("ERR 403 not-permitted")
    assert ["3*swallow"] == [row["spec"] for row in daemon.ask_json("inject")]


def test_what_the_command_line_orders_strikes_the_first_connection(start: Start) -> None:
    daemon = start(*LINES, "--inject", "2nd*swallow", "--inject", "3*ok->1*close")
    assert [b"1\n", b"3\n"] == answers(daemon, HUNDRED)[:2]
    assert ["2nd*swallow", "3*ok->1*close"] == [row["spec"] for row in daemon.ask_json("inject")]


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        (("--inject", "10%*dealy"), '--inject: "dealy" at 5; did you mean "delay"?'),
        (("--inject", "swallow"), '--inject: "swallow" needs replies; listener "data" is a sink'),
        (("--config", "x.toml"), 'x.toml: listener[0].inject[1]: "swalow" at 1; did you mean "swallow"?'),
        (("--config", "y.toml"), 'y.toml: listener[0].inject: "reorder" needs datagrams; listener "data" is without a'),
    ],
)
def test_check_tells_an_injection_that_is_wrong_or_cannot_strike(
    tmp_path: Path, flags: tuple[str, ...], told: str
) -> None:
    (tmp_path / "x.toml").write_text(f'{DATA}mode = "echo"\ninject = ["swallow", "swalow"]\n')
    (tmp_path / "y.toml").write_text(f'{DATA}mode = "echo"\ninject = "reorder"\n')
    done = run(BIN / "ctrlserver", *flags, "--check", cwd=tmp_path)
    assert 1 == done.returncode
    assert done.stderr.decode().startswith(f"ctrlserver: {told}")


def test_a_reload_replaces_what_the_config_orders_and_keeps_what_was_ordered_by_hand(
    start: Start, tmp_path: Path
) -> None:
    config = tmp_path / "x.toml"
    config.write_text(f'{DATA}mode = "echo"\ninject = "swallow"\n{ADMIN}')
    daemon = start("--config", "x.toml")
    with daemon.connect() as client:
        client.sendall(b"a\n")
        daemon.await_stats(swallowed_total=1)
        daemon.ask("inject data 3rd*close")
        config.write_text(f'{DATA}mode = "echo"\ninject = ["2nd*swallow"]\n{ADMIN}')
        daemon.process.send_signal(signal.SIGHUP)
        daemon.log.wait(r'config reloaded: listener "data": inject \[swallow\] -> \[2nd\*swallow\]$')
        client.sendall(b"b\n")
        assert b"b\n" == client.recv(100)
    assert ["3rd*close", "2nd*swallow"] == [row["spec"] for row in daemon.ask_json("inject")]
    assert [b"1\n"] == answers(daemon, HUNDRED)[:1]
    config.write_text(f"{DATA}{ADMIN}")
    daemon.process.send_signal(signal.SIGHUP)
    daemon.log.wait(r"config reloaded: ")
    daemon.await_stats(injections_active=1)
    assert ["3rd*close"] == [row["spec"] for row in daemon.ask_json("inject")]
    config.write_text(f"{DATA.replace('line', 'raw')}{ADMIN}")
    daemon.process.send_signal(signal.SIGHUP)
    daemon.log.wait(r'injection 2 of data ended: 3rd\*close, "3rd\*close" counts packets .*; listener "data" is raw')
    daemon.await_stats(injections_active=0)


def test_a_reload_that_is_refused_leaves_the_injections_as_they_are(start: Start, tmp_path: Path) -> None:
    config = tmp_path / "x.toml"
    config.write_text(f'{DATA}mode = "echo"\ninject = "swallow"\n{ADMIN}')
    daemon = start("--config", "x.toml")
    config.write_text(f'{DATA}inject = "swallow"\n{ADMIN}')
    daemon.process.send_signal(signal.SIGHUP)
    daemon.log.wait(r'the old one stays: .*x.toml: listener\[0\].inject: "swallow" needs replies')
    assert ["swallow"] == [row["spec"] for row in daemon.ask_json("inject")]


def test_a_server_that_begins_again_has_only_what_its_config_orders(start: Start) -> None:
    daemon = start(*LINES, "--inject", "3rd*swallow")
    daemon.ask("inject data delay(1s)")
    assert "injection 2 of data ended: delay(1s), the server ends, 0 hits" in daemon.stop()
    again = start(*LINES, "--inject", "3rd*swallow")
    assert [(1, "3rd*swallow")] == [(row["injection"], row["spec"]) for row in again.ask_json("inject")]


def test_a_log_in_json_has_the_injection_its_hits_and_who_ordered_it(start: Start) -> None:
    daemon = start(*LINES, "--log-format", "json")
    daemon.ask("inject data 2nd*swallow for=1h")
    answers(daemon, HUNDRED)
    daemon.ask("inject off")
    events = [json.loads(line) for line in daemon.stop().splitlines()]
    began, ended = ([each for each in events if each["event"] == f"injection-{what}"] for what in ("began", "ended"))
    assert [("data", "2nd*swallow", 0, "operator")] == [
        (each["listener"], each["spec"], each["hits"], each["peer_level"]) for each in began
    ]
    assert [(1, 50)] == [(each["injection"], each["hits"]) for each in ended]


def test_injections_come_and_go_while_a_thousand_streams_are_open(start: Start) -> None:
    daemon = start(*LINES)
    clients = [daemon.connect() for _ in range(1000)]
    daemon.await_stats(streams_open=1000)
    daemon.ask("inject data 2nd*swallow streams=all")
    for client in clients:
        client.sendall(b"a\nb\nc\n")
    for client in clients:
        got = b""
        while len(got) < 4:
            got += client.recv(100)
        assert b"a\nc\n" == got
    assert {"off": 1, "hits": 1000} == daemon.ask_json("inject off")
    for client in clients[::100]:
        client.sendall(b"d\ne\n")
        got = b""
        while len(got) < 4:
            got += client.recv(100)
        assert b"d\ne\n" == got
    for client in clients:
        client.close()
    stats = daemon.await_stats(streams_open=0)
    assert (1000, 1000) == (stats["swallowed_total"], stats["injected_total"])
