"""How a flag of ``ctrlload`` is declared: once, as a field of a frozen record.

The field says the type, its ``Flag`` all else: names, help, default, how a value is read, its place in the result's
``options``, which values and which company it allows. The command line (``commands/parameters.py``), the document
(``Options.as_options``) and the checks (``check``) are made from that.

Rules:

- A value counts as given where it differs from the field's default; only given values are checked.
- ``needs`` is what a flag must have to mean anything: without it the flag is refused, and null in the document.
- ``rules`` are walked in their order. The first one that is broken is the ``UsageError``: one line, the flag first.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import attrs
from attrs import frozen

from ctrlserver.errors import UsageError

_FLAG = "flag"


@frozen
class Need:
    """Something that holds of what was asked, and the ``words`` for what brings it about: ``--mode request``."""

    holds: Callable[[Any], bool]
    words: str


@frozen
class Rule:
    """``holds(asked, value)`` must be true of a given value, else the error says ``why``.

    ``why`` is a format of ``asked`` and ``value``; with ``shows`` the value stands after the flag.
    """

    holds: Callable[[Any, Any], bool]
    why: str
    shows: bool = False


def as_it_is(value: object) -> object:
    """The value of an option that is plain already."""
    return value


def text_of(value: Any) -> object:
    """The ``text`` of a value that keeps what was typed."""
    return value.text


@frozen
class Flag:
    """One flag. ``names`` are the short form and the long one, or ``--on/--off``; without ``parse`` it is a switch.

    ``default`` is as people type it, for a switch True or False. ``key`` is the flag's name in the result's ``options``
    if that is not the field's, and ``write`` makes the value there. ``shared``: ``ctrlload search`` has it too,
    with ``search_help`` and ``search_default`` where they differ.
    """

    names: str
    help: str
    metavar: str = ""
    parse: Callable[[str], object] | None = None
    default: str | bool | None = None
    repeats: bool = False
    key: str = ""
    write: Callable[[Any], object] = as_it_is
    needs: Need | None = None
    rules: tuple[Rule, ...] = ()
    shared: bool = True
    search_help: str = ""
    search_default: str | None = None

    @property
    def long(self) -> str:
        """The name for messages; of a switch that is on by default the one that turns it off."""
        return self.names.replace("/", " ").split()[-1]

    def for_search(self) -> Flag:
        """The flag as ``ctrlload search`` has it."""
        return attrs.evolve(self, help=self.search_help or self.help, default=self.search_default or self.default)


def flag(names: str, help: str, *rest: Any, converter: Callable[[Any], Any] | None = None, **more: Any) -> Any:
    """A field with its ``Flag``; its default is what ``parse`` makes of the flag's."""
    declared = Flag(names, help, *rest, **more)
    value: object = () if declared.repeats else declared.default
    if declared.parse is not None and isinstance(value, str):
        value = declared.parse(value)
    return attrs.field(default=value, converter=converter, metadata={_FLAG: declared})


def flags_of(record: type) -> Iterator[tuple[str, Flag]]:
    """The flags of a record in their order, each with the name of its field."""
    for field in attrs.fields(record):
        if _FLAG in field.metadata:
            yield field.name, field.metadata[_FLAG]


def check(asked: Any) -> None:
    """``UsageError`` for the first given value of a record that its flag's ``needs`` or ``rules`` do not allow."""
    defaults = {field.name: field.default for field in attrs.fields(type(asked))}
    for name, declared in flags_of(type(asked)):
        value = getattr(asked, name)
        if value == defaults[name]:
            continue
        if declared.needs is not None and not declared.needs.holds(asked):
            raise UsageError(f"{declared.long}: needs {declared.needs.words}")
        for rule in declared.rules:
            if not rule.holds(asked, value):
                shown = f" {declared.write(value)}" if rule.shows else ""
                raise UsageError(f"{declared.long}{shown}: {rule.why.format(asked=asked, value=value)}")
