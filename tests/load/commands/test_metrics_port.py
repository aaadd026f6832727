"""The port of ``--metrics``: one request a connection, judged as the server's site judges it."""

from __future__ import annotations

import socket
from typing import Any, cast

import pytest
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport

from ctrlserver.errors import UsageError
from ctrlserver.load.commands.metrics_port import MOST, SECONDS, _Port, listen
from ctrlserver.load.commands.outputs import parse_metrics
from ctrlserver.render.openmetrics import Family, Sample

FAMILIES = [Family("load_sent", "counter", "sent", [Sample(5, {})])]


def visited(octets: bytes, port: _Port | None = None) -> tuple[bytes, bool]:
    """What is answered, and whether the connection ends."""
    port = port or _Port(Clock(), lambda: FAMILIES)
    wire: Any = StringTransport()
    visit: Any = port.buildProtocol(cast(Any, None))
    visit.makeConnection(wire)
    for octet in octets:
        visit.dataReceived(bytes([octet]))
    return wire.value(), wire.disconnecting


def test_metrics_are_shown_in_the_form_that_is_asked_for() -> None:
    answer, ended = visited(b"GET /metrics?x=1 HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
    assert ended
    assert answer.endswith(b"# TYPE load_sent_total counter\nload_sent_total 5\n# EOF\n")
    accept = b"Accept: application/openmetrics-text; version=1.0.0\r\n"
    answer, _ = visited(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n" + accept + b"\r\n")
    assert b"\r\nContent-Type: application/openmetrics-text; version=1.0.0; charset=utf-8\r\n" in answer
    assert answer.endswith(b"# TYPE load_sent counter\nload_sent_total 5\n# EOF\n")
    assert visited(b"HEAD /metrics HTTP/1.0\r\n\r\n")[0].endswith(b"\r\n\r\n")


@pytest.mark.parametrize(
    ("code", "octets"),
    [
        (404, b"GET / HTTP/1.0\r\n\r\n"),
        (400, b"\x16\x03"),
        (405, b"POST /metrics HTTP/1.1\r\n"),
        (421, b"GET /metrics HTTP/1.1\r\nHost: evil.example\r\n"),
        (431, b"GET /metrics HTTP/1.1\r\nX: " + b"a" * 9000),
    ],
)
def test_what_is_wrong_gets_one_line(code: int, octets: bytes) -> None:
    answer, ended = visited(octets)
    assert answer.startswith(b"HTTP/1.1 %d " % code)
    assert answer.endswith(b"\n")
    assert ended


def test_a_connection_has_ten_seconds_and_there_are_a_few() -> None:
    clock = Clock()
    port = _Port(clock, lambda: FAMILIES)
    wires = []
    for _ in range(MOST):
        wire: Any = StringTransport()
        visit: Any = port.buildProtocol(cast(Any, None))
        visit.makeConnection(wire)
        wires.append(wire)
    assert port.buildProtocol(cast(Any, None)) is None
    clock.advance(SECONDS + 1)
    assert all(wire.disconnected or wire.disconnecting for wire in wires)


def test_an_endpoint_that_cannot_be_had_is_refused_beforehand() -> None:
    assert "tcp:9465:interface=127.0.0.1" == parse_metrics("tcp:9465:interface=127.0.0.1")
    for wrong in ("9465", "udp:9465", "tcp:99999"):
        with pytest.raises(UsageError, match="endpoint"):
            parse_metrics(wrong)
    with socket.create_server(("127.0.0.1", 0)) as other:
        from twisted.internet import reactor

        taken = f"tcp:{other.getsockname()[1]}:interface=127.0.0.1"
        with pytest.raises(UsageError, match="--metrics: cannot listen on"):
            listen(reactor, taken, lambda: FAMILIES)
