"""Conditional answers of a real server, over TCP, TLS, unix and UDP, ordered and in its config."""

from __future__ import annotations

import signal
import socket
import ssl
import time
from pathlib import Path

from tests.certificates import certificate
from tests.integration.conftest import Start

LOOPBACK = "tcp:0:interface=127.0.0.1"
ADMIN = f'[[admin]]\nendpoint = "{LOOPBACK}"\n'
ANSWERS = r"""
framing = "line"
mode = "reply"
reply = '?\n'
answers = [{when = "connect", with = 'hello\n'}, {when = "/^PI.G$/", with = 'PONG\n', delay = "1ms"}]
"""


def said(client: socket.socket, *lines: bytes) -> bytes:
    """What comes back for some lines, up to the server's end of the connection."""
    with client, client.makefile("rwb") as file:
        file.write(b"".join(lines))
        file.flush()
        client.shutdown(socket.SHUT_WR)
        return file.read()


def test_whatever_the_transport_peers_are_greeted_and_answered_by_rules(start: Start, tmp_path: Path) -> None:
    pem = tmp_path / "server.pem"
    pem.write_bytes(certificate("localhost"))
    listeners = {
        "tcp": f'"{LOOPBACK}"\nudp = true',
        "unix": f'"unix:{tmp_path}/data.sock"',
        "tls": f'"ssl:0:interface=127.0.0.1:privateKey={pem}:certKey={pem}"',
    }
    tables = [f'[[listener]]\nname = "{name}"\nendpoint = {where}\n{ANSWERS}' for name, where in listeners.items()]
    config = tmp_path / "ctrl.toml"
    config.write_text("".join(tables) + ADMIN)
    daemon = start("--config", str(config), listeners=3)

    unix = socket.socket(socket.AF_UNIX)
    unix.connect(str(tmp_path / "data.sock"))
    for client in (daemon.connect("tcp"), unix):
        assert b"hello\nPONG\n?\n" == said(client, b"PING\n", b"what\n")

    context = ssl.create_default_context(cafile=str(pem))
    with context.wrap_socket(daemon.connect("tls"), server_hostname="localhost") as client:
        greeting = client.recv(100)
        client.sendall(b"PING\nwhat\n")
        with client.makefile("rb") as file:
            assert [b"hello\n", b"PONG\n", b"?\n"] == [greeting, file.readline(), file.readline()]

    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as peer:
        peer.settimeout(20)
        peer.connect(("127.0.0.1", daemon.ports["tcp"]))
        answers = []
        for datagram in (b"PING", b"what"):
            peer.send(datagram)
            answers.append(peer.recv(100))
        assert [b"PONG\n", b"?\n"] == answers

    rows = daemon.ask_json("answer")
    assert [("tcp", 1), ("tcp", 2), ("tls", 1), ("tls", 1), ("unix", 1), ("unix", 1)] == [
        (row["listener"], row["hits"]) for row in rows
    ]
    daemon.await_stats(packets_total=8, replies_total=8)


def test_a_reload_replaces_the_rules_of_the_config_and_keeps_streams_and_what_is_ordered(
    start: Start, tmp_path: Path
) -> None:
    config = tmp_path / "ctrl.toml"
    config.write_text(f'[[listener]]\nendpoint = "{LOOPBACK}"\n{ANSWERS}{ADMIN}')
    daemon = start("--config", str(config))
    with daemon.connect("data") as client, client.makefile("rwb", buffering=0) as file:
        assert b"hello\n" == file.readline()
        daemon.ask(r"answer data when=ORDER with=ordered\n times=1")
        config.write_text(config.read_text().replace("PONG", "ping"))
        daemon.process.send_signal(signal.SIGHUP)
        daemon.await_stats(config_reloads_total=1)
        asked = (b"PING\n", b"ORDER\n", b"ORDER\n")
        assert [b"ping\n", b"ordered\n", b"?\n"] == [file.write(line) and file.readline() for line in asked]
        assert "OK off 3\r\n" == daemon.ask("answer off")
        assert b"?\n" == (file.write(b"PING\n") and file.readline())


def test_rules_and_injections_together_are_exact(start: Start) -> None:
    daemon = start("--framing", "line", "--mode", "reply", "--reply", r"?\n")
    daemon.ask(
        r"answer data when=/^odd/ with=ODD\n",
        r"answer data when=none with=",
        r"answer data when=late with=LATE\n delay=30ms",
        "inject data 10th*swallow->7th*duplicate",
    )
    began = time.monotonic()
    sent = [f"{('odd', 'even')[number % 2]} {number}\n".encode() for number in range(1000)]
    got = said(daemon.connect("data"), *sent, b"none\n", b"late\n")
    assert time.monotonic() - began >= 0.03
    expected = []
    duplicates = 0
    for place, line in enumerate(sent, 1):
        answer = b"ODD\n" if line.startswith(b"odd") else b"?\n"
        if place % 10 == 0:
            continue
        duplicates += 1
        expected += [answer, answer] if duplicates % 7 == 0 else [answer]
    assert [*expected, b"LATE\n"] == got.splitlines(keepends=True)
    assert [500, 1, 1] == [row["hits"] for row in daemon.ask_json("answer")]
    daemon.await_stats(packets_total=1002, swallowed_total=101, duplicated_total=128, replies_total=901)
