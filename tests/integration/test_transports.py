"""Transports beside plain IPv4: IPv6, TLS, sockets passed by systemd."""

from __future__ import annotations

import socket
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.integration.conftest import BIN, PATIENCE, Start, needs, run, running

LOOPBACK = "tcp:0:interface=127.0.0.1"


def has_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True


needs_ipv6 = pytest.mark.skipif(not has_ipv6(), reason="this machine has no IPv6 loopback")


@needs_ipv6
@pytest.mark.parametrize("endpoint", [r"tcp6:0:interface=\:\:1", r"tcp:0:interface=\:\:1"])
def test_streams_come_by_ipv6_and_reconcile(start: Start, endpoint: str) -> None:
    daemon = start("--data", endpoint)
    target = f"[::1]:{daemon.ports['data']}"
    done = run(BIN / "ctrlload", "run", target, "-n", "100k", "-P", "3", "--admin", daemon.admin)
    assert 0 == done.returncode, done
    assert b"reconciled  yes" in done.stdout + done.stderr
    streams = daemon.ask_json("streams")
    assert 3 == len(streams)
    assert all(stream["peer"].startswith("[::1]:") for stream in streams)
    assert 3 == len(daemon.ask_json("streams peer=::1"))


@needs_ipv6
def test_an_ipv4_peer_of_a_socket_for_both_goes_by_its_own_name(start: Start) -> None:
    daemon = start("--data", r"tcp:0:interface=\:\:")
    done = run(BIN / "ctrlload", "run", f"127.0.0.1:{daemon.ports['data']}", "-n", "1k", "--admin", daemon.admin)
    assert 0 == done.returncode, done
    (stream,) = daemon.ask_json("streams")
    assert stream["peer"].startswith("127.0.0.1:")


needs_tls = pytest.mark.skipif(find_spec("OpenSSL") is None, reason="pyOpenSSL is not installed: ctrlserver[tls]")


@needs("openssl")
@needs_tls
def test_lines_come_by_tls_and_are_echoed(start: Start, certificate: Path) -> None:
    daemon = start(
        "--data", f"ssl:0:privateKey={certificate}:interface=127.0.0.1", "--framing", "line", "--mode", "echo"
    )
    with running(
        ["openssl", "s_client", "-quiet", "-connect", f"127.0.0.1:{daemon.ports['data']}", "-CAfile", certificate],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    ) as client:
        assert client.stdin is not None
        assert client.stdout is not None
        client.stdin.write(b"one\ntwo\n" * 1000)
        client.stdin.flush()
        assert b"one\ntwo\n" * 1000 == client.stdout.read(8000)
        client.stdin.close()
        client.terminate()
        client.wait(PATIENCE)
    daemon.await_stats(streams_open=0, packets_total=2000, replies_total=2000)
    (stream,) = daemon.ask_json("streams")
    assert ("tls", 2000, 8000) == (stream["protocol"], stream["packets"], stream["bytes"])


@needs("openssl")
@needs("socat")
@pytest.mark.parametrize("workers", [(), ("--workers", "2")], ids=["one", "two"])
def test_who_says_farewell_behind_the_last_byte_is_answered(
    start: Start, certificate: Path, workers: tuple[str, ...]
) -> None:
    secure = f"ssl:0:privateKey={certificate}:interface=127.0.0.1"
    daemon = start("--data", secure, "--framing", "line", "--mode", "echo", *workers)

    def answer(port: int, sent: bytes) -> bytes:
        target = f"OPENSSL:127.0.0.1:{port},verify=0"
        return run("socat", "-t3600", "-", target, stdin=sent).stdout  # until the server closes

    lines = b"a line of forty bytes, its end included\n" * 1000
    assert lines == answer(daemon.ports["data"], lines)
    assert (1000, 1000) == tuple(daemon.ask_json("stats")[name] for name in ("packets_total", "replies_total"))
    secured = start("--admin", secure, "--http", secure)
    assert b"OK pong\r\n" == answer(secured.ports["admin"], b"ping\n")
    for path in (b"/livez", b"/stats.json"):
        request = b"GET " + path + b" HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
        assert answer(secured.ports["http"], request).startswith(b"HTTP/1.1 200 ")
    assert answer(secured.ports["http"], b"GET /livez").startswith(b"HTTP/1.1 400 ")


@needs("openssl")
@needs_tls
def test_a_tls_peer_past_a_limit_is_turned_away(start: Start, certificate: Path, tmp_path: Path) -> None:
    (tmp_path / "x.toml").write_text(
        f'[[listener]]\nendpoint = "ssl:0:privateKey={certificate}:interface=127.0.0.1"\nallow = ["10.0.0.0/8"]\n'
        f'[[admin]]\nendpoint = "{LOOPBACK}"\n'
    )
    daemon = start("--config", "x.toml")
    done = run("openssl", "s_client", "-connect", f"127.0.0.1:{daemon.ports['data']}")
    assert done.returncode != 0
    daemon.await_stats(rejected_not_allowed_total=1, streams_total=0)


