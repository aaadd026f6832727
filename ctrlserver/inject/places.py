"""Whether a spec can strike where it is ordered: a listener, or the streams of ``ctrlload``.

Rules: what cannot strike is refused with its reason, an ``InjectionError`` with code 409; so is what would have to hold
more than its bound. With several transports a term is good if it can strike on one of them; on the others it never
strikes, and the terms behind it apply.

What the other actions hold is bounded elsewhere: delayed answers by ``reply_buffer``, past which reading stops; those
of datagrams by a bound of the port, past which they are given up; connections that hang by the kernel's queue or their
handshake's limit.
"""

from __future__ import annotations

from typing import NoReturn

from attrs import frozen

from ctrlserver.errors import InjectionError
from ctrlserver.inject.actions import KINDS, Action
from ctrlserver.inject.arguments import Bits, Length, Text, size_text
from ctrlserver.inject.spec import Chance, Every, First, Spec, Term
from ctrlserver.words import counted, quoted

ANSWERING = ("echo", "reply")
"""Modes that reply."""


@frozen
class Place:
    """A listener as an injection sees it.

    ``transports``: of tcp, unix, tls and udp those it has; a TLS listener has only tls. ``packets``: its framing has
    packets, so it is not ``raw``. ``size``: bytes of each packet on the wire, None if they differ. ``reply``: the
    canned reply of mode ``reply``. ``inherited``: systemd handed the port over and keeps it open.
    """

    listener: str
    mode: str = "sink"
    transports: frozenset[str] = frozenset({"tcp"})
    packets: bool = True
    size: int | None = None
    reply: bytes = b""
    reply_buffer: int = 1 << 18
    inherited: bool = False


def check_place(spec: Spec, place: Place) -> None:
    """InjectionError (409) for the first term of ``spec`` that cannot strike at ``place``."""
    for term in spec.terms:
        if term.action.kind.point:
            _check_transport(term.action, place)
            _check_mode(term.action, place)
            _check_answers(term.action, place)
        if not spec.of_connections:
            _check_packets(term, place)


def check_sender(spec: Spec, transport: str = "tcp", size: int | None = None) -> None:
    """InjectionError (409) for the first term that no sender can carry out, or not over ``transport``.

    ``size``: bytes of each packet on the wire, None if they differ.
    """
    for term in spec.terms:
        action = term.action
        if not action.kind.sender or not action.kind.strikes_on(transport):
            raise InjectionError(f'"{action.name}" {_not_by_a_sender(action, transport)}', 409)
        argument = action.argument
        if size is not None and isinstance(argument, Length) and argument.nbytes >= size:
            raise InjectionError(f'"{action.text}" leaves packets of {counted(size, "byte")} whole', 409)
        if size == 0 and isinstance(argument, Bits):
            raise InjectionError(f'"{action.name}" needs packets that have bytes', 409)


def _not_by_a_sender(action: Action, transport: str) -> str:
    """Why no sender can carry out ``action`` over ``transport``, and what one can."""
    if not action.kind.sender:
        why = "is for a server"
    elif transport == "udp":
        why = "needs a connection, not datagrams"
    else:
        why = "needs a connection whose sending side can end alone, not TLS"
    others = [kind.name for kind in KINDS.values() if kind.sender and kind.point and kind.strikes_on(transport)]
    return f"{why}; ctrlload can {', '.join(others[:-1])} and {others[-1]}"


def _check_transport(action: Action, place: Place) -> None:
    kind = action.kind
    if any(kind.strikes_on(transport) for transport in place.transports):
        if action.name == "refuse" and place.inherited:
            _refuse(action, "closes the port", place, "systemd's, which keeps it open")
        return
    if kind.point == "tls":
        _refuse(action, "needs TLS", place, "without it")
    if not kind.streams:
        _refuse(action, "needs datagrams", place, "without a UDP port")
    if place.transports == {"udp"}:
        _refuse(action, "needs connections", place, "a UDP port")
    _refuse(action, "needs a connection whose sending side can end alone", place, "TLS")


def _check_mode(action: Action, place: Place) -> None:
    point = action.kind.point
    if point == "reply" and place.mode not in ANSWERING:
        _refuse(action, "needs replies", place, f"a {place.mode}")
    if point in ("reading", "packet") and place.mode == "source":
        _refuse(action, "needs packets that are received", place, "a source")


def _check_packets(term: Term, place: Place) -> None:
    if place.packets or place.transports == {"udp"}:
        return
    if isinstance(term.when, First | Every | Chance):
        _refuse(term, 'counts packets (a size such as "64KiB*" does not)', place, "raw and has none")
    if term.action.kind.whole:
        _refuse(term.action, "needs packets", place, "raw and has none")


def _check_answers(action: Action, place: Place) -> None:
    if action.kind.point != "reply":
        return
    answer = len(place.reply) if place.mode == "reply" else place.size
    argument = action.argument
    if isinstance(argument, Length) and answer is not None and argument.nbytes >= answer:
        _refuse(action, "leaves answers whole", place, f"one whose answers have {counted(answer, 'byte')}")
    if isinstance(argument, Text) and place.mode == "reply" and argument.octets == place.reply:
        _refuse(action, "is no wrong answer", place, "to reply just that")
    held = len(argument.octets) if isinstance(argument, Text) else answer
    if held is not None and held > place.reply_buffer and (action.kind.holds or isinstance(argument, Text)):
        bound = f"the reply_buffer of listener {quoted(place.listener)} has {size_text(place.reply_buffer)}"
        raise InjectionError(f'"{action.name}" holds answers of {counted(held, "byte")}; {bound}', 409)


def _refuse(what: Action | Term, needs: str, place: Place, but: str) -> NoReturn:
    name = what.name if isinstance(what, Action) else what.text
    raise InjectionError(f'"{name}" {needs}; listener {quoted(place.listener)} is {but}', 409)
