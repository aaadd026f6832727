"""The wiring's own rules: UDP gets the number of the TCP port, if need be by taking another."""

from __future__ import annotations

import errno
import subprocess
import sys
from typing import Any, cast

import pytest
import pytest_twisted
from attrs import evolve
from twisted.internet.defer import Deferred
from twisted.internet.error import CannotListenError
from twisted.internet.task import Clock
from twisted.logger import capturedLogs
from zope.interface import directlyProvides, providedBy

from ctrlserver.config import AdminConfig, Config, ListenerConfig
from ctrlserver.desk import Health
from ctrlserver.errors import CommandError
from ctrlserver.lane.lane import Lane
from ctrlserver.life.alone import LonePlane
from ctrlserver.life.run_lines import AT_ONCE
from ctrlserver.logs.level import LEVEL
from ctrlserver.service import READY_LAG_SECONDS, TICK_SECONDS, CannotStart, ControlService
from ctrlserver.stats.rename import Renames

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


def test_one_worker_is_the_default_and_is_this_process_with_nothing_between() -> None:
    assert 1 == Config().workers
    plane = service(Crowded(taken=0)).plane
    assert (LonePlane, Lane, None) == (type(plane), type(plane._lane), plane.refresh())
    program = (
        "import sys, ctrlserver.service; print([each for each in sys.modules if each.startswith('ctrlserver.workers')])"
    )
    assert "[]\n" == subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout


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
    assert AT_ONCE == sum("log_line" in line for line in lines)
    assert [100 - AT_ONCE] == [line["more"] for line in lines if "more" in line]


def reloaded(config: Config) -> ControlService:
    """A server that went from the default config to this one, but for the ports."""
    from twisted.internet import reactor

    ports: dict[str, Any] = {
        "listeners": (ListenerConfig(endpoint=LOOPBACK),),
        "admin": (AdminConfig(endpoint=LOOPBACK),),
    }
    server = ControlService(evolve(Config(), **ports), cast(Any, reactor), read=lambda: evolve(config, **ports))
    server.startService()
    server.reloading.reload()
    return server


@pytest_twisted.ensureDeferred
async def test_the_keys_of_the_whole_server_hold_from_the_reload_on() -> None:
    config = Config(
        run_gap=7.0, expected_packets=8, max_streams=9, memory_limit=1 << 21, drain_timeout=3.0, log_level="debug",
        rename=(("protocol", "kind"),),
    )  # fmt: skip
    server = reloaded(config)
    book, runs = server.book, server.book.runs
    assert (7.0, 8, 9, 1 << 21) == (runs.run_gap, runs.expected_packets, server.plane.seats.limit, book.memory.limit)
    assert ("kind", 3.0, True) == (book.renames.renamed("protocol"), server.config.drain_timeout, LEVEL.debug)
    LEVEL.set("info")
    await server.stopService()


@pytest_twisted.ensureDeferred
async def test_names_given_on_the_admin_port_stay_unless_those_of_the_file_changed() -> None:
    server = reloaded(Config())
    given = server.book.renames = Renames((("protocol", "mine"),), fields=Config().published_names)
    server.reloading.reload()
    assert given is server.book.renames
    await server.stopService()


@pytest_twisted.ensureDeferred
async def test_a_server_is_ready_unless_it_drains_or_stops_and_says_which() -> None:
    server = reloaded(Config())
    desk = server._admin.desk
    assert Health(live=True, ready=True, reasons=()) == desk.health()
    with capturedLogs() as lines:
        for on in (True, True):
            desk.drain(on)
        assert Health(live=True, ready=False, reasons=("draining",)) == desk.health()
        desk.drain(False)
    assert ["draining", "draining"] == [str(line["event"]) for line in lines if "event" in line]
    assert desk.health().ready
    ended = server.stopService()
    assert "stopping" in desk.health().reasons
    await ended


@pytest_twisted.ensureDeferred
async def test_a_server_that_stops_refuses_to_take_new_streams_again() -> None:
    server = reloaded(Config())
    drain = server._admin.desk.drain
    ended = server.stopService()
    drain(True)  # which holds already
    with pytest.raises(CommandError, match="the server is stopping, and takes no new streams"):
        drain(False)
    await ended


def test_a_loop_that_is_late_is_not_ready_for_new_streams() -> None:
    now = 100.0
    server = ControlService(Config(), Clock(), lambda: now)
    server._bound, server._due = True, now - READY_LAG_SECONDS
    assert ("the loop is 1.0 s late",) == server._health().reasons


def test_counters_that_have_to_be_asked_for_are_read_once_they_are_of_now_and_the_wait_is_no_lag() -> None:
    clock = Clock()
    server = ControlService(Config(), clock, clock.seconds)
    asked: list[Deferred[None]] = []

    def fresh() -> Deferred[None]:
        asked.append(Deferred())
        return asked[-1]

    server.plane.refresh = fresh  # type: ignore[method-assign]
    server._bound, server._due = True, TICK_SECONDS
    ticks: list[tuple[float, float]] = []
    server.book.tick = lambda now, lag, _: ticks.append((now, lag))  # type: ignore[assignment, method-assign]
    server._tick.start(TICK_SECONDS, now=False)
    clock.advance(TICK_SECONDS)
    clock.pump([TICK_SECONDS] * 4)
    assert ([], 1) == (ticks, len(asked))
    asked[0].callback(None)
    clock.advance(TICK_SECONDS)
    asked[1].callback(None)
    assert [(5 * TICK_SECONDS, 0.0), (6 * TICK_SECONDS, 0.0)] == ticks
    server._tick.stop()


@pytest_twisted.ensureDeferred
async def test_a_run_ends_when_the_last_numbers_of_its_streams_are_in() -> None:
    server = reloaded(Config())
    drained: Deferred[None] = Deferred()
    server.plane.drain = lambda: drained  # type: ignore[method-assign]
    server.book.runs.start("last", None, server._clock())
    with capturedLogs() as lines:
        ended = server.stopService()
        before = [line for line in lines if line.get("event") == "run-ended"]
        drained.callback(None)
        after = [line for line in lines if line.get("event") == "run-ended"]
    assert (0, 1) == (len(before), len(after))
    await ended
