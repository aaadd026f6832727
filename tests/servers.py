"""Small real servers on loopback; what each is to its clients stands in ``peers.py``.

Rules: port 0 always; everything a test opens is closed by ``Servers.close``.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Callable
from itertools import cycle
from typing import Any

from twisted.internet import reactor as installed
from twisted.internet.defer import Deferred
from twisted.internet.protocol import Factory, Protocol

from ctrlserver.client.target import Target, parse_target
from tests.peers import Counted, Parrot, Source
from tests.ports import free_port

reactor: Any = installed

#: Seconds after which a wait fails: only ever reached by a failure.
PATIENCE = 30.0


class Servers:
    """Starts servers, counts for them, closes them."""

    def __init__(self) -> None:
        self.version = "9.9.9"
        self.instance: str | None = None
        self.bytes = 0
        self.framing = "fixed:1024"
        self.streams: list[Counted] = []
        self.sources: dict[int, Source] = {}
        self.asked: list[str] = []
        self.renames: dict[str, str] = {}
        self.tamper: Callable[[dict[str, object]], object] = dict
        self.closed_kept = 1000
        self.stats: dict[str, object] = {}
        self.open: set[Any] = set()
        self.all_gone: Deferred[None] | None = None
        self._ports: list[Any] = []

    def listen(self, protocol: type[Protocol], interface: str = "127.0.0.1") -> Target:
        """Serve ``protocol`` on a free port."""
        kind = type(protocol.__name__, (protocol,), {"servers": self})
        port = reactor.listenTCP(0, quiet(kind), interface=interface, backlog=1024)
        self._ports.append(port)
        host = f"[{interface}]" if ":" in interface else interface
        return parse_target(f"{host}:{port.getHost().port}")

    def listen_in_turn(self, protocol: type[Protocol], *servers: Servers) -> Target:
        """Serve ``protocol`` on a free port; of its connections the first is the first server's, and so on, in turn."""
        kinds = cycle([type(protocol.__name__, (protocol,), {"servers": each}) for each in servers])
        factory = quiet(protocol)
        factory.buildProtocol = lambda _: next(kinds)()  # type: ignore[method-assign, assignment]
        self._ports.append(port := reactor.listenTCP(0, factory, interface="127.0.0.1", backlog=1024))
        return parse_target(f"127.0.0.1:{port.getHost().port}")

    def saying(self, answer: bytes, *, hang_up: bool = False) -> Target:
        """Serve what answers ``answer`` to anything."""

        return self.listen(type("Saying", (Parrot,), {"answer": answer, "hang_up": hang_up}))

    def answer(self, command: str) -> tuple[object, int | None]:
        """The reply of the admin port."""
        if command == "version json":
            return {"version": self.version, "instance": self.instance}, None
        if command == "rename json":
            pairs = [{"old": old, "new": new} for old, new in self.renames.items()]
            return pairs, len(pairs)
        if command.startswith("kick "):
            self.sources[int(command.split()[1])].end()
            return {"kicked": 1}, None
        if command == "stats json":
            return dict(self.stats), None
        if command.startswith("peers "):
            rows = [dict(row) for row in self._sums().values()]
            return rows, len(rows)
        limit = int(command.removeprefix("streams limit=").removesuffix(" json"))
        closed = [stream for stream in self.streams if stream.state == "closed"][-self.closed_kept :]
        view = [stream for stream in self.streams if stream.state == "open" or stream in closed]
        rows = [self._published(stream) for stream in reversed(view)]
        return rows[:limit], len(rows)

    def _sums(self) -> dict[str, dict[str, object]]:
        """What the closed streams of each host came to."""
        sums: dict[str, Any] = {}
        for stream in self.streams:
            if stream.state == "closed":
                host = stream.peer.rpartition(":")[0]
                row = sums.setdefault(host, {"peer": host, "streams": 0, "packets": 0, "bytes": 0})
                for name, more in (("streams", 1), ("packets", stream.packets), ("bytes", stream.bytes)):
                    row[name] += more
        return sums

    def _published(self, stream: Counted) -> dict[str, object]:
        record: dict[str, object] = {
            "stream": stream.stream,
            "peer": stream.peer,
            "framing": self.framing,
            "state": stream.state,
            "reason": "eof" if stream.state == "closed" else None,
            "packets": stream.packets,
            "bytes": stream.bytes,
            "seconds": 0.5,
        }
        self.tamper(record)
        return {self.renames.get(key, key): value for key, value in record.items()}

    async def stop_listening(self) -> None:
        """Close the ports; what is connected stays so."""
        for port in self._ports:
            await port.stopListening()
        self._ports.clear()

    async def close(self) -> None:
        """Close all ports and connections and wait until they are."""
        await self.stop_listening()
        if self.open:
            self.all_gone = Deferred()
            self.all_gone.addTimeout(PATIENCE, reactor)
            for peer in list(self.open):
                peer.transport.abortConnection()
            await self.all_gone


def quiet(protocol: type[Protocol]) -> Factory[Protocol]:
    """A factory that logs nothing."""
    factory = Factory.forProtocol(protocol)
    factory.noisy = False
    return factory


def refusing() -> Target:
    """A port nobody listens on."""
    return parse_target(f"127.0.0.1:{free_port()}")


def reset_at_close(sock: socket.socket) -> None:
    """Have a close of ``sock`` send a reset."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
