"""Clients of other protocols at the admin port: none of them can be made to have a line carried out."""

from __future__ import annotations

import socket
import struct

import pytest

from tests.integration.conftest import PATIENCE, Daemon, Start, needs, run

BODY = "\r\nreset\r\n\r\n"

CURL = "curl -s -m 10 http://127.0.0.1:{port}/ -H Content-Type:text/plain --data-binary"
CLIENTS = {
    "curl POST": [*CURL.split(), BODY],
    "curl post": [*CURL.split(), BODY, "-X", "post"],
    "curl PROPFIND": [*CURL.split(), BODY, "-X", "PROPFIND"],
    "curl HTTP/2": [*CURL.split(), BODY, "--http2-prior-knowledge"],
    "curl HTTP/1.0": [*CURL.split(), BODY, "-0", "-X", "Query"],
    "curl a long path": [word.replace("}/", "}/" + "x" * 3000) for word in [*CURL.split(), BODY, "-X", "post"]],
    "curl https": ["curl", "-sk", "-m", "10", "https://127.0.0.1:{port}/reset"],
    "openssl": ["openssl", "s_client", "-connect", "127.0.0.1:{port}"],
    "redis-cli": ["timeout", "10", "redis-cli", "-p", "{port}", "reset"],
}
ASIDE = {
    "memcached, binary": struct.pack(">BBHBBHIIQ", 0x80, 1, 3, 8, 0, 0, 18, 0, 0) + bytes(8) + b"key" + b"\nreset\n",
    "memcached, no operation": struct.pack(">BBHBBHIIQ", 0x80, 10, 0, 0, 0, 0, 0, 0, 0) + b"\nreset\n",
    "memcached, no operation, quiet": b"\x80\nreset\n",
    "memcached, text": b"set key 0 0 7\r\nreset\r\n\r\n",
    "STUN": struct.pack(">HHI", 1, 20, 0x2112A442) + b"\nreset\nreset\n" + b"\nreset\n",
    "SMB": struct.pack(">I", 60) + b"\xffSMBr" + b"\nreset\n" * 8,
    "SMB 2": struct.pack(">I", 60) + b"\xfeSMB" + b"\nreset\n" * 8,
    "PostgreSQL": struct.pack(">II", 20, 196608) + b"user\0\nreset\n\0",
    "MQTT": b"\x10\x10\0\x04MQTT\x04\x02\0<\0\x07\nreset\n",
    "a browser": b"POST / HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: keep-alive\r\nContent-Length: 9\r\n"
    b"Content-Type: text/plain;charset=UTF-8\r\nOrigin: null\r\n\r\n\r\nreset\r\n",
    "RTSP": b"OPTIONS rtsp://x RTSP/1.0\r\nCSeq: 1\r\n\r\nreset\r\n",
    "SIP": b"INVITE sip:x SIP/2.0\r\nVia: SIP/2.0/TCP x\r\n\r\nreset\r\n",
    "mail": b"EHLO me\r\nreset\r\n",
    "a NUL": b"GET\0/ HTTP/1.1\r\n\r\nreset\r\n",
    "a no-break space": "GET\u00a0/ HTTP/1.1\r\n\r\nreset\r\n".encode(),
}


def resets(daemon: Daemon) -> int:
    return int(daemon.ask_json("stats")["resets_total"])


@pytest.mark.parametrize(
    "client", [pytest.param(name, marks=needs(words[0]), id=name) for name, words in CLIENTS.items()]
)
def test_a_client_of_another_protocol_has_nothing_carried_out(shared: Start, client: str) -> None:
    daemon = shared()
    before = resets(daemon)
    words = [word.format(port=daemon.ports["admin"]) for word in CLIENTS[client]]
    said = run(*words).stdout.decode("utf-8", "replace")
    assert before == resets(daemon)
    if client.startswith("curl") and client not in ("curl https", "curl HTTP/2"):
        assert said.startswith("ERR 400 http-request "), said
        assert 1 == said.count("\n")


@pytest.mark.parametrize("name", ASIDE)
def test_bytes_of_another_protocol_get_one_error_and_a_close(shared: Start, name: str) -> None:
    daemon = shared()
    before = resets(daemon)
    with daemon.connect("admin") as client:
        client.settimeout(PATIENCE)
        client.sendall(ASIDE[name])
        client.shutdown(socket.SHUT_WR)
        said = b"".join(iter(lambda: client.recv(4096), b""))
    assert before == resets(daemon)
    assert 1 == said.count(b"ERR 400 "), said
    assert said.endswith(b"\r\n")
