"""Names with several addresses, over UDP."""

from __future__ import annotations

import socket
from typing import Any

import pytest
import pytest_twisted

from ctrlserver.client.target import parse_target
from ctrlserver.errors import LoadError
from ctrlserver.lane.lane import Lane
from ctrlserver.load.opening.udp_sockets import DatagramSockets
from tests.ports import free_port
from tests.runs import good, load, options
from tests.servers import reactor

#: An address to which no datagram may be sent.
NO_WAY = "255.255.255.255"


def resolving(monkeypatch: pytest.MonkeyPatch, *hosts: str) -> None:
    """Every name has these addresses."""

    def resolve(_: str, port: int, **__: object) -> list[tuple[int, int, int, str, Any]]:
        return [
            (socket.AF_INET6, socket.SOCK_DGRAM, 17, "", (each, port, 0, 0))
            if ":" in each
            else (socket.AF_INET, socket.SOCK_DGRAM, 17, "", (each, port))
            for each in hosts
        ]

    monkeypatch.setattr("ctrlserver.load.opening.udp_sockets.socket.getaddrinfo", resolve)


def sockets() -> DatagramSockets:
    return DatagramSockets(reactor, Lane(reactor), options(parse_target("udp:somewhere:5")))


@pytest.mark.parametrize("hosts", [("::1", "127.0.0.1"), ("127.0.0.1", "::1"), (NO_WAY, "127.0.0.1")])
@pytest_twisted.ensureDeferred
async def test_the_first_address_with_a_way_is_taken_and_ipv4_before_ipv6(
    monkeypatch: pytest.MonkeyPatch, hosts: tuple[str, ...]
) -> None:
    resolving(monkeypatch, *hosts)
    made = sockets()
    opened = await made.open(range(1, 4))
    made.close()
    assert ["127.0.0.1:5"] * 3 == [each.peer for each in opened]
    (other,) = (f"[{host}]" if ":" in host else host for host in hosts if host != "127.0.0.1")
    assert f"; somewhere has other addresses: udp:{other}:5" == made.elsewhere


@pytest_twisted.ensureDeferred
async def test_of_one_address_no_other_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    resolving(monkeypatch, "127.0.0.1", "127.0.0.1")
    made = sockets()
    await made.open(range(1, 3))
    made.close()
    assert "" == made.elsewhere


@pytest_twisted.ensureDeferred
async def test_where_no_address_has_a_way_the_reason_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    resolving(monkeypatch, NO_WAY)
    made = sockets()
    with pytest.raises(LoadError, match=r"^cannot send to udp:somewhere:5: Permission denied$"):
        await made.open(range(1, 2))
    made.close()


@pytest_twisted.ensureDeferred
async def test_where_nothing_listens_the_error_names_the_other_addresses(monkeypatch: pytest.MonkeyPatch) -> None:
    resolving(monkeypatch, "::1", "127.0.0.1")
    port = free_port()
    result = good(await load(parse_target(f"udp:somewhere:{port}"), packets=3), 1)
    assert (result.error or "").endswith(f"; somewhere has other addresses: udp:[::1]:{port}")
