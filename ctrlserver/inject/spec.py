"""The frozen tree of a spec: ``Spec`` of ``Term``, each with its ``When`` and its ``Action``.

Rules: ``text`` is the canonical spelling of a tree, and ``parse_spec`` (``inject/parsing.py``) reads it back as an
equal one. The classes check nothing: the parser does.
"""

from __future__ import annotations

from decimal import Decimal

from attrs import frozen

from ctrlserver.inject.actions import OF_CONNECTIONS, Action
from ctrlserver.inject.arguments import size_text

MOST_INJECTIONS = 16
"""Injections of one listener: a stream asks each of them about each of its packets."""
PERCENT = 10**9
"""Parts of a percent that a chance is told in."""


@frozen
class First:
    """``3*``: the first packets that the term sees."""

    number: int

    @property
    def text(self) -> str:
        """The number."""
        return str(self.number)


@frozen
class Every:
    """``10th*``: of the packets that the term sees, each tenth."""

    number: int

    @property
    def text(self) -> str:
        """The ordinal."""
        return ordinal(self.number)


@frozen
class Chance:
    """``5%*``: each packet by chance; ``parts`` of 10^-9 percent."""

    parts: int

    @property
    def text(self) -> str:
        """The percentage without needless zeros."""
        return f"{Decimal(self.parts).scaleb(-9).normalize():f}%"

    @property
    def below(self) -> int:
        """A packet is struck where its word of 64 bits is below."""
        return (self.parts << 64) // (100 * PERCENT)


@frozen
class Upto:
    """``64KiB*``: the packets that lie wholly within the first bytes that the term sees."""

    nbytes: int

    @property
    def text(self) -> str:
        """The size with its unit."""
        return size_text(self.nbytes)


When = First | Every | Chance | Upto


@frozen
class Term:
    """An action and when it strikes; ``when`` None: always."""

    action: Action
    when: When | None = None

    @property
    def text(self) -> str:
        """Its canonical spelling."""
        return self.action.text if self.when is None else f"{self.when.text}*{self.action.text}"


@frozen
class Spec:
    """The terms of an injection, in their order."""

    terms: tuple[Term, ...]

    @property
    def text(self) -> str:
        """Its canonical spelling."""
        return "->".join(term.text for term in self.terms)

    @property
    def of_connections(self) -> bool:
        """Whether it strikes connections (accept, TLS) and counts those; else packets."""
        return any(term.action.kind.point in OF_CONNECTIONS for term in self.terms)

    @property
    def over_all_streams(self) -> tuple[Term, ...]:
        """The terms whose number counts over all streams of the injection, not for each."""
        return tuple(term for term in self.terms if term.action.kind.last and isinstance(term.when, First))

    @property
    def needs_sizes(self) -> bool:
        """Whether it matters how long the packets are."""
        return any(isinstance(term.when, Upto) for term in self.terms)


def ordinal(number: int) -> str:
    """``2nd`` ``3rd`` ``10th`` ``21st``."""
    ending = "th" if number % 100 in (11, 12, 13) else {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
    return f"{number}{ending}"
