"""Standard streams: what is a terminal, how wide it is, and writing that fails in one line.

Rules: a stdout or stderr that is closed, full or without a reader never ends the program in a traceback.
"""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Mapping
from contextlib import suppress
from typing import TextIO

from ctrlserver.errors import LoadError

#: Values of TERM for terminals that cannot move the cursor.
_DUMB = ("", "dumb", "unknown")


def drawable(out: TextIO | None, environment: Mapping[str, str]) -> bool:
    """Whether ``out`` is a terminal that can be drawn on."""
    return out is not None and out.isatty() and environment.get("TERM", "") not in _DUMB


def columns_of(out: TextIO | None) -> int | None:
    """The width of a terminal; None if ``out`` is none."""
    try:
        return os.get_terminal_size(out.fileno()).columns or None if out is not None and out.isatty() else None
    except OSError:
        return None


def print_output(text: str) -> None:
    """Print to stdout; LoadError if that fails, but not for a reader that has gone."""
    try:
        put(sys.stdout, text)
    except OSError as error:
        raise_unwritten(error)


def raise_unwritten(problem: OSError | None) -> None:
    """LoadError for a failed write to stdout, but not for a reader that has gone."""
    if problem is not None and not isinstance(problem, BrokenPipeError):
        raise LoadError(f"cannot write to stdout: {problem.strerror or problem}")


def print_words(text: str) -> None:
    """Print to stderr; ignore failures, for there is no other place to report them."""
    with suppress(OSError):
        put(sys.stderr, text)


def put(out: TextIO | None, text: str) -> None:
    """Write ``text`` to a standard stream and flush it; after an OSError the stream is mute."""
    if out is None:  # closed before the program started
        raise OSError(errno.EBADF, os.strerror(errno.EBADF))
    try:
        out.write(text)
        out.flush()
    except OSError:
        mute(out)
        raise


def mute(out: TextIO) -> None:
    """Discard what is still buffered: Python would try to write it at exit, and print a traceback."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, out.fileno())
    os.close(nowhere)
