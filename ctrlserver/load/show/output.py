"""Writes what a command ends with: files, stdout, and words on stderr.

Rules: a file is written beside its place and renamed into it, so a reader never sees half a document; it keeps its mode
and owner, and a symbolic link stays one. Where no rename is possible (a file mounted alone, a folder that we may not
write, a file with two names) it is written in place, as a shell's ``>`` would. Anything else (a pipe, ``/dev/stdout``)
is written directly; a named pipe that finds no reader in ``PIPE_SECONDS`` is given up. ``check_output`` looks before
the run whether that will work. What cannot be written after all goes to a new file in ``$TMPDIR``, or to stderr.
"""

from __future__ import annotations

import errno
import os
import secrets
import stat
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

from ctrlserver.console.exit_codes import EXIT_FAILED
from ctrlserver.console.streams import print_output, print_words
from ctrlserver.errors import LoadError, UsageError
from ctrlserver.sleeping import sleep
from ctrlserver.words import printable

#: Puts on stdout what ends there, given the errors and the exit code so far; LoadError if it cannot.
Ending = Callable[[Sequence[str], int], None]


#: Seconds in which a named pipe may find its reader. A shell would wait for ever, and a CI job with it.
PIPE_SECONDS = 10.0

#: A second write, in place, would not fit either, and would destroy what is there.
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)


def deliver(
    files: Sequence[tuple[str, str | bytes]],
    stdout: str | Ending,
    words: str,
    errors: Sequence[str],
    code: int,
    document: str = "",
) -> int:
    """Write all that a command ends with: the files, stdout, then ``words`` and a line for each error on stderr.

    Gives the exit code: what cannot be written is one more error, and makes a ``code`` of 0 ``EXIT_FAILED``. It is
    kept: a file in ``$TMPDIR``, what was for stdout on stderr; ``document`` stands there for an ``Ending``.
    """
    errors = list(errors)
    for path, content in files:
        try:
            write_output(path, content)
        except LoadError as error:
            kept, more = _kept(path, content)
            errors.append(f"{error}{kept}")
            words += more
            code = code or EXIT_FAILED
    try:
        if not isinstance(stdout, str):
            stdout(errors, code)
        elif stdout:
            print_output(stdout)
    except LoadError as error:
        words = (stdout if isinstance(stdout, str) else document) + words
        errors.append(str(error))
        code = code or EXIT_FAILED
    print_words(words + "".join(f"ctrlload: {printable(line)}\n" for line in errors))
    return code


def _kept(path: str, content: str | bytes) -> tuple[str, str]:
    """Keep what could not be written to ``path``: the end of the error line, and what goes to stderr."""
    try:
        number, name = tempfile.mkstemp(Path(path).suffix, "ctrlload.")
    except OSError:
        return _on_stderr(content)
    try:
        with open(number, "wb") as file:
            file.write(_encoded(content))
    except OSError:
        with suppress(OSError):
            os.unlink(name)
        return _on_stderr(content)
    return f"; it is in {name}", ""


def _on_stderr(content: str | bytes) -> tuple[str, str]:
    return ("; it is on stderr", content) if isinstance(content, str) else ("", "")


def check_output(path: str, flag: str = "--output") -> None:
    """UsageError of ``flag`` if ``path`` cannot be written, as far as that shows beforehand."""
    if not path:
        raise UsageError(f"{flag}: the name is empty")
    place = Path(os.path.realpath(path) if os.path.islink(path) and _is_file(path) else path)
    folder = place.parent
    try:
        if place.is_dir():
            raise UsageError(f"{flag}: {path} is a directory")
        if not folder.is_dir():
            raise UsageError(f"{flag}: there is no directory {folder}")
        written, access = (place, os.W_OK) if place.exists() else (folder, os.W_OK | os.X_OK)
    except OSError as error:  # such as a name that is too long
        raise UsageError(f"{flag}: cannot write {path}: {error.strerror or error}") from None
    if not os.access(written, access):
        raise UsageError(f"{flag}: no permission to write {path}")


