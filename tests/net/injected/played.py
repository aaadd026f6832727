"""A struck stream played by hand: its link, its socket and the time are the test's."""

from __future__ import annotations

from typing import Any

from twisted.internet.task import Clock

from ctrlserver.inject.parsing import parse_spec
from ctrlserver.inject.strikes import Injection
from ctrlserver.lane.due import Due
from ctrlserver.net.injected import links
from ctrlserver.net.injected.orders import Order
from ctrlserver.net.injected.striking import Striking
from ctrlserver.net.modes import open_stream
from ctrlserver.net.replies import CannedReply
from ctrlserver.net.stream import OpenStreams
from ctrlserver.net.terms import Terms
from ctrlserver.stats.book import Book
from ctrlserver.stats.counters import Origin
from ctrlserver.wire.framing import parse_framing


class PlayedLink:
    """A link whose socket takes ``takes`` bytes at a time; ``got`` is what the peer has got, ``did`` what was asked."""

    def __init__(self) -> None:
        self.takes = 1 << 30
        self.gone = False
        self.got = bytearray()
        self.did = ["release"]
        self.left = b""
        self.stream: Any = None

    def since(self, now: float) -> float:
        return now

    def sender(self) -> Any:
        return self.send

    def send(self, block: bytes | memoryview) -> int:
        if self.gone:
            raise BrokenPipeError
        taken = bytes(block[: self.takes])
        self.takes -= len(taken)
        self.got += taken
        return len(taken)

    def go_back(self, link: type, rested: bool) -> None:
        if rested:
            self.did.append("release")

    def __getattr__(self, name: str) -> Any:
        if name in ("hold", "release", "rest", "close", "drop", "reset", "end_sending"):
            return lambda: self.did.append(name)
        raise AttributeError(name)


links.STRUCK_LINKS[PlayedLink] = PlayedLink


class Played:
    """A listener of a framing and a mode, at a time that the test advances."""

    def __init__(self, framing: str = "fixed:4", mode: str = "echo", reply: bytes = b"ok", **options: Any) -> None:
        self.ns = 10**15
        self.book = Book(version="test", now=self.ns / 1e9, wall=0.0)
        self.book.counters.struck = True
        spec = parse_framing(framing)
        by_size = spec.by_length and spec.size is not None
        canned = {"canned": CannedReply(reply)} if mode == "reply" else {}
        origin = Origin("data", "tcp", spec.text, mode, spec.size, by_size=by_size)
        self.terms = Terms(self.book, origin, spec, **(canned | options))
        self.streams = OpenStreams(self.terms, lambda: self.now)
        self.timer = Clock()
        self.due = Due(None, self.timer, self._clock)
        self.striking = Striking(self.streams, self.due)
        self._orders = 0

    def _clock(self) -> int:
        self.ns += 1  # so that nobody who asks for the same moment again and again stops the time
        return self.ns

    @property
    def now(self) -> float:
        return self.ns / 1e9

    def order(self, spec: str, *, seed: int = 0, everybody: bool = False) -> Order:
        self._orders += 1
        order = Order(self._orders, "data", Injection(parse_spec(spec), seed), everybody=everybody)
        self.terms.orders.begin(order)
        return order

    def end(self, order: Order) -> None:
        self.terms.orders.end(order)
        self.due.tick()

    def opened(self) -> PlayedLink:
        link: Any = PlayedLink()
        link.stream = open_stream(self.streams, link, "127.0.0.1:9", self.now)
        return link  # type: ignore[no-any-return]

    def advance(self, seconds: float) -> None:
        """Go on in time, from moment to moment, and have the timer call whom it should."""
        end = self.ns + round(seconds * 1e9)
        while (entries := list(self.due._entries.values())) and min(entries)[0] <= end:
            self.ns = max(self.ns + 1, min(entries)[0])
            self.due.tick()
        self.ns = max(end, self.ns)

    def receive(self, link: PlayedLink, octets: bytes) -> None:
        """The peer sends; what the stream leaves stays with the link until it reads."""
        link.left += octets
        self.read(link)

    def read(self, link: PlayedLink) -> None:
        """Have the stream read what is there, as long as its link does."""
        for _ in range(10_000):
            if not link.left or not self.reads(link) or link.stream.counters.state != "open":
                return
            left = link.stream.received(memoryview(link.left), self.now)
            link.left = link.left[len(link.left) - left :] if left else b""
        raise AssertionError("it never ends")

    @staticmethod
    def reads(link: PlayedLink) -> bool:
        return next(did for did in reversed(link.did) if did in ("hold", "release", "rest")) == "release"

    def totals(self) -> tuple[int, int, int, int, int]:
        """Packets, replied to, swallowed, unanswered, duplicated."""
        totals = self.book.counters.totals()
        every = [*self.book.counters.open.values(), *self.book.counters.recent]
        return (
            totals.packets,
            totals.replies,
            totals.swallowed,
            sum(each.unanswered for each in every),
            totals.duplicated,
        )
