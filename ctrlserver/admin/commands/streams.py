"""Commands about streams."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from heapq import nlargest
from itertools import islice
from typing import Any, Final

from attrs import frozen
from twisted.internet.defer import Deferred

from ctrlserver.addresses import peer_test
from ctrlserver.admin.arguments import Choice, Names, Number, Text
from ctrlserver.admin.commands.command import LIMIT, Command, Made, argument, rows
from ctrlserver.admin.commands.hexdump import dump, printable
from ctrlserver.admin.commands.ranking import Behind, Ranked, known_fields, own_name, rank, with_columns
from ctrlserver.admin.levels import Level
from ctrlserver.admin.refreshing.freshness import LOOKED_AT, Freshness
from ctrlserver.admin.replies import Listing, Reply, Table, Word
from ctrlserver.desk import Desk
from ctrlserver.errors import CommandError
from ctrlserver.stats.book import FIGURES
from ctrlserver.stats.counters import StreamCounters
from ctrlserver.stats.hosts import ClosedStreams
from ctrlserver.stats.kept import Fetched
from ctrlserver.stats.records import PeerRecord, StreamRecord, Value
from ctrlserver.words import did_you_mean, quoted

PACKETS_LIMIT: Final = 10
"""Packets shown without ``limit=N``."""

PART_BYTES: Final = 1024
"""Bytes of a packet shown in one step: so a packet of 64 MiB takes no longer turn than others."""


@frozen
class Streams(Command):
    """streams [open|closed] [limit=N] [offset=N] [peer=HOST[:PORT]] [listener=NAME] [worker=N] [find=TEXT] [sort=FIELD] [fields=A,B]

    The streams, open and closed ones, newest first.
    With find, those with TEXT, in any case, in their listener, peer, protocol,
    framing, mode, state or reason. With sort, those with the largest number
    first, or by the alphabet; sort=-FIELD turns that round. With fields, these
    columns in this order. At most N of them, 100 without limit, behind the first
    offset; "OK 100 of 5231" says that there are more. The last 1000 closed
    streams stay on view; "peers" has the sums of all.
    """  # noqa: E501 - how it is typed is one line

    command = "streams"
    reads_figures = True
    answers = "A row for each stream, below a line of column names that starts with #."
    example = "streams open limit=1"
    state: str | None = argument(Choice("state", "open|closed", ("open", "closed")), None)
    limit: int = argument(Number("limit", "limit=N", least=1), LIMIT)
    offset: int = argument(Number("offset", "offset=N", positional=False), 0)
    peer: str | None = argument(Text("peer", "peer=HOST[:PORT]", positional=False, longest=300), None)
    listener: str | None = argument(Text("listener", "listener=NAME", positional=False), None)
    worker: int | None = argument(Number("worker", "worker=N", least=1, positional=False), None)
    find: str | None = argument(Text("find", "find=TEXT", positional=False), None)
    sort: str | None = argument(Text("sort", "sort=FIELD", positional=False), None)
    fields: tuple[str, ...] = argument(
        Names("fields", "fields=A,B", positional=False, example="stream,peer,packets"), ()
    )

    def fresh(self, desk: Desk, freshness: Freshness) -> Deferred[None] | None:
        """With what takes a look at a stream, where that is shown or sorted by: of those alone that are shown."""
        known = known_fields(desk, "stream")
        read = {known.get(name) for name in self.fields} | {self._sorted_by(known)}
        if self.fields and read.isdisjoint(LOOKED_AT):
            return freshness.ask(desk.asked)
        return freshness.look(lambda: self._looked_at(desk, self._sorted_by(known)), desk.asked)

    def _sorted_by(self, known: Mapping[str, str]) -> str | None:
        return "stream" if self.sort is None else known.get(self.sort.removeprefix("-"))

    def _looked_at(self, desk: Desk, sorted_by: str | None) -> Iterable[StreamCounters]:
        """The open streams that may be shown; all that are asked for, where it takes a look at each to know."""
        if self.state == "closed" or sorted_by is None:
            return ()
        book, most = desk.book, self.offset + self.limit
        found = book.counters.open.values() if self.peer is None else book.hosts.open_of(self.peer)
        is_asked_for = self._filter()
        before = self.offset if self.state == "open" else max(0, self.offset - len(book.counters.recent))
        if sorted_by == "stream":
            is_turned = self.sort is not None and self.sort.startswith("-")
            return islice(filter(is_asked_for, found if is_turned else reversed(found)), before, most)
        if sorted_by not in FIGURES:
            return filter(is_asked_for, found)
        key = self._key(desk)
        ranked = ((place, each) for each in found if (place := key(each)) is not None)
        return [each for _, each in nlargest(most, ranked)[before:]]

    def reply(self, desk: Desk) -> Reply:
        """Rows of streams."""
        most = self.offset + self.limit
        if self.sort is None and self.listener is None and self.worker is None and self.find is None:
            chosen, total = desk.book.choose(self.state, self.peer, most)
            chosen = chosen[self.offset :]
            shown = rows(desk, _Records(desk, self.state, chosen))
            return Table(with_columns(desk, "stream", self.fields, shown), total, len(chosen))
        ranked = Ranked(self._candidates(desk), self._key(desk), most)
        shown = rows(
            desk, Made(lambda each: None if each is None else desk.book.record(each), Behind(ranked, self.offset))
        )
        return Table(with_columns(desk, "stream", self.fields, shown), lambda: ranked.total)

    def _candidates(self, desk: Desk) -> Sequence[StreamCounters]:
        """All of the state asked for; of the open ones, those of the peer."""
        book, listener = desk.book, self.listener
        found: list[StreamCounters] = []
        if self.state != "closed":
            found += book.counters.open.values() if self.peer is None else book.hosts.open_of(self.peer)
        if self.state != "open":
            is_of = None if self.peer is None else peer_test(self.peer)
            found += [each for each in book.counters.recent if is_of is None or is_of(each.peer)]
        workers = desk.book.workers()[0]
        if self.worker is not None and self.worker > workers:
            raise CommandError(404, "unknown-worker", f"no worker {self.worker}; {_known_workers(workers)}")
        names = [] if listener is None else [each.name for each in desk.listeners()]
        known = listener is None or listener in names
        if not known and not any(each.origin.listener == listener for each in found):
            hint = did_you_mean(listener or "", names) or '; "listeners" lists them'
            raise CommandError(404, "unknown-listener", f"no listener {quoted(listener)}{hint}")
        return found

    def _filter(self) -> Callable[[StreamCounters], bool]:
        text = None if self.find is None else self.find.casefold()
        return lambda stream: (
            self.listener in (None, stream.origin.listener)
            and self.state in (None, stream.state)
            and self.worker in (None, stream.worker)
            and (text is None or _has(stream, text))
        )

    def _key(self, desk: Desk) -> Callable[[StreamCounters], tuple[Any, ...] | None]:
        """The place of a stream in the order; None for one that is not asked for."""
        turned = self.sort is not None and self.sort.startswith("-")
        is_asked_for = self._filter()
        name = "stream" if self.sort is None else own_name(desk, "stream", self.sort.removeprefix("-"))
        figure = desk.book.figure(name)

        def key(stream: StreamCounters) -> tuple[Any, ...] | None:
            if not is_asked_for(stream):
                return None
            if name == "stream":
                return rank(stream.stream, turned=turned)
            return *rank(figure(stream), turned=turned), stream.stream

        return key


@frozen
class _Records:
    """Made one by one; a stream that has been closed meanwhile is not among the open ones."""

    desk: Desk
    state: str | None
    chosen: Sequence[StreamCounters]

    def __iter__(self) -> Iterator[StreamRecord]:
        return (self.desk.book.record(each) for each in self.chosen if self.state in (None, each.state))


@frozen
class Packets(Command):
    """packets STREAM [limit=N]

    The last packets kept of a stream, in hex and ASCII.
    At most N of them, 10 without limit, oldest first. A listener keeps packets
    where keep = N is set in its configuration.
    """

    command = "packets"
    reads_figures = True
    answers = "For each packet a line that starts with #, then its hex dump, 16 bytes a line."
    example = "packets 2 limit=1"
    stream: int = argument(Number("stream", "STREAM"))
    limit: int = argument(Number("limit", "limit=N", least=1), PACKETS_LIMIT)

    def fresh(self, desk: Desk, freshness: Freshness) -> Deferred[Any] | None:
        """Has the reply where another process keeps the packets: those that are shown are fetched."""
        fresh = super().fresh(desk, freshness)
        return self._fetch(desk) if fresh is None else fresh.addCallback(lambda _: self._fetch(desk))

    def _fetch(self, desk: Desk) -> Deferred[Reply] | None:
        fetched = desk.fetch_packets(self.stream, self.limit)
        return None if fetched is None else fetched.addCallback(lambda found: self._listed(found, found.held))

    def reply(self, desk: Desk) -> Reply:
        """A header line and a hex dump for each packet."""
        stream = desk.book.counters.find(self.stream)
        if stream is None:
            raise _unknown_stream(desk, self.stream)
        return self._listed(stream, 0 if stream.kept is None else len(stream.kept))

    def _listed(self, holder: StreamCounters | Fetched, held: int) -> Reply:
        if holder.kept is None:
            wrong = f"no packets of stream {self.stream} are kept; set keep = N for its listener in the configuration"
            raise CommandError(409, "keeps-nothing", wrong)
        numbers = holder.kept.numbers(self.limit)
        return Listing(_dumps(holder, numbers), _packets(holder, numbers), len(numbers), held)


@frozen
class Peers(Command):
    """peers [limit=N]

    What the closed streams of each host came to.
    Those on view and all others: a row for each host and listener, at most N of
    them, 100 without limit. The server keeps 1000 hosts beside those with open
    streams.
    """

    command = "peers"
    reads_figures = True
    answers = "A row for each host and listener, below a line of column names that starts with #."
    example = "peers limit=1"
    limit: int = argument(Number("limit", "limit=N", least=1), LIMIT)

    def reply(self, desk: Desk) -> Reply:
        """Rows of hosts."""
        sums = desk.book.hosts.sums()
        return Table(rows(desk, Made(self._record, list(islice(sums, self.limit)))), len(sums))

    def _record(self, sums: ClosedStreams) -> PeerRecord:
        return PeerRecord(sums.host, sums.listener, sums.streams, sums.packets, sums.bytes)


@frozen
class Kick(Command):
    """kick STREAM

    Close an open stream.
    The packets it brought stay counted.
    """

    command = "kick"
    level = Level.OPERATOR
    reads = False
    reads_figures = True
    answers = "The word kicked."
    example = "kick 2"
    stream: int = argument(Number("stream", "STREAM"))

    def fresh(self, desk: Desk, freshness: Freshness) -> Deferred[None] | None:
        """Nothing is read of a stream that is open as far as is known: hundreds are kicked in one go."""
        stream = desk.book.counters.find(self.stream)
        return None if stream is not None and stream.state == "open" else super().fresh(desk, freshness)

    def reply(self, desk: Desk) -> Reply:
        """A word."""
        stream = desk.book.counters.find(self.stream)
        if stream is None:
            raise _unknown_stream(desk, self.stream)
        if stream.state == "closed":
            wrong = f"stream {self.stream} is closed already, by reason {stream.reason}"
            raise CommandError(409, "stream-closed", wrong)
        if not desk.kick(self.stream):
            raise CommandError(409, "stream-closed", f"stream {self.stream} is closing already")
        return Word("kicked", {"kicked": self.stream})


def _has(stream: StreamCounters, text: str) -> bool:
    """Whether one of its words has ``text`` in it."""
    origin = stream.origin
    words = (stream.peer, origin.listener, origin.protocol, origin.framing, origin.mode, stream.state, stream.reason)
    return any(text in word.casefold() for word in words if word)


def _part(holder: StreamCounters | Fetched, number: int, start: int) -> bytes | None:
    """Some bytes of a kept packet, none past its end; None where it is no longer kept."""
    packet = None if holder.kept is None else holder.kept.get(number)
    return None if packet is None else packet[start : start + PART_BYTES]


def _parts(holder: StreamCounters | Fetched, number: int) -> Iterator[bytes]:
    """A kept packet, looked up again for each part: between two of them a reader may let minutes pass."""
    start = 0
    while octets := _part(holder, number, start):
        yield octets
        start += PART_BYTES


def _lengths(holder: StreamCounters | Fetched, numbers: range) -> Iterator[tuple[int, int]]:
    """Those that are still kept when their turn comes, with their lengths."""
    for number in numbers:
        if holder.kept is not None and (packet := holder.kept.get(number)) is not None:
            length = len(packet)
            del packet
            yield number, length


def _dumps(holder: StreamCounters | Fetched, numbers: range) -> Iterator[str]:
    """A line for people above the dump of each."""
    for number, length in _lengths(holder, numbers):
        yield f"# packet {number} {length} bytes"
        for at, octets in enumerate(_parts(holder, number)):
            yield from dump(octets, at * PART_BYTES)


def _packets(holder: StreamCounters | Fetched, numbers: range) -> Iterator[Mapping[str, Value | Iterator[str]]]:
    for number, length in _lengths(holder, numbers):
        yield {
            "packet": number,
            "bytes": length,
            "hex": map(bytes.hex, _parts(holder, number)),
            "ascii": map(printable, _parts(holder, number)),
        }


def _known_workers(number: int) -> str:
    return "the server is one process, worker 1" if number == 1 else f"they are 1 to {number}"


def _unknown_stream(desk: Desk, number: int) -> CommandError:
    newest = desk.book.streams(limit=1)
    seen = f"the newest is {newest[0].stream}" if newest else "there has been none yet"
    return CommandError(404, "unknown-stream", f"no stream {number} is on view; {seen}")
