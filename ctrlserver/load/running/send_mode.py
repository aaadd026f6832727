"""Send and request mode: streams that send up to their limits, watched so that none goes without progress for long.

Rules: all streams start together, and the first that fails ends the others at once. A stream without progress for the
stall timeout fails. Once the time is up a stream has a grace instead: it is then cut, and the rest of its packet
reported. In request mode that is so only after Ctrl-C, because after its time the replies are still awaited.

Beware: the warm-up ends between two packets. In send mode the packet under way belongs to the measured part. In request
mode the streams first wait until every packet of the warm-up is answered, and then start together once more.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import getrandbits
from typing import cast

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime

from ctrlserver.inject.strikes import Injection
from ctrlserver.lane.due import Due
from ctrlserver.lane.lane import Lane
from ctrlserver.load.measure.counts import Counts, Replies, StreamCount, Volume
from ctrlserver.load.measure.injections import Injections
from ctrlserver.load.measure.reconciling import Comparison
from ctrlserver.load.opening.greeting import await_greetings, expect_silence
from ctrlserver.load.plan.options import Options
from ctrlserver.load.running.pacing import REQUEST_TICK, Paced
from ctrlserver.load.running.transports import Transport
from ctrlserver.load.running.work import GRACE_SECONDS, Figures, Work
from ctrlserver.load.streams.injected import Injected
from ctrlserver.load.streams.making import Ordered, make_streams
from ctrlserver.load.streams.outgoing import UNLIMITED, Conversation
from ctrlserver.load.streams.sender import Sender
from ctrlserver.load.streams.wire import ABORTED, COMPLETE, CUT, ENDED
from ctrlserver.words import counted


class Streams(Work):
    """The work of send mode, to which its streams report. ``awaits_replies``: a packet is over once it is answered."""

    verb = "sent"
    first_words = b""
    awaits_replies = False
    compared_if_failed = True

    def __init__(self, reactor: IReactorTime, lane: Lane, options: Options, transport: Transport) -> None:
        super().__init__(reactor, lane, options, transport)
        self._going: set[Conversation] = set()
        self._limits: list[int] = []
        self._gentle = False  # cut a stream without progress after the grace, instead of failing it
        self._grace = GRACE_SECONDS
        self._ordered: Ordered | None = None
        if options.inject is not None:
            self._ordered = Ordered(Injection(options.inject, options.seed), Due(lane, reactor))

    async def open(self) -> None:
        """Connect all streams, and await the target's greeting if one is asked for."""
        options = self._options
        opened = await self._transport.connections.open(options.numbers, self.first_words)
        self.streams += make_streams(options, opened, self, self.timing, getrandbits(16), self._ordered)
        if options.greeting is not None:
            await await_greetings(self._reactor, self.lane, self.streams, options.greeting, options.stall_timeout)

    # While packets are sent

    def start(self, *, warm_up: bool) -> Deferred[None]:
        """Let every stream go up to its limit."""
        self._all_done = all_done = Deferred[None]()
        self._limits = [UNLIMITED] * len(self.streams) if warm_up else self._limits_now()
        self._going = set(self.streams)
        for stream, limit in zip(self.streams, self._limits, strict=True):
            if self.error is None:
                stream.reason = COMPLETE
                stream.start(limit)
        return all_done

    def end_warm_up(self, begin_measuring: Callable[[], None]) -> bool:
        """The streams go on without a pause, up to their limits from now on."""
        begin_measuring()
        self._limits = self._limits_now()
        for stream, limit in zip(self.streams, self._limits, strict=True):
            stream.bound(limit)
        return bool(self._going)

    def end_plan(self) -> bool:
        """What was released may still be sent."""
        self._gentle = not self.awaits_replies
        for stream in cast("list[Sender]", list(self._going)):
            stream.end_released(ENDED)
        return bool(self._going)

    def stop_new(self, *, at_once: bool) -> None:
        """Every stream ends the packet that it has begun."""
        self._gentle = self._gentle or at_once or not self.awaits_replies
        for stream in list(self._going):
            stream.end_at_packet(ENDED)

    def fail(self, message: str) -> None:
        """The first failure ends all streams at once."""
        self.error = self.error or message
        for stream in self._going:
            stream.cut(ABORTED)
        self._going.clear()
        self._finish()

    def watch(self, now: float) -> None:
        """No stream may go without progress for too long."""
        patience = self._grace if self._gentle else self._options.stall_timeout
        for stream in list(self._going):
            progress = stream.progress
            if progress != stream.seen or stream.idle:
                stream.seen, stream.seen_at = progress, now
            elif now - stream.seen_at < patience:
                stream.quiet(now - stream.seen_at, patience)
            elif self._gentle:
                stream.cut(CUT)
                self.stream_done(stream)
            else:
                stream.stall(patience)

    def paced(self) -> Sequence[Paced]:
        """All streams, where there is a schedule: then every one of them is paced."""
        return cast("list[Paced]", [] if self._options.curve is None else self.streams)

    @property
    def planned(self) -> int | None:
        """Packets from here to the limits."""
        if max(self._limits) >= UNLIMITED:
            return None
        packets_in = self._options.pattern.packets_in
        return sum(packets_in(limit) - s.packets for limit, s in zip(self._limits, self.streams, strict=True))

    def _limits_now(self) -> list[int]:
        """The byte up to which each stream sends, counted from its first: packets sent by now are on top."""
        limits = self._options.limits([stream.packets for stream in self.streams])
        return [UNLIMITED] * len(self.streams) if limits is None else limits

    # What the streams report

    def stream_done(self, stream: Conversation) -> None:
        """All has been sent, and answered where answers are awaited."""
        self._going.discard(stream)
        if not self._going:
            self._finish()

    def stream_ended(self, stream: Conversation) -> None:
        """Not while sending: our side is still open."""

    def stream_failed(self, stream: Conversation, message: str) -> None:
        """One failed: the others stop at once."""
        self._going.discard(stream)
        self.fail(message)

    # What was done

    def counts(self, *, whole: bool = False) -> Counts:
        """Over all streams."""
        each = [
            (s.packets, s.moved - s.incomplete_bytes if whole else s.moved, s.writes, s.replies, s.reply_bytes)
            for s in self.streams
        ]
        return Counts(*map(sum, zip(*each, strict=True)))

    @property
    def in_flight(self) -> int:
        """Over all streams."""
        return sum(stream.in_flight for stream in self.streams)

    @property
    def last(self) -> float:
        """Of the streams that have sent."""
        return max((stream.last for stream in self.streams if stream.progress), default=0.0)

    # After the last packet

    def comparison(self, counts: list[StreamCount], began: float, plan_ends: float) -> Comparison | None:
        """As the transport has it."""
        ended = max(plan_ends, *(stream.last for stream in self.streams))
        return self._transport.comparison(counts, began, ended, self.verb)

    def figures(self, news: Counts, seconds: float, plan_seconds: float) -> Figures:
        """What was sent."""
        return Figures(sent=self.moved(news, seconds, plan_seconds))

    def moved(self, news: Counts, seconds: float, plan_seconds: float) -> Volume:
        """The volume of ``news``; no time passed where there are none."""
        return Volume.of(news, seconds, plan_seconds) if news.packets or news.bytes else Volume.of(news, 0.0)

    def settle(self) -> None:
        """Streams that stall read on."""
        for stream in self._struck:
            stream.relent()

    def notes(self) -> list[str]:
        """What targets did about streams that were struck: the first, and how many more."""
        said = [stream.struck.said for stream in self._struck if stream.struck.said is not None]
        more = f"; so {counted(len(said) - 1, 'more stream')}" if len(said) > 1 else ""
        return [f"{said[0]}, which --inject had struck{more}"] if said else []

    @property
    def injections(self) -> Injections | None:
        """What ``--inject`` did; None without it."""
        if self._ordered is None:
            return None
        injection = self._ordered.injection
        return Injections.of(injection.spec, injection.seed, [stream.struck for stream in self._struck])

    @property
    def _struck(self) -> list[Injected]:
        return [stream for stream in self.streams if isinstance(stream, Injected)]

    def close(self) -> None:
        """The sockets stay open: the transport closes them."""
        for stream in self.streams:
            stream.leave()
        if self._ordered is not None:
            self._ordered.moments.stop()


class Requests(Streams):
    """The work of request mode."""

    tick = REQUEST_TICK
    served_by = "echo", "reply"
    awaits_replies = True

    async def open(self) -> None:
        """As in send mode; then listen, because an unexpected greeting would count as one reply too many."""
        await super().open()
        options = self._options
        if options.greeting is None and options.payload is not None and self._transport.may_greet:
            await expect_silence(self._reactor, self.streams)

    def end_warm_up(self, begin_measuring: Callable[[], None]) -> bool:
        """Every packet of the warm-up is answered before the measured part begins."""
        for stream in list(self._going):
            stream.end_at_packet(COMPLETE)
        return False

    def figures(self, news: Counts, seconds: float, plan_seconds: float) -> Figures:
        """What was sent, and the replies."""
        return Figures(sent=self.moved(news, seconds, plan_seconds), replies=Replies(news.replies, news.reply_bytes))
