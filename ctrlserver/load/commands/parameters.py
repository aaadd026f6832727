"""Click's parameters from the flags of a record, and the record from what click read.

Rules: a flag that is not given is left out, so that the record's own default holds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

import attrs
import click
from attrs import evolve

from ctrlserver.console.parameters import completing, reading
from ctrlserver.load.plan.flag import Flag, flags_of

_Record = TypeVar("_Record", bound=attrs.AttrsInstance)

_WORDS = "ctrlload.words"


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


class WordsKept(click.Command):
    """A command that keeps its words as they were typed."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """As click does."""
        ctx.meta[_WORDS] = tuple(args)
        return super().parse_args(ctx, args)


def typed_flags(ctx: click.Context, without: Sequence[str]) -> list[str]:
    """The flags that were typed, each one word with its value, but for those of the fields ``without``."""
    given, _, _ = ctx.command.make_parser(ctx).parse_args(list(ctx.meta[_WORDS]))
    words = []
    for option in ctx.command.params:
        if not isinstance(option, click.Option) or option.name in without or option.name not in given:
            continue
        value = given[option.name]
        if option.is_flag:
            words.append(option.opts[-1] if value else option.secondary_opts[-1])
        else:
            words += [f"{option.opts[-1]}={each}" for each in (value if option.multiple else [value])]
    return words


def _option(name: str, flag: Flag) -> click.Option:
    kind: dict[str, Any] = {"is_flag": True}
    if flag.parse is not None:
        kind = {"type": reading(flag.parse), "metavar": flag.usage.split()[-1], "multiple": flag.repeats}
        if flag.values or kind["metavar"].endswith("FILE"):
            kind["shell_complete"] = completing(*flag.values)
    shown = bool(flag.default)
    return click.Option([*flag.names, name], help=flag.help, default=flag.default, show_default=shown, **kind)
