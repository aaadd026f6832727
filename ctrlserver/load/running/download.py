"""Receive mode: streams that download, and how a download without an end of its own is ended.

Rules: when the time is up and there is an admin port (``--admin``), the server is asked to end our streams. All that is
still on its way then arrives and is counted, so both sides can be compared. Without ``--admin`` reading stops at once.

Beware: a stream that was cut off while its target still sent cannot be compared with the server's counts.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from typing import cast

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import deferLater

from ctrlserver.addresses import plain_address
from ctrlserver.client.admin import AdminClient
from ctrlserver.errors import LoadError
from ctrlserver.load.measure.counts import Counts, StreamCount
from ctrlserver.load.measure.reading import peer_of, record_number
from ctrlserver.load.measure.reconciling import Comparison
from ctrlserver.load.running.asking import OTHERS_ON_VIEW
from ctrlserver.load.running.send_mode import Streams
from ctrlserver.load.running.servers import AllServers
from ctrlserver.load.running.work import GRACE_SECONDS, Figures
from ctrlserver.load.streams.outgoing import UNLIMITED
from ctrlserver.load.streams.receive import ReceiveStream
from ctrlserver.load.streams.wire import CLOSED, COMPLETE, ENDED
from ctrlserver.looks import deadlines

#: Seconds between two looks at whether the server has ended our streams.
LOOK_SECONDS = 0.1


class Downloads(Streams):
    """The work of receive mode."""

    verb = "received"
    served_by = ("source",)
    _ending: Deferred[None] | None = None
    _unasked: str | None = None

    @property
    def first_words(self) -> bytes:  # type: ignore[override]
        """The first digit of the number that is asked for, so that a source does not begin before it has the others."""
        options = self._options
        numbered = options.packets is not None or options.total_bytes is not None
        asks = options.payload is None and options.framing.size and not options.warm_up
        return b"0" if numbered and asks else b""

    def stop_new(self, *, at_once: bool) -> None:
        """The time is up: have the server end our streams, so that all it sent is counted here too."""
        if self._options.admin and self._ending is None:
            streams = [stream for stream in cast("list[ReceiveStream]", self.streams) if stream.active]
            for stream in streams:
                stream.patient = True
            self._grace = GRACE_SECONDS if at_once else self._options.stall_timeout
            self._ending = Deferred.fromCoroutine(self._have_ended(streams))
            self._ending.addErrback(lambda failure: failure.trap(CancelledError) and None)
        super().stop_new(at_once=at_once)

    def _limits_now(self) -> list[int]:
        """How much each stream is to receive in all: bytes of packets of one size, or of no packets, else packets."""
        options = self._options
        size = options.framing.size or 1
        wanted = [options.packets, options.total_bytes and -(-options.total_bytes // size)]
        most = [options.shares(packets) for packets in wanted if packets is not None]
        if not most:
            return [UNLIMITED] * len(self.streams)
        return [(stream.packets + min(each)) * size for stream, *each in zip(self.streams, *most, strict=True)]

    async def _have_ended(self, streams: Sequence[ReceiveStream]) -> None:
        try:
            with closing(await self._transport.servers.open(self._options.connect_timeout)) as client:
                await client.version()
                await self._end(client, streams)
        except LoadError as error:
            self._unasked = f"the server was not asked to end the download: {error}"
        for stream in streams:
            stream.patient = False
            stream.end_at_packet(ENDED)

    async def _end(self, client: AdminClient | AllServers, streams: Sequence[ReceiveStream]) -> None:
        """Have the server end ``streams``, until for a while it knows no more of them and none ends.

        It may not have accepted all of them yet.
        """
        wanted, seen = {plain_address(stream.local) for stream in streams}, self._transport.before.newest
        kicked: set[int] = set()
        progress, since = -1, 0.0
        while True:
            if len(kicked) < len(streams):
                records = (await client.streams(len(streams) + OTHERS_ON_VIEW)).records
                ours = [each for each in records if peer_of(each) in wanted and each.get("state") == "open"]
                new = {number for each in ours if (number := record_number(each, "stream")) > seen} - kicked
                await client.kick(sorted(new))
                kicked |= new
            now, known = self.lane.clock(), len(kicked) + sum(not stream.active for stream in streams)
            if known > progress:
                progress, since = known, now
            elif now - since >= self._options.stall_timeout:
                return
            await deferLater(deadlines(self._reactor), LOOK_SECONDS)

    def fail(self, message: str) -> None:
        """As always; what was not asked belongs to it."""
        super().fail(message if self._unasked is None else f"{message}; {self._unasked}")

    def notes(self) -> list[str]:
        """What was not asked, who ended the download where no number was asked for, and what was cut off."""
        notes = [] if self._unasked is None else [self._unasked]
        closed = [stream for stream in self.streams if stream.reason == CLOSED]
        if closed:
            more = f", and {len(closed) - 1} more streams" if len(closed) > 1 else ""
            notes.append(f"{closed[0]}{more}: the target ended the download, {closed[0].so_far()}")
        if self._options.admin and self._cut_off:
            notes.append("what was on its way when the download was cut off is not known: not reconciled")
        return notes

    def comparison(self, counts: list[StreamCount], began: float, plan_ends: float) -> Comparison | None:
        """None where a stream was cut off."""
        return None if self._cut_off else super().comparison(counts, began, plan_ends)

    def figures(self, news: Counts, seconds: float, plan_seconds: float) -> Figures:
        """What was downloaded."""
        return Figures(downloaded=self.moved(news, seconds, plan_seconds))

    def close(self) -> None:
        """The server is not asked any more."""
        super().close()
        if self._ending is not None:
            self._ending.cancel()

    @property
    def _cut_off(self) -> bool:
        asked = not self._options.warm_up  # after a warm-up the number is ours, and the target sends more
        return not all(stream.eof or (stream.reason == COMPLETE and asked) for stream in self.streams)
