"""How a flag of ``ctrlload`` is declared: once, as a field of a frozen record.

The field says the type, its ``Flag`` all else: names, help, default, how a value is read, its place in the result's
``options``, which values and which company it allows. The command line (``commands/parameters.py``), the document
(``Options.as_options``) and the checks (``check``) are made from that.

Rules:

- A value counts as given where it differs from the field's default; only given values are checked.
- ``needs`` and ``rules`` are walked in this order. The first one broken is the error: one line, the flag first.
- ``needs`` is what a flag must have to mean anything: without it the flag is null in the document.
- In the document a duration or a rate has its unit behind the field's name.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import attrs
from attrs import frozen

from ctrlserver.errors import UsageError
from ctrlserver.units import parse_duration, parse_rate

_FLAG = "flag"

Parse = Callable[[str], object]

#: Behind a field's name in the document, by what reads its value.
UNITS: dict[object, str] = {parse_duration: "_seconds", parse_rate: "_packets_per_second"}


@frozen
class Rule:
    """``holds(asked, value)`` must be true of a given value, else the error says ``why``.

    ``why`` is a format of ``asked`` and ``value``; with ``shows`` the value stands after the flag.
    """

    holds: Callable[[Any, Any], bool]
    why: str
    shows: bool = False


def written(value: Any) -> object:
    """A value as the document has it: the ``text`` of one that keeps what was typed, else itself."""
    return getattr(value, "text", value)


@frozen
class Flag:
    """One flag. ``usage`` is as in the help: ``-n --packets N``; a switch is ``--on`` or ``--on/--off``.

    ``default`` is as people type it, and True for a switch that is on. ``key`` is the flag's name in the result's
    ``options`` if that is not the field's with its unit, and ``write`` makes the value there. ``search`` is what
    differs in ``ctrlload search``; None: it has no such flag. ``values`` are those that a shell may complete.
    """

    usage: str
    help: str
    parse: Parse | None
    rules: tuple[Rule, ...]
    needs: Rule | None = None
    default: str | bool | None = None
    repeats: bool = False
    key: str = ""
    write: Callable[[Any], object] = written
    search: Mapping[str, Any] | None = attrs.field(factory=dict)
    values: tuple[str, ...] = ()

    @property
    def names(self) -> list[str]:
        """The short form and the long one, or ``--on/--off``."""
        return [word for word in self.usage.split() if word.startswith("-")]

    @property
    def long(self) -> str:
        """The name for messages; of a switch that is on by default the one that turns it off."""
        return self.names[-1].split("/")[-1]


def flag(usage: str, help: str, parse: Parse | None, *rules: Rule, converter: Any = None, **more: Any) -> Any:
    """A field with its ``Flag``; its default is what ``parse`` makes of the flag's. A switch has no ``parse``."""
    declared = Flag(usage, help, parse, rules, **more)
    value: object = () if declared.repeats else declared.default
    if parse is None:
        value = bool(value)
    elif isinstance(value, str):
        value = parse(value)
    return attrs.field(default=value, converter=converter, metadata={_FLAG: declared})


def flags_of(record: type) -> Iterator[tuple[str, Flag]]:
    """The flags of a record in their order, each with the name of its field."""
    for field in attrs.fields(record):
        if _FLAG in field.metadata:
            yield field.name, field.metadata[_FLAG]


def check(asked: Any) -> None:
    """``UsageError`` for the first given value of a record that its flag's ``needs`` or ``rules`` do not allow."""
    for field in attrs.fields(type(asked)):
        value, declared = getattr(asked, field.name), field.metadata.get(_FLAG)
        if declared is None or value == field.default:
            continue
        for rule in (declared.needs, *declared.rules):
            if rule is not None and not rule.holds(asked, value):
                shown = f" {declared.write(value)}" if rule.shows else ""
                raise UsageError(f"{declared.long}{shown}: {rule.why.format(asked=asked, value=value)}")
