"""Where the result document goes: stdout, or a file that is there whole or not at all.

Rules: a file is written beside its place and renamed into it, so a reader never sees half a document; what is no
regular file (a pipe, ``/dev/stdout``) is written as it is. That it can be written is looked at before the run.
Nothing that becomes of stdout or stderr meanwhile (closed, full, its reader gone) ends the program in a traceback.
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

#: Puts on stdout what ends there, given the errors and the exit code so far; LoadError where it cannot.
Ending = Callable[[Sequence[str], int], None]


def deliver(
    files: Sequence[tuple[str, str | bytes]], stdout: str | Ending, words: str, errors: Sequence[str], code: int
) -> int:
    """Write all that a command ends with: the files, stdout, then ``words`` and a line for each error on stderr.

    Gives the exit code: what cannot be written is one more error, and makes a ``code`` of 0 ``EXIT_FAILED``.
    """
    errors = list(errors)

    def attempt(write: Callable[[], None]) -> None:
        nonlocal code
        try:
            write()
        except LoadError as error:
            errors.append(str(error))
            code = code or EXIT_FAILED

    for path, content in files:
        attempt(partial(write_output, path, content))
    if not isinstance(stdout, str):
        attempt(lambda: stdout(errors, code))
    elif stdout:
        attempt(lambda: print_output(stdout))
    print_words(words + "".join(f"ctrlload: {line}\n" for line in errors))
    return code


def check_output(path: str, flag: str = "--output") -> None:
    """UsageError of ``flag`` where a result could not be written to ``path``, as far as that can be seen beforehand."""
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
    except OSError as error:  # a name too long, say
        raise UsageError(f"{flag}: cannot write {path}: {error.strerror or error}") from None
    if not all(os.access(one, os.W_OK) for one in written):
        raise UsageError(f"{flag}: no permission to write {path}")


def is_stdout(path: str) -> bool:
    """Whether ``path`` is where stdout goes, as ``/dev/stdout`` or by any other name; ``/dev/null`` does not count."""
    try:
        there = os.stat(path)
        return os.path.samestat(there, os.fstat(1)) and not os.path.samestat(there, os.stat(os.devnull))
    except OSError:
        return False


def write_output(path: str, content: str | bytes) -> None:
    """Write ``content``; LoadError where it cannot be done after all."""
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
    """Print to stdout; LoadError where it cannot be written, a reader that has gone left aside."""
    try:
        put(sys.stdout, text)
    except OSError as error:
        raise_unwritten(error)


def raise_unwritten(problem: OSError | None) -> None:
    """LoadError for what stdout did not take; a reader that has gone is no matter of ours."""
    if problem is not None and not isinstance(problem, BrokenPipeError):
        raise LoadError(f"cannot write to stdout: {problem.strerror or problem}")


def print_words(text: str) -> None:
    """Print to stderr, as far as it goes: there is no other place to complain."""
    with suppress(OSError):
        put(sys.stderr, text)


def put(out: TextIO | None, text: str) -> None:
    """Write ``text`` to a standard stream at once; OSError where that cannot be done, and from then on it is mute."""
    if out is None:  # closed before we were started
        raise OSError(errno.EBADF, os.strerror(errno.EBADF))
    try:
        out.write(text)
        out.flush()
    except OSError:
        mute(out)
        raise


def mute(out: TextIO) -> None:
    """Send what is still buffered nowhere: it would be tried once more at exit, loudly."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, out.fileno())
    os.close(nowhere)
