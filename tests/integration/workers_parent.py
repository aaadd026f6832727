"""A parent of two workers, as ``twistd -y`` runs it: prints its workers' pids and its port, then goes on until it ends.

Each connection goes to a worker, which says its number.
"""

from __future__ import annotations

import os
import socket
from typing import Any

from twisted.application.service import Application, Service
from twisted.internet import reactor as installed

from ctrlserver.workers.supervisor import Supervisor
from tests.workers.parts import Begin

reactor: Any = installed


class Nothing:
    """A mirror that shows nothing."""

    def apply(self, snapshots: object) -> None:
        """Forget them."""

    def lost(self, worker: int, now: float) -> None:
        """Forget it."""


class Parent(Service):
    """Its port is bound with the privileges, its workers are started without."""

    def privilegedStartService(self) -> None:
        self.listening = socket.create_server(("127.0.0.1", 0))
        self.told = os.open(os.environ["TOLD"], os.O_WRONLY)

    def startService(self) -> None:
        self.supervisor = Supervisor(
            2, reactor, begin=lambda number: (Begin(number), ()), mirror=Nothing(), failed=self.fail
        )
        self.supervisor.start().addCallback(self.has_started)

    def has_started(self, _: object) -> None:
        pids = [row.pid for row in self.supervisor.rows()]
        os.write(self.told, f"{os.getpid()} {self.listening.getsockname()[1]} {pids[0]} {pids[1]}\n".encode())
        reactor.addReader(self)

    def fileno(self) -> int:
        return self.listening.fileno()

    def doRead(self) -> None:
        if not self.supervisor.has_room():
            reactor.removeReader(self)
            reactor.callLater(0.005, reactor.addReader, self)
            return
        sock, address = self.listening.accept()
        self.supervisor.hand(0, sock.detach(), address)
        self.supervisor.flush()

    def logPrefix(self) -> str:
        return "parent"

    def connectionLost(self, reason: object) -> None:
        self.listening.close()

    def stopService(self) -> Any:
        return self.supervisor.stop()

    def fail(self, reason: str) -> None:
        os.write(self.told, f"{reason}\n".encode())
        reactor.stop()


application = Application("parent")
Parent().setServiceParent(application)  # type: ignore[no-untyped-call]
