"""The actions: at which point each strikes, what its argument is, and on which transports it can.

Model: a ``Kind`` is a row of the table, an ``Action`` one of them with its argument, as it stands in a spec.

========== ======================================================================================
point      the action
========== ======================================================================================
none       ``ok`` does right; ``off`` ends the injection for the stream
accept     strikes a connection before anything is read from it
tls        strikes the handshake of a connection
reading    strikes before the packet is read
packet     strikes when the packet was read, before its answer
reply      changes the answer to the packet, or the time at which it leaves
========== ======================================================================================

Rules: the table is the only list of actions; parser, checks and help texts read it. ``last``: the stream has ended, has
ended its sending or reads no more, so nothing strikes it afterwards. ``counted`` is False where the kernel alone meets
the connections: nobody can count those.
"""

from __future__ import annotations

from collections.abc import Callable

from attrs import frozen

from ctrlserver.inject.arguments import (
    Argument,
    Bits,
    read_bits,
    read_delay,
    read_drip,
    read_length,
    read_rate,
    read_text,
)

OF_CONNECTIONS = ("accept", "tls")
"""Points at which a connection is struck, not a packet."""


@frozen
class Kind:
    """One action. ``form`` shows it in errors and help; ``otherwise`` is the argument where none is given.

    ``streams``, ``datagrams``: it can strike packets of connections, datagrams. ``whole``: it needs packets, so not
    ``raw``. ``holds``: it holds answers for a while. ``sender``: ``ctrlload`` can do it too.
    """

    name: str
    point: str
    form: str
    read: Callable[[str], Argument] | None = None
    otherwise: Argument | None = None
    last: bool = False
    counted: bool = True
    streams: bool = True
    datagrams: bool = False
    whole: bool = False
    holds: bool = False
    sender: bool = False

    def strikes_on(self, transport: str) -> bool:
        """Whether it can strike on ``tcp``, ``unix``, ``tls`` or ``udp``."""
        if transport == "udp":
            return self.datagrams
        if self.point == "tls":
            return transport == "tls"
        return self.streams and not (self.name == "half-close" and transport == "tls")


def _plain(name: str) -> Kind:
    return Kind(name, "", name, datagrams=True, sender=True)


KINDS = {
    kind.name: kind
    for kind in (
        _plain("ok"),
        _plain("off"),
        Kind("refuse", "accept", "refuse", counted=False),
        Kind("close-at-once", "accept", "close-at-once"),
        Kind("hang", "accept", "hang", counted=False),
        Kind("stall", "reading", "stall", last=True, sender=True),
        Kind("slow-read", "reading", "slow-read(10KiB/s)", read_rate, sender=True),
        Kind("reset", "packet", "reset", last=True, sender=True),
        Kind("close", "packet", "close", last=True, sender=True),
        Kind("half-close", "packet", "half-close", last=True, sender=True),
        Kind("delay", "reply", "delay(200ms)", read_delay, holds=True, datagrams=True),
        Kind("swallow", "reply", "swallow", datagrams=True),
        Kind("truncate", "reply", "truncate(10)", read_length, whole=True, sender=True),
        Kind("corrupt", "reply", "corrupt(1 bit)", read_bits, Bits(1), datagrams=True, whole=True, sender=True),
        Kind("duplicate", "reply", "duplicate", datagrams=True, whole=True, sender=True),
        Kind("wrong", "reply", "wrong('TEXT')", read_text, whole=True),
        Kind("drip", "reply", "drip(1B/10ms)", read_drip, holds=True, sender=True),
        Kind("reorder", "reply", "reorder", holds=True, streams=False, datagrams=True),
        Kind("expired", "tls", "expired"),
        Kind("wrong-host", "tls", "wrong-host"),
        Kind("self-signed", "tls", "self-signed"),
        Kind("handshake-hang", "tls", "handshake-hang"),
    )
}
"""All actions by their names, in the order of the points."""


@frozen
class Action:
    """One action with its argument."""

    name: str
    argument: Argument | None = None

    @property
    def kind(self) -> Kind:
        """Its row of the table."""
        return KINDS[self.name]

    @property
    def text(self) -> str:
        """Its canonical spelling."""
        return self.name if self.argument is None else f"{self.name}({self.argument.text})"
