"""SIGHUP on a running daemon: what goes on, what changes, and what a config that is not good does."""

from __future__ import annotations

import shutil
import signal
import socket
import ssl
import sys
import time
from pathlib import Path

import pytest

from tests.certificates import certificate
from tests.clients import connected
from tests.integration.conftest import BIN, PATIENCE, Daemon, Start
from tests.integration.test_transports import SYSTEMD

LOOPBACK = "tcp:0:interface=127.0.0.1"
ONE = f'[[listener]]\nname = "one"\nendpoint = "{LOOPBACK}"\nframing = "line"\n'
ADMIN = f'[[admin]]\nendpoint = "{LOOPBACK}"\n'


def hup(daemon: Daemon, awaited: str) -> None:
    """SIGHUP, until the log has the line."""
    daemon.process.send_signal(signal.SIGHUP)
    daemon.log.wait(awaited)


@pytest.mark.workers_too
def test_listeners_come_change_and_go_and_a_stream_of_each_goes_on(start: Start, tmp_path: Path) -> None:
    config = tmp_path / "x.toml"
    config.write_text(f"{ONE}{ONE.replace('one', 'gone')}{ADMIN}")
    daemon = start("--config", "x.toml", listeners=2)
    asking = daemon.connect("admin")
    with daemon.connect("one") as one, daemon.connect("gone") as gone:
        daemon.await_stats(streams_total=2)
        config.write_text(f'run_gap = "2s"\n{ONE}mode = "echo"\n{ONE.replace("one", "new")}{ADMIN * 2}')
        hup(daemon, r"config reloaded: run_gap 1 -> 2$")
        new = int(daemon.log.wait(r"listening new tcp \S+:(\d+)")[1])
        daemon.log.wait(r"listening admin2 ")
        with daemon.connect("one") as echoed, socket.create_connection(("127.0.0.1", new)) as added:
            for client in (one, gone, echoed, added):
                client.sendall(b"a\n")
            assert b"a\n" == echoed.recv(100)
            stats = daemon.await_stats(packets_total=4)
        assert (1, 0, 4) == (
            stats["config_reloads_total"],
            stats["config_reload_failures_total"],
            stats["streams_total"],
        )
        with pytest.raises(ConnectionRefusedError):
            daemon.connect("gone")
        asking.sendall(b"ping\n")
        assert b"OK pong\r\n" == asking.recv(100)
        asking.close()


#: Configs that cannot be used, and what is told of each; TAKEN is a port in use.
USELESS = (
    ('[[listener]]\nmode = "ehco"\n', r'x.toml: listener\[0\].mode: unknown mode "ehco": .* did you mean "echo"\?'),
    ("[[listener]\n", "x.toml: line 1"),
    (None, "x.toml: cannot be read"),
    (
        f'{ONE}[[listener]]\nname = "busy"\nendpoint = "tcp:TAKEN:interface=127.0.0.1"\n',
        "cannot listen for busy on tcp:.*: address already in use",
    ),
)


def test_of_a_config_that_cannot_be_used_nothing_is_taken(start: Start, tmp_path: Path) -> None:
    config = tmp_path / "x.toml"
    config.write_text(ONE + ADMIN)
    daemon = start("--config", "x.toml")
    with socket.create_server(("127.0.0.1", 0)) as taken, daemon.connect("one") as client:
        for failures, (text, told) in enumerate(USELESS, 1):
            config.unlink(missing_ok=True)
            if text is not None:
                config.write_text(text.replace("TAKEN", str(taken.getsockname()[1])))
            hup(daemon, f"the config is not reloaded, the old one stays: .*{told}")
            client.sendall(b"a\n")
            daemon.await_stats(packets_total=failures, config_reloads_total=0, config_reload_failures_total=failures)
            daemon.connect("one").close()


def test_the_path_is_that_of_the_start_and_flags_stay_over_the_file(start: Start, tmp_path: Path) -> None:
    (tmp_path / "x.toml").write_text(ONE + ADMIN)
    (tmp_path / "elsewhere").mkdir()
    program = (BIN / "twistd", "-n", "--pidfile=", "--rundir=elsewhere", "ctrlserver")
    daemon = start("--config", "x.toml", "--mode", "echo", program=program)
    (tmp_path / "x.toml").write_text(f'{ONE}mode = "reply"\nidle_timeout = 7\n{ADMIN}')
    hup(daemon, r'config reloaded: listener "one": idle_timeout 0 -> 7$')


