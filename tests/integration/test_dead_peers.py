"""Peers whose machine is gone: the loopback of a network namespace made here is taken down."""

from __future__ import annotations

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.integration.conftest import PATIENCE, Start, run, running

#: Connects to each port given, sends ``words``, or as a slow reader a lot, and stays until stdin ends. "tls": by TLS.
PEERS = """
import socket, ssl, sys
header = b"PROXY TCP4 203.0.113.7 198.51.100.1 56324 443\\r\\n"
open = []
for kind, port in (each.split("=") for each in sys.argv[1:]):
    peer = socket.create_connection(("127.0.0.1", int(port)))
    if kind == "proxied":
        peer.sendall(header)
    if kind == "tls":
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        peer = context.wrap_socket(peer)
    if kind != "silent":
        peer.sendall(b"x" * 10)
    if kind in ("echo", "tls", "proxied"):
        assert b"x" * 10 == peer.recv(10)
    open.append(peer)
print("ready", flush=True)
sys.stdin.readline()
"""

LISTENER = '[[listener]]\nname = "{}"\nendpoint = "{}"\nmode = "{}"\nframing = "fixed:10"\nkeepalive = "{}"\n'


def test_the_stream_of_a_dead_peer_ends_by_timeout_whatever_it_owes_and_by_whatever_transport(
    start: Start, inside: list[str], tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    listeners = {
        "silent": ("tcp:0", "sink", "1s"),
        "sink": ("tcp:0", "sink", "2s"),
        "echo": ("tcp:0", "echo", "2s"),
        "source": ("tcp:0", "source", "2s"),
        "proxied": ("haproxy:tcp:0", "echo", "2s"),
        "kept": ("tcp:0", "echo", "off"),
    }
    if find_spec("OpenSSL") is not None:
        certificate = request.getfixturevalue("certificate")
        listeners["tls"] = (f"ssl:0:privateKey={certificate}", "echo", "2s")
    admin = f'[[admin]]\nendpoint = "unix:{tmp_path}/admin.sock"\n'
    (tmp_path / "x.toml").write_text("".join(LISTENER.format(name, *rest) for name, rest in listeners.items()) + admin)
    daemon = start("--config", "x.toml", launcher=inside, listeners=len(listeners))
    asked = [f"{name}={daemon.ports[name]}" for name in listeners]
    pipe = subprocess.PIPE
    with running([*inside, sys.executable, "-c", PEERS, *asked], stdin=pipe, stdout=pipe) as peers:
        assert peers.stdout is not None
        assert b"ready\n" == peers.stdout.readline()
        assert len(listeners) == daemon.await_stats(closed_timeout_total=0)["streams_open"]
        assert 0 == run(*inside, "ip", "link", "set", "lo", "down").returncode
        daemon.await_stats(streams_open=1, closed_timeout_total=len(listeners) - 1)
        (left,) = daemon.ask_json("streams state=open")
        assert "kept" == left["listener"]
        peers.communicate(timeout=PATIENCE)
