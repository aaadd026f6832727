"""Errors at keys below the one being read, and the paths that name those."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

from ctrlserver.errors import ConfigError
from ctrlserver.words import quoted


class InnerKeyError(ConfigError):
    """An error at a key below the one being read; ``key`` is the path from there, such as ``.site``."""

    def __init__(self, key: str, message: str) -> None:
        super().__init__(message)
        self.key = key


@contextmanager
def below(step: str) -> Iterator[None]:
    """Put ``step`` before the path of the error that is raised inside."""
    try:
        yield
    except ValueError as error:
        raise InnerKeyError(step + (error.key if isinstance(error, InnerKeyError) else ""), str(error)) from None


def step(key: str) -> str:
    """``key`` as one more step of a path, in quotes where TOML needs them."""
    return f".{key}" if re.fullmatch(r"[A-Za-z0-9_-]+", key) else f".{quoted(key)}"


def shown(value: object) -> str:
    """``value`` as an error shows it; tables and arrays by their kind."""
    if isinstance(value, dict):
        return "a table"
    return "an array" if isinstance(value, list) else quoted(value)
