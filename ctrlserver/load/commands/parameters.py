"""Click's parameters from the flags of a record, and the record from what click read.

Rules: a flag that is not given is left out, so that the record's own default holds.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

import attrs
import click

from ctrlserver.errors import UsageError
from ctrlserver.load.plan.flag import Flag, flags_of

if TYPE_CHECKING:
    _ParamType = click.ParamType[object]
else:
    _ParamType = click.ParamType  # generic only in newer ones

_Record = TypeVar("_Record", bound=attrs.AttrsInstance)


class Parsed(_ParamType):
    """A value that one of our own parsers reads; its UsageError is the message."""

    def __init__(self, name: str, parse: Callable[[str], object]) -> None:
        self.name = name
        self._parse = parse

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The parsed value; click hands a default over as it is."""
        if not isinstance(value, str):
            return value
        try:
            return self._parse(value)
        except UsageError as error:
            self.fail(str(error), param, ctx)


def options_of(record: type, *, of_search: bool = False) -> list[click.Option]:
    """An option for each flag of ``record``; ``of_search``: for those that ``ctrlload search`` shares."""
    return [
        _option(name, flag.for_search() if of_search else flag)
        for name, flag in flags_of(record)
        if flag.shared or not of_search
    ]


def record_of(record: type[_Record], values: Mapping[str, Any]) -> _Record:
    """The record with those of its fields that were given."""
    names = [field.name for field in attrs.fields(record)]
    return record(**{name: values[name] for name in names if values.get(name) is not None})


def _option(name: str, flag: Flag) -> click.Option:
    kind: dict[str, Any] = {"is_flag": True}
    if flag.parse is not None:
        kind = {"type": Parsed(flag.metavar, flag.parse), "metavar": flag.metavar, "multiple": flag.repeats}
    shown = bool(flag.default)
    return click.Option([*flag.names, name], help=flag.help, default=flag.default, show_default=shown, **kind)
