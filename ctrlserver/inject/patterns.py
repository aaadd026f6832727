r"""Regular expressions that no packet makes slow: a table, and one look-up for each byte.

Model: an expression becomes a nondeterministic automaton (Thompson's), and that a table of all its states, once. A row
of the table is a list of the next row for each class of bytes, and at its end whether the expression holds where the
packet ends there. Two rows are empty, where it holds and where it no longer can: the next byte is an ``IndexError``,
and the search is over.

Rules:

- A search takes one step for each of the first ``LOOK`` bytes, whatever they are. What it does not see it does not
  find, and where more follows, that is not the end.
- The spelling is that of Python's ``re`` for bytes, which also judges it: literals, ``.``, classes, escapes, groups,
  ``|``, ``* + ? {2,5}``, ``^`` and ``$``, ``(?i)`` and ``(?s)`` in front. ``$`` is the very end. What would have to
  look back or ahead (``\1``, ``\b``, ``(?=...)``) is refused; so is what needs more than ``LARGEST_TABLE``.

Why not a library: those with this promise (RE2) have no packages for musl and 32-bit ARM, and ``re`` does not have it.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NoReturn

from ctrlserver.errors import InjectionError
from ctrlserver.words import quoted

LOOK = 1024
"""Bytes of a packet that an expression looks at: some 20 us of work."""
LARGEST_TABLE = 1 << 14
"""Entries of a table: 128 KiB."""
LONGEST = 1000
"""Characters of an expression, and parts of its automaton once its ``{2,5}`` are written out."""
MOST_WORK = 1 << 14
"""Steps in which a table has to be made: some 20 ms. What people write takes a tenth of that."""
MOST_GROUPS = 50
"""Groups of an expression, which may lie in each other."""

Row = list[Any]
"""The next row for each class of bytes, then whether the packet may end here. Empty: the search is over."""

_TOKEN = re.compile(
    r"""(?P<octets>\[\^?\]?(?:\\.|[^\]\\])*\]|\\x[0-9a-fA-F]{2}|\\0[0-7]{0,2}|\\[1-7][0-7]{2}|\\[^1-9AZbBx]|[^\\()|^$*+?[{])
    |(?P<start>\^|\\A)|(?P<end>\$|\\Z)
    |(?P<repeat>[*+?]|\{(?=[0-9,])(?P<least>[0-9]*)(?P<range>,(?P<most>[0-9]*))?\})(?P<how>[?+]?)
    |(?P<open>\((?:\?:)?)|(?P<close>\))|(?P<or>\|)|(?P<brace>\{)""",
    re.DOTALL | re.VERBOSE,
)

Part = Callable[[int], int]
"""A part of an expression: given the state after it, the state at which it begins."""


class Pattern:
    """``holds(packet)``: whether the expression is found in it. ``text``: as it was given, without the slashes."""

    __slots__ = ("_classes", "_found", "_start", "text")

    def __init__(self, text: str) -> None:
        self.text = text
        automaton = _Automaton(text)
        self._classes, self._start, self._found = _Table(automaton).made()

    def holds(self, packet: bytes) -> bool:
        """Whether the expression is found in the first bytes of ``packet``."""
        row = self._start
        try:
            for octet in packet[:LOOK].translate(self._classes):
                row = row[octet]
            at_end: bool = row[-1]
        except IndexError:
            return row is self._found
        return at_end and len(packet) <= LOOK


class _Automaton:
    """States by their numbers: a set of bytes with the state after it, or edges that take no byte.

    ``octets`` are sets of bytes as bits. 0 is the state in which the expression holds.
    """

    def __init__(self, text: str) -> None:
        self._text = text
        self.octets: list[int] = [0]
        self.after: list[tuple[int, ...]] = [()]
        self.only: list[str] = [""]  # "start", "end": the edges are there at that place alone
        self._known: dict[str, int] = {}
        self._parts = 0
        spelled = text.encode("utf-8", "surrogateescape").decode("latin-1")
        flags = re.match(r"\(\?([is]+)\)", spelled)
        self._flags = re.RegexFlag(0)
        for flag in flags[1] if flags else "":
            self._flags |= {"i": re.IGNORECASE, "s": re.DOTALL}[flag]
        self._check(spelled)
        self._tokens = self._cut(spelled, flags.end() if flags else 0)
        self._token = next(self._tokens)
        self.begin = self._either()(0)

    def _check(self, spelled: str) -> None:
        if len(spelled) > LONGEST or spelled.count("(") > MOST_GROUPS:
            self._refuse(f"expected at most {LONGEST} characters and {MOST_GROUPS} groups")
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                re.compile(spelled.encode("latin-1"))
        except re.error as error:
            place = "" if error.pos is None else f" at {error.pos + 1}"
            self._refuse(f"{error.msg}{place}")
        except (OverflowError, RecursionError):
            self._refuse("too complex")

    def _cut(self, spelled: str, at: int) -> Iterator[re.Match[str] | None]:
        while at < len(spelled):
            match = _TOKEN.match(spelled, at)
            if match is None or spelled.startswith("(?", at) > (match["open"] == "(?:"):
                found = re.compile(r"\(\?.?|\\.?|.", re.DOTALL).match(spelled, at)
                self._refuse(f"{quoted(found[0] if found else '')} at {at + 1} would have to look back or ahead")
            if match["how"] == "+":
                self._refuse(f"{quoted(match[0])} at {at + 1} does not give back what it took")
            yield match
            at = match.end()
        yield None

    def _is(self, kind: str) -> bool:
        return self._token is not None and self._token[kind] is not None

    def _step(self) -> re.Match[str]:
        token = self._token
        assert token is not None
        self._token = next(self._tokens)
        return token

    def _either(self) -> Part:
        """``ab|cd``."""
        parts = [self._sequence()]
        while self._is("or"):
            self._step()
            parts.append(self._sequence())
        if len(parts) == 1:
            return parts[0]
        return lambda after: self._edges(*(part(after) for part in parts))

    def _sequence(self) -> Part:
        parts: list[Part] = []
        while self._token is not None and not self._is("or") and not self._is("close"):
            part = self._single()
            while self._is("repeat"):
                part = self._repeated(part, self._step())
            parts.append(part)

        def begin(after: int) -> int:
            for part in reversed(parts):
                after = part(after)
            return after

        return begin

    def _single(self) -> Part:
        token = self._step()
        if token["open"] is not None:
            part = self._either()
            self._step()
            return part
        for place in ("start", "end"):
            if token[place] is not None:
                return lambda after: self._edges(after, only=place)
        octets = self._set_of(r"\{" if token["brace"] else token[0])
        return lambda after: self._state(octets, (after,))

    def _repeated(self, part: Part, token: re.Match[str]) -> Part:
        least, most = {"*": (0, -1), "+": (1, -1), "?": (0, 1)}.get(token["repeat"], (-1, -1))
        if least < 0:
            least = int(token["least"] or 0)
            most = least if token["range"] is None else int(token["most"] or -1)
        if max(least, most) > LONGEST:
            self._refuse("too complex")

        def begin(after: int) -> int:
            if most < 0:
                again = self._edges(after)
                self.after[again] = (part(again), after)
                after = again
            else:
                end = after
                for _ in range(most - least):
                    after = self._edges(self._written(part, after), end)
            for _ in range(least):
                after = self._written(part, after)
            return after

        return begin

    def _written(self, part: Part, after: int) -> int:
        """One of the times that a part is written out, which may add no state."""
        self._parts += 1
        if self._parts > LONGEST:
            self._refuse("too complex")
        return part(after)

    def _set_of(self, spelled: str) -> int:
        """The bytes that one character of an expression, a class or an escape stands for; ``re`` knows."""
        octets = self._known.get(spelled)
        if octets is None:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                one = re.compile(spelled.encode("latin-1"), self._flags)
            octets = sum(1 << octet for octet in range(256) if one.fullmatch(bytes([octet])))
            self._known[spelled] = octets
        return octets

    def _edges(self, *after: int, only: str = "") -> int:
        return self._state(0, after, only)

    def _state(self, octets: int, after: tuple[int, ...], only: str = "") -> int:
        if len(self.octets) > LONGEST:
            self._refuse("too complex")
        self.octets.append(octets)
        self.after.append(after)
        self.only.append(only)
        return len(self.octets) - 1

    def _refuse(self, why: str) -> NoReturn:
        raise InjectionError(f"when {quoted(f'/{self._text}/')}: {why}")

    def too_complex(self) -> NoReturn:
        """Its table would be too large."""
        self._refuse("too complex: expected an expression of fewer repeats, or several rules")


class _Table:
    """All sets of states in which an automaton may be, as rows."""

    def __init__(self, automaton: _Automaton) -> None:
        self._automaton = automaton
        self._work = 0
        self._again = self._closed([automaton.begin])  # a match may begin at any byte

    def made(self) -> tuple[bytes, Row, Row]:
        """The class of each byte, the first row, and the one in which the expression holds."""
        classes, octet_of = self._classes()
        holds: Row = []
        fails: Row = []
        rows: dict[tuple[frozenset[int], str], Row] = {}
        waiting: list[tuple[frozenset[int], str]] = []

        def row_of(states: frozenset[int], place: str = "") -> Row:
            """The row of these states, at the start of a packet or not; it may be filled later."""
            if 0 in states:
                return holds
            if not states:
                return fails
            if (states, place) not in rows:
                waiting.append((states, place))
            return rows.setdefault((states, place), [])

        start = row_of(self._closed([self._automaton.begin], "start"), "start")
        while waiting:
            states, place = waiting.pop()
            row = rows[states, place]
            row += [row_of(self._after(states, octet)) for octet in octet_of]
            row.append(0 in self._closed(states, place, "end"))
            if len(rows) * len(octet_of) > LARGEST_TABLE:
                self._automaton.too_complex()
        return classes, start, holds

    def _classes(self) -> tuple[bytes, list[int]]:
        """For each byte its class; for each class one of its bytes."""
        sets = sorted({octets for octets in self._automaton.octets if octets})
        known: dict[tuple[int, ...], int] = {}
        octet_of: list[int] = []
        classes = bytearray(256)
        for octet in range(256):
            alike = tuple(octets >> octet & 1 for octets in sets)
            if alike not in known:
                known[alike] = len(octet_of)
                octet_of.append(octet)
            classes[octet] = known[alike]
        return bytes(classes), octet_of

    def _after(self, states: frozenset[int], octet: int) -> frozenset[int]:
        octets, after = self._automaton.octets, self._automaton.after
        self._work += len(states)
        return self._again | self._closed([after[state][0] for state in states if octets[state] >> octet & 1])

    def _closed(self, states: Iterable[int], *places: str) -> frozenset[int]:
        """What is reached from ``states`` without a byte, at ``places``: the states that take one, end, or hold."""
        automaton = self._automaton
        seen = set(states)
        waiting = list(seen)
        found = set()
        while waiting:
            state = waiting.pop()
            self._work += 1
            only = automaton.only[state]
            if state == 0 or automaton.octets[state] or only == "end":
                found.add(state)
            if not automaton.octets[state] and (not only or only in places):
                more = [each for each in automaton.after[state] if each not in seen]
                seen.update(more)
                waiting += more
        if self._work > MOST_WORK:
            automaton.too_complex()
        return frozenset(found)
