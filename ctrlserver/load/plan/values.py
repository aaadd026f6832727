"""Reads the values of flags that only a load run has: modes, framings, payloads, profiles, labels.

Rules: each function reads one text. What it cannot read is a ``UsageError`` in one line, with the nearest good value;
the caller puts the flag's name before it.

Beware: a payload and a profile may stand in a file, which is read at once. What few command lines need is imported
where it is read, so that ``--help`` stays quick.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from attrs import evolve, frozen

from ctrlserver.errors import UsageError
from ctrlserver.load.plan.modes import ARRIVALS, MODES
from ctrlserver.units import parse_escapes
from ctrlserver.wire.datagram import DATAGRAM
from ctrlserver.wire.framing import FramingSpec, parse_framing
from ctrlserver.words import did_you_mean, quoted

if TYPE_CHECKING:
    from ctrlserver.client.target import Target
    from ctrlserver.inject.spec import Spec
    from ctrlserver.load.plan.profile import Profile
    from ctrlserver.load.results.goals import Goal
    from ctrlserver.load.results.thresholds import Threshold

DEFAULT_SIZE = 1024

#: ``--framing fixed``: packets of the size asked for, or of the payload.
FIXED = evolve(parse_framing(f"fixed:{DEFAULT_SIZE}"), text="fixed")


@frozen
class Payload:
    """The bytes of each packet, and the ``text`` that was typed for them."""

    text: str
    content: bytes

    @property
    def most(self) -> int:
        """Bytes of the longest packet, as ``Sizes`` have it."""
        return len(self.content)


def _one_of(kind: str, known: tuple[str, ...]) -> Callable[[str], str]:
    def read(text: str) -> str:
        if text.casefold() in known:
            return text.casefold()
        near = did_you_mean(text, known) or f"; known are {', '.join(known)}"
        raise UsageError(f"unknown {kind} {quoted(text)}{near}")

    return read


read_mode = _one_of("mode", MODES)
read_arrival = _one_of("arrival", ARRIVALS)


def read_seed(text: str) -> int:
    """A whole number, negative ones too."""
    try:
        return int(text)
    except ValueError:
        raise UsageError(f"{quoted(text)}: expected a whole number") from None


def read_framing(text: str) -> FramingSpec:
    """The framing of packets: ``FIXED`` for ``fixed``, ``DATAGRAM`` for ``datagram``."""
    return FIXED if text.casefold() == FIXED.text else read_cut(text)


def read_cut(text: str) -> FramingSpec:
    """The framing of replies."""
    return DATAGRAM if text.casefold() == DATAGRAM.text else parse_framing(text)


def read_payload(text: str) -> Payload:
    """``text`` with its escapes, or the bytes of ``@FILE``."""
    if not text.startswith("@"):
        return Payload(text, parse_escapes(text))
    return Payload(text, _content(text[1:]))


def read_profile(text: str) -> Profile:
    """A profile, or the table in ``@FILE`` or ``FILE.csv``."""
    from ctrlserver.load.plan.profile import Profile, parse_profile, parse_table

    if not text.startswith("@") and not text.casefold().endswith(".csv"):
        return Profile(text, parse_profile(text))
    name = text.removeprefix("@")
    try:
        table = _content(name).decode("utf-8-sig")
    except UnicodeDecodeError:
        raise UsageError(f"cannot read {name}: it is no text in UTF-8") from None
    try:
        return Profile(text, parse_table(table))
    except UsageError as error:
        raise UsageError(f"{name}: {error}") from None


def _content(name: str) -> bytes:
    try:
        return Path(name).read_bytes()
    except OSError as error:
        raise UsageError(f"cannot read {name}: {error.strerror or error}") from None


def read_spec(text: str) -> Spec:
    """What is injected, by the grammar of the server's own."""
    from ctrlserver.inject.parsing import parse_spec

    return parse_spec(text)


def read_condition(text: str) -> Threshold:
    """A condition on the result document."""
    from ctrlserver.load.results.thresholds import parse_threshold

    return parse_threshold(text)


def read_goal(text: str) -> Goal:
    """How sure a figure is to be."""
    from ctrlserver.load.results.goals import parse_goal

    return parse_goal(text)


def read_label(text: str) -> tuple[str, str]:
    """``KEY=VALUE`` as a pair."""
    key, equals, value = text.partition("=")
    if not equals or not key.strip():
        raise UsageError(f"{quoted(text)}: expected KEY=VALUE")
    return key.strip(), value


def as_labels(pairs: Mapping[str, str] | Iterable[tuple[str, str]]) -> dict[str, str]:
    """The labels as a dictionary; ``UsageError`` for a key that is given twice."""
    labels: dict[str, str] = {}
    for key, value in pairs.items() if isinstance(pairs, Mapping) else pairs:
        if key in labels:
            raise UsageError(f"--label: {quoted(key)} is given twice")
        labels[key] = value
    return labels


def each_once(targets: Sequence[Target]) -> tuple[Target, ...]:
    """The admin ports; ``UsageError`` for one that is given twice."""
    seen: set[object] = set()
    for target in targets:
        place = (target.host.casefold(), target.port) if target.host else target.text
        if place in seen:
            raise UsageError(f"--admin: {quoted(target.text)} is given twice; give each server once")
        seen.add(place)
    return tuple(targets)


def one_or_list(targets: Sequence[Target]) -> str | list[str] | None:
    """The admin ports in the document: the only one, a list of several, or null."""
    texts = [target.text for target in targets]
    return texts if len(texts) > 1 else next(iter(texts), None)
