r"""Conditional answers: what a listener in mode ``reply`` answers to which packets. PURE.

Model: a ``Rule`` says when it answers and with what; a ``Standing`` is one in force, with its number and its hits.
``Answers`` are those of one listener, in order; ``Rules`` those of all listeners::

    admin port, config --add, configure--> Rules --> Answers of the listener --changed--> who serves its streams
    a stream --answer(packet), greeting()--> Answers

**Which answers.** The first that holds and is not used up. If none does, the canned reply answers, as ever. Those of
the admin port come before those of the config, each in the order in which they came. Nothing else is remembered: an
answer depends on the packet, and on how often the rules before have answered.

- ``TEXT`` is the whole content of the packet: without its delimiter or header, upper and lower case as they stand.
- ``/REGEX/`` is found somewhere in the content (``inject/patterns.py``, which has the bound).
- ``connect`` answers no packet: it is sent once when a stream opens, before anything is read.

An empty answer sends nothing; the packet counts as swallowed. ``times`` counts over all streams, and greetings too.

Rules: a rule is checked when it is made, ``InjectionError`` 400; ``check_rule`` says whether it can answer at a
listener (409). The work for a packet is bounded by ``MOST_RULES`` and ``patterns.LOOK``; ``packets_a_call`` and
``bytes_a_call`` are how many a stream may take in one turn.

Beware: a text between slashes is an expression, and ``connect`` the greeting, in quotes or not: write ``\x2f...``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import count
from typing import Any, NoReturn
from weakref import WeakMethod

from attrs import define, field, frozen

from ctrlserver.errors import InjectionError, UnitError
from ctrlserver.inject.arguments import LONGEST_TEXT, size_text
from ctrlserver.inject.orderer import CONFIG, PROGRAM, Orderer
from ctrlserver.inject.patterns import Pattern
from ctrlserver.inject.places import Place
from ctrlserver.units import parse_escapes
from ctrlserver.words import counted, quoted

MOST_RULES = 64
"""Rules of a listener: each may be tried for each of its packets."""
LONGEST_DELAY = 3600.0
"""Seconds."""
MOST_TRIES = 4096
"""Texts that the packets of one call are held against, at least one packet; an expression counts as four: 0.4 ms."""
MOST_STEPS = 1 << 14
"""Bytes looked at by expressions in one call, at least those of one packet: 0.4 ms."""
LONGEST_DATAGRAM = 65507
"""Bytes of an answer by UDP."""

CONNECT = "connect"


@frozen
class Rule:
    """``when`` and ``answer`` as they were written; ``times`` None: always; ``delay``: seconds.

    ``octets``: what is sent. ``holds(packet)``: whether it answers; None for ``connect``.
    """

    when: str
    answer: str
    times: int | None = None
    delay: float = 0.0
    octets: bytes = field(init=False, eq=False, repr=False)
    holds: Callable[[bytes], bool] | None = field(init=False, eq=False, repr=False)

    @octets.default
    def _octets(self) -> bytes:
        octets = _bytes_of("with", self.answer)
        if len(octets) > LONGEST_TEXT:
            _refuse("with", self.answer, f"{len(octets)} bytes: expected at most {LONGEST_TEXT}")
        return octets

    @holds.default
    def _holds(self) -> Callable[[bytes], bool] | None:
        when = self.when
        if when == CONNECT:
            return None
        if len(when) > 1 and when.startswith("/"):
            if not when.endswith("/"):
                near = rf"\x2f{when[1:]}"
                _refuse("when", when, f'expected "/" at its end, or for the text itself {quoted(near)}')
            return Pattern(when[1:-1]).holds
        return _bytes_of("when", when).__eq__

    @property
    def table(self) -> dict[str, str | int | float]:
        """As a table of the config."""
        given = {"when": self.when, "with": self.answer, "times": self.times, "delay": self.delay or None}
        return {key: value for key, value in given.items() if value is not None}

    def __str__(self) -> str:
        """``when "PING" with "PONG"``, as a line on a changed config has it."""
        return " ".join(f"{key} {quoted(value)}" for key, value in self.table.items())

    @property
    def looks(self) -> bool:
        """Whether its work grows with the packet."""
        return self.holds is not None and len(self.when) > 1 and self.when.startswith("/")


def _bytes_of(what: str, text: str) -> bytes:
    try:
        return parse_escapes(text)
    except UnitError as error:
        raise InjectionError(f"{what}: {error}") from None


def _refuse(what: str, text: str, why: str) -> NoReturn:
    raise InjectionError(f"{what} {quoted(text)}: {why}")


def check_rule(rule: Rule, place: Place) -> None:
    """InjectionError (409) for a rule that cannot answer at ``place``."""
    where = f"listener {quoted(place.listener)}"
    if place.mode != "reply":
        raise InjectionError(f'an answer needs mode "reply"; {where} is a {place.mode}', 409)
    if rule.holds is None and place.transports == {"udp"}:
        raise InjectionError(f'"connect" needs connections; {where} is a UDP port', 409)
    size = len(rule.octets)
    if size > place.reply_buffer:
        bound = f"the reply_buffer of {where} has {size_text(place.reply_buffer)}"
        raise InjectionError(f"an answer of {counted(size, 'byte')}; {bound}", 409)
    if "udp" in place.transports and rule.holds is not None and size > LONGEST_DATAGRAM:
        raise InjectionError(f"an answer of {size} bytes: a datagram holds at most {LONGEST_DATAGRAM}", 409)


def _fits(rule: Rule, place: Place) -> bool:
    try:
        check_rule(rule, place)
    except InjectionError:
        return False
    return True


@define(eq=False)
class Standing:
    """One rule in force.

    ``number``: from 1, over all listeners, never used twice. ``since``: nanoseconds since 1970. ``by``: who ordered it.
    """

    number: int
    listener: str
    rule: Rule
    since: int
    by: Orderer
    hits: int = 0


class Answers:
    """The ``rules`` of one listener: those that were ``ordered``, then those that are ``configured``.

    ``of_packets``: whether there are rules for packets, so that somebody has to look into them. ``longest``: bytes of
    the longest answer of theirs.
    ``packets_a_call``, ``bytes_a_call``: what a stream may cut and look into in one turn.
    """

    __slots__ = (
        "_greetings",
        "_of_packets",
        "_watchers",
        "bytes_a_call",
        "configured",
        "longest",
        "of_packets",
        "ordered",
        "packets_a_call",
        "rules",
    )

    def __init__(self) -> None:
        self.ordered: tuple[Standing, ...] = ()
        self.configured: tuple[Standing, ...] = ()
        self._watchers: list[WeakMethod[Any]] = []
        self._arrange()

    def answer(self, packet: bytes) -> Rule | None:
        """The rule that answers ``packet``, which counts as its hit; None for the canned reply."""
        for holds, each in self._of_packets:
            times = each.rule.times
            if (times is None or each.hits < times) and holds(packet):
                each.hits += 1
                return each.rule
        return None

    def greeting(self) -> Rule | None:
        """The rule that greets a stream that opens, which counts as its hit."""
        for each in self._greetings:
            if each.rule.times is None or each.hits < each.rule.times:
                each.hits += 1
                return each.rule
        return None

    def watch(self, watcher: Callable[[], object]) -> None:
        """Tell ``watcher``, a bound method, of each change, as long as its object lives."""
        self._watchers = [*(each for each in self._watchers if each() is not None), WeakMethod(watcher)]

    def put(self, ordered: Iterable[Standing], configured: Iterable[Standing]) -> None:
        """From now on these are in force."""
        self.ordered, self.configured = tuple(ordered), tuple(configured)
        self._arrange()
        for each in self._watchers:
            if (watcher := each()) is not None:
                watcher()

    def _arrange(self) -> None:
        rules = self.rules = self.ordered + self.configured
        self._of_packets = tuple((each.rule.holds, each) for each in rules if each.rule.holds is not None)
        self.of_packets = bool(self._of_packets)
        self.longest = max((len(each.rule.octets) for _, each in self._of_packets), default=0)
        self._greetings = tuple(each for each in rules if each.rule.holds is None)
        looking = sum(each.rule.looks for each in rules)
        self.packets_a_call = MOST_TRIES // max(8, len(self._of_packets) + 3 * looking)
        self.bytes_a_call = MOST_STEPS // looking if looking else 1 << 30


class Rules:
    """Those of all listeners; they belong to the listener's name and outlive its config.

    ``told(listener)`` is called after those of a listener have changed.
    """

    def __init__(self) -> None:
        self.told: Callable[[str], object] = lambda _: None
        self._answers: dict[str, Answers] = {}
        self._configured: dict[str, tuple[Rule, ...]] = {}
        self._numbers = count(1)

    def of(self, listener: str) -> Answers:
        """Those of one listener, whether or not it has any."""
        return self._answers.setdefault(listener, Answers())

    def all(self) -> list[Standing]:
        """Listener by listener, in the order in which they are asked."""
        return [each for name in sorted(self._answers) for each in self._answers[name].rules]

    def add(self, rule: Rule, place: Place, since: int, by: Orderer = PROGRAM) -> Standing:
        """Put ``rule`` in force behind the ordered ones; InjectionError 409 where it cannot answer, or for too many."""
        check_rule(rule, place)
        answers = self.of(place.listener)
        if len(answers.rules) >= MOST_RULES:
            raise InjectionError(
                f"listener {quoted(place.listener)} has {MOST_RULES} answers already, and no more are allowed", 409
            )
        standing = Standing(next(self._numbers), place.listener, rule, since, by)
        self._put(place.listener, (*answers.ordered, standing), answers.configured)
        return standing

    def configure(self, configured: Mapping[str, Sequence[Rule]], places: Iterable[Place], since: int) -> None:
        """Put the rules of a config in place of those of the config before, unless that had the same.

        Ordered rules end whose listener is none of ``places``, or is one that can no longer answer so.
        """
        known = {place.listener: place for place in places}
        before, self._configured = self._configured, {name: tuple(rules) for name, rules in configured.items()}
        for name in dict.fromkeys((*self._answers, *configured)):
            answers, place, rules = self.of(name), known.get(name), self._configured.get(name, ())
            ordered = tuple(each for each in answers.ordered if place is not None and _fits(each.rule, place))
            standing = answers.configured
            if rules != before.get(name, ()):
                standing = tuple(Standing(next(self._numbers), name, rule, since, CONFIG) for rule in rules)
            if ordered + standing != answers.rules:
                self._put(name, ordered, standing)

    def end(self, which: int | str | None = None) -> list[Standing]:
        """End the rule of that number, those of that listener, or all; returns those that were in force."""
        ended = [each for each in self.all() if which is None or which in (each.number, each.listener)]
        for name in sorted({each.listener for each in ended}):
            answers = self._answers[name]
            ordered, configured = (
                [each for each in part if each not in ended] for part in (answers.ordered, answers.configured)
            )
            self._put(name, ordered, configured)
        return ended

    def _put(self, name: str, ordered: Iterable[Standing], configured: Iterable[Standing]) -> None:
        self.of(name).put(ordered, configured)
        self.told(name)
