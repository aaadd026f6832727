"""The server's own process: ``python -m ctrlserver.testing.daemon CONFIG``. It ends when its standard input does.

Model: who starts it holds the other end of its standard input. When that process ends, however it does (SIGKILL too),
the kernel closes the pipe, and the server ends. Its standard output is one line of JSON, once all ports are bound:
the address of each port by the listener's name. Log and errors go to standard error.

Beware: this is the one module of the room that knows Twisted. No other imports it.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from typing import Any

from twisted.internet.interfaces import IReactorCore, IReactorFDSet, IReadDescriptor
from twisted.logger import globalLogBeginner
from twisted.python.failure import Failure
from zope.interface import implementer

from ctrlserver.logs.log import LOG
from ctrlserver.logs.outlets import Descriptor
from ctrlserver.service import ControlService
from ctrlserver.tap import Options, makeService


@implementer(IReadDescriptor)
class StandardInput:
    """Reads and drops what comes; ``ended`` is called at its end."""

    def __init__(self, reactor: IReactorFDSet, ended: Any) -> None:
        self._reactor = reactor
        self._ended = ended

    def fileno(self) -> int:
        """Its descriptor."""
        return 0

    def logPrefix(self) -> str:
        """Its name in errors."""
        return "stdin"

    def doRead(self) -> None:
        """Read on."""
        if not os.read(0, 4096):
            self.connectionLost(None)

    def connectionLost(self, reason: Failure | None) -> None:
        """The end."""
        self._reactor.removeReader(self)
        self._ended()


def main() -> None:
    """Serve until standard input ends."""
    options = Options()
    options.parseOptions(["--config", *sys.argv[1:]])
    ports: dict[str, dict[str, str]] = {}

    def listening(event: Mapping[str, Any]) -> None:
        if event.get("event") == "listening":
            ports.setdefault(event["listener"], {})[event["transport"]] = event["address"]

    LOG.outlet = Descriptor(2)
    globalLogBeginner.beginLoggingTo([LOG, listening])  # type: ignore[list-item]  # they are observers, and not typed so
    from twisted.internet import reactor

    service = makeService(options)
    assert isinstance(service, ControlService)
    assert IReactorCore.providedBy(reactor)
    assert IReactorFDSet.providedBy(reactor)
    service.privilegedStartService()
    service.startService()
    reactor.addSystemEventTrigger("before", "shutdown", service.stopService)
    reactor.addReader(StandardInput(reactor, service.end))
    reactor.callWhenRunning(lambda: os.write(1, f"{json.dumps(ports)}\n".encode()))
    reactor.run()


if __name__ == "__main__":
    main()
