"""A TOML file -> its document, or one line that says where it is broken.

Rules: a bad file is a ``ConfigError`` that starts with the file's name. The file may be missing, unreadable, too large,
not UTF-8 or not TOML; the last two errors give line and column. If a value only lacks its quotes, the error shows the
line with them.
"""

from __future__ import annotations

import json
import os
import re
import tomllib
from pathlib import Path
from typing import Any, NoReturn

from ctrlserver.errors import ConfigError
from ctrlserver.words import nearest, quoted

_LARGEST = 1 << 20
"""Bytes of a config file: far more than a real one has, and the end of a device that is read by mistake."""


def file_name(path: str | os.PathLike[str]) -> str:
    """``path`` in the form that errors show: one printable line."""
    return quoted(os.fspath(path), limit=1000)[1:-1]


def read_toml(path: str | os.PathLike[str]) -> dict[str, Any]:
    """The document of the file at ``path``, or ``ConfigError``."""
    text = _decoded(path, _content(path))
    try:
        return tomllib.loads(text)
    except RecursionError:
        _refuse(path, "not TOML: nested too deeply")
    except ValueError as error:  # TOMLDecodeError, or int()'s own error for thousands of digits
        _refuse(path, _broken(error, text))


def _refuse(path: str | os.PathLike[str], message: str) -> NoReturn:
    raise ConfigError(f"{file_name(path)}: {message}") from None


def _content(path: str | os.PathLike[str]) -> bytes:
    try:
        with Path(path).open("rb") as file:
            content = file.read(_LARGEST + 1)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        _refuse(path, f"cannot be read: {reason}{_nearest_file(Path(path))}")
    if len(content) > _LARGEST:
        _refuse(path, "cannot be read: expected a config file of at most 1 MiB")
    return content


def _nearest_file(path: Path) -> str:
    try:
        names = {} if path.exists() else {each.stem: each.name for each in path.parent.iterdir() if each.is_file()}
    except (OSError, ValueError):
        return ""
    near = nearest(path.stem, names)
    return "" if near is None else f"; did you mean {file_name(path.with_name(names[near]))}?"


def _decoded(path: str | os.PathLike[str], content: bytes) -> str:
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        content = error.object  # without the byte order mark
        line, column = _end_of(content[: error.start].decode())
        _refuse(path, f"line {line}, column {column}: byte 0x{content[error.start]:02x}: expected UTF-8")


def _end_of(text: str) -> tuple[int, int]:
    """Line and column, from 1, just after ``text``."""
    return text.count("\n") + 1, len(text) - text.rfind("\n")


def _broken(error: ValueError, text: str) -> str:
    match = re.fullmatch(r"(.*) \(at (?:line (\d+), column (\d+)|end of document)\)", str(error), re.DOTALL)
    if match is None:
        return "not TOML: a number of more digits than any key here takes"
    line, column = (int(match[2]), int(match[3])) if match[2] else _end_of(text)
    message = quoted(match[1], limit=200)[1:-1]
    if message == "Cannot overwrite a value":
        hint = ": the key stands above already"
    else:
        hint = _better_quotes(text.split("\n")[line - 1]) if match[2] else ", and the file ends here"
    return f"line {line}, column {column}: not TOML: {message}{hint}"


def _better_quotes(line: str) -> str:
    """A hint if the line is ``key = value`` and would be good with quotes around the value, or with single ones."""
    if match := re.fullmatch(r"\s*([A-Za-z0-9_-]+)\s*=\s*\"([^\"']*\\[^\"']*)\"\s*(#.*)?", line):
        return f"; did you mean {match[1]} = '{match[2]}'?"
    match = re.fullmatch(r"\s*([A-Za-z0-9_-]+)\s*=\s*([^\s\"'\[\]{}#][^\"'\[\]{}#]*?)\s*(#.*)?", line)
    if match is None:
        return ""
    try:
        tomllib.loads(line)
    except ValueError:
        return f"; did you mean {match[1]} = {json.dumps(match[2], ensure_ascii=False)}?"
    return ""