def test_without_a_file_there_is_nothing_to_read(start: Start) -> None:
    daemon = start()
    for _ in range(2):
        hup(daemon, "SIGHUP changes nothing: there is no config file to read: the server was started without --config")
    assert "OK pong\r\n" == daemon.ask("ping")


@pytest.mark.parametrize("kind", ["SOCK_STREAM", "SOCK_DGRAM"])
def test_a_socket_from_systemd_goes_on(start: Start, tmp_path: Path, kind: str) -> None:
    text = f'[[listener]]\nendpoint = "systemd:domain=INET:index=0"\nmode = "echo"\n{ADMIN}'
    (tmp_path / "x.toml").write_text(text)
    launcher = (sys.executable, "-c", SYSTEMD, kind)
    daemon = start("--config", "x.toml", launcher=launcher, listeners=int(kind == "SOCK_STREAM"))
    port = int(daemon.log.wait(r"listening data \S+ 127\.0\.0\.1:(\d+)$")[1])
    with socket.socket(socket.AF_INET, getattr(socket, kind)) as client:
        client.settimeout(30)
        client.connect(("127.0.0.1", port))
        for round, keep in enumerate((0, 1, 1), 1):
            (tmp_path / "x.toml").write_text(text.replace("[[admin]]", f"keep = {keep}\n[[admin]]"))
            hup(daemon, "config reloaded")
            daemon.await_stats(config_reloads_total=round)
            client.send(b"x" * 1024)
            assert client.recv(1024)
    daemon.await_stats(packets_total=3, streams_total=1)


def test_the_admin_port_reloads_and_tells_what_changed_or_what_is_wrong(start: Start, tmp_path: Path) -> None:
    config, path = tmp_path / "x.toml", tmp_path / "a.sock"
    admin = f'[[admin]]\nendpoint = "unix:{path}"\n'
    config.write_text(ONE + admin)
    daemon = start("--config", "x.toml")
    config.write_text(f'{ONE}mode = "ehco"\n{admin}')
    wrong = (
        f'{config}: listener[0].mode: unknown mode "ehco": expected sink, echo, reply or source; did you mean "echo"?'
    )
    assert f"ERR 400 bad-config {wrong}; the old config stays\r\n" == daemon.ask("reload")
    config.write_text(f'{ONE}mode = "echo"\n{admin}')
    told = 'listener "one": mode "sink" -> "echo"\r\nOK 1\r\n'
    counted = "config_reloads_total 1\r\nconfig_reload_failures_total 1\r\nOK 2\r\n"
    assert told + counted == daemon.ask("reload", "stats config_reload")
    assert {"live": "yes", "ready": "yes", "reasons": None} == daemon.ask_json("health")
    assert "echo" == daemon.ask_json("listeners")[0]["mode"]
    assert "OK stopping\r\n" == daemon.ask("shutdown")
    assert 0 == daemon.process.wait(30)


def test_a_certificate_and_a_secret_that_are_renewed_are_told_and_served(start: Start, tmp_path: Path) -> None:
    secret, key = tmp_path / "secret", tmp_path / "tls.pem"
    secret.write_text("correct horse battery")
    secret.chmod(0o600)
    key.write_bytes(certificate())
    tls, admin = f"ssl:0:privateKey={key}:interface=127.0.0.1", f"unix:{tmp_path}/a.sock"
    (tmp_path / "x.toml").write_text(
        f'[[listener]]\nname = "tls"\nendpoint = "{tls}"\n[[admin]]\nendpoint = "{admin}"\nauth = "{secret}"\n'
    )
    daemon = start("--config", "x.toml")
    assert "nothing has changed\r\nOK 1\r\n" == daemon.ask("reload")
    key.write_bytes(renewed := certificate())
    secret.write_text("another horse battery")
    told = f'listener "tls": certificate read anew\r\nadmin {admin}: secret read anew\r\nOK 2\r\n'
    assert told == daemon.ask("reload")
    served = ssl.get_server_certificate(("127.0.0.1", daemon.ports["tls"]))
    assert served.split() == renewed[renewed.index(b"-----BEGIN CERT") :].decode().split()


