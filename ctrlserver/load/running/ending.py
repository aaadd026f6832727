"""The end of a run, after the last byte: reconcile with the server, close our side, await the target's close.

Rules: the server is asked while the streams are still open, because it lists only its last 1 000 closed ones. A
difference counts if two answers agree on it. Listing many streams takes at most a fifth of the time. Every wait is
bounded: for the counts, for the bytes that our kernel still holds for a slow target, and for the target's
close, which a foreign server may never do. A failure is an error unless the server has confirmed every packet by then.
"""

from __future__ import annotations

import select
from collections.abc import Callable, Sequence
from contextlib import closing

from attrs import Factory, define, evolve
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall, deferLater

from ctrlserver.client.admin import AdminClient
from ctrlserver.load.measure.injections import ServerInjections
from ctrlserver.load.measure.intervals import Waiting
from ctrlserver.load.measure.reading import Reading
from ctrlserver.load.measure.reconciling import NOT_COMPARED, Comparison, Reconciliation
from ctrlserver.load.running.asking import MOST_OTHERS, OTHERS_ON_VIEW, read
from ctrlserver.load.running.servers import AllServers, Servers
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

#: The pause after an answer, in times that it took, and its bound: it may have taken long because we were paused.
ASK_PAUSES = 4
ASK_MOST_SECONDS = 2.0

#: Seconds without progress after which nobody can know which of the server's streams are ours.
UNCLEAR_SECONDS = 1.0

#: Seconds without progress after which what an injection of the server stalls is not waited for.
STALLED_SECONDS = 1.0

#: Seconds between two words on how the wait goes on.
TELL_SECONDS = 1.0

#: Seconds between two looks at what our kernel still holds.
WATCH_SECONDS = 0.02


