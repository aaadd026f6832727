"""What injections did, ours to the target and the server's to us, and what a server counts because of ours. PURE.

Rules: what we did is exact, so a server with our framing counts exactly ``expected_packets``. Only a reset may lose
bytes, those that the target's system had not acknowledged: then any number between is right.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from attrs import define, field, frozen

from ctrlserver.inject.spec import Spec
from ctrlserver.inject.strikes import Strike
from ctrlserver.load.measure.reading import Reading, Record, record_number
from ctrlserver.words import counted

#: The results' names of what actions do to packets, and of what they do to streams.
_TO_PACKETS = {
    "duplicate": "duplicated",
    "truncate": "truncated",
    "corrupt": "corrupted",
    "drip": "dripped",
    "slow-read": "slowed",
}
_TO_STREAMS = {
    "reset": "reset_streams",
    "close": "closed_streams",
    "half-close": "half_closed_streams",
    "stall": "stalled_streams",
}


@frozen
class Struck:
    """What an injection did to one stream.

    ``expected_packets``: what a server of our framing counts of the bytes sent; where a reset may have lost some, of
    these bytes ``least_packets`` arrived at least. ``faulty``: they break the framing, for which such a server closes
    the stream.
    """

    hits: int
    duplicated: int
    truncated: int
    corrupted: int
    dripped: int
    slowed: int
    end: str | None
    expected_packets: int
    least_packets: int
    unconfirmed_bytes: int
    faulty: bool

    def closing_reasons(self, over_unix: bool) -> tuple[str, ...]:
        """The reasons for which a server may close the stream because of it; empty where it need not close it."""
        if self.faulty:
            return ("fault",)
        match self.end:
            case "reset":
                return ("reset", "eof") if over_unix else ("reset",)
            case "close":
                return ("eof", "reset")  # it may answer, and hear that nobody takes the answer
            case "half-close":
                return ("eof",)
        return ()


@define
class Tally:
    """What an injection has done to one stream so far: ``strikes``, and how often each.

    ``unconfirmed_bytes``: sent before a reset, and not acknowledged. ``said``: what the target then did about the
    stream, in one line.
    """

    strikes: Counter[Strike] = field(factory=Counter)
    unconfirmed_bytes: int = 0
    said: str | None = None

    @property
    def end(self) -> str | None:
        """By which action the stream ended; None if by none."""
        return next((strike.action.name for strike in self.strikes if strike.last), None)

    def published(self, expected_packets: int, least_packets: int, faulty: bool) -> Struck:
        """The record of it."""
        return Struck(
            hits=self.strikes.total(),
            **_named(self.strikes, _TO_PACKETS),
            end=self.end,
            expected_packets=expected_packets,
            least_packets=least_packets,
            unconfirmed_bytes=self.unconfirmed_bytes,
            faulty=faulty,
        )


def _named(strikes: Counter[Strike], names: Mapping[str, str]) -> dict[str, int]:
    """How often each action of ``names`` struck, by its name in the results."""
    hits = Counter[str]()
    for strike, number in strikes.items():
        hits[strike.action.name] += number
    return {name: hits[action] for action, name in names.items()}


@frozen
class TermHits:
    """One term of the spec, and how often it struck."""

    term: str
    hits: int


@frozen
class Injections:
    """The result's ``injections``: what ours did over all streams. ``*_streams`` ended so, or stalled."""

    spec: str
    seed: int
    hits: int
    terms: list[TermHits]
    duplicated: int
    truncated: int
    corrupted: int
    dripped: int
    slowed: int
    reset_streams: int
    closed_streams: int
    half_closed_streams: int
    stalled_streams: int
    unconfirmed_bytes: int

    @classmethod
    def of(cls, spec: Spec, seed: int, streams: Sequence[Tally]) -> Injections:
        """The sums of ``streams``."""
        strikes = sum((each.strikes for each in streams), Counter[Strike]())
        terms = Counter({strike.term: number for strike, number in strikes.items()})
        return cls(
            spec=spec.text,
            seed=seed,
            hits=strikes.total(),
            terms=[TermHits(term.text, terms[at]) for at, term in enumerate(spec.terms)],
            **_named(strikes, _TO_PACKETS),
            **_named(strikes, _TO_STREAMS),
            unconfirmed_bytes=sum(each.unconfirmed_bytes for each in streams),
        )

    @property
    def holds_back(self) -> bool:
        """Whether packets have waited, or were not sent, because of it."""
        ended = self.reset_streams + self.closed_streams + self.half_closed_streams + self.stalled_streams
        return bool(self.dripped or self.slowed or ended)

    @property
    def words(self) -> str:
        """``"12 hits: 10 packets duplicated, 2 streams reset"``."""
        packets = {
            "duplicated": self.duplicated,
            "truncated": self.truncated,
            "corrupted": self.corrupted,
            "dripped": self.dripped,
            "followed by slow reading": self.slowed,
        }
        streams = {
            "reset": self.reset_streams,
            "closed": self.closed_streams,
            "half-closed": self.half_closed_streams,
            "stalled": self.stalled_streams,
        }
        done = [f"{counted(number, 'packet')} {what}" for what, number in packets.items() if number]
        done += [f"{counted(number, 'stream')} {what}" for what, number in streams.items() if number]
        return f"{counted(self.hits, 'hit')}{': ' if done else ''}{', '.join(done)}"


