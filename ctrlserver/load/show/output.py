"""Writes what a command ends with: files, stdout, and words on stderr.

Rules: a file is written beside its place and renamed into it, so a reader never sees half a document. Anything else (a
pipe, ``/dev/stdout``) is written directly. ``check_output`` looks before the run whether that will work. A stdout or
stderr that is closed, full or without a reader never ends the program in a traceback.
"""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TextIO

from ctrlserver.errors import LoadError, UsageError
from ctrlserver.load.results.exit_codes import EXIT_FAILED

#: Puts on stdout what ends there, given the errors and the exit code so far; LoadError if it cannot.
Ending = Callable[[Sequence[str], int], None]


def deliver(
    files: Sequence[tuple[str, str | bytes]], stdout: str | Ending, words: str, errors: Sequence[str], code: int
) -> int:
    """Write all that a command ends with: the files, stdout, then ``words`` and a line for each error on stderr.

    Gives the exit code: what cannot be written is one more error, and makes a ``code`` of 0 ``EXIT_FAILED``.
    """
    errors = list(errors)
    writes: list[Callable[[], None]] = [partial(write_output, path, content) for path, content in files]
    if not isinstance(stdout, str):
        writes.append(lambda: stdout(errors, code))
    elif stdout:
        writes.append(partial(print_output, stdout))
    for write in writes:
        try:
            write()
        except LoadError as error:
            errors.append(str(error))
            code = code or EXIT_FAILED
    print_words(words + "".join(f"ctrlload: {line}\n" for line in errors))
    return code


def check_output(path: str, flag: str = "--output") -> None:
    """UsageError of ``flag`` if ``path`` cannot be written, as far as that shows beforehand."""
    if not path:
        raise UsageError(f"{flag}: the name is empty")
    place = Path(path)
    folder = place.parent
    try:
        if place.is_dir():
            raise UsageError(f"{flag}: {path} is a directory")
        if not folder.is_dir():
            raise UsageError(f"{flag}: there is no directory {folder}")
        written = [place, folder] if place.is_file() else [place] if place.exists() else [folder]
    except OSError as error:  # such as a name that is too long
        raise UsageError(f"{flag}: cannot write {path}: {error.strerror or error}") from None
    if not all(os.access(one, os.W_OK) for one in written):
        raise UsageError(f"{flag}: no permission to write {path}")


def is_stdout(path: str) -> bool:
    """Whether ``path`` is the file that stdout goes to, by any name; false for ``/dev/null``."""
    try:
        there = os.stat(path)
        return os.path.samestat(there, os.fstat(1)) and not os.path.samestat(there, os.stat(os.devnull))
    except OSError:
        return False


def write_output(path: str, content: str | bytes) -> None:
    """Write ``content``, whole or not at all; LoadError if that fails."""
    place = Path(path)
    content = content.encode("utf-8", "surrogateescape") if isinstance(content, str) else content
    try:
        if place.exists() and not place.is_file():
            place.write_bytes(content)
            return
        beside = place.with_name(f".ctrlload.{os.getpid()}")
        try:
            beside.write_bytes(content)
            beside.replace(place)
        finally:
            beside.unlink(missing_ok=True)
    except OSError as error:
        raise LoadError(f"cannot write the result to {path}: {error.strerror or error}") from None


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
