"""Where log lines go: a file, a pipe or terminal, or syslog.

Rules: an outlet never raises and never waits. What cannot be written now (a full disk, a pipe that nobody reads or that
is closed) is given up, and ``write`` says so. Of a line that was begun the rest follows, before any other.
"""

from __future__ import annotations

import os
import select
import socket
import stat
import time
from typing import Protocol

from attrs import define, field

#: Bytes that a pipe takes without waiting once it is writable.
_PIECE = 4096

_SYSLOG_USER = 1 << 3
_PRIORITIES = {"debug": 7, "info": 6, "warn": 4, "error": 3, "critical": 1}


class Outlet(Protocol):
    """``stamped``: lines need a time of their own. ``path``: where it is found again, if it can be opened anew."""

    stamped: bool
    path: str | None

    def write(self, line: str, level: str) -> bool:
        """Whether the line, which has no newline at its end, was written or begun."""

    def reopen(self) -> str | None:
        """Open the file again by its name; why not, where that fails and the old one stays."""


def opened(path: str, mode: int = 0o666) -> int:
    """A descriptor that appends to the file; ``OSError``. A named pipe needs a reader, and is not waited for.

    ``mode``: the permissions of a file that is new, of which the umask takes some away.
    """
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOCTTY | os.O_NONBLOCK
    return os.open(path, flags, mode)


def opened_like(old: int | None, path: str) -> int:
    """The same; a file that is new gets the permissions of ``old``, whatever the umask: that of a daemon is 077."""
    if old is None:
        return opened(path)
    umask = os.umask(0)
    try:
        return opened(path, stat.S_IMODE(os.fstat(old).st_mode))
    finally:
        os.umask(umask)


@define(eq=False)
class Descriptor:
    """An open file, pipe or terminal; None where the process was given none. ``path``: where to find it again."""

    descriptor: int | None
    path: str | None = None
    stamped: bool = field(default=True, init=False)
    _rest: bytes = field(default=b"", init=False)

    def write(self, line: str, level: str) -> bool:
        """As ``Outlet`` says."""
        if self._rest and not self._went_out():
            return False
        whole = self._rest = line.encode("utf-8", "backslashreplace") + b"\n"
        if self._went_out() or self._rest is not whole:
            return True
        self._rest = b""
        return False

    def _went_out(self) -> bool:
        """Whether all of ``_rest`` could be written; what could not stays there."""
        while self._rest:
            try:
                if self.descriptor is None or not self._has_room(self.descriptor):
                    return False
                self._rest = self._rest[os.write(self.descriptor, self._rest[:_PIECE]) :]
            except OSError:
                return False
        return True

    @staticmethod
    def _has_room(descriptor: int) -> bool:
        poll = select.poll()
        poll.register(descriptor, select.POLLOUT)
        return any(event & select.POLLOUT for _, event in poll.poll(0))

    def reopen(self) -> str | None:
        """As ``Outlet`` says."""
        if self.path is None:
            return None
        try:
            old = self.descriptor
            descriptor = opened_like(old, self.path)
        except OSError as error:
            return (error.strerror or str(error)).lower()
        self.descriptor, self._rest = descriptor, b""
        if old is not None:
            os.close(old)
        return None


@define(eq=False)
class Syslog:
    """The system's log, by datagrams as the C library sends them, but without waiting.

    ``prefix``: the program's name. ``address``: the socket of the log.
    """

    prefix: str
    address: str = "/dev/log"
    path: str | None = field(default=None, init=False)
    stamped: bool = field(default=False, init=False)
    _socket: socket.socket | None = field(default=None, init=False)

    def __attrs_post_init__(self) -> None:
        self.reopen()

    def write(self, line: str, level: str) -> bool:
        """As ``Outlet`` says; each line of a text is a message."""
        priority = _SYSLOG_USER | _PRIORITIES.get(level, 6)
        head = f"<{priority}>{time.strftime('%b %e %H:%M:%S')} {self.prefix}[{os.getpid()}]: "
        sent = [self._sent(f"{head}{each}".encode("utf-8", "backslashreplace")) for each in line.split("\n")]
        return all(sent)

    def _sent(self, message: bytes) -> bool:
        for _ in range(2):  # the log may have been started anew: then its old socket refuses
            try:
                if self._socket is not None:
                    self._socket.send(message)
                    return True
            except BlockingIOError:
                return False
            except OSError:
                pass
            self.reopen()
        return False

    def reopen(self) -> str | None:
        """Connect anew."""
        self.close()
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        try:
            self._socket.connect(self.address)
        except OSError as error:
            self.close()
            return (error.strerror or str(error)).lower()
        return None

    def close(self) -> None:
        """Give back the socket."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None
