"""One worker, as its parent sees it: its process, its channel and what is handed to it.

Model::

    made -> start() -> starting -> (its answer to ``begin``) running -> ended: owner.ended(worker)
                                                                 kill(why) ->

Rules:

- The process is Twisted's, and is forked from the seed (``seed.py``). It gets two sockets (descriptors 3 and 4) and
  nothing else of the parent; what a service manager gave the parent alone (sockets, the address for notices) is not in
  its environment.
- It imports from where the parent does, never from the folder that it runs in.
- Of what it writes, the last ``KEPT_BYTES`` are kept, for the line about its death.
- A worker whose channel is lost, and that does not end by itself, is killed.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
from collections import deque
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any, Protocol

from attrs import define
from twisted.internet.defer import Deferred, fail
from twisted.internet.error import ProcessExitedAlready
from twisted.internet.protocol import ProcessProtocol
from twisted.python.failure import Failure

from ctrlserver.linux.descriptors import UNLIMITED
from ctrlserver.stats.counters import Totals
from ctrlserver.stats.records import WorkerRecord, seconds_figure
from ctrlserver.workers.balance import Seen
from ctrlserver.workers.channel import Channel, Lost
from ctrlserver.workers.handing import Hander, Said
from ctrlserver.workers.messages import Looked
from ctrlserver.workers.seed import Seed
from ctrlserver.workers.snapshots import Snapshot
from ctrlserver.workers.telling import Told
from ctrlserver.workers.worker import CONNECTIONS, CONTROL

#: What a worker wrote last: as much is kept.
KEPT_BYTES = 4096

#: Seconds that a worker has to end by itself once its channel is lost.
END_SECONDS = 1.0

#: Descriptors that a worker has open beside streams, and a listener's.
OWN_DESCRIPTORS = 64

#: Seconds over which the load of a worker is measured.
LOAD_SECONDS = 1.0

#: What a service manager says to the parent, and to nobody else.
NOT_PASSED_ON = ("LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES", "NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID")


def program() -> list[str]:
    """What starts the seed of the workers."""
    return [sys.executable, "-P", "-m", "ctrlserver.workers"]


def environment(own: Mapping[str, str], path: Sequence[str]) -> dict[str, str]:
    """The environment of workers; ``path`` is where this process imports from."""
    folders = [os.path.abspath(each) for each in path]
    return {key: value for key, value in own.items() if key not in NOT_PASSED_ON} | {
        "PYTHONPATH": os.pathsep.join(folders)
    }


class Owner(Protocol):
    """Whose worker it is."""

    def heard(self, worker: WorkerProcess, message: Told) -> object:
        """The worker says something."""

    def ended(self, worker: WorkerProcess) -> object:
        """It has ended, or could not be started; ``how`` says how."""

    def room(self, worker: WorkerProcess) -> object:
        """It takes connections again."""


class WorkerProcess(ProcessProtocol):
    """Worker ``number``."""

    def __init__(self, number: int, owner: Owner, reactor: Any) -> None:
        self.number = number
        self._owner = owner
        self._reactor = reactor
        self._written = b""
        self._process: Any = None
        self._why = ""
        self._handed = self._taken = 0
        self._descriptors = UNLIMITED
        self._figures: deque[tuple[float, int, int]] = deque()
        self.channel: Channel | None = None
        self.hander: Hander | None = None
        self.pid = 0
        self.started = reactor.seconds()
        self.is_running = False
        self.has_answered = False
        self.has_ended = False
        self.how = ""
        """How it ended."""
        self.silent = 0.0
        """Seconds for which it has owed an answer."""
        self.looking = False
        """Whether it owes the answer to ``Look``."""
        self.snapshot = Snapshot(self.started, Totals(0, 0, 0, 0, 0, 0, 0, 0))
        """Its latest."""

    # Its life

    def start(self, seed: Seed) -> None:
        """Start the process; ``OSError`` if that cannot be."""
        control, its_control = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        connections, its_connections = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        null = os.open(os.devnull, os.O_RDONLY)
        descriptors = {0: null, 1: "r", 2: "r", CONTROL: its_control.fileno(), CONNECTIONS: its_connections.fileno()}
        try:
            self._process = seed.spawn(self, descriptors, self._reactor)
        except OSError:
            for each in (control, connections, its_connections):
                each.close()
            raise
        finally:
            os.close(null)
            its_control.close()
        self.pid = self._process.pid
        self.channel = Channel(control, self, self._reactor)
        self.hander = Hander(connections, its_connections, self._reactor, lambda: self._owner.room(self))

    def ask(self, message: object, descriptors: Sequence[int] = ()) -> Deferred[Any]:
        """Ask it."""
        return fail(Lost()) if self.channel is None else self.channel.ask(message, descriptors)

    def hand(self, descriptor: int, said: Said) -> bool:
        """Hand it a connection; whether it has room for another."""
        assert self.hander is not None
        self._handed += 1
        return self.hander.hand(descriptor, said)

    def flush(self) -> None:
        """Send the connections that were handed to it, before what is said to it next."""
        if self.hander is not None:
            self.hander.flush()

    def kill(self, why: str = "") -> None:
        """End it now; ``why`` is said in place of the signal."""
        self._why = self._why or why
        if self._process is not None:
            with suppress(ProcessExitedAlready):
                self._process.signalProcess("KILL")

    def end(self) -> None:
        """Have it end by itself, and kill it if it does not."""
        if self.channel is not None:
            self.channel.close()
        self.lost()

    def received(self, message: Any, descriptors: list[int]) -> object:
        """It says something."""
        return self._owner.heard(self, message)

    def lost(self) -> None:
        """Its channel is lost: it ends, or is ended."""
        if not self.has_ended:
            self._reactor.callLater(END_SECONDS, self._kill_late)

    def _kill_late(self) -> None:
        if not self.has_ended:
            self.kill()

    def childDataReceived(self, childFD: int, data: bytes) -> None:  # noqa: N803
        """It wrote something."""
        self._written = (self._written + data)[-KEPT_BYTES:]

    def processEnded(self, reason: Failure) -> None:
        """It is over, and all that it wrote is read."""
        value: Any = reason.value
        if self._why:
            how = self._why
        elif value.signal is not None:
            how = f"was ended by {signal.Signals(value.signal).name}"
        else:
            how = f"exited with code {value.exitCode}"
        self.could_not(how)

    def could_not(self, how: str) -> None:
        """It is over."""
        self.how = how
        self.has_ended = True
        self.is_running = False
        if self.channel is not None:
            self.channel.close()
        self._owner.ended(self)

    def last_words(self) -> str:
        """What it wrote last; empty if it wrote nothing."""
        return self._written.decode("utf-8", "backslashreplace").strip()

    # Its figures

    def saw(self, looked: Looked) -> None:
        """It has answered."""
        snapshot = self.snapshot = looked.snapshot
        self._taken, self._descriptors = looked.taken, looked.descriptors
        self.has_answered = True
        figures, totals = self._figures, snapshot.totals
        figures.append((snapshot.at, totals.packets, totals.bytes))
        while len(figures) > 2 and figures[1][0] <= snapshot.at - LOAD_SECONDS:
            figures.popleft()

    def seen(self) -> Seen:
        """Its load."""
        streams, coming = self.snapshot.totals.streams_open, self._handed - self._taken
        most = max(0, self._descriptors - OWN_DESCRIPTORS)
        if len(self._figures) < 2:
            return Seen(streams=streams, coming=coming, most=most)
        (since, packets, octets), (until, more_packets, more_octets) = self._figures[0], self._figures[-1]
        seconds = max(until - since, 1e-3)
        return Seen((more_packets - packets) / seconds, (more_octets - octets) / seconds, streams, coming, most)


@define(eq=False)
class Past:
    """What the ended processes of one worker came to. ``quick``: of the last, how many in a row ended at once."""

    restarts: int = 0
    quick: int = 0
    streams: int = 0
    packets: int = 0
    bytes: int = 0
    cpu_seconds: float = 0.0

    def remember(self, worker: WorkerProcess, *, is_quick: bool) -> None:
        """Another has ended."""
        totals = worker.snapshot.totals
        self.quick = self.quick + 1 if is_quick else 0
        self.streams += totals.streams_total
        self.packets += totals.packets
        self.bytes += totals.bytes
        self.cpu_seconds += worker.snapshot.cpu_seconds


def row_of(worker: WorkerProcess, past: Past, *, is_late: bool, share: float) -> WorkerRecord:
    """The row of a worker."""
    snapshot, totals = worker.snapshot, worker.snapshot.totals
    return WorkerRecord(
        worker=worker.number,
        pid=worker.pid,
        state="starting" if not worker.is_running else "late" if is_late else "running",
        streams_open=totals.streams_open,
        streams_total=past.streams + totals.streams_total,
        packets_total=past.packets + totals.packets,
        bytes_total=past.bytes + totals.bytes,
        share=round(share, 3),
        cpu_seconds=seconds_figure(past.cpu_seconds + snapshot.cpu_seconds),
        memory_bytes=snapshot.memory_bytes,
        restarts=past.restarts,
    )
