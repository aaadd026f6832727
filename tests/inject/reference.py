"""The strikes by their definition: every packet asked by itself, with nothing remembered but what each term saw.

It shares the tree and the hash with the code under test, and nothing of its counting.
"""

from __future__ import annotations

from collections.abc import Sequence

from ctrlserver.inject.draws import Draws
from ctrlserver.inject.spec import Chance, Every, First, Spec, Term, Upto


class Reference:
    """One stream, number ``stream``, that nothing shares a count with."""

    def __init__(self, spec: Spec, seed: int, stream: int = 1) -> None:
        self.spec = spec
        self.seed = seed
        self.stream = stream
        self.seen: list[list[int]] = [[] for _ in spec.terms]
        self.hits: list[list[int]] = [[] for _ in spec.terms]
        self.over = False

    def term_of(self, packet: int, size: int) -> int | None:
        """The index of the term whose action befalls ``packet``; None where nothing does."""
        if self.over:
            return None
        for at, term in enumerate(self.spec.terms):
            self.seen[at].append(size)
            if self._strikes(at, term, packet):
                self.hits[at].append(size)
                name = term.action.name
                self.over = name in ("off", "reset", "close", "half-close", "stall")
                return None if name in ("ok", "off") else at
        return None

    def _strikes(self, at: int, term: Term, packet: int) -> bool:
        seen = self.seen[at]
        match term.when:
            case First(number):
                return len(self.hits[at]) < number
            case Every(number):
                return len(seen) % number == 0
            case Upto(nbytes):
                return sum(seen) <= nbytes
            case Chance(parts):
                word = Draws(self.seed, self.stream, at, "chance").word(packet)
                return word < (parts << 64) // (100 * 10**9)
        return True


def struck_by_definition(spec: Spec, seed: int, sizes: Sequence[int]) -> list[int | None]:
    """For each packet of a stream the term that strikes it."""
    reference = Reference(spec, seed)
    return [reference.term_of(packet, size) for packet, size in enumerate(sizes, 1)]
