"""The end of a run, after the last byte: reconcile with the server, close our side, await the target's close.

Rules: the server is asked while the streams are still open, because it lists only its last 1 000 closed ones. Every
wait is bounded: for the counts, for the bytes that our kernel still holds for a slow target, and for the target's
close, which a foreign server may never do. A failure is an error unless the server has confirmed every packet by then.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import closing

from attrs import Factory, define
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall, deferLater

from ctrlserver.client.admin import open_admin
from ctrlserver.client.target import Target
from ctrlserver.load.measure.reconciling import NOT_COMPARED, Comparison, Reconciliation
from ctrlserver.load.streams.outgoing import UNLIMITED, Conversation
from ctrlserver.load.streams.wire import CLOSED, REFUSED, RESET
from ctrlserver.looks import Looks

#: Seconds for the target to close its side after ours, once its kernel has taken everything.
CLOSE_SECONDS = 5.0

#: Seconds for the network to report that nothing listens, where no target closes (UDP).
LINGER_SECONDS = 0.1

#: Seconds without progress after which a server is not asked again for the counts of what it was sent.
RECONCILE_SECONDS = 10.0

#: First and longest pause between two questions to the admin port.
ASK_FIRST_SECONDS = 0.02
ASK_LAST_SECONDS = 0.5

#: Records to ask for beyond our own: other senders' streams may be newer than ours.
OTHERS_ON_VIEW = 1000

#: Seconds between two looks at what our kernel still holds.
WATCH_SECONDS = 0.02


@define(eq=False)
class Ending:
    """What the streams report to once they have sent. ``failure``: the first that counts, in one line.

    ``patience``: seconds without progress after which a target that reads nothing is given up; with ``gentle`` that
    ends the stream and is no failure.
    """

    _reactor: IReactorTime
    _clock: Callable[[], float]
    _streams: Sequence[Conversation]
    _patience: float
    _gentle: bool
    failure: str | None = None
    reconciliation: Reconciliation = NOT_COMPARED
    _reconcile_seconds: float = Factory(lambda: RECONCILE_SECONDS)
    _hurried: bool = False
    _looks: Looks = Factory(lambda: Looks(WATCH_SECONDS))
    _awaited: set[Conversation] = Factory(set)
    _all_ended: Deferred[None] | None = None

    def __attrs_post_init__(self) -> None:
        for stream in self._streams:
            stream.observer = self

    async def reconcile(self, admin: Target, timeout: float, comparison: Comparison) -> None:
        """Ask until the counts agree or cannot change any more; LoadError if the port cannot be asked.

        Also until for a while neither the counts have grown nor the target has taken what our kernel holds for it.
        """
        with closing(await open_admin(self._reactor, admin, timeout)) as client:
            await client.version()
            least, most, since = UNLIMITED, 0, self._clock()
            pause, limit = ASK_FIRST_SECONDS, len(comparison.streams) + OTHERS_ON_VIEW
            while True:
                asked = self._clock()  # an answer is as old as its question, however long we were paused meanwhile
                dropped = await client.dropped() if comparison.needs_drops else None
                seen = await client.streams(limit)
                self.reconciliation = comparison.compare(seen.records, dropped, self._clock())
                if self.reconciliation.reconciled or self.reconciliation.settled:
                    return
                unsent = sum(stream.unsent_bytes() for stream in self._streams)
                counted = sum(nbytes for _, nbytes in self.reconciliation.counted.values())
                seconds = self._reconcile_seconds
                if (unsent < least or counted > most) and not self._hurried:
                    least, most, since = min(least, unsent), max(most, counted), self._clock()
                elif asked - since >= (max(seconds, self._patience) if unsent else seconds):
                    return
                limit = max(limit, seen.total)
                await deferLater(self._reactor, pause)
                pause = min(1.5 * pause, ASK_LAST_SECONDS)

    def hurry(self, patience: float) -> None:
        """After an interrupt: wait for nothing longer than ``patience``."""
        self._patience = self._reconcile_seconds = patience
        self._gentle = self._hurried = True

    async def drain(self) -> None:
        """Close our side of every stream and await the target's close."""
        self._awaited = {stream for stream in self._streams if not stream.over}
        for stream in list(self._awaited):
            stream.seen, stream.seen_at = -1, self._clock()
            stream.half_close()
        if not self._awaited:
            return
        watching = LoopingCall(self._watch)
        watching.clock = self._reactor
        self._looks.begin(self._clock())
        watching.start(WATCH_SECONDS, now=False)
        self._all_ended = Deferred()
        try:
            await self._all_ended
        finally:
            watching.stop()

    def _watch(self) -> None:
        now = self._clock()
        if not self._looks.may_judge(now):
            return
        for stream in list(self._awaited):
            unsent = stream.unsent_bytes()
            if unsent != stream.seen:
                stream.seen, stream.seen_at = unsent, now
            patience = self._patience if unsent else CLOSE_SECONDS if stream.kind.closes else LINGER_SECONDS
            if stream.eof:
                if not stream.check_broken() and not unsent:
                    self.stream_ended(stream)
            elif now - stream.seen_at >= patience:
                if unsent and not self._gentle:
                    stream.stall(self._patience)
                else:
                    self.stream_ended(stream)

    # What the streams report

    def stream_done(self, stream: Conversation) -> None:
        """Not any more: they have sent everything."""

    def stream_ended(self, stream: Conversation) -> None:
        """The target has closed its side after ours, or is not awaited any longer."""
        self._awaited.discard(stream)
        if not self._awaited and self._all_ended is not None:
            all_ended, self._all_ended = self._all_ended, None
            all_ended.callback(None)

    def stream_failed(self, stream: Conversation, message: str) -> None:
        """An error unless the server has already confirmed every packet."""
        if not (self.reconciliation.reconciled and stream.reason in (RESET, CLOSED, REFUSED)):
            self.failure = self.failure or message
        self.stream_ended(stream)
