"""Who dawdles: by what has come at a real connection, and for how long nothing has."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from ctrlserver.http import dawdling
from ctrlserver.http.dawdling import dawdles

Pair = tuple[socket.socket, socket.socket]


@pytest.fixture
def pair() -> Iterator[Pair]:
    """A client, and the connection that was accepted."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        client = socket.create_connection(listening.getsockname())
        accepted, _ = listening.accept()
    with client, accepted:
        yield client, accepted


@pytest.mark.parametrize(
    ("sent", "expected"),
    [
        (b"GET / HTTP/1.1\r\nHost: lab\r\n\r\n", False),
        (b"GET / HTTP/1.1\nHost: lab\n\n", False),
        (b"GET / HTTP/1.1\r\nHost: lab\r\nX-", True),
        (b"\x16\x03\x01\x02\x00", False),
    ],
    ids=["a whole head", "of bare lines", "a part of a head", "TLS"],
)
def test_a_part_of_a_head_alone_is_a_slow_clients(pair: Pair, sent: bytes, expected: bool) -> None:
    client, accepted = pair
    client.sendall(sent)
    accepted.recv(1, socket.MSG_PEEK)  # it is here
    assert dawdles(accepted) is expected
    assert sent == accepted.recv(100)


def test_who_has_brought_nothing_dawdles_once_that_has_lasted(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    assert not dawdles(pair[1])
    monkeypatch.setattr(dawdling, "SILENT_SECONDS", 0.002)
    while not dawdles(pair[1]):  # a millisecond or two
        pass


def test_who_has_gone_dawdles(pair: Pair) -> None:
    client, accepted = pair
    client.shutdown(socket.SHUT_WR)
    accepted.recv(1, socket.MSG_PEEK)
    assert dawdles(accepted)


def test_of_a_unix_socket_nobody_knows_for_how_long_it_has_been_silent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dawdling, "SILENT_SECONDS", 1e-9)
    ours, theirs = socket.socketpair()
    with ours, theirs:
        assert not dawdles(ours)
