"""Twisted's stock way to echo: a `Protocol` whose `dataReceived` writes back. Prints its port first."""

from __future__ import annotations

from twisted.internet import reactor
from twisted.internet.protocol import Factory, Protocol


class Echo(Protocol):
    """Sends back what comes."""

    def dataReceived(self, data: bytes) -> None:
        self.transport.write(data)


def main() -> None:
    """Echoes until ended."""
    port = reactor.listenTCP(0, Factory.forProtocol(Echo), backlog=4096, interface="127.0.0.1")
    print(f"listening 127.0.0.1:{port.getHost().port}", flush=True)
    reactor.run()


if __name__ == "__main__":
    main()
