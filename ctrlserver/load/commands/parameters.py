"""Click's parameters from the flags of a record, and the record from what click read.

Rules: a flag that is not given is left out, so that the record's own default holds.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

import attrs
import click
from attrs import evolve

from ctrlserver.console.parameters import completing, reading
from ctrlserver.load.plan.flag import Flag, flags_of

_Record = TypeVar("_Record", bound=attrs.AttrsInstance)


def options_of(record: type, *, of_search: bool = False) -> list[click.Option]:
    """An option for each flag of ``record``; ``of_search``: for those that ``ctrlload search`` shares."""
    flags = flags_of(record)
    if of_search:
        flags = ((name, evolve(flag, **flag.search)) for name, flag in flags if flag.search is not None)
    return [_option(name, flag) for name, flag in flags]


def record_of(record: type[_Record], values: Mapping[str, Any]) -> _Record:
    """The record with those of its fields that were given."""
    names = [field.name for field in attrs.fields(record)]
    return record(**{name: values[name] for name in names if values.get(name) is not None})


def _option(name: str, flag: Flag) -> click.Option:
    kind: dict[str, Any] = {"is_flag": True}
    if flag.parse is not None:
        kind = {"type": reading(flag.parse), "metavar": flag.usage.split()[-1], "multiple": flag.repeats}
        if flag.values or kind["metavar"].endswith("FILE"):
            kind["shell_complete"] = completing(*flag.values)
    shown = bool(flag.default)
    return click.Option([*flag.names, name], help=flag.help, default=flag.default, show_default=shown, **kind)
