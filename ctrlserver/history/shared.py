"""What the servers that share one history file have in common beside it: the next run's number, and who lives.

It is a file of its own, ``FILE-shared``: a number as text, and locks on bytes of it. The locks are those of the open
file (OFD), so the kernel releases them when the process ends, however it does. A number costs five system calls and
writes some bytes that are in the page cache; so it can be had where a run begins, without waiting for the database.

Rules: a lock is only ever tried, never waited for. Byte 0 is held while the number changes or a bad history is put
aside; byte ``daemon + LIVES_AT`` as long as that server lives. A file that somebody has taken away is made anew, with
the number and this server's lock, before it is used again. Until then, one checkpoint at most, others may take this
server for dead; its next checkpoint says that it lives.

Beware: the reactor's thread takes numbers while the writer's does all else. So a new file takes the place of the old
one under its descriptor (``dup2``), which either thread may be using.
"""

from __future__ import annotations

import fcntl
import os
import re
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from ctrlserver.errors import HistoryError
from ctrlserver.sleeping import sleep

#: Where the bytes begin that say who lives: behind the text.
LIVES_AT = 1000

_TRIES = 50
_LONGEST = 20
MOST = 1 << 53
"""More than any number of a run."""
_FLOCK = struct.Struct("hhqqi")


class Shared:
    """The file beside the history at ``path``; ``HistoryError`` where it cannot be had."""

    def __init__(self, path: str) -> None:
        self._path = f"{path}-shared"
        self._daemon: int | None = None
        self._renewing = threading.Lock()
        try:
            self._file = self._open()
        except OSError as error:
            raise HistoryError(f"{self._path}: {(error.strerror or str(error)).lower()}") from None

    def next(self, floor: int = 0) -> int | None:
        """A number that no other server has, more than ``floor``; None where it cannot be had at once."""
        self.renew()
        try:
            with self.alone():
                number = max(self._read(), floor) + 1
                self._write(number)
        except (OSError, HistoryError):
            return None
        return number

    def at_least(self, number: int) -> None:
        """The next number is more than this; ``HistoryError`` where that cannot be written."""
        try:
            with self.alone():
                if self._read() < number or not os.fstat(self._file).st_size:
                    self._write(number)
        except OSError as error:
            raise HistoryError((error.strerror or str(error)).lower()) from None

    @contextmanager
    def alone(self) -> Iterator[None]:
        """While no other server is; ``HistoryError`` where one stays."""
        for _ in range(_TRIES):
            if self._set(fcntl.F_WRLCK, 0):
                break
            sleep(0.0002)
        else:
            raise HistoryError("another server holds its lock")
        try:
            yield
        finally:
            self._set(fcntl.F_UNLCK, 0)

    def lives(self, daemon: int) -> None:
        """The server is here under that number alone, as long as the file is open."""
        if self._daemon not in (None, daemon):
            self._set(fcntl.F_UNLCK, LIVES_AT + self._daemon)
        self._daemon = daemon
        self._set(fcntl.F_WRLCK, LIVES_AT + daemon)

    def renew(self) -> None:
        """Make the file anew where somebody has taken it away; where that cannot be done, the old one serves on."""
        if identity(self._path) == self._opened:
            return
        with self._renewing, suppress(OSError, HistoryError):
            if identity(self._path) != self._opened:
                number, new = self._read(), self._open()
                os.dup2(new, self._file, inheritable=False)
                os.close(new)
                if self._daemon is not None:
                    self.lives(self._daemon)
                self.at_least(number)

    def is_alive(self, daemon: int) -> bool:
        """Whether another process holds that server's byte; its own it does not see."""
        asked = _FLOCK.pack(fcntl.F_WRLCK, os.SEEK_SET, LIVES_AT + daemon, 1, 0)
        kind: int = _FLOCK.unpack(fcntl.fcntl(self._file, fcntl.F_OFD_GETLK, asked))[0]
        return kind != fcntl.F_UNLCK

    def close(self) -> None:
        """Its locks go with it."""
        os.close(self._file)

    def _open(self) -> int:
        file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        there = os.fstat(file)
        self._opened = there.st_dev, there.st_ino
        return file

    def _write(self, number: int) -> None:
        os.pwrite(self._file, f"{number:0{_LONGEST}d}\n".encode(), 0)

    def _read(self) -> int:
        text = os.pread(self._file, _LONGEST + 1, 0)
        number = int(text) if re.fullmatch(rb"[0-9]+\n", text) else 0
        return number if number < MOST else 0

    def _set(self, kind: int, at: int) -> bool:
        try:
            fcntl.fcntl(self._file, fcntl.F_OFD_SETLK, _FLOCK.pack(kind, os.SEEK_SET, at, 1, 0))
        except BlockingIOError:
            return False
        except PermissionError:  # as some systems say it
            return False
        return True


def identity(path: str) -> tuple[int, int] | None:
    """Which file is at ``path``."""
    try:
        there = os.stat(path)
    except OSError:
        return None
    return there.st_dev, there.st_ino
