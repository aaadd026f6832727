"""Which packets an injection strikes: exactly, the same however the network cuts the stream, and in bulk.

Model: an ``Injection`` is what was ordered for a listener: the spec, the seed, its hits. Each stream has a ``Course``,
which is told of packets and tells which are struck. Packets are numbered from 1, from when the injection began for the
stream.

**What strikes packet k.** The terms are asked in order; the first that strikes has the packet, and those after it do
not see it. A term counts the packets that it sees, whether it strikes them or not, and nothing else:

- without a WHEN it strikes each that it sees; ``3*`` the first three, and is used up; ``10th*`` the tenth, the
  twentieth and so on; ``64KiB*`` while they lie wholly within the first 64 KiB that it sees, and is used up by the
  first that does not, whatever comes after. The bytes of a packet are those on the wire, its header and end too.
- ``5%*`` strikes packet k if hash(seed, stream, term, k) says so.
- ``ok`` strikes and does nothing. ``off`` lets this packet and all after it be.
- after ``reset``, ``close``, ``half-close`` and ``stall`` nothing strikes the stream any more. A stream meets one of
  these once at most, so ``N*`` before them counts over all streams of the injection: ``2*reset->off`` resets two.

============================ ================================================================================
``3*swallow->delay(1s)``     1 to 3 swallowed, all others delayed
``3*ok->10th*swallow``       13, 23, 33: the second term sees the fourth packet first
``10th*swallow->3*delay(1s)`` 1, 2, 3 delayed; 10, 20 swallowed
``2nd*swallow->2nd*close``   2 swallowed, and the second of the others, 3, closes
``3*ok->1*reset->off``       the first stream to have a fourth packet is reset by it, no other
``64KiB*ok->stall``          of packets of 1 000 bytes 65 are read, and no more
============================ ================================================================================

As in fail(9) a later term applies where the earlier ones did not strike, and a number counts strikes. Unlike there,
numbers count for each stream, but for the four that are the last.

**How a stream uses it.** ``course = injection.stream(transport)`` when it opens (or when the injection begins). For the
packets of a chunk, of ``size`` bytes each (any if not ``spec.needs_sizes``)::

    while packets:
        free, struck, strike = course.advance(packets, size)
        packets -= free + struck
        ...                    # free are answered as ever, then struck by strike.action; strike None: none is
        first = course.packets - struck + 1                     # the number of the first of them
        course.seconds(strike, first), course.changed(strike, first, answer)

So a long stretch costs a step for each strike, or one for a run of strikes by the same term. Where packets differ in
size, and that matters, they are told one by one. What has to be known before a packet is whole asks ``look``, which
changes nothing: whether the next packet may be read (``stall``, ``slow-read``; also before the first), and whether the
bytes of an echo may leave before the packet's last. ``take`` then counts it once it is.

- Of several injections each has a course. Each is asked by ``look``; the shortest answer is taken of all.
- ``raw`` has no packets: each byte is told as a packet of size 1. The checks (``inject/places.py``) allow sizes only.
- Answers of a connection keep their order: one that is delayed delays those behind it, and is due at
  ``max(due of the one before, now + seconds)``. Datagrams overtake.
- ``reorder``: the answer waits until the next answer of its stream has left, a second at most. If one waits, none waits
  behind it.
- What waits by order is not owed by a slow reader; ``stall_timeout`` counts from when it is due.
- At the accept and TLS points one course of the listener, ``injection.connections()``, is told of connections. Before
  each the listener asks ``look(1)``: as long as that is ``refuse`` or ``hang``, it takes none, and nothing is counted.
- Hits are counted by ``take`` and ``advance``, in ``course.hits`` and ``injection.hits``. ``ok`` and ``off`` are none.

Beware: between ``look`` and ``take`` of one stream no other stream of the injection may be told of packets: the last
strikes are counted over all.
"""

from __future__ import annotations

from collections.abc import Sequence

from attrs import frozen

from ctrlserver.inject.actions import Action
from ctrlserver.inject.answers import changed
from ctrlserver.inject.arguments import Bits, Exponential, Fixed, Uniform
from ctrlserver.inject.counting import Always, ByChance, Counter, EachNth, FirstBytes, FirstOnes, Never
from ctrlserver.inject.draws import Draws
from ctrlserver.inject.spec import Chance, Every, First, Spec, Upto


@frozen(eq=False)
class Strike:
    """A term that strikes: its place among the terms, from 0, and its action.

    ``plain``: ok or off. ``ns``: for which all answers wait alike. ``changes``: each answer becomes another, or gets a
    time of its own.
    """

    term: int
    action: Action
    last: bool
    plain: bool
    ns: int
    changes: bool

    @classmethod
    def of(cls, term: int, action: Action) -> Strike:
        """That of ``action``."""
        kind, argument = action.kind, action.argument
        ns = argument.ns if isinstance(argument, Fixed) else 0
        return cls(term, action, kind.last, kind.point == "", ns, kind.point == "reply" and not ns)


class Hits:
    """What an injection has struck: in ``total``, and by each of its ``terms``."""

    __slots__ = ("terms", "total")

    def __init__(self, terms: int) -> None:
        self.total = 0
        self.terms = [0] * terms


