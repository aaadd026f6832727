"""Click's parameters: how a value is read, and what a shell completes."""

from __future__ import annotations

from collections.abc import Callable

import click
from click.shell_completion import CompletionItem

from ctrlserver.errors import UsageError


def reading(parse: Callable[[str], object]) -> Callable[[str], object]:
    """The same as click calls it: a UsageError becomes click's, which knows the flag."""

    def read(text: str) -> object:
        try:
            return parse(text)
        except UsageError as error:
            raise click.BadParameter(str(error)) from None

    return read


def completing(*values: str) -> Callable[[click.Context, click.Parameter, str], list[CompletionItem]]:
    """What a shell offers for a value: those of ``values`` that begin so, or without any the names of files."""

    def complete(_: click.Context, __: click.Parameter, begun: str) -> list[CompletionItem]:
        if not values:
            return [CompletionItem(begun, type="file")]
        return [CompletionItem(value) for value in values if value.startswith(begun.casefold())]

    return complete