def injections_in(stats: Record) -> bool:
    """Whether a server has injections in force, or has had hits."""
    return bool(stats.get("injections_active") or stats.get("injected_total"))


@frozen
class ServerInjections:
    """The result's ``server_injections``: what those of the server did during the run, to all its peers.

    ``active``: in force when the server was last asked. ``received`` and ``answered``: the packets that the server
    counted in the run, and those of them that it replied to. ``orders``: those that struck, as they were ordered. Of
    our own streams, ``unreceived_*`` were sent and not received because injections ended or stalled them.
    """

    active: int
    hits: int
    received: int
    answered: int
    swallowed: int
    duplicated: int
    closed_streams: int
    orders: list[str] = field(factory=list)
    unreceived_packets: int = 0
    unreceived_bytes: int = 0
    ended_streams: int = 0
    stalled_streams: int = 0

    @classmethod
    def between(cls, before: Reading, after: Reading) -> ServerInjections | None:
        """By two readings of the server; None if there was nothing, or it does not say."""

        def since(name: str) -> int:
            return max(0, record_number(after.stats, name) - record_number(before.stats, name))

        found = cls(
            active=record_number(after.stats, "injections_active"),
            hits=since("injected_total"),
            received=since("packets_total"),
            answered=since("replies_total"),
            swallowed=since("swallowed_total"),
            duplicated=since("duplicated_total"),
            closed_streams=since("closed_injected_total"),
            orders=_struck(before.orders, after.orders),
        )
        return found if found.active or found.hits else None

    @property
    def explained(self) -> str:
        """``"596 packets not received on 4 streams that they ended"``; empty where all was received."""
        streams = self.ended_streams + self.stalled_streams
        if not streams:
            return ""
        done = {"ended": self.ended_streams, "stalled": self.stalled_streams}
        what = " or ".join(name for name, number in done.items() if number)
        packets, nbytes = self.unreceived_packets, self.unreceived_bytes
        rest = counted(packets, "packet") if packets or not nbytes else counted(nbytes, "byte")
        names = f": {', '.join(self.orders)}" if self.stalled_streams and self.orders else ""
        return f"{rest} not received on {counted(streams, 'stream')} that they {what}{names}"

    @property
    def resets(self) -> bool:
        """Whether a reset is what they ordered, as far as is known."""
        return not self.orders or any("reset" in spec for spec in self.orders)

    @property
    def words(self) -> str:
        """``"12 hits, 1 active (9th*close): 10 streams closed; 90 received = 80 answered + 10 swallowed"``."""
        words = f"{counted(self.hits, 'hit')}, {self.active} active"
        if self.orders:
            words += f" ({', '.join(self.orders)})"
        if self.closed_streams:
            words += f": {counted(self.closed_streams, 'stream')} closed"
        return "; ".join([words, *self.sums])

    @property
    def sums(self) -> list[str]:
        """What became of the packets received, and of the answers."""
        words = []
        if self.answered or self.swallowed:
            others = max(0, self.received - self.answered - self.swallowed)
            parts = {"answered": self.answered, "swallowed": self.swallowed, "not answered": others}
            sums = " + ".join(f"{number} {what}" for what, number in parts.items() if number)
            words.append(f"{self.received} received = {sums}")
        if self.duplicated:
            answers = self.answered + self.duplicated
            words.append(f"{answers} answers sent = {self.answered} + {counted(self.duplicated, 'duplicate')}")
        return words


def _struck(before: Sequence[Record], after: Sequence[Record]) -> list[str]:
    """The orders that have had hits since ``before``, each once."""
    then = {order.get("injection"): order.get("hits") for order in before}
    struck = (each for each in after if each.get("hits") and each.get("hits") != then.get(each.get("injection")))
    return list(dict.fromkeys(str(order.get("spec")) for order in struck))
