"""What a server said at one moment, and what it had said before our first packet. PURE.

Rules: a record is what another program says. A field that is missing, of another type, negative or NaN counts as 0.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import cast

from attrs import field, frozen

from ctrlserver.addresses import host_of, plain_address

Record = Mapping[str, object]

#: No server has counted more than this.
_MOST = 1 << 63

_REJECTED, _TOTAL = "rejected_", "_total"

#: Counted in one stream of all further peers, so not lost.
_UDP_STREAMS = "udp_streams"


def record_number(record: Record, name: str) -> int:
    """A count of a server's record; 0 if it is missing or no count."""
    value = record.get(name)
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= _MOST else 0


def record_seconds(record: Record, name: str = "seconds") -> float:
    """A time of a server's record; 0 if it is missing or no time."""
    value = record.get(name)
    known = isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= _MOST
    return float(cast("float", value)) if known else 0.0


def peer_of(record: Record) -> str:
    """The peer of a stream, comparable with our addresses."""
    return plain_address(str(record.get("peer", "")))


def is_closed(record: Record) -> bool:
    """Whether the server has closed the stream."""
    return record.get("state") == "closed"


def host_in(address: str) -> str:
    """The host of an address, comparable with others; a peer without an address is its own host."""
    return host_of(plain_address(address)) or address


def _plain_host(host: str) -> str:
    """A host as ``host_in`` gives it."""
    return host_in(f"[{host}]:0")


@frozen
class Sum:
    """Streams, and their packets and bytes."""

    streams: int = 0
    packets: int = 0
    bytes: int = 0

    def __add__(self, other: Sum) -> Sum:
        return Sum(self.streams + other.streams, self.packets + other.packets, self.bytes + other.bytes)

    def __sub__(self, other: Sum) -> Sum:
        return Sum(self.streams - other.streams, self.packets - other.packets, self.bytes - other.bytes)


def sum_of(records: Iterable[Record]) -> Sum:
    """The sum of some streams."""
    return sum((Sum(1, record_number(each, "packets"), record_number(each, "bytes")) for each in records), Sum())


@frozen
class Reading:
    """``records`` of ``total`` streams on view, newest first; ``stats`` of the server; ``closed`` streams by host.

    ``stats`` and ``closed`` are empty if they were not asked for, or the server does not know them. ``at`` is when the
    questions began; the first answer took ``answer_seconds``. ``over``: our streams whose targets have hung up, if the
    server has rejected connections meanwhile. ``orders``: the server's injections, where it has had any.
    """

    records: Sequence[Record] = ()
    stats: Record = field(factory=dict)
    closed: Sequence[Record] = ()
    total: int = 0
    at: float = 0.0
    answer_seconds: float = 0.0
    over: frozenset[int] = frozenset()
    orders: Sequence[Record] = ()

    @property
    def newest(self) -> int:
        """The number of the newest stream, 0 if there is none."""
        return max((record_number(record, "stream") for record in self.records), default=0)

    @property
    def dropped(self) -> int | None:
        """Datagrams that the server's kernel dropped since it started, all senders'; None if it does not say."""
        return record_number(self.stats, "dropped_total") if "dropped_total" in self.stats else None

    def rejected_since(self, before: Reading) -> dict[str, int]:
        """Connections rejected since ``before``, by the reason's name; empty if the server does not say."""
        counts = {
            name.removeprefix(_REJECTED).removesuffix(_TOTAL): record_number(self.stats, name) - then
            for name, then in ((name, record_number(before.stats, name)) for name in self.stats)
            if name.startswith(_REJECTED) and name.endswith(_TOTAL) and name != _REJECTED[:-1] + _TOTAL
        }
        return {reason: count for reason, count in counts.items() if count > 0 and reason != _UDP_STREAMS}

    def shared_since(self, before: Reading) -> int:
        """Datagrams counted since ``before`` in the one stream of all further peers."""
        name = f"{_REJECTED}{_UDP_STREAMS}{_TOTAL}"
        return record_number(self.stats, name) - record_number(before.stats, name)

    def closed_since(self, before: Reading, hosts: Collection[str], listener: object = None) -> Sum:
        """The streams of ``hosts`` closed since ``before``; at ``listener`` if it is known."""
        return self._closed_of(hosts, listener) - before._closed_of(hosts, listener)

    def _closed_of(self, hosts: Collection[str], listener: object) -> Sum:
        of_all = Sum()
        for row in self.closed:
            if _plain_host(str(row.get("peer", ""))) in hosts and listener in (None, row.get("listener")):
                numbers = (record_number(row, name) for name in ("streams", "packets", "bytes"))
                of_all += Sum(*numbers)
        return of_all