def test_a_unix_socket_whose_file_was_removed_has_it_again_after_a_reload(start: Start, tmp_path: Path) -> None:
    paths = [tmp_path / name for name in ("same.sock", "changed.sock", "admin.sock")]
    same, changed = (f'[[listener]]\nname = "{each.stem}"\nendpoint = "unix:{each}"\n' for each in paths[:2])
    (tmp_path / "x.toml").write_text(f'{same}{changed}[[admin]]\nendpoint = "unix:{paths[2]}"\n{ADMIN}')
    daemon = start("--config", "x.toml", listeners=2, admins=2)
    for path in paths:
        path.unlink()
    (tmp_path / "x.toml").write_text(f'{same}{changed}keep = 1\n[[admin]]\nendpoint = "unix:{paths[2]}"\n{ADMIN}')
    hup(daemon, "config reloaded")
    clients = [connected(path) for path in paths]
    for client in clients:
        client.sendall(b"whoami\n")
    assert b"level admin\r\n" in clients[2].recv(1000)
    assert 0o600 == paths[2].stat().st_mode & 0o777
    clients[2].sendall(b"wait streams_open>=2 timeout=20s\nquit\n")
    assert b"streams_open 2\r\nOK 1\r\n" in clients[2].recv(1000)
    for client in clients:
        client.close()


def test_a_unix_socket_whose_folder_was_removed_too_keeps_the_old_config_until_it_is_there_again(
    start: Start, tmp_path: Path
) -> None:
    path = tmp_path / "folder" / "x.sock"
    path.parent.mkdir()
    text = f'[[listener]]\nendpoint = "unix:{path}"\n{ADMIN}'
    (tmp_path / "x.toml").write_text(text)
    daemon = start("--config", "x.toml")
    shutil.rmtree(path.parent)
    hup(daemon, f"the old one stays: cannot listen for data on unix:{path}: no such file or directory$")
    path.parent.mkdir()
    hup(daemon, f"config reloaded: unix:{path}: its file was gone and is made anew$")
    with daemon.connect():
        daemon.await_stats(streams_open=1, config_reloads_total=1, config_reload_failures_total=1)
    path.unlink()
    (tmp_path / "x.toml").write_text(text.replace(f"unix:{path}", LOOPBACK))
    hup(daemon, "config reloaded")
    assert "OK pong\r\n" == daemon.ask("ping")
    assert "Traceback" not in daemon.stop()


def test_a_unix_path_that_goes_to_the_admin_port_takes_two_reloads_and_the_line_says_so(
    start: Start, tmp_path: Path
) -> None:
    one, two = (f"unix:{tmp_path}/{name}.sock" for name in ("one", "two"))
    text = f'[[listener]]\nendpoint = "{one}"\n[[admin]]\nendpoint = "{two}"\n'
    (tmp_path / "x.toml").write_text(text)
    daemon = start("--config", "x.toml")
    (tmp_path / "x.toml").write_text(text.replace(one, "three").replace(two, one).replace("three", two))
    hup(
        daemon,
        f"cannot listen for data on {two}: a server listens there already; the admin port has {two} until then: "
        f"give that up in one reload, and take {two} in the next$",
    )
    (tmp_path / "x.toml").write_text(text.replace(one, LOOPBACK).replace(two, LOOPBACK))
    hup(daemon, f"config reloaded: admin {two}: removed")
    (tmp_path / "x.toml").write_text(text.replace(one, "three").replace(two, one).replace("three", two))
    hup(daemon, f"config reloaded: admin {one}: added")


def test_reloads_good_and_bad_under_connects_refuse_nobody_lose_no_count_and_keep_no_descriptor(
    start: Start, tmp_path: Path
) -> None:
    config = tmp_path / "x.toml"
    config.write_text(ONE + ADMIN)
    daemon = start("--config", "x.toml")
    daemon.await_stats(streams_open=0)
    descriptors = Path(f"/proc/{daemon.process.pid}/fd")
    before = len(list(descriptors.iterdir()))
    connects = 0
    for number in range(1, 21):
        mode = ("sink", "echo", "ehco")[number % 3]
        config.write_text(f'{ONE}mode = "{mode}"\n{ONE.replace("one", "two") if number % 2 else ""}{ADMIN}')
        daemon.process.send_signal(signal.SIGHUP)
        while True:
            with daemon.connect("one") as client:
                client.sendall(b"a\nb\n")
            connects += 1
            stats = daemon.ask_json("stats")
            if number == stats["config_reloads_total"] + stats["config_reload_failures_total"]:
                break
    daemon.await_stats(packets_total=2 * connects, streams_total=connects, streams_open=0, rejected_total=0)
    config.write_text(ONE + ADMIN)
    hup(daemon, 'listener "two": removed')
    daemon.await_stats(config_reloads_total=14, config_reload_failures_total=7)
    end = time.monotonic() + PATIENCE
    while len(list(descriptors.iterdir())) > before + 1:  # the question to the admin port may be one
        assert time.monotonic() < end
        time.sleep(0.01)
