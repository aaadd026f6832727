"""The wiring's own rules: UDP gets the number of the TCP port, if need be by taking another."""

from __future__ import annotations

import errno
from typing import Any

import pytest
import pytest_twisted
from attrs import evolve
from twisted.internet.error import CannotListenError
from twisted.internet.task import Clock
from twisted.logger import capturedLogs
from zope.interface import directlyProvides, providedBy

from ctrlserver.config import AdminConfig, Config, ListenerConfig
from ctrlserver.service import RUN_LINES_AT_ONCE, CannotStart, ControlService

LOOPBACK = "tcp:0:interface=127.0.0.1"


class Crowded:
    """The real reactor, on a machine where the first ``taken`` numbers are in use for UDP; it notes which."""

    def __init__(self, taken: int) -> None:
        from twisted.internet import reactor

        self.refused: list[int] = []
        self._reactor = reactor
        self._taken = taken
        directlyProvides(self, providedBy(reactor))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._reactor, name)

    def listenUDP(self, port: int, protocol: Any, interface: str, size: int) -> Any:
        if len(self.refused) < self._taken:
            self.refused.append(port)
            raise CannotListenError(interface, port, OSError(errno.EADDRINUSE, "Address already in use"))
        return self._reactor.listenUDP(port, protocol, interface, size)  # type: ignore[attr-defined]


def service(reactor: Crowded) -> ControlService:
    config = evolve(
        Config(),
        listeners=(ListenerConfig(endpoint=LOOPBACK, udp=True),),
        admin=(AdminConfig(endpoint=LOOPBACK),),
    )
    return ControlService(config, reactor)  # type: ignore[arg-type]


@pytest_twisted.ensureDeferred
async def test_a_port_that_udp_cannot_have_is_given_back_for_another() -> None:
    reactor = Crowded(taken=2)
    server = service(reactor)
    server.startService()
    (listener,) = server.plane.listeners
    assert listener.port is not None
    assert listener.datagrams is not None
    assert listener.datagrams.port is not None
    tcp, udp = listener.port.getHost(), listener.datagrams.port.getHost()
    assert tcp.port == udp.port  # type: ignore[attr-defined]
    assert 2 == len(reactor.refused)
    assert udp.port not in reactor.refused  # type: ignore[attr-defined]
    await server.stopService()


@pytest_twisted.ensureDeferred
async def test_it_gives_up_after_some_and_says_why() -> None:
    reactor = Crowded(taken=100)
    server = service(reactor)
    with pytest.raises(CannotStart, match=r"cannot listen for data on .*, by udp: address already in use"):
        server.startService()
    await server.stopService()
    assert len(set(reactor.refused)) > 1


@pytest_twisted.ensureDeferred
async def test_a_flood_of_runs_writes_few_lines_and_tells_the_number_of_the_others() -> None:
    now = 100.0
    server = ControlService(Config(), Clock(), lambda: now)
    with capturedLogs() as lines:
        for number in range(100):
            server.book.runs.start(f"r{number}", None, now)
            server.book.runs.stop(now)
        await server.stopService()
    assert RUN_LINES_AT_ONCE == sum("log_line" in line for line in lines)
    assert [100 - RUN_LINES_AT_ONCE] == [line["more"] for line in lines if "more" in line]
