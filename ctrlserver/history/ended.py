"""Runs that have ended and may not be in the history yet, in a file beside it, ``FILE-ended-XXXXXXXX``.

Model: each server has one, made when its first run ends. A line is a row as JSON, and is in the page cache before
anybody is told that the run has ended: a SIGKILL takes nothing of it, however late the history's writer is. Lines go
once their runs are in the history. What a dead server has left, the next one that looks enters.

Rules: its server holds a lock (flock) on it, which ends with the process. A run may be entered twice, to no effect. A
line that is not whole is none. A file that somebody has taken away, or a part of it, is made anew. Nothing is synced:
after a power cut lines may be missing.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from glob import escape, glob
from tempfile import mkstemp
from typing import Any

from attrs import define, field

from ctrlserver.history.entries import encoded, record_of, row_of
from ctrlserver.history.shared import MOST
from ctrlserver.stats.records import RunRecord

LONGEST = 1 << 25
"""Bytes: as many runs as may wait, ten times over."""


@define(eq=False)
class EndedRuns:
    """Those of one server, whose history is at ``path``. No call waits for a lock, or fails."""

    path: str
    name: str = field(default="", init=False)
    size: int = field(default=0, init=False)
    """The length of all lines."""
    _file: int = field(default=-1, init=False)
    _ends: dict[int, int] = field(factory=dict, init=False)
    """Where the lines of the runs in it end."""

    def has(self, run: int) -> bool:
        """Whether it is in the file, and comes back if it is nowhere else."""
        return run in self._ends and self._is_there()

    def add(self, record: RunRecord) -> bool:
        """It has ended; whether it is in the file now."""
        line = f"\n{encoded(row_of(record))}\n".encode()  # whatever somebody has put before it
        try:
            self._have_file()
            fits = self.size + len(line) <= LONGEST and os.pwrite(self._file, line, self.size) == len(line)
        except OSError:
            fits = False
        if fits:
            self.size += len(line)
            self._ends[record.run] = self.size
        return fits

    def mark(self) -> tuple[str, int]:
        """Which file it is, and how far."""
        return self.name, self.size

    def written(self, mark: tuple[str, int]) -> None:
        """The runs up to ``mark`` are in the history; later lines move up, where that overwrites none of them."""
        name, size = mark
        rest = self.size - size
        if name == self.name and size and 0 <= rest <= size:
            with suppress(OSError):
                os.pwrite(self._file, os.pread(self._file, rest, size), 0)
                os.ftruncate(self._file, rest)
                self.size = rest
                self._ends = {run: end - size for run, end in self._ends.items() if end > size}

    def close(self) -> None:
        """No more calls. The file stays where it has a line."""
        if self._file >= 0:
            if not self.size:
                with suppress(OSError):
                    os.unlink(self.name)
            os.close(self._file)
            self._file = -1

    def _is_there(self) -> bool:
        with suppress(OSError):
            own, there = os.fstat(self._file), os.stat(self.name)
            return os.path.samestat(own, there) and there.st_size >= self.size
        return False

    def _have_file(self) -> None:
        while not self._is_there():
            if self._file >= 0:
                os.close(self._file)
            self._file, self.size, self._ends = -1, 0, {}
            folder, name = os.path.split(self.path)
            new, self.name = mkstemp(prefix=f"{name}-ended-", dir=folder or ".")
            try:
                fcntl.flock(new, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                os.close(new)
                if not isinstance(error, BlockingIOError):  # then one that looks has found it first, and removes it
                    os.unlink(self.name)
                    raise
            else:
                self._file = new


@contextmanager
def left(path: str) -> Iterator[Sequence[Sequence[Any]]]:
    """The rows that dead servers have left beside the history at ``path``; gone after a block that succeeds."""
    rows: list[Sequence[Any]] = []
    with ExitStack() as files:
        names = []
        for name in glob(f"{escape(path)}-ended-*"):
            with suppress(OSError):
                file = os.open(name, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
                files.callback(os.close, file)
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                rows += _rows(os.pread(file, LONGEST, 0))
                names.append(name)
        yield rows
        for name in names:
            with suppress(OSError):
                os.unlink(name)


def rows_of(mark: tuple[str, int]) -> Sequence[Sequence[Any]]:
    """Those in a server's own file, up to where it was then; none where it is gone."""
    name, size = mark
    with suppress(OSError), open(name, "rb") as file:
        return [*_rows(file.read(size))]
    return []


def _rows(lines: bytes) -> Iterator[Sequence[Any]]:
    for line in lines.splitlines():
        with suppress(ValueError, TypeError, AttributeError, RecursionError):
            match row := json.loads(line):
                case [int(run), "ended", None | str(), str(), str(), str(), str()] if 0 < run < MOST:
                    record_of(row)
                    yield row