class Injection:
    """What was ordered for a listener. ``streams`` have had a course; the n-th draws as the n-th of any equal order."""

    __slots__ = ("_shared", "hits", "seed", "spec", "streams", "strikes")

    def __init__(self, spec: Spec, seed: int) -> None:
        self.spec = spec
        self.seed = seed
        self.hits = Hits(len(spec.terms))
        self.streams = 0
        self.strikes = tuple(Strike.of(at, term.action) for at, term in enumerate(spec.terms))
        self._shared: dict[int, Counter] = {
            at: FirstOnes(term.when.number)
            for at, term in enumerate(spec.terms)
            if term.action.kind.last and isinstance(term.when, First)
        }

    def stream(self, transport: str) -> Course:
        """The course of a stream that begins now; ``transport``: tcp, unix, tls or udp."""
        self.streams += 1
        return Course(self, self.streams, transport)

    def connections(self, transport: str = "tls") -> Course:
        """The course of a listener's connections."""
        return Course(self, 0, transport)

    def counters(self, stream: int, transport: str) -> list[Counter]:
        """A counter for each term, of stream number ``stream``."""
        return [self._counter(at, stream, transport) for at in range(len(self.strikes))]

    def _counter(self, at: int, stream: int, transport: str) -> Counter:
        if not self.strikes[at].action.kind.strikes_on(transport):
            return Never()
        match self.spec.terms[at].when:
            case First(number):
                return self._shared.get(at) or FirstOnes(number)
            case Every(number):
                return EachNth(number)
            case Upto(nbytes):
                return FirstBytes(nbytes)
            case Chance() as chance:
                return ByChance(Draws(self.seed, stream, at, "chance"), chance.below)
        return Always()


class Course:
    """An injection on its way through one stream: ``packets`` it was told of, and ``hits`` among them."""

    __slots__ = ("_at", "_counters", "_draws", "hits", "injection", "packets", "stream")

    def __init__(self, injection: Injection, stream: int, transport: str) -> None:
        self.injection = injection
        self.stream = stream
        self.packets = 0
        self.hits = 0
        self._counters: Sequence[Counter] = injection.counters(stream, transport)
        self._at = -1
        self._draws: dict[int, Draws] = {}

    @property
    def over(self) -> bool:
        """Whether nothing strikes the stream any more, by ``off`` or a last strike."""
        return not self._counters

    @property
    def of_all(self) -> Strike | None:
        """What strikes each packet from here on; None if that differs, or if nothing does."""
        if not self._counters or type(self._counters[0]) is not Always or self.injection.strikes[0].plain:
            return None
        return self.injection.strikes[0]

    def take_all(self, packets: int) -> None:
        """Pass over so many packets, which ``of_all`` strikes."""
        self.packets += packets
        self.hits += packets
        hits = self.injection.hits
        hits.total += packets
        hits.terms[0] += packets

    def look(self, most: int, size: int = 1) -> tuple[int, Strike | None]:
        """How many of the next ``most`` packets (at least one) fare alike, and what strikes each of them, if anything.

        ``size``: bytes of each.
        """
        packet = self.packets + 1
        for at, counter in enumerate(self._counters):
            ahead = counter.ahead(most, size, packet)
            if ahead < 0:
                strike = self.injection.strikes[at]
                self._at = at
                if strike.plain:
                    return -ahead, None
                return 1 if strike.last else -ahead, strike
            if ahead < most:
                most = ahead
        self._at = len(self._counters)
        return most, None

    def take(self, packets: int, size: int = 1) -> None:
        """Pass over so many of the packets, ``size`` bytes each, that the last ``look`` was about."""
        at = self._at
        counters = self._counters
        self.packets += packets
        for before in range(at):
            counters[before].passed(packets, size)
        if at == len(counters):
            return
        counters[at].struck(packets, size)
        strike = self.injection.strikes[at]
        if strike.plain:
            if strike.action.name == "off":
                self._end()
            return
        hits = self.injection.hits
        hits.total += packets
        hits.terms[at] += packets
        self.hits += packets
        if strike.last:
            self._end()

    def advance(self, most: int, size: int = 1) -> tuple[int, int, Strike | None]:
        """Pass over the next packets, ``most`` of them at most, up to the end of the first run that is struck.

        Returns how many before that run nothing strikes, how many are in it, and what strikes them. If that is None,
        nothing strikes any of the ``most``.
        """
        free = 0
        while free < most:
            packets, strike = self.look(most - free, size)
            self.take(packets, size)
            if strike is not None:
                return free, packets, strike
            free += packets
        return free, 0, None

    def seconds(self, strike: Strike, packet: int) -> float:
        """For how long the answer to ``packet``, which ``strike`` struck, waits; 0 where the action is no delay."""
        argument = strike.action.argument
        if isinstance(argument, Fixed):
            return argument.seconds(0)
        if isinstance(argument, Uniform | Exponential):
            return argument.seconds(self._drawn(strike.term).word(packet))
        return 0.0

    def changed(self, strike: Strike, packet: int, answer: bytes) -> bytes:
        """What is sent in place of ``answer`` to ``packet``, which ``strike`` struck; empty for nothing."""
        argument = strike.action.argument
        if isinstance(argument, Bits):
            places = self._drawn(strike.term).places(packet, argument.number, 8 * len(answer))
            return changed(strike.action, answer, places)
        return changed(strike.action, answer)

    def _drawn(self, term: int) -> Draws:
        draws = self._draws.get(term)
        if draws is None:
            draws = self._draws[term] = Draws(self.injection.seed, self.stream, term, "answer")
        return draws

    def _end(self) -> None:
        self._counters = ()
        self._at = 0