def test_behind_a_proxy_streams_and_questions_have_their_clients_and_half_close(start: Start) -> None:
    daemon = start("--data", "haproxy:tcp:0", "--framing", "line", "--mode", "echo", "--admin", "haproxy:tcp:0")
    header = b"PROXY TCP4 203.0.113.7 198.51.100.1 56324 443\r\n"

    def said(name: str, words: bytes) -> bytes:
        with daemon.connect(name) as client:
            client.sendall(header + words)
            client.shutdown(socket.SHUT_WR)
            got = b""
            while more := client.recv(1 << 16):
                got += more
            return got

    assert b"one\ntwo\n" == said("data", b"one\ntwo\n")
    assert b'"peer":"203.0.113.7:56324"' in said("admin", b"streams json\n").replace(b": ", b":")
    assert b'"rejected_total":0' in said("admin", b"stats json\n").replace(b": ", b":")
    assert said("admin", b"whoami\n").startswith(b"peer 203.0.113.7:56324\r\n")
    assert b"ERR 403" in said("admin", b"reset\n")
    daemon.log.wait(r"admin: reset refused to 203\.0\.113\.7:56324 \(viewer\)")


SYSTEMD = """
import os, socket, sys
kind = getattr(socket, sys.argv.pop(1))
sock = socket.socket(socket.AF_INET, kind)
sock.bind(("127.0.0.1", 0))
if kind == socket.SOCK_STREAM:
    sock.listen(10)
os.dup2(sock.fileno(), 3)
os.set_inheritable(3, True)
os.environ.update(LISTEN_FDS="1", LISTEN_FDNAMES="data.socket", LISTEN_PID=str(os.getpid()))
os.execv(sys.argv[1], sys.argv[1:])
"""


def test_a_socket_passed_by_systemd_is_taken_and_runs_on_the_lane(start: Start) -> None:
    launcher = (sys.executable, "-c", SYSTEMD, "SOCK_STREAM")
    daemon = start("--data", "systemd:domain=INET:index=0", launcher=launcher)
    done = run(BIN / "ctrlload", "run", f"127.0.0.1:{daemon.ports['data']}", "-n", "100k", "--admin", daemon.admin)
    assert 0 == done.returncode, done
    (stream,) = daemon.ask_json("streams")
    assert ("tcp", 100_000) == (stream["protocol"], stream["packets"])


def test_a_udp_socket_passed_by_systemd_is_taken_whatever_domain_is_said(start: Start, tmp_path: Path) -> None:
    (tmp_path / "x.toml").write_text(
        f'[[listener]]\nendpoint = "systemd:domain=INET6:index=0"\nmode = "echo"\n[[admin]]\nendpoint = "{LOOPBACK}"\n'
    )
    launcher = (sys.executable, "-c", SYSTEMD, "SOCK_DGRAM")
    daemon = start("--config", "x.toml", launcher=launcher, listeners=0)
    port = int(daemon.log.wait(r"listening data udp 127\.0\.0\.1:(\d+)$")[1])
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.settimeout(PATIENCE)
        client.connect(("127.0.0.1", port))
        for datagram in (b"one", b"three"):
            client.send(datagram)
            assert datagram == client.recv(100)
    daemon.await_stats(packets_total=2, bytes_total=8, dropped_total=0)
    (stream,) = daemon.ask_json("streams")
    assert ("udp", "datagram") == (stream["protocol"], stream["framing"])


def test_a_socket_of_another_domain_than_is_said_is_one_clear_line() -> None:
    command = (sys.executable, "-c", SYSTEMD, "SOCK_STREAM", BIN / "twistd", "-n", "--pidfile=", "ctrlserver")
    done = run(*command, "--data", "systemd:domain=UNIX:index=0", "--check")
    (line,) = done.stderr.decode().splitlines()
    assert (
        1,
        'ctrlserver: --data: endpoint "systemd:domain=UNIX:index=0": the socket is of another domain: '
        "expected systemd:domain=INET and its index or name",
    ) == (done.returncode, line)


@pytest.mark.parametrize(
    ("expected", "flags"),
    [
        ("--admin: endpoint", ("--admin", "systemd:domain=INET:index=0")),
        ("no port number for UDP to share", ("--udp", "--data", "systemd:domain=INET:index=0")),
        ('mode "source" sends to streams', ("--mode", "source", "--data", "systemd:domain=INET:index=0")),
    ],
)
def test_what_cannot_go_with_a_udp_socket_of_systemd_is_told(expected: str, flags: tuple[str, ...]) -> None:
    command = (sys.executable, "-c", SYSTEMD, "SOCK_DGRAM", BIN / "twistd", "-n", "--pidfile=", "ctrlserver")
    done = run(*command, *flags, "--check")
    assert 1 == done.returncode
    assert expected in done.stderr.decode()
    assert 1 == len(done.stderr.decode().splitlines())
