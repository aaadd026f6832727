"""Real workers under a supervisor in this process."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest_twisted
from attrs import define, field
from twisted.internet import reactor as installed
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater

from ctrlserver.workers.snapshots import Snapshot, parts
from ctrlserver.workers.supervisor import Supervisor
from tests.servers import PATIENCE
from tests.workers.parts import Begin

reactor: Any = installed


@define(eq=False)
class Mirror:
    """Remembers what it was given."""

    applied: list[dict[int, Snapshot]] = field(factory=list)
    gone: list[int] = field(factory=list)

    def apply(self, snapshots: Mapping[int, Snapshot]) -> None:
        self.applied.append(dict(snapshots))

    def lost(self, worker: int, now: float) -> None:
        self.gone.append(worker)

    def streams(self, kind: int) -> int:
        """Events of a kind, of all."""
        told = [one for each in self.applied for one in each.values()]
        events = [event for one in told for event in (*one.events, *parts(one)) if not isinstance(event, int)]
        return sum(event[1] == kind for event in events)


@define(eq=False)
class Workers:
    """A supervisor, and what it said."""

    mirror: Mirror = field(factory=Mirror)
    failures: list[str] = field(factory=list)
    begin: Callable[[int], tuple[object, Sequence[int]]] = lambda number: (Begin(number), ())
    supervisor: Any = None
    clients: list[socket.socket] = field(factory=list)

    async def start(self, count: int, command: Sequence[str] = ()) -> Supervisor:
        made = self.make(count, command)
        await made.start().addTimeout(PATIENCE, reactor)
        return made

    def make(self, count: int, command: Sequence[str] = ()) -> Supervisor:
        made: Supervisor = Supervisor(
            count,
            reactor,
            begin=self.begin,
            mirror=self.mirror,
            failed=self.failures.append,
            command=command,
        )
        self.supervisor = made
        return made

    def connect(self, **said: Any) -> socket.socket:
        """A client whose other end is handed over."""
        client, sock = socket.socketpair()
        self.clients.append(client)
        self.supervisor.hand(**{"listener": 0, "descriptor": sock.detach(), "peer": len(self.clients)} | said)
        self.supervisor.flush()
        return client

    def pid(self, number: int) -> int:
        pid: int = self.supervisor.rows()[number - 1].pid
        return pid

    def signal(self, number: int, which: signal.Signals) -> None:
        os.kill(self.pid(number), which)


async def until(look: Callable[[], object]) -> None:
    """Until ``look`` gives something true."""
    end = reactor.seconds() + PATIENCE
    while not look():
        assert reactor.seconds() < end, look
        await deferLater(reactor, 0.005)


async def read_line(client: socket.socket) -> list[str]:
    """The words of a line, while the reactor goes on."""
    client.setblocking(False)
    got = bytearray()

    def look() -> bool:
        with suppress(BlockingIOError):
            got.extend(client.recv(1000))
        return got.endswith(b"\n")

    await until(look)
    return got.decode().split()


def is_alive(pid: int) -> bool:
    """Whether a process is there, and no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def sockets() -> int:
    """How many this process has open."""
    return sum("socket:" in os.path.realpath(f"/proc/self/fd/{each}") for each in os.listdir("/proc/self/fd"))


@pytest_twisted.async_yield_fixture
async def workers() -> AsyncIterator[Workers]:
    """Those of a supervisor, which is stopped at the end, and then no socket is left."""
    made, before = Workers(), sockets()
    yield made
    for client in made.clients:
        client.close()
    if made.supervisor is not None:
        for row in made.supervisor.rows():
            if is_alive(row.pid):
                os.kill(row.pid, signal.SIGCONT)
        stopped: Deferred[None] = made.supervisor.stop()
        await stopped.addTimeout(PATIENCE, reactor)
        await until(lambda: sockets() <= before)