@define(eq=False)
class Ending:
    """What the streams report to once they have sent.

    ``patience``: seconds without progress after which a target that reads nothing is given up; with ``gentle`` that
    ends the stream and is no failure. ``waiting`` is told while the server's counts are waited for.
    """

    _reactor: IReactorTime
    _clock: Callable[[], float]
    _streams: Sequence[Conversation]
    _patience: float
    _gentle: bool
    _waiting: Callable[[Waiting], None] = lambda _: None
    reconciliation: Reconciliation = NOT_COMPARED
    server_injections: ServerInjections | None = None
    _reconcile_seconds: float = Factory(lambda: RECONCILE_SECONDS)
    _hurried: bool = False
    _began: float = Factory(lambda self: self._clock(), takes_self=True)
    _told: float = Factory(lambda self: self._began, takes_self=True)
    _looks: Looks = Factory(lambda: Looks(WATCH_SECONDS))
    _awaited: set[Conversation] = Factory(set)
    _all_ended: Deferred[None] | None = None
    _failures: list[tuple[Conversation, str]] = Factory(list)

    def __attrs_post_init__(self) -> None:
        for stream in self._streams:
            stream.observer = self

    @property
    def failure(self) -> str | None:
        """The first that counts, in one line: what came while the server was still asked is judged by its answers."""
        return next((message for stream, message in self._failures if not self._by_order(stream)), None)

    async def reconcile(self, servers: Servers, timeout: float, comparison: Comparison) -> None:
        """Ask until the counts agree or cannot change any more; LoadError if a port cannot be asked.

        Also until for a while neither the counts have grown nor the target has taken what our kernel holds for it.
        """
        with closing(await servers.open(timeout)) as client:
            await client.version()
            since = self._clock()
            least, most = UNLIMITED, 0
            pause, limit = ASK_FIRST_SECONDS, len(comparison.streams) + OTHERS_ON_VIEW
            while True:
                asked, last = self._clock(), self.reconciliation.difference  # an answer is as old as its question
                reading = await read(client, limit, self._clock)
                if reading.rejected_since(comparison.before):
                    reading = evolve(reading, over=self._hung_up())
                self.reconciliation = outcome = comparison.compare(reading)
                stalls = bool(outcome.reconciled and outcome.through.stalled)
                if not stalls and (outcome.reconciled or (outcome.settled and outcome.difference in (last, None))):
                    break
                unsent = sum(stream.unsent_bytes() for stream in self._streams)
                received = outcome.received.bytes if outcome.received is not None else 0
                now, seconds = self._clock(), self._reconcile_seconds
                if outcome.unclear is not None:
                    seconds = min(seconds, UNCLEAR_SECONDS)
                if stalls:
                    seconds = min(seconds, STALLED_SECONDS)
                if (unsent < least or received > most) and not self._hurried:
                    least, most, since = min(least, unsent), max(most, received), now
                elif asked - since >= (max(seconds, self._patience) if unsent and not stalls else seconds):
                    break
                self._tell(received, unsent)
                limit = max(limit, min(reading.total, len(comparison.streams) + MOST_OTHERS))
                await deferLater(self._reactor, max(pause, min(ASK_PAUSES * (now - asked), ASK_MOST_SECONDS)))
                pause = min(1.5 * pause, ASK_LAST_SECONDS)
            await self._ask_injections(client, comparison.before, reading)

    async def _ask_injections(self, client: AdminClient | AllServers, before: Reading, reading: Reading) -> None:
        """What the server's did, by a record that is not older than the counts of the streams."""
        if ServerInjections.between(before, reading) is not None:
            later = Reading(stats=await client.stats(), orders=await client.injections())
            found = ServerInjections.between(before, later)
            self.server_injections = None if found is None else self.reconciliation.through.told_in(found)

    def _tell(self, received: int | None, unsent: int) -> None:
        """Have the wait shown."""
        now = self._clock()
        if now - self._told >= TELL_SECONDS:
            self._told = now
            moved = sum(stream.moved for stream in self._streams)
            self._waiting(Waiting(now - self._began, received, moved, unsent))

    def _hung_up(self) -> frozenset[int]:
        """The streams whose targets have closed or reset the connection; nothing is read, and no error is taken."""
        poll, numbers = select.poll(), {}
        for stream in self._streams:
            descriptor = stream.socket.fileno()
            if descriptor >= 0:
                numbers[descriptor] = stream.number
                poll.register(descriptor, select.POLLRDHUP)
        gone = {numbers[descriptor] for descriptor, _ in poll.poll(0)}
        return frozenset(gone | {stream.number for stream in self._streams if stream.over or stream.eof})

    def hurry(self, patience: float) -> None:
        """After an interrupt: wait for nothing longer than ``patience``."""
        self._patience = self._reconcile_seconds = patience
        self._gentle = self._hurried = True

    async def drain(self) -> None:
        """Close our side of every stream and await the target's close, except where an injection stalls it."""
        self._awaited = {stream for stream in self._streams if not stream.over}
        for stream in list(self._awaited):
            stream.seen, stream.seen_at = -1, self._clock()
            stream.half_close()
        self._awaited -= {each for each in self._awaited if each.number in self.reconciliation.through.stalled}
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
        held = 0
        for stream in list(self._awaited):
            unsent = stream.unsent_bytes()
            held += unsent
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
        if self._awaited:
            self._tell(None, held)

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
        whole = self.reconciliation.reconciled and stream.number not in self.reconciliation.through.ended
        if not (whole and stream.reason in (RESET, CLOSED, REFUSED)):
            self._failures.append((stream, message))
        self.stream_ended(stream)

    def _by_order(self, stream: Conversation) -> bool:
        """Whether an injection closed the stream, and no injection ordered a reset: then that is no failure.

        A kernel answers with a reset what arrives after a close.
        """
        outcome, theirs = self.reconciliation, self.server_injections
        reasons = (CLOSED,) if theirs is None or theirs.resets else (CLOSED, RESET)
        return bool(outcome.reconciled) and stream.number in outcome.through.ended and stream.reason in reasons
