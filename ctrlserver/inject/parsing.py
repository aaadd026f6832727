"""The grammar of a spec, after FreeBSD's fail(9): a text to its tree.

::

    SPEC   = TERM ("->" TERM)*
    TERM   = [WHEN "*"] ACTION ["(" ARGUMENT ")"]
    WHEN   = 3 | 10th | 5% | 64KiB

Blanks may stand around every part; actions are read without regard to case.

Rules: an error is an ``InjectionError`` that quotes what is wrong and tells its place, from 1 on, and the nearest good
text. A term that no packet can reach, and a spec that strikes nothing, are errors: they are slips.

Beware: ``refuse`` and ``hang`` leave connections to the kernel, so they strike from where they begin and for good. Up
to there connections are counted: ``3*ok->refuse``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NoReturn

from attrs import frozen

from ctrlserver.errors import InjectionError, UnitError, UsageError
from ctrlserver.inject.actions import KINDS, OF_CONNECTIONS, Action, Kind
from ctrlserver.inject.spec import PERCENT, Chance, Every, First, Spec, Term, Upto, When, ordinal
from ctrlserver.units import parse_size
from ctrlserver.words import did_you_mean, hint_in, quoted

LONGEST_SPEC = 1 << 17
"""Characters of a spec: a text of ``wrong`` at its longest, in escapes, fits."""
MOST_TERMS = 16
"""Terms of a spec: each run of packets asks them one after the other."""
MOST_PACKETS = 10**18
"""The largest count."""

_NAME = re.compile(r"[A-Za-z0-9_-]+")
_STARLESS = re.compile(r"([0-9.]+(?:%|st|nd|rd|th|[KMGT]?i?B)?)\s*([A-Za-z-]+)")
"""A WHEN and an action without the star between them, as fail(9) writes chances."""
_WHENS = "expected 3 (the first three), 10th (every tenth), 5% or 64KiB"


@frozen
class _Piece:
    """A stretch of a spec; ``at`` is the index of its first character."""

    text: str
    at: int

    def part(self, start: int, end: int | None = None) -> _Piece:
        """The characters from ``start`` to ``end``, without the blanks around them."""
        text = self.text[start:end]
        return _Piece(text.strip(), self.at + start + len(text) - len(text.lstrip()))


def parse_spec(text: str) -> Spec:
    """The tree of ``text``; InjectionError where it is wrong."""
    if len(text) > LONGEST_SPEC:
        raise InjectionError(f"{quoted(text)}: expected at most {LONGEST_SPEC} characters")
    if not text.strip():
        raise InjectionError('"": expected an action such as "swallow", or several such as "3*swallow->delay(200ms)"')
    pieces = list(_terms(text))
    if len(pieces) > MOST_TERMS:
        _refuse(pieces[MOST_TERMS], f"expected at most {MOST_TERMS} terms")
    terms = [_term(piece) for piece in pieces]
    _check_together(terms, pieces)
    return Spec(tuple(terms))


def _terms(text: str) -> Iterator[_Piece]:
    """The stretches between the arrows, of which those in brackets are none."""
    whole = _Piece(text, 0)
    start = at = 0
    opened = -1
    while at < len(text):
        char = text[at]
        if opened < 0:
            if char == "(":
                opened = at
            elif text.startswith("->", at):
                yield whole.part(start, at)
                start = at = at + 2
                continue
        elif char in "'\"":
            at = _end_of_quotes(whole, at)
        elif char == ")":
            opened = -1
        at += 1
    if opened >= 0:
        _refuse(whole.part(opened), 'expected ")" after it')
    yield whole.part(start)


def _end_of_quotes(whole: _Piece, start: int) -> int:
    """The index of the quote that ends what begins with one at ``start``."""
    mark = whole.text[start]
    match = re.compile(rf"(?:\\.|[^\\{mark}])*{mark}", re.DOTALL).match(whole.text, start + 1)
    if match is None:
        _refuse(whole.part(start), f"expected {mark} at its end")
    return match.end() - 1


def _term(piece: _Piece) -> Term:
    if not piece.text:
        raise InjectionError(f'nothing at {piece.at + 1}: expected an action before and after "->"')
    opened = piece.text.find("(")
    head = piece.text if opened < 0 else piece.text[:opened]
    star = head.find("*")
    action = _action(piece.part(star + 1))
    if star < 0:
        return Term(action)
    when = piece.part(0, star)
    return Term(action, _when(when))


def _action(piece: _Piece) -> Action:
    match = _NAME.match(piece.text)
    if starless := _STARLESS.match(piece.text):
        when, name = starless[1], starless[2]
        if name.casefold() in KINDS:
            raise InjectionError(f'{quoted(when + name)} at {piece.at + 1}; did you mean "{when}*{name}"?')
    if match is None:
        _refuse(piece, 'expected an action such as "swallow"')
    name = match[0].casefold()
    kind = KINDS.get(name)
    if kind is None:
        _refuse_name(_Piece(match[0], piece.at))
    rest = piece.part(match.end())
    if not rest.text.startswith("("):
        if rest.text:
            _refuse(rest, 'expected "->" or the end')
        if kind.read is not None and kind.otherwise is None:
            raise InjectionError(f'"{name}" at {piece.at + 1} needs an argument, such as "{kind.form}"')
        return Action(name, kind.otherwise)
    end = _end_of_brackets(rest)
    after = rest.part(end + 1)
    if after.text:
        _refuse(after, 'expected "->" or the end')
    inner = rest.part(1, end)
    return _with_argument(kind, inner, piece.at)


def _end_of_brackets(piece: _Piece) -> int:
    at = 1
    while piece.text[at] != ")":
        at = _end_of_quotes(piece, at) + 1 if piece.text[at] in "'\"" else at + 1
    return at


def _with_argument(kind: Kind, inner: _Piece, at: int) -> Action:
    if kind.read is None:
        _refuse(_Piece(f"{kind.name}({inner.text})", at), "it takes no argument", kind.name)
    if not inner.text:
        raise InjectionError(f'"{kind.name}" at {at + 1} needs an argument, such as "{kind.form}"')
    try:
        return Action(kind.name, kind.read(inner.text))
    except UnitError as error:
        _refuse(inner, str(error).partition(": ")[2])
    except UsageError as error:
        _refuse(inner, str(error))


def _refuse_name(name: _Piece) -> NoReturn:
    """An unknown action."""
    near = did_you_mean(name.text, KINDS)
    if near:
        raise InjectionError(f"{quoted(name.text)} at {name.at + 1}{near}")
    _refuse(name, f"expected an action: {', '.join(KINDS)}")


def _when(piece: _Piece) -> When:
    text = piece.text.replace(" ", "")
    if re.fullmatch(r"[0-9]{1,19}", text):
        return First(_number(piece, text, 1))
    if match := re.fullmatch(r"([0-9]{1,19})(?i:st|nd|rd|th)", text):
        number = int(match[1])
        if number == 1:
            _refuse(piece, 'every packet is struck without it, the first one by "1*"')
        if text.casefold() != ordinal(number) and number:
            _refuse(piece, "expected an ordinal", ordinal(number))
        return Every(_number(piece, match[1], 2))
    if text.endswith("%"):
        return _chance(piece, text)
    return _upto(piece, text)


def _number(piece: _Piece, digits: str, least: int) -> int:
    number = int(digits)
    if not least <= number <= MOST_PACKETS:
        _refuse(piece, f"expected a number from {least} to {MOST_PACKETS}")
    return number


def _chance(piece: _Piece, text: str) -> Chance:
    match = re.fullmatch(r"([0-9]{1,3})(?:\.([0-9]{1,9}))?%", text)
    parts = int(match[1]) * PERCENT + int((match[2] or "").ljust(9, "0")) if match else 0
    if not 0 < parts <= 100 * PERCENT:
        _refuse(piece, "expected a chance above 0 and up to 100%, such as 5% or 0.01%")
    return Chance(parts)


def _upto(piece: _Piece, text: str) -> Upto:
    try:
        nbytes = parse_size(text)
    except UnitError as error:
        hint = hint_in(error)
        _refuse(piece, _WHENS + (hint if hint.endswith('B"?') else ""))
    if not text.endswith("B"):
        _refuse(piece, _WHENS, f"{text.upper()}iB" if nbytes and text[-1].upper() in "KMGT" else "")
    if not nbytes:
        _refuse(piece, _WHENS)
    return Upto(nbytes)


def _check_together(terms: list[Term], pieces: list[_Piece]) -> None:
    """What each term does to the others."""
    points = {term.action.kind.point for term in terms}
    of_connections = bool(points & set(OF_CONNECTIONS))
    always: Term | None = None
    for term, piece in zip(terms, pieces, strict=True):
        kind = term.action.kind
        named = _Piece(term.text, piece.at)
        if always is not None:
            _refuse(named, f'no packet gets there: "{always.text}" before it always strikes')
        if of_connections and kind.point not in ("", *OF_CONNECTIONS):
            _refuse(named, "it strikes packets, and others here strike connections: order two injections")
        if of_connections and isinstance(term.when, Upto):
            _refuse(named, "a connection that is not yet a stream has no bytes: expected a number such as 3*")
        if not kind.counted and term.when is not None:
            expected = f'nobody counts whom the kernel alone meets: expected "{kind.name}" without "*"'
            _refuse(named, f'{expected}, or "{term.when.text}*close-at-once"')
        if term.when is None:
            always = term
    if points == {""}:
        _refuse(pieces[0], "it strikes nothing: expected an action beside ok and off")


def _refuse(piece: _Piece, expected: str, near: str = "") -> NoReturn:
    hint = f'; did you mean "{near}"?' if near else ""
    raise InjectionError(f"{quoted(piece.text)} at {piece.at + 1}: {expected}{hint}")
