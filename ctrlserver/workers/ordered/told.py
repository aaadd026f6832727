"""What a parent says to its workers of injections and answers.

Model: ``Begun`` and ``Ended`` are about an injection that strikes packets, ``ConnectionsOver`` about one that strikes
connections, which the parent carries out itself. ``RulesOf`` has all answers of a listener. Each is answered with the
hits of what is over by it. ``Ordered`` has all that a worker which begins has to know.

Rule: what is counted over all workers goes along as descriptors (``shared.py``), in the order in which it is named.
"""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import IPv4Network, IPv6Network
from typing import TYPE_CHECKING, Any

from attrs import frozen

if TYPE_CHECKING:
    from ctrlserver.workers.ports.given import GivenPlane

Counted = tuple[dict[int, int], dict[int, int]]
"""Hits of injections and of answers, by their numbers."""


class Message:
    """Is carried out by the worker's plane."""

    def carry_out(self, worker: Any, descriptors: Sequence[int] = ()) -> Counted:
        """Do so."""
        return self.reach(worker.plane, descriptors)

    def reach(self, plane: GivenPlane, descriptors: Sequence[int]) -> Counted:
        """The hits of what is over by it."""
        raise NotImplementedError


@frozen
class Begun(Message):
    """An injection. With it go the numbers of its streams, if it ``draws``, and what the terms ``lots`` may strike."""

    number: int
    listener: str
    spec: str
    seed: int
    networks: Sequence[IPv4Network | IPv6Network] | None
    everybody: bool
    draws: bool
    lots: Sequence[int]

    def reach(self, plane: GivenPlane, descriptors: Sequence[int]) -> Counted:
        """Carry it out from now on."""
        plane.carried.begin_carried(self, descriptors)
        return {}, {}


@frozen
class Ended(Message):
    """An injection is over."""

    number: int

    def reach(self, plane: GivenPlane, descriptors: Sequence[int]) -> Counted:
        """Let go what it holds."""
        return plane.carried.end_carried(self.number), {}


@frozen
class ConnectionsOver(Message):
    """An injection is over that struck connections."""

    number: int

    def reach(self, plane: GivenPlane, descriptors: Sequence[int]) -> Counted:
        """Handshakes that it holds go on."""
        plane.order_over(self.number)
        return {}, {}


@frozen
class ToldRule:
    """An answer. If it has ``times``, what may be taken of it goes along."""

    number: int
    when: str
    answer: str
    times: int | None
    delay: float


@frozen
class RulesOf(Message):
    """The answers of a listener, in their order."""

    listener: str
    rules: Sequence[ToldRule]

    def reach(self, plane: GivenPlane, descriptors: Sequence[int]) -> Counted:
        """Answer by them."""
        return {}, plane.carried_rules.carry(self, descriptors)


@frozen
class Ordered:
    """Messages, each with the number of its descriptors."""

    messages: Sequence[tuple[Message, int]] = ()

    @property
    def descriptors(self) -> int:
        """How many go along."""
        return sum(number for _, number in self.messages)

    def reach(self, plane: GivenPlane, descriptors: Sequence[int]) -> None:
        """Carry out all."""
        at = 0
        for message, number in self.messages:
            message.reach(plane, descriptors[at : at + number])
            at += number
