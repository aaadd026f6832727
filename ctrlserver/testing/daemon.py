"""The server's own process: ``python daemon.py CONFIG FOLDER``. It ends when its standard input does.

Model: who starts it holds the other end of its standard input. When that process ends, however it does (SIGKILL too),
the kernel closes the pipe, and the server ends. Who ends the server itself sends a byte first. Without one nobody is
left to remove FOLDER, with CONFIG and the log, so the server does. Its standard output is one line of JSON, once all
ports are bound: the address of each port by the listener's name. Log and errors go to standard error.

Rules: a test waits for the start, so it is short. The file is run by its path, not as a module of the room, whose other
modules the server does not need; and what only some servers need is not imported by the others (``_be_quick``).

Beware: this is the one module of the room that knows Twisted. No other imports it.
"""

from __future__ import annotations

import gc
import json
import os
import re
import select
import sys
from collections.abc import Callable, Mapping
from functools import partial
from importlib.util import LazyLoader, find_spec, module_from_spec
from typing import Any


def _be_quick(config: str) -> None:
    """Have the imports that follow take half of their time, for a server of this config.

    - What is imported stays, so looking for garbage meanwhile finds none.
    - attrs compiles a repr for each class. Nobody reads those of a server.
    - Twisted imports cookies, with HTTP and e-mail, for a name of old; here they are loaded once somebody uses them.
    - Twisted's endpoints import OpenSSL if it is there. It is not, for a server that has no TLS.
    """
    gc.disable()
    import attrs

    attrs.define, attrs.frozen = (partial(made, repr=False) for made in (attrs.define, attrs.frozen))
    spec = find_spec("http.cookiejar")
    if spec is not None and spec.loader is not None:
        spec.loader = LazyLoader(spec.loader)
        sys.modules["http.cookiejar"] = module = module_from_spec(spec)
        spec.loader.exec_module(module)
        sys.modules["http"].cookiejar = module  # type: ignore[attr-defined]  # or import would look into it, and load it
    if not re.search(r"\b(ssl|tls):", config):
        sys.modules["OpenSSL"] = None  # type: ignore[assignment]  # an import of it is an ImportError


class StandardInput:
    """Reads what comes; ``ended`` is called at its end."""

    def __init__(self, reactor: Any, ended: Callable[[], object]) -> None:
        self._reactor = reactor
        self._ended = ended
        self._told = False

    def fileno(self) -> int:
        """Its descriptor."""
        return 0

    def logPrefix(self) -> str:
        """Its name in errors."""
        return "stdin"

    def doRead(self) -> None:
        """Read on."""
        if os.read(0, 4096):
            self._told = True
        else:
            self.connectionLost(None)

    def connectionLost(self, reason: object) -> None:
        """The end."""
        self._reactor.removeReader(self)
        self._ended()

    def is_deserted(self) -> bool:
        """Whether it has ended, and brought no byte before."""
        return not self._told and bool(select.select([0], [], [], 0)[0]) and not os.read(0, 1)


def main(path: str, folder: str) -> None:
    """Serve until standard input ends."""
    with open(path, encoding="utf-8") as file:
        _be_quick(file.read())
    from twisted.internet import reactor as installed
    from twisted.logger import globalLogBeginner

    from ctrlserver.logs.log import LOG
    from ctrlserver.logs.outlets import Descriptor
    from ctrlserver.service import ControlService
    from ctrlserver.tap import Options, makeService

    options = Options()
    options.parseOptions(["--config", path])
    ports: dict[str, dict[str, str]] = {}

    def listening(event: Mapping[str, Any]) -> None:
        if event.get("event") == "listening":
            ports.setdefault(event["listener"], {})[event["transport"]] = event["address"]

    LOG.outlet = Descriptor(2)
    globalLogBeginner.beginLoggingTo([LOG, listening])  # type: ignore[list-item]  # they are observers, and not typed so
    reactor: Any = installed
    service = makeService(options)
    assert isinstance(service, ControlService)
    service.privilegedStartService()
    service.startService()
    reactor.addSystemEventTrigger("before", "shutdown", service.stopService)
    stdin = StandardInput(reactor, service.end)
    reactor.addReader(stdin)
    reactor.callWhenRunning(lambda: os.write(1, f"{json.dumps(ports)}\n".encode()))
    gc.freeze()
    gc.enable()
    reactor.run()
    if stdin.is_deserted():
        from shutil import rmtree

        rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
