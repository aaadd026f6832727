"""Connections that orders strike, at a real server: refused, left to the kernel, closed, or shown a bad certificate."""

from __future__ import annotations

import signal
import socket
from pathlib import Path

import pytest

from tests.integration.conftest import BIN, Daemon, Start, needs, needs_openbsd_netcat, run

LOOPBACK = "tcp:0:interface=127.0.0.1"
HTTP = (
    "--framing",
    "delimited:0d0a0d0a",
    "--mode",
    "reply",
    "--reply",
    r"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
)
REFUSED, TIMED_OUT, EMPTY, RESET, BAD_CERTIFICATE = 7, 28, 52, 56, 60
"""Exit codes of curl."""


def curl(daemon: Daemon, *words: str | Path, scheme: str = "http") -> tuple[int, str]:
    """Its exit code, and what it got or said."""
    url = f"{scheme}://localhost:{daemon.ports['data']}/"
    done = run("curl", "-sS", "--ipv4", *words, url)
    return done.returncode, (done.stdout or done.stderr).decode()


@needs("curl")
def test_curl_is_refused_until_the_order_ends_and_with_retries_it_comes_through(start: Start) -> None:
    daemon = start(*HTTP)
    daemon.ask("inject data refuse")
    assert REFUSED == curl(daemon)[0]
    daemon.ask("inject off")
    assert (0, "ok") == curl(daemon)
    daemon.ask("inject data refuse for=500ms")
    assert (0, "ok") == curl(daemon, "--retry", "20", "--retry-delay", "1", "--retry-connrefused")
    daemon.log.wait("injection 2 of data ended: refuse, its time is over, 0 hits$")


@needs("curl")
def test_curl_gets_an_empty_reply_so_often_as_was_ordered(start: Start) -> None:
    daemon = start(*HTTP)
    daemon.ask("inject data 2*close-at-once->off")
    codes = [curl(daemon)[0] for _ in range(3)]
    assert set(codes[:2]) <= {EMPTY, RESET}  # what it sends after the end is reset
    assert 0 == codes[2]
    stats = daemon.await_stats(streams_open=0, streams_total=3)
    assert (2, 2, 0) == (stats["closed_injected_total"], stats["injected_total"], stats["rejected_total"])
    assert ["eof", "injected", "injected"] == [stream["reason"] for stream in daemon.ask_json("streams")]


@needs("curl")
def test_curl_waits_in_vain_while_connections_hang_and_who_waits_longer_is_served(start: Start) -> None:
    daemon = start(*HTTP)
    daemon.ask("inject data hang")
    with daemon.connect() as patient:
        patient.sendall(b"GET / HTTP/1.0\r\n\r\n")
        assert TIMED_OUT == curl(daemon, "--max-time", "0.3")[0]
        assert 0 == daemon.await_stats(streams_total=0)["injected_total"]
        daemon.ask("inject off")
        assert patient.recv(1000).startswith(b"HTTP/1.1 200 OK")
    daemon.await_stats(streams_total=2, streams_open=0)


@pytest.mark.parametrize("spec", ["refuse", "hang"])
def test_what_the_config_orders_holds_from_the_start_and_a_reload_without_it_listens(
    start: Start, tmp_path: Path, spec: str
) -> None:
    path = tmp_path / "c.toml"
    listener = f'[[listener]]\nendpoint = "{LOOPBACK}"\nmode = "echo"\nframing = "line"\n'
    admin = f'[[admin]]\nendpoint = "{LOOPBACK}"\n'
    path.write_text(f'{listener}inject = "{spec}"\n{admin}')
    daemon = start("--config", str(path))
    if spec == "refuse":
        with pytest.raises(ConnectionRefusedError):
            daemon.connect()
    else:
        daemon.connect().close()
    path.write_text(listener + admin)
    daemon.process.send_signal(signal.SIGHUP)
    daemon.log.wait("the config has changed, 0 hits$")
    with daemon.connect() as client:
        client.sendall(b"a\n")
        assert b"a\n" == client.recv(10)


@pytest.mark.parametrize("spec", ["refuse", "hang", "1*ok->refuse"])
def test_a_server_that_refuses_or_hangs_ends_as_any_and_another_can_have_its_port(start: Start, spec: str) -> None:
    daemon = start(*HTTP)
    number = daemon.ports["data"]
    daemon.ask(f"inject data {spec}")
    if spec != "refuse":
        daemon.connect().close()
    assert "Traceback" not in daemon.stop()
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        other.bind(("127.0.0.1", number))
        other.listen()


@needs_openbsd_netcat()
def test_a_unix_socket_refuses_and_takes_connections_again(start: Start, tmp_path: Path) -> None:
    path = tmp_path / "x.sock"
    daemon = start("--framing", "line", "--mode", "echo", "--data", f"unix:{path}")
    daemon.ask("inject data 1*ok->refuse")
    done = [run("nc", "-N", "-U", path, stdin=b"a\n") for _ in range(2)]
    assert [(0, b"a\n"), (1, b"")] == [(each.returncode, each.stdout) for each in done]
    daemon.ask("inject off")
    assert b"a\n" == run("nc", "-N", "-U", path, stdin=b"a\n").stdout


@needs("curl")
@pytest.mark.parametrize(
    ("action", "words"),
    [
        ("expired", "certificate has expired"),
        ("wrong-host", "no alternative certificate subject name matches target host name"),
        ("self-signed", "self-signed certificate"),
    ],
)
def test_curl_rejects_the_certificate_for_the_reason_that_was_ordered(
    start: Start, certificate: Path, action: str, words: str
) -> None:
    pytest.importorskip("OpenSSL", reason="pyOpenSSL is not installed: ctrlserver[tls]")
    daemon = start(*HTTP, "--data", f"ssl:0:interface=127.0.0.1:privateKey={certificate}")
    trusting = ("--cacert", certificate.with_name("cert.pem"))
    daemon.ask(f"inject data 1*{action}->off")
    code, said = curl(daemon, *trusting, scheme="https")
    assert BAD_CERTIFICATE == code
    assert words in said.replace("self signed", "self-signed")
    assert (0, "ok") == curl(daemon, *trusting, scheme="https")
    stats = daemon.await_stats(streams_open=0, streams_total=2)
    handshakes = int(action != "wrong-host")  # curl compares names itself, after the handshake
    assert (handshakes, 1) == (stats["closed_handshake_total"], stats["injected_total"])


@needs("openssl")
def test_check_tells_of_a_certificate_that_nobody_could_sign(tmp_path: Path, certificate: Path) -> None:
    pytest.importorskip("OpenSSL", reason="pyOpenSSL is not installed: ctrlserver[tls]")
    folder = certificate.parent
    ca, leaf = tmp_path / "leaf-key.pem", tmp_path / "leaf.pem"
    asked = run("openssl", "req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-subj",
                "/CN=localhost", "-keyout", ca)  # fmt: skip
    signed = run("openssl", "x509", "-req", "-CA", folder / "cert.pem", "-CAkey", folder / "key.pem", "-days", "2",
                 "-set_serial", "7", stdin=asked.stdout)  # fmt: skip
    leaf.write_bytes(ca.read_bytes() + signed.stdout)
    words = ("--data", f"ssl:0:privateKey={leaf}", "--inject", "expired", "--check")
    done = run(BIN / "ctrlserver", *words)
    assert 1 == done.returncode
    assert 'the private key of "CN=localhost", which signed its certificate, is not here' in done.stderr.decode()
