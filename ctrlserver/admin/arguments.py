"""Words after a command's name -> its arguments; no clock, no socket.

Rules: every argument is given by position or as ``name=value``, names without regard to case, each at most once. A
word left over is an error. Numbers are strict: ASCII digits and nothing else. Every error is a
``CommandError`` 400 that names the argument, what was expected and, where there is one, the nearest good value.

Beware: a word with ``=`` in it is ``name=value``, unless it stood in quotes. A number that is out of place, as in
``streams 5``, is the next argument that takes one.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from itertools import takewhile
from math import isfinite
from typing import Final

from attrs import field, frozen

from ctrlserver.admin.dialogue import MAX_LINE, Quoted
from ctrlserver.errors import CommandError, UnitError
from ctrlserver.stats.records import timestamp
from ctrlserver.units import parse_count, parse_duration
from ctrlserver.words import did_you_mean, hint_in, quoted

MOST: Final = 2**63 - 1
"""The largest number taken: what every JSON reader with 64-bit integers still holds."""

_DIGITS = re.compile(r"[0-9]+")
_NAMED = re.compile(r"[A-Za-z_]+=")
_OPERATOR: Final = frozenset("<>=!")
_DATE = re.compile(r"(19|20)[0-9]{2}([01][0-9][0-3][0-9])?")
_PIECE = re.compile(r"(?:\\.|[^\\,])+")
_PIECES = re.compile(rf"{_PIECE.pattern}(,{_PIECE.pattern})*")
_MEANT = re.compile(r"-?\d+(\.\d+)?([eE][+-]?\d{1,2})?")


@frozen
class Parameter:
    """One argument of a command. ``shown`` is its form in the usage line; ``positional``: its name may be left out.

    A class of parameters says what it accepts, in words, and reads a text: the value, or ``CommandError``.
    """

    name: str
    shown: str
    required: bool = field(default=False, kw_only=True)
    positional: bool = field(default=True, kw_only=True)

    @property
    def expected(self) -> str:
        """For errors and for docs/admin-protocol.md."""
        raise NotImplementedError

    def read(self, text: str) -> object:
        """The value of ``text``."""
        raise NotImplementedError

    def fits(self, word: str) -> bool:
        """Whether a word without a name is rather this argument than a later one."""
        return True

    def wrong(self, text: str, hint: str = "") -> CommandError:
        """``text`` is not what was expected."""
        return CommandError(400, "bad-argument", f"{self.name} {quoted(text)}: expected {self.expected}{hint}")


@frozen
class Number(Parameter):
    """A whole number, ``least`` or more. ``instead``: words of other commands that may have been meant."""

    expected = "a whole number in plain digits"
    least: int = 0
    instead: tuple[str, ...] = ()

    def read(self, text: str) -> int:
        """Strict: no sign, no fraction, no exponent, no separator."""
        if not _DIGITS.fullmatch(text) or len(text) > 4000:
            raise self.wrong(text, did_you_mean(text, self.instead) or self._nearest(text))
        number = int(text)
        if number < self.least:
            raise self.wrong(text, f", at least {self.least}")
        if number > MOST:
            raise self.wrong(text, f", at most {MOST}")
        return number

    def fits(self, word: str) -> bool:
        """Digits do."""
        return _DIGITS.fullmatch(word) is not None

    def _nearest(self, text: str) -> str:
        meant: float = self.least
        try:
            meant = parse_count(text)
        except UnitError:
            plain = text.replace("_", "").replace(",", "").lstrip("+")
            if not _MEANT.fullmatch(plain):
                return f"; the least is {self.least}" if self.least else ""
            meant = float(plain)
        if not isfinite(meant):
            return ""
        return f"; did you mean {self.name}={min(max(int(meant), self.least), MOST)}?"


@frozen
class Duration(Parameter):
    """Seconds, as ``parse_duration`` reads them."""

    least: float = 0.0
    most: float = 3600.0

    @property
    def expected(self) -> str:
        """The bounds."""
        return f"a duration from {self.least:g} to {self.most:g} s, such as 0.5, 500ms or 10s"

    def read(self, text: str) -> float:
        """Seconds."""
        try:
            seconds = parse_duration(text)
        except UnitError as error:
            raise self.wrong(text, hint_in(error)) from None
        if not self.least <= seconds <= self.most:
            near = self.least if seconds < self.least else self.most
            raise self.wrong(text, f"; did you mean {near:g}?")
        return seconds


@frozen
class Choice(Parameter):
    """One of a few words, without regard to case."""

    choices: tuple[str, ...]

    @property
    def expected(self) -> str:
        """The words."""
        *words, last = self.choices
        return f"{', '.join(words)} or {last}"

    def fits(self, word: str) -> bool:
        """One of the words does."""
        return word.casefold() in self.choices

    def read(self, text: str) -> str:
        """The word as ``choices`` spells it."""
        word = text.casefold()
        if word in self.choices:
            return word
        raise self.wrong(text, did_you_mean(text, self.choices))


@frozen
class Names(Parameter):
    """Names with commas between them, as in ``example``."""

    example: str = field(kw_only=True)

    @property
    def expected(self) -> str:
        """The form."""
        return f"names with commas between them, such as {self.example}"

    def read(self, text: str) -> tuple[str, ...]:
        """The names."""
        names = tuple(text.split(","))
        if not all(names) or len(set(names)) < len(names) or not text.isprintable():
            raise self.wrong(text, ", each once")
        return names


@frozen
class Time(Parameter):
    """A time of day, in UTC unless it says otherwise; read as a timestamp.

    Beware: ``2026`` and ``20261126`` are a year and a date, not seconds of 1970.
    """

    expected = "a time such as 2026-11-26, 2026-11-26T21:00 (UTC) or 1795000000 (seconds since 1970)"

    def read(self, text: str) -> str:
        """As records have it."""
        try:
            if _MEANT.fullmatch(text) and not _DATE.fullmatch(text):
                return timestamp(float(text))
            when = datetime.fromisoformat(f"{text}0101" if len(text) == 4 else text)
            return timestamp((when if when.tzinfo else when.replace(tzinfo=UTC)).timestamp())
        except (ValueError, OverflowError, OSError):
            raise self.wrong(text) from None


@frozen
class Pairs(Parameter):
    """Names and values with commas between them, as in ``example``; what follows a backslash is of the value."""

    example: str = field(kw_only=True)

    @property
    def expected(self) -> str:
        """The form."""
        return rf"names and values such as {self.example}, where \, is a comma of a value and \\ a backslash"

    def read(self, text: str) -> tuple[tuple[str, str], ...]:
        """The pairs."""
        pairs = [each.partition(":") for each in _PIECE.findall(text)]
        if not all(name and value for name, _, value in pairs) or not (_PIECES.fullmatch(text) and text.isprintable()):
            raise self.wrong(text)
        return tuple((name, re.sub(r"\\(.)", r"\1", value)) for name, _, value in pairs)


@frozen
class Text(Parameter):
    """Any word of at most ``longest`` characters, all of them printable; ``rest``: all words that follow as well.

    ``whole``: it may hold an operator such as ``=``, with blanks around it.
    """

    rest: bool = False
    whole: bool = False
    longest: int = 100

    @property
    def expected(self) -> str:
        """Length and characters."""
        return f"1 to {self.longest} printable characters"

    def read(self, text: str) -> str:
        """The word."""
        if text and text.isprintable() and len(text) <= self.longest:
            return text
        raise self.wrong(text)


@frozen
class Spec(Text):
    """An injection. Words that follow it, but for those with a name, belong to it: ``delay(exp 20ms)``."""

    longest: int = MAX_LINE

    @property
    def expected(self) -> str:
        """The form."""
        return "an injection such as 3*swallow->delay(200ms)"


def usage(command: str, parameters: Sequence[Parameter]) -> str:
    """``streams [open|closed] [limit=N]``."""
    words = (parameter.shown if parameter.required else f"[{parameter.shown}]" for parameter in parameters)
    return " ".join((command, *words))


def bind(command: str, parameters: Sequence[Parameter], words: Sequence[str]) -> Mapping[str, object]:
    """The values of ``words`` by parameter name; those left out are not in it."""
    named = {parameter.name: parameter for parameter in parameters}
    given: dict[str, object] = {}
    if any(isinstance(each, Spec) for each in parameters):
        words = _with_spec(parameters, words)
    elif any(isinstance(each, Text) and each.whole for each in parameters):
        words = _joined(named, words)
    for at, word in enumerate(words):
        name, equals, text = word.partition("=")
        parameter: Parameter | None
        if (
            equals
            and not isinstance(word, Quoted)
            and (name.casefold() in named or not _takes_whole(parameters, given))
        ):
            parameter = named.get(name.casefold())
        else:
            text = word
            parameter = _at_this_place(parameters, given, word)
            if parameter is not None and isinstance(parameter, Text) and parameter.rest:
                given[parameter.name] = parameter.read(" ".join(words[at:]))
                break
        if parameter is None:
            raise _left_over(command, parameters, given, word)
        if parameter.name in given:
            raise _twice(parameter.name)
        given[parameter.name] = parameter.read(text)
    for parameter in parameters:
        if parameter.required and parameter.name not in given:
            wrong = f"{quoted(command)} needs {parameter.shown}; usage: {usage(command, parameters)}"
            wrong += f'; "help {command.split()[0]}" says more'
            raise CommandError(400, "missing-argument", wrong)
    return given


def _at_this_place(parameters: Sequence[Parameter], given: Mapping[str, object], word: str) -> Parameter | None:
    """The argument that ``word`` is by its place: the next one that it fits, or else the next one."""
    following = [each for each in parameters if each.positional and each.name not in given]
    fitting = next((each for each in following if each.fits(word)), None)
    if fitting is None and any(isinstance(each, Choice) and each.fits(word) for each in parameters):
        return None  # it is given already
    return fitting or next(iter(following), None)


def _joined(named: Mapping[str, Parameter], words: Sequence[str]) -> Sequence[str]:
    """The words, with those beside an operator as one: ``packets_total >= 5``."""
    joined: list[str] = []
    for word in words:
        name, equals, _ = word.partition("=")
        is_plain = not isinstance(word, Quoted) and not (equals and name.casefold() in named)
        goes_on = joined and not isinstance(joined[-1], Quoted) and {word[:1], joined[-1][-1:]} & _OPERATOR
        if is_plain and goes_on:
            joined[-1] += word
        else:
            joined.append(word)
    return joined


def _with_spec(parameters: Sequence[Parameter], words: Sequence[str]) -> Sequence[str]:
    """The words, with those of a ``Spec`` as one in quotes, unless it stands in quotes."""
    named = [word for word in words if _NAMED.match(word) and not isinstance(word, Quoted)]
    names = {word.partition("=")[0].casefold() for word in named}
    unnamed = [word for word in words if not _NAMED.match(word) or isinstance(word, Quoted)]
    before = takewhile(lambda each: not isinstance(each, Spec), parameters)
    place = sum(each.name not in names for each in before)
    first, rest = unnamed[:place], unnamed[place:]
    if not rest or isinstance(rest[0], Quoted):
        return words
    spec = Quoted(" ".join(word for word in rest if not isinstance(word, Quoted)))
    return [*named, *first, spec, *[word for word in rest if isinstance(word, Quoted)]]


def _takes_whole(parameters: Sequence[Parameter], given: Mapping[str, object]) -> bool:
    """Whether the next argument by position may hold a ``=``."""
    following = next((each for each in parameters if each.positional and each.name not in given), None)
    return isinstance(following, Text) and following.whole


def _left_over(command: str, parameters: Sequence[Parameter], given: Mapping[str, object], word: str) -> CommandError:
    name, equals, _ = word.partition("=")
    for parameter in parameters:
        if not equals and isinstance(parameter, Choice) and word.casefold() in parameter.choices:
            return _twice(parameter.name)
    nearest = ""
    if parameters:
        nearest = did_you_mean(name, [f"{parameter.name}=" for parameter in parameters if parameter.name not in given])
    nearest = nearest or f"; usage: {usage(command, parameters)}"
    return CommandError(400, "unknown-argument", f"{quoted(word)} is nothing that {quoted(command)} takes{nearest}")


def _twice(name: str) -> CommandError:
    return CommandError(400, "duplicate-argument", f"{name} is given twice; give it once")
