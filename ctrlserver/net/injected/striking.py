"""Streams that injections strike: each goes over to a class of ``net/injected/streams.py``, and back to its own.

Model:

``Striking`` watches the orders of a listener. It gives a stream that they concern a ``Struck`` (its cutter, what
waits, why it does not read) and another class, and its link another class too (``net/injected/links.py``). The object
stays the same, and so do its framing, its counters and the replies that it owes::

    plain --an order or a rule begins--> struck --no course, no rule, nothing waits--> plain

    link --received(chunk)--> cutter (net/injected/cutting.py) --took(packets, strikes)--> counted as ever, then
                                                                       |  reset, close, half-close
                                                                       v
    socket <--what is due-- Waiting (net/injected/waiting.py) <--add(answer, due)
                                  ^
                              Due (lane/due.py): one timer for all streams of the server;
                              Leaving (net/injected/leaving.py): what is due of several of them leaves by one call

What a struck stream waits for, and what its link does meanwhile, is in ``net/injected/struck.py``.

Rules:

- A listener with conditional answers (``inject/rules.py``) has its streams struck, with or without courses: they look
  into each packet, and may have an answer wait. A rule decides what the answer is, injections then change it.
- The end of an order lets go what it held: answers that wait leave in order, a drip leaves whole, a stalled stream
  reads on. When all has left, the stream is plain again.
"""

from __future__ import annotations

from ctrlserver.inject.strikes import Course
from ctrlserver.lane.due import Due
from ctrlserver.net.injected.leaving import leaving_of
from ctrlserver.net.injected.looking import Looking, greet
from ctrlserver.net.injected.orders import Order
from ctrlserver.net.injected.streams import AnsweringStruck, SinkStruck
from ctrlserver.net.injected.struck import Struck
from ctrlserver.net.modes import EchoStream, ReplyStream
from ctrlserver.net.stream import OpenStreams, Stream

STRUCK_OF: dict[type[Stream], type[Stream]] = {
    Stream: SinkStruck,
    EchoStream: AnsweringStruck,
    ReplyStream: AnsweringStruck,
}
"""The class of each plain stream while it is struck. A source is not: it receives no packets and has no answers."""


class Striking:
    """Has the streams of one listener struck; ``due`` is the timer of the server."""

    def __init__(self, streams: OpenStreams, due: Due) -> None:
        self.due = due
        self._streams = streams
        streams.striking = self
        streams.terms.orders.watch(self.ordered)
        streams.terms.answers.watch(self.ruled)

    def opened(self, stream: Stream) -> None:
        """A stream opens while there are orders or rules."""
        terms = self._streams.terms
        if terms.answers.rules:
            self._strike(stream)
            self._look(stream)
            if isinstance(stream, AnsweringStruck):
                greet(stream)
        for course in terms.orders.courses(stream.counters.peer, terms.transport):
            self._add(stream, course)

    def ordered(self, order: Order, began: bool) -> None:
        """An order of the listener begins for open streams too, or is over: that concerns some of them."""
        transport = self._streams.terms.transport
        if began and not order.suits(self._streams.terms.place):
            return
        if (order.everybody or not began) and not order.of_connections and order.strikes_on(transport):
            for stream in list(self._streams.all.values()):
                if not order.concerns(stream.counters.peer):
                    continue
                if began:
                    self._add(stream, order.injection.stream(transport))
                elif isinstance(stream, SinkStruck | AnsweringStruck):
                    stream.struck.let_go(order.injection)

    def ruled(self) -> None:
        """The rules of the listener have changed, and perhaps whether there are any for packets."""
        for stream in list(self._streams.all.values()):
            if self._streams.terms.answers.of_packets:
                self._strike(stream)
            self._look(stream)

    def _look(self, stream: Stream) -> None:
        """Have ``stream`` look into its packets if there are rules for them, or else leave off."""
        if not isinstance(stream, AnsweringStruck):
            return
        struck = stream.struck
        if not self._streams.terms.answers.of_packets:
            if struck.looking is not None:
                struck.looking.leave_off(stream)
                struck.looking = None
                struck.settle_soon()
        elif struck.looking is None:
            struck.looking = Looking()

    def _strike(self, stream: Stream) -> None:
        if type(stream) in STRUCK_OF:
            Struck(stream, self.due, STRUCK_OF[type(stream)], leaving_of(self.due))

    def _add(self, stream: Stream, course: Course) -> None:
        self._strike(stream)
        if isinstance(stream, SinkStruck | AnsweringStruck):
            stream.struck.add(course)
