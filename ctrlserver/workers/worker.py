"""A worker: a process that owns streams, and does what its parent says.

Model::

    __main__ -> Worker -> channel (descriptor 3) --> messages, each of which is carried out
                       -> taker   (descriptor 4) --> taker.handed(descriptor, said): a connection

What a worker is made of is said by the message that begins it: it sets ``plane``, ``book``, ``around`` and ``handed``.
Until then connections are closed as they come; the parent hands none.

Rules:

- A worker ends with its parent: at once when the channel is lost, and by the kernel if the parent is killed. It ends by
  ``os._exit``: there is nothing to tidy up that the kernel does not.
- Signals that come from a terminal or a service manager are the parent's; a worker ignores them. Only SIGKILL ends it.
- Its log goes to the parent. What is written to standard error goes there too, and is shown if the worker dies.

Beware: connections and messages come by two ways. A connection may be of listeners that the worker does not know yet:
the message about a reload is still on its way.
"""

from __future__ import annotations

import faulthandler
import gc
import os
import socket
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from twisted.internet.main import installReactor
from twisted.logger import globalLogBeginner

from ctrlserver import __version__
from ctrlserver.lane.clock import keep_monotonic_time
from ctrlserver.lane.leading import LaneReactor
from ctrlserver.linux.descriptors import raise_descriptor_limit
from ctrlserver.linux.memory import give_back_large_blocks, look_for_garbage_seldom
from ctrlserver.linux.naming import name_process
from ctrlserver.linux.scheduling import wait_for_the_running
from ctrlserver.workers.channel import Channel
from ctrlserver.workers.handing import Said, Taker
from ctrlserver.workers.snapshots import RecordingBook
from ctrlserver.workers.telling import Teller

#: Descriptors of a worker, as its parent starts it.
CONTROL, CONNECTIONS = 3, 4


def close(descriptor: int, _: Said) -> None:
    """Close a connection that nobody takes."""
    os.close(descriptor)


class Worker:
    """The process. ``control`` and ``connections`` are the worker's ends of the pairs."""

    def __init__(
        self, control: socket.socket, connections: socket.socket, reactor: Any, clock: Callable[[], float]
    ) -> None:
        self.reactor = reactor
        self.clock = clock
        self.number = 0
        self.plane: Any = None
        self.book = RecordingBook(version=__version__, now=clock(), wall=time.time())
        self.make_way: Callable[[], object] = lambda: None
        """Called before a question is answered for which somebody waits."""
        self.around: Callable[[], dict[str, Any]] = dict
        """What snapshots have beside what the book counts."""
        self.not_taken: Callable[[int, int, str], object] = lambda *_: None
        """Told of a connection that came without its descriptor: its generation, listener and peer."""
        self.at_end: Callable[[], object] = lambda: None
        """Called before the last snapshot, when the parent has the worker stop."""
        self.channel = Channel(control, self, reactor)
        self.taker = Taker(connections, close, reactor, lambda *said: self.not_taken(*said))

    def begin(self, number: int) -> None:
        """Be worker ``number``."""
        self.number = number
        look_for_garbage_seldom()
        gc.enable()
        name_process(f"ctrlserver: worker {number}", f"ctrlworker {number}")

    def received(self, message: Any, descriptors: list[int]) -> object:
        """Carry out what the parent says."""
        return message.carry_out(self, descriptors)

    def lost(self) -> None:
        """The parent is gone, or told us to end."""
        end()


def end(code: int = 0) -> None:
    """End this process, now."""
    with suppress(OSError, ValueError):  # whoever read them is gone
        sys.stdout.flush()
        sys.stderr.flush()
    os._exit(code)


def adopted() -> tuple[socket.socket, socket.socket]:
    """The sockets that the parent gave; ``OSError``."""
    control, connections = socket.socket(fileno=CONTROL), socket.socket(fileno=CONNECTIONS)
    for each in (control, connections):
        each.set_inheritable(False)
    return control, connections


def run(control: socket.socket, connections: socket.socket) -> None:
    """Be a worker, until the parent is gone."""
    reactor: Any = LaneReactor()  # type: ignore[no-untyped-call]
    installReactor(reactor)
    faulthandler.enable()
    keep_monotonic_time(reactor)
    raise_descriptor_limit()
    give_back_large_blocks()
    wait_for_the_running()
    worker = Worker(control, connections, reactor, reactor.seconds)
    globalLogBeginner.beginLoggingTo([Teller(worker.channel)], redirectStandardIO=False, discardBuffer=True)
    reactor.run(installSignalHandlers=False)
    end()