def is_stdout(path: str) -> bool:
    """Whether ``path`` is the file that stdout goes to, by any name; false for ``/dev/null``."""
    try:
        there = os.stat(path)
        return os.path.samestat(there, os.fstat(1)) and not os.path.samestat(there, os.stat(os.devnull))
    except OSError:
        return False


def write_output(path: str, content: str | bytes) -> None:
    """Write ``content``, whole or not at all where a rename is possible; LoadError if that fails."""
    encoded = _encoded(content)
    try:
        opened = _opened_as(path)
        if opened is not None:
            _write(os.dup(opened), encoded)
        elif not _is_file(path):
            _write_in_place(path, encoded)
        else:
            _write_file(Path(os.path.realpath(path)), encoded)
    except OSError as error:
        raise LoadError(f"cannot write the result to {path}: {error.strerror or error}") from None


def _opened_as(path: str) -> int | None:
    """The descriptor, 1 or 2, if ``path`` is stdout or stderr by any name: another opening would overwrite it."""
    for number in (1, 2):
        with suppress(OSError):
            if os.path.samestat(os.stat(path), os.fstat(number)):
                return number
    return None


def _is_file(path: str) -> bool:
    """Whether ``path``, its links followed, names a regular file or nothing yet.

    False for a name in ``/dev/fd`` of a pipe or of a deleted file: only the name itself leads there.
    """
    if not os.path.exists(path):
        return True
    real = os.path.realpath(path)
    return os.path.isfile(path) and os.path.exists(real) and os.path.samefile(path, real)


def _write_file(place: Path, content: bytes) -> None:
    """Write beside ``place`` and rename, or in place where that is impossible."""
    there = place.stat() if place.exists() else None
    if there is None or there.st_nlink == 1:
        try:
            _replace(place, there, content)
            return
        except OSError as error:
            if error.errno in _FULL:
                raise
    _write_in_place(place, content)


def _replace(place: Path, there: os.stat_result | None, content: bytes) -> None:
    """A new file for ``place``, with the mode and the owner that are ``there``."""
    beside = place.with_name(f".ctrlload.{secrets.token_hex(8)}")  # another process cannot know it
    number = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666)
    try:
        try:
            if there is not None:
                new = os.fstat(number)
                if (new.st_uid, new.st_gid) != (there.st_uid, there.st_gid):
                    os.fchown(number, there.st_uid, there.st_gid)
                os.fchmod(number, stat.S_IMODE(there.st_mode))
        except OSError:
            os.close(number)
            raise
        _write(number, content)
        beside.replace(place)
    except BaseException:
        with suppress(OSError):
            beside.unlink()
        raise


def _write_in_place(place: str | Path, content: bytes) -> None:
    create = 0 if os.path.exists(place) else os.O_CREAT  # O_CREAT is refused for another's file in /tmp
    flags = os.O_WRONLY | os.O_TRUNC | os.O_CLOEXEC | os.O_NOCTTY | create
    _write(_opened_pipe(place, flags) if Path(place).is_fifo() else os.open(place, flags, 0o666), content)


def _opened_pipe(place: str | Path, flags: int) -> int:
    """A named pipe, once it has a reader."""
    end = time.monotonic() + PIPE_SECONDS
    while True:
        try:
            number = os.open(place, flags | os.O_NONBLOCK)
        except OSError as error:
            if error.errno != errno.ENXIO:
                raise
            if time.monotonic() >= end:
                raise OSError(errno.ENXIO, "nobody reads this pipe") from None
            sleep(0.02)
        else:
            os.set_blocking(number, True)
            return number


def _write(number: int, content: bytes) -> None:
    """Write to a descriptor and close it."""
    with open(number, "wb") as file:
        file.write(content)


def _encoded(content: str | bytes) -> bytes:
    return content.encode("utf-8", "surrogateescape") if isinstance(content, str) else content
